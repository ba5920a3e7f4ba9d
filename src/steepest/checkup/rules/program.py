"""Rules about the program: heads, losses and layers, read from the traced loss.

What a loss means is fixed before anything is trained. Maximum likelihood pairs each
kind of target with one head and one loss (DL §6.2.2): a number with an affine unit and
the squared error, a class with as many scores as there are classes and the
cross-entropy of their softmax, computed from the scores. Most faults here are a pair
that does not match, and run without an error.
"""

import math
from typing import Any

from ...training.record import Record
from ..finding import Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .trend import failed, succeeded


#: What a loss that is wrong, or blind, brings about.
STUCK = ("SIG005", "OPT005", "OPT006", "OPT007", "GEN002")
SPOILT = (*STUCK, "OPT002", "OPT003", "OPT004", "SIG003", "SIG004")


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
            Evidence("units the softmax runs over", 1.0, 2.0, place=_place(found)),
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
            Evidence("least loss that is possible", floor, 0.0, place=_place(found)),
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
                place=_place(found),
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
            Evidence("classes used as numbers", float(k), 2.0, place=_place(found)),
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


def broadcast(record: Record, limits: Limits) -> Finding | None:
    """(n, 1) minus (n,) is an n × n table of differences between strangers."""
    found = record.facts["program.broadcast"]
    if not found:
        return None
    n = int(found[0]["batch"])
    return Finding(
        rule="PRG006",
        severity=Severity.CRITICAL,
        claim=(
            "The loss compares every prediction with every target of the batch: a "
            "difference of shapes (n, 1) and (n,) was broadcast to n × n."
        ),
        evidence=(
            Evidence(
                "differences in the loss ÷ examples",
                float(n),
                1.0,
                place=_place(found),
            ),
        ),
        why=(
            "NumPy's broadcasting aligns shapes from the right, so that (n, 1) − (n,) "
            "has n² entries, of which n compare an example with its own target. The "
            "mean of their squares is least when every prediction is the mean of the "
            "targets, and that is what the model learns."
        ),
        reference="DL §5.1.4; NumPy, Broadcasting",
        cause="The model returns (n, 1) and the targets have shape (n,).",
        prescription=Prescription(
            "Squeeze the prediction, and let JAX refuse such broadcasts.",
            snippet="prediction = model(x)[:, 0]\n"
            'jax.config.update("jax_numpy_rank_promotion", "raise")',
        ),
        confidence=0.97,
        refutation="A loss that is meant to compare pairs, as in contrastive learning.",
    )


def summed(record: Record, limits: Limits) -> Finding | None:
    """The loss grows with the batch: a sum where a mean should be."""
    growth = float(record.facts["program.batch_growth"])
    if growth < limits["growth"]:
        return None
    size = record.meta.get("recipe", {}).get("batch_size")
    factor = f" (a factor {size} here)" if size else ""
    return Finding(
        rule="PRG007",
        severity=Severity.HIGH,
        claim=(
            "The loss is summed over the batch, not averaged: on the same examples "
            f"twice over it is {growth:.3g} times as large."
        ),
        evidence=(
            Evidence(
                "loss of a doubled batch ÷ loss of the batch", growth, limits["growth"]
            ),
        ),
        why=(
            "The gradient of a sum is the batch size times that of the mean"
            f"{factor}, and so are the curvature and every step of a method that does "
            "not rescale. The learning rate then depends on the batch size, clipping "
            "norms and weight decay lose their usual meaning, and a rate that is usual "
            "for a mean may be far beyond 2/λ."
        ),
        reference="DL §8.1.3",
        cause="`sum()` where the mean was meant.",
        prescription=Prescription(
            "Return the mean over the batch.", snippet="return per_example.mean()"
        ),
        confidence=0.97 if 1.9 < growth < 2.1 else 0.8,
        refutation=(
            "A learning rate chosen for the sum, and a batch size that never changes."
        ),
    )


