"""The rule about when a run was stopped: while it still improved, or long after its best.

The number of updates is a hyperparameter with a U-shaped held-out loss: more of them
lower it until the model begins to fit what only the training data say. Held-out data
tell where that is.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §7.8.
"""

import numpy as np
from jaxtyping import Float, Int

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .trend import cut_short, failed, fall, finite, recipe_of, slope, succeeded


SHORT = 6  # measurements: half a run has no fewer


def stopped(record: Record, limits: Limits) -> Finding | None:
    """The run ended while it was still improving, or long after it had been best."""
    f = fall(record)
    if f is None or record.meta.get("ended") == "non-finite":
        return None
    if "validation.loss" in record:
        step, value = finite(record, "validation.loss")
        best = int(np.argmin(value)) if len(value) else 0
        sem = 0.0
        if "validation.loss.sem" in record and len(value):
            sem = float(np.nan_to_num(record["validation.loss.sem"].value[-1]))
        if len(value) >= 5 and step[best] < limits["late"] * step[-1]:
            rise = value[-1] - value[best]
            if rise > max(2 * sem, 0.1 * abs(value[best])):
                return _too_late(step, value, best, sem, limits)
        held = slope(value[len(value) // 2 :]) if len(value) >= 8 else None
        if held is not None and held.change > 0:
            return None
    if f.range <= 0 or succeeded(record):
        return None
    if cut_short(record):  # by the budget of the check, not by the recipe
        return None
    late = last_quarter(record)
    if late is None:
        return None
    s = slope(late)
    gain = -s.change / max(abs(f.last), 1e-12)
    least = limits["failing"] if failed(record) else limits["gain"]
    if gain < least or -s.change < 3 * s.sem:
        return None
    return Finding(
        rule="OPT006",
        severity=Severity.MEDIUM if failed(record) else Severity.NOTE,
        claim=(
            f"The run stopped too early: over its last quarter the loss was still "
            f"falling by {gain:.0%} of its value."
        ),
        evidence=(
            Evidence(
                "fall of the loss over the last quarter ÷ its value",
                gain,
                least,
                (int(0.75 * f.steps[1]), f.steps[1]),
                error=s.sem / max(abs(f.last), 1e-12),
            ),
        ),
        why=(
            "While both training and held-out loss fall, more updates are the cheapest "
            "way to a better model. How long to train is best left to held-out data: "
            "until their loss has not improved for a while."
        ),
        reference="DL §7.8",
        cause="A fixed number of epochs chosen too small.",
        prescription=Prescription(
            "Train three times as long, and stop by the validation loss.",
            recipe=_longer(record),
        ),
        confidence=0.7,
        refutation="Twice the updates that do not lower the validation loss.",
        chart=Chart("loss"),
    )


def last_quarter(record: Record) -> Float[np.ndarray, " time"] | None:
    """The last quarter of the training loss: on fixed data, where it was measured often
    enough, for that has no sampling noise; else batch by batch. None if it is short."""
    for name in ("train.loss", "loss"):
        if name in record:
            _, value = finite(record, name)
            if len(value) >= 2 * SHORT:
                return value[-max(SHORT // 2, len(value) // 4) :]
    return None


def _too_late(
    step: Int[np.ndarray, " time"],
    value: Float[np.ndarray, " time"],
    best: int,
    sem: float,
    limits: Limits,
) -> Finding:
    return Finding(
        rule="OPT006",
        severity=Severity.NOTE,
        claim=(
            f"The run went on too long: the validation loss was best at step "
            f"{step[best]} ({value[best]:.3g}) and ended at {value[-1]:.3g}, "
            f"{step[-1] - step[best]} updates later."
        ),
        evidence=(
            Evidence(
                "step of the best validation loss ÷ length of the run",
                float(step[best] / step[-1]),
                limits["late"],
                (int(step[best]), int(step[-1])),
                error=sem,
            ),
        ),
        why=(
            "Stopping at the best validation loss is a regulariser that costs nothing: "
            "the number of updates bounds how far the weights get from their start, "
            "much as weight decay does."
        ),
        reference="DL §7.8",
        cause="No early stopping.",
        prescription=Prescription(
            f"Keep the parameters of step {step[best]}: set the number of steps to "
            "it, or restore the best checkpoint.",
            recipe={"steps": int(step[best])} if step[best] > 0 else {},
        ),
        confidence=0.8,
        refutation="The accuracy at the end, if it is better than at that step.",
        chart=Chart("validation.loss"),
    )


def _longer(record: Record) -> dict[str, float]:
    recipe = recipe_of(record)
    if recipe.get("steps"):
        return {"steps": 3 * int(recipe["steps"])}
    return {"epochs": 3 * float(recipe["epochs"])} if recipe.get("epochs") else {}


RULES: tuple[Rule, ...] = (
    Rule(
        id="OPT006",
        title="Stopped too early or too late",
        severity=Severity.MEDIUM,
        judge=stopped,
        needs=("loss",),
        limits={"gain": 0.15, "failing": 0.05, "late": 0.5},
        doc=(
            "`gain`: the training loss still falls by this share of its value over the "
            "last quarter, three standard errors from flat; `failing`: the same where "
            "the model is still worse than a simple one. `late`: the validation "
            "loss was best before this share of the run and has risen by a tenth and "
            "two standard errors. Advice, unless the run failed."
        ),
        explains=("GEN002",),
    ),
)
