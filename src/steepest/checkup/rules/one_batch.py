"""The rule about a program that cannot memorise a few examples.

A network with more parameters than examples can fit them whatever they are, so that a
failure to do so on its own data is a fault of the program, not of data or time.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §11.5.
    Zhang et al. (2017), Understanding deep learning requires rethinking generalization.
"""

import numpy as np

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .trend import failed, succeeded


def cannot_fit(record: Record, limits: Limits) -> Finding | None:
    """The program cannot memorise sixteen examples."""
    b = record.facts["experiment.one_batch"]
    score, last, first = b.get("score"), b["loss_last"], b["loss_first"]
    if score is not None and score >= limits["score"]:
        return None
    removed = (first - last) / max(abs(first), 1e-12) if np.isfinite(last) else -np.inf
    if score is None and (removed > limits["removed"] or first <= 0):
        return None
    if score is not None and removed > 0.99 and first > 0:
        return None  # the loss is solved; `predict` says something else
    stuck = bool(removed < 0.5)
    evidence = [
        Evidence(
            "share of the loss removed", float(max(removed, -9.99)), limits["removed"]
        )
    ]
    said = f"the loss went from {first:.3g} to {last:.3g}"
    if not np.isfinite(last):
        said = "the loss stopped being a number"
    if score is not None:
        evidence.insert(
            0, Evidence("accuracy or R² on them", float(score), limits["score"])
        )
        said += f", the score to {score:.2g}"
    return Finding(
        rule="OPT007",
        severity=Severity.CRITICAL
        if stuck and failed(record)
        else Severity.HIGH
        if failed(record)
        else Severity.NOTE
        if succeeded(record)
        else Severity.MEDIUM,
        claim=(
            f"The program cannot fit {b['size']} examples: after {b['steps']} updates "
            f"of Adam at the best of three rates {said}."
        ),
        evidence=tuple(evidence),
        why=(
            "Almost any network can memorise a handful of examples, whatever its data. "
            "If this one cannot, more data, time or regularisation will not help: "
            "there is a fault in the program (loss, labels, output layer), or the "
            "gradient does not reach the weights."
        ),
        reference="DL §11.5",
        cause="A fault in the loss or the model; look at the output layer first.",
        prescription=Prescription(
            "Bisect on these examples: first the loss on hand-made outputs, then the "
            "last layer alone, then the layers before it."
        ),
        confidence=0.8 if stuck else 0.6,
        refutation=(
            "Two of the examples have equal inputs and different targets, so that no "
            "function fits them."
        ),
        chart=Chart("loss"),
    )


RULES: tuple[Rule, ...] = (
    Rule(
        id="OPT007",
        title="Cannot fit one batch",
        severity=Severity.CRITICAL,
        judge=cannot_fit,
        needs=("experiment.one_batch",),
        limits={"score": 0.9, "removed": 0.3},
        doc=(
            "Sixteen examples, 200 updates of Adam, the best of three rates. `score`: "
            "accuracy or R² on them that counts as fitted; without `predict`, "
            "`removed`: the share of the loss that must be gone. It is small, for the "
            "floor of a loss is not known: labels smoothed by a tenth leave a fifth of "
            "it, a variational bound keeps most of its divergence. Look-alikes: such "
            "floors, which the score does not see."
        ),
        explains=("OPT005", "GEN002"),
    ),
)
