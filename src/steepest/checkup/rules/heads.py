"""Rules about pairs of output and loss that do not match the target.

What a loss means is fixed before anything is trained. Maximum likelihood pairs each
kind of target with one head and one loss: a number with an affine unit and the squared
error, a class with as many scores as there are classes and the cross-entropy of their
softmax, computed from the scores. A pair that does not match runs without an error.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §6.2.
"""

import math

from ...training.record import Record
from ..finding import Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .program import place_of
from .symptoms import SPOILT


def output_range(record: Record, limits: Limits) -> Finding | None:
    """The last operation cannot produce the targets."""
    fact = record.facts["program.output_range"]
    outside = float(fact["outside"])
    if outside <= limits["outside"]:
        return None
    low, high = fact["low"], fact["high"]
    reach = f"from {_bound(low, '−∞')} to {_bound(high, '∞')}"
    least, most = fact["target"]
    return Finding(
        rule="PRG001",
        severity=Severity.CRITICAL,
        claim=(
            f"The output is a {fact['operation']}, which gives values {reach}, but "
            f"{outside:.0%} of the targets lie outside."
        ),
        evidence=(
            Evidence(
                "share of targets the output cannot reach",
                outside,
                limits["outside"],
                place=fact["place"],
            ),
            Evidence("least target", float(least), low),
            Evidence("greatest target", float(most), high),
        ),
        why=(
            "The squared error of a target outside the range of the output can never "
            "become zero, however long the training: the best that the model can do is "
            "to sit at the end of its range, where its slope, and with it the "
            "gradient, is zero or nearly so. A number without bounds wants an affine "
            "output."
        ),
        reference="DL §6.2.2.1",
        cause=f"A {fact['operation']} on the output of a regression.",
        prescription=Prescription(
            f"Remove the {fact['operation']} from the output, or scale the targets "
            "into its range.",
            snippet="return h @ W + b        # affine output for a real target",
        ),
        confidence=0.95,
        refutation="Outputs on held-out data that reach the greatest target.",
    )


def _bound(value: float | None, infinite: str) -> str:
    return infinite if value is None else f"{value:g}"


def one_unit_softmax(record: Record, limits: Limits) -> Finding | None:
    """A softmax over one unit is 1 whatever the unit says."""
    found = record.facts["program.one_unit_softmax"]
    if not found:
        return None
    return Finding(
        rule="PRG002",
        severity=Severity.CRITICAL,
        claim=(
            "The softmax runs over an axis of length 1, so that its output is 1 for "
            "every input."
        ),
        evidence=(
            Evidence("units the softmax runs over", 1.0, 2.0, place=place_of(found)),
        ),
        why=(
            "softmax(z) = exp(z) / Σ exp(z) over a single z is 1. Its derivative is 0, "
            "so no gradient reaches the weights before it, and accuracy stays at the "
            "share of one class."
        ),
        reference="DL §6.2.2.2, §6.2.2.3",
        cause="A head for several classes on a target of two, or the wrong axis.",
        prescription=Prescription(
            "For two classes, use one logit and the sigmoid cross-entropy, or two "
            "logits and the softmax cross-entropy.",
            snippet="optax.sigmoid_binary_cross_entropy(logits[:, 0], y).mean()",
        ),
        confidence=1.0,
        refutation="Two inputs for which the output of the softmax differs.",
    )


def softmax_twice(record: Record, limits: Limits) -> Finding | None:
    """Probabilities are fed to a loss that takes logits."""
    found = record.facts["program.softmax_twice"]
    if not found:
        return None
    k = int(found[0]["classes"])
    floor = math.log(math.e + k - 1) - 1
    return Finding(
        rule="PRG003",
        severity=Severity.CRITICAL,
        claim=(
            f"The softmax is applied twice: the loss takes logits but gets "
            f"probabilities, so that it cannot fall below {floor:.3g}."
        ),
        evidence=(
            Evidence("least loss that is possible", floor, 0.0, place=place_of(found)),
        ),
        why=(
            "The loss exponentiates and normalises what it is given. Probabilities lie "
            f"between 0 and 1, so with {k} classes the most that the second softmax can "
            f"give the right class is e/(e + {k - 1}) = "
            f"{math.e / (math.e + k - 1):.2f}. The gradient passes through two "
            "softmaxes and is small where the model is sure, also where it is wrong."
        ),
        reference="DL §6.2.2.3",
        cause="The model ends in a softmax, and the loss has one of its own.",
        prescription=Prescription(
            "Give the loss the logits; apply the softmax only to predict.",
            snippet="logits = model(x)\n"
            "optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()",
        ),
        confidence=0.95,
        refutation=f"A training loss below {floor:.3g}.",
    )


