"""Rules about the traced loss: its shapes, its scale, and what its gradient can reach.

A program can be wrong without an error: shapes that do not match are broadcast, a sum
stands for a mean, a parameter that no differentiable path joins to the loss keeps its
first value, and affine maps in a row are one affine map.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§5.1.4, 6.1, 6.5, 8.1.3.
"""

from typing import Any

from ...training.record import Record
from ..finding import Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .symptoms import SPOILT, STUCK
from .trend import failed, succeeded


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
                place=place_of(found),
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
            "Squeeze the prediction, and have the loss refuse unequal shapes.",
            snippet="prediction = model(x)[:, 0]\nassert prediction.shape == y.shape",
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
            f"between them ({found[0]['first'] or '?'} into {place_of(found) or '?'})."
        ),
        evidence=(
            Evidence(
                "pairs of affine maps with nothing between",
                float(len(found)),
                0.0,
                place=place_of(found),
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


# -- What the rules above share --------------------------------------------------------


def place_of(found: list[dict[str, Any]]) -> str:
    """Where the first of the places that were found is: `"train.py:31"`."""
    return str(found[0].get("place", "")) if found else ""


RULES: tuple[Rule, ...] = (
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