def without_gradient(record: Record, limits: Limits) -> Finding | None:
    """The loss does not depend on some parameters through anything differentiable."""
    found = record.facts["program.without_gradient"]
    if not found:
        return None
    size = sum(int(f["size"]) for f in found)
    total = int(record.meta.get("parameters") or size)
    names = [f"`{f['path']}`" for f in found]
    shown = ", ".join(names[:3]) + (
        f" and {len(names) - 3} more" if len(names) > 3 else ""
    )
    by, place = found[0]["by"], found[0]["place"]
    how = {
        "unused": "The loss does not use it at all",
        "cut": "Something without a derivative lies between it and the loss",
    }.get(by, f"`{by}` stands between it and the loss")
    at = f" at {place}" if place else ""
    grave = failed(record) or size > 0.5 * total
    return Finding(
        rule="PRG008",
        severity=Severity.CRITICAL if grave else Severity.HIGH,
        claim=f"No gradient can reach {shown}: {size} parameters never learn.",
        evidence=(
            Evidence(
                "parameters without a path to the loss", float(size), 0.0, place=place
            ),
            Evidence("parameters in all", float(total)),
        ),
        why=(
            "Back-propagation follows the operations from the loss to the parameters. "
            "Where the chain is cut (`stop_gradient`, rounding, argmax, a comparison, "
            "or a value that is not used) every derivative behind it is exactly zero, "
            "so that these parameters stay what their initialisation made them."
        ),
        reference="DL §6.5",
        cause=f"{how}{at}.",
        prescription=Prescription(
            "Take out what cuts the path; if these parameters are frozen on purpose, "
            "say so: Problem(notes={'frozen': [their paths]}).",
        ),
        confidence=0.97,
        refutation="A change of these parameters that changes the loss smoothly.",
    )


def linear_stack(record: Record, limits: Limits) -> Finding | None:
    """Affine maps follow each other with nothing between them."""
    found = record.facts["program.linear_stack"]
    if not found:
        return None
    return Finding(
        rule="PRG009",
        severity=Severity.MEDIUM if succeeded(record) else Severity.HIGH,
        claim=(
            f"{len(found) + 1} affine layers follow each other without a non-linearity "
            f"between them ({found[0]['first'] or '?'} into {_place(found) or '?'})."
        ),
        evidence=(
            Evidence(
                "pairs of affine maps with nothing between",
                float(len(found)),
                0.0,
                place=_place(found),
            ),
        ),
        why=(
            "W₂(W₁x + b₁) + b₂ is one affine map with the matrix W₂W₁: the second layer "
            "adds parameters and a harder optimisation problem, and no function that "
            "the first could not represent."
        ),
        reference="DL §6.1, §6.3",
        cause="A forgotten activation function.",
        prescription=Prescription(
            "Put a non-linearity between them, or merge them into one layer.",
            snippet="h = jax.nn.relu(x @ W1 + b1)",
        ),
        confidence=0.9,
        refutation=(
            "A factorisation that is meant: weights shared with another part, or a "
            "rank that is limited on purpose."
        ),
    )


def _place(found: list[dict[str, Any]]) -> str:
    return str(found[0].get("place", "")) if found else ""


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
        explains=(*SPOILT, "NUM002", "INI001", "PRG008"),
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
        explains=(*SPOILT, "NUM001", "INI001", "SIG002"),
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
    Rule(
        id="PRG006",
        title="Silent broadcast in the loss",
        severity=Severity.CRITICAL,
        judge=broadcast,
        needs=("program.broadcast",),
        doc=(
            "A difference between something with parameters and a target that has the "
            "batch on both of its axes; told from a square layer by tracing with two "
            "batch sizes."
        ),
        explains=(*SPOILT, "GEN001"),
    ),
    Rule(
        id="PRG007",
        title="Loss summed over the batch",
        severity=Severity.HIGH,
        judge=summed,
        needs=("program.batch_growth",),
        limits={"growth": 1.5},
        doc=(
            "`growth`: the loss of a batch repeated twice ÷ that of the batch, 1 for a "
            "mean, 2 for a sum; 1.5 leaves room for a penalty on the weights beside a "
            "sum."
        ),
        explains=(
            "INI001",
            "SIG002",
            "SIG003",
            "SIG004",
            "OPT001",
            "OPT003",
            "OPT004",
            "OPT005",
            "OPT006",
            "NUM001",
            "GEN002",
        ),
    ),
    Rule(
        id="PRG008",
        title="Parameters without a gradient",
        severity=Severity.CRITICAL,
        judge=without_gradient,
        needs=("program.without_gradient",),
        doc=(
            "Parameters from which no differentiable path leads to the loss, read from "
            "the program, so that a gradient that merely happens to be zero (a branch "
            "that starts at zero, an embedding row that was not looked up, dead units) "
            "is no finding. `Problem(notes={'frozen': [paths]})` names what is frozen "
            "on purpose."
        ),
        explains=(*SPOILT, "SIG001", "INI003"),
    ),
    Rule(
        id="PRG009",
        title="Affine layers with nothing between",
        severity=Severity.HIGH,
        judge=linear_stack,
        needs=("program.linear_stack",),
        doc=(
            "A matrix product or convolution with weights whose input is another such "
            "product, with only additions and moves between. Look-alike: a bottleneck "
            "(fewer units than both ends), which is a factorisation that someone meant."
        ),
        explains=(*STUCK, "OPT001", "OPT003"),
    ),
)