def missing_softmax(record: Record, limits: Limits) -> Finding | None:
    """The logarithm is taken of raw scores."""
    found = record.facts["program.missing_softmax"]
    outside = max((float(f["outside"]) for f in found), default=0.0)
    if not found or outside <= limits["outside"]:
        return None
    return Finding(
        rule="PRG004",
        severity=Severity.CRITICAL,
        claim=(
            "The loss takes the logarithm of raw scores as if they were "
            f"probabilities: {outside:.0%} of them lie outside (0, 1]."
        ),
        evidence=(
            Evidence(
                "share of scores that are no probability",
                outside,
                limits["outside"],
                place=place_of(found),
            ),
        ),
        why=(
            "Cross-entropy is −log of a probability. The logarithm of a score below 0 "
            "is NaN; clipped, it is a constant without a gradient, and the loss falls "
            "by pushing every score up, since nothing makes the classes compete: that "
            "is what the softmax's denominator is for."
        ),
        reference="DL §6.2.2.2, §6.2.2.3",
        cause="A loss on probabilities with a model that returns logits.",
        prescription=Prescription(
            "Use the loss that takes logits.",
            snippet="optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()\n"
            "optax.sigmoid_binary_cross_entropy(logit, y).mean()",
        ),
        confidence=0.95,
        refutation="Scores that are positive and sum to 1 for every input.",
    )


def class_numbers(record: Record, limits: Limits) -> Finding | None:
    """The squared error treats the number of a class as a quantity."""
    found = record.facts["program.class_numbers"]
    if not found:
        return None
    k, units = int(found[0]["classes"]), int(found[0]["units"])
    return Finding(
        rule="PRG005",
        severity=Severity.CRITICAL if units > 1 else Severity.HIGH,
        claim=(
            f"The loss subtracts the number of the class (0 to {k - 1}) from "
            f"{units} output{'s' if units > 1 else ''}, as if classes were quantities."
        ),
        evidence=(
            Evidence("classes used as numbers", float(k), 2.0, place=place_of(found)),
        ),
        why=(
            "The squared error is the log-likelihood of a Gaussian: it says that class "
            "2 is twice class 1, and half-way between them is a little wrong. A class "
            "is a name. Its likelihood is multinoulli, one score for each class, and "
            "the cross-entropy."
            + (
                " Here all outputs get the same target, so that they cannot differ."
                if units > 1
                else ""
            )
        ),
        reference="DL §6.2.1, §6.2.2",
        cause="A regression loss with class labels.",
        prescription=Prescription(
            f"Use {k} outputs and the softmax cross-entropy.",
            snippet="optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()",
        ),
        confidence=0.9,
        refutation="The labels are ordered grades whose distances mean something.",
    )


RULES: tuple[Rule, ...] = (
    Rule(
        id="PRG001",
        title="An output that cannot reach the targets",
        severity=Severity.CRITICAL,
        judge=output_range,
        needs=("program.output_range",),
        limits={"outside": 0.02},
        doc=(
            "The last operation of `predict` (ReLU, sigmoid, tanh, exp, ...) has a "
            "range; `outside` is the share of targets of a regression beyond it. Two "
            "per cent are let pass for outliers of a bounded quantity."
        ),
        explains=(*SPOILT, "INI001"),
    ),
    Rule(
        id="PRG002",
        title="Softmax over a single unit",
        severity=Severity.CRITICAL,
        judge=one_unit_softmax,
        needs=("program.one_unit_softmax",),
        doc=(
            "A softmax (exp ÷ sum of exp) over an axis of length 1, found in the "
            "traced loss."
        ),
        explains=(*SPOILT, "NUM002", "NUM006", "INI001", "PRG008"),
    ),
    Rule(
        id="PRG003",
        title="Softmax applied twice",
        severity=Severity.CRITICAL,
        judge=softmax_twice,
        needs=("program.softmax_twice",),
        doc=(
            "A softmax or log-softmax whose operand is a softmax already. Look-alike: "
            "attention, where a product lies between two softmaxes."
        ),
        explains=(*SPOILT, "INI001"),
    ),
    Rule(
        id="PRG004",
        title="Logarithm of raw scores",
        severity=Severity.CRITICAL,
        judge=missing_softmax,
        needs=("program.missing_softmax",),
        limits={"outside": 0.01},
        doc=(
            "A logarithm whose operand is an affine output, clipped or not. `outside`: "
            "the share of its first values that are no probability."
        ),
        explains=(*SPOILT, "NUM001", "NUM006", "INI001", "SIG002"),
    ),
    Rule(
        id="PRG005",
        title="Class numbers used as quantities",
        severity=Severity.CRITICAL,
        judge=class_numbers,
        needs=("program.class_numbers",),
        doc=(
            "A difference between outputs and integer class labels, with more than two "
            "classes or more than one output. Look-alike: 0/1 labels against one "
            "output, which is a (poor) regression on the probability."
        ),
        explains=(*SPOILT, "INI001", "OPT001", "SIG002"),
    ),
)
