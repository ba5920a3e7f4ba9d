"""Rules about the way of the loss: to and fro, up, or nowhere.

A loss on fixed data has no sampling noise, the batch loss has; every judgement here is
against the standard error of what it reads (`trend`), and against how far the run came.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§8.2, 8.3.1.
    Robbins & Monro (1951), A stochastic approximation method.
"""

import numpy as np
from jaxtyping import Float

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..numbers import number, share
from ..rule import Limits, Rule
from .ground import NEGATIVE, ground_of
from .trend import (
    failed,
    fall,
    finite,
    learning_rate,
    rounded,
    running,
    scores,
    slope,
    succeeded,
)


def oscillation(record: Record, limits: Limits) -> Finding | None:
    """The loss jumps up and down by more than noise, and by enough to matter."""
    f = fall(record)
    name = "train.loss" if "train.loss" in record else "probe.loss"
    if f is None or name not in record:
        return None
    step, value = finite(record, name)
    late = value[len(value) // 2 :]
    if len(late) < 6 or f.range <= GAINED * abs(f.first):
        return None  # what gained nothing has nothing to swing by
    jumps = np.diff(late)
    switches = float(np.mean(np.sign(jumps[1:]) != np.sign(jumps[:-1])))
    swing = float(np.median(np.abs(jumps)))
    noise = 0.0
    if f"{name}.sem" in record:
        noise = float(np.nanmedian(record[f"{name}.sem"].value))
    relative = swing / f.range
    if switches < limits["switches"] or relative < limits["swing"]:
        return None
    if swing < 2 * noise and relative < 3 * limits["swing"]:
        return None
    eta = learning_rate(record)
    new = rounded(eta / 3) if np.isfinite(eta) else None
    return Finding(
        rule="OPT003",
        severity=Severity.NOTE if succeeded(record) else Severity.MEDIUM,
        claim=(
            "The training loss oscillates: from one measurement to the next it moves "
            f"by {number(swing)}, {share(relative, 'all that the run has gained')}."
        ),
        evidence=(
            Evidence(
                "median jump ÷ gain of the run",
                relative,
                limits["swing"],
                (int(step[len(value) // 2]), int(step[-1])),
                error=noise / f.range,
            ),
            Evidence(
                "share of jumps that change direction",
                switches,
                limits["switches"],
                (int(step[len(value) // 2]), int(step[-1])),
            ),
        ),
        why=(
            "Measured on fixed data in evaluation mode, the loss has no sampling noise "
            "of its own: what moves it is the parameters, thrown from side to side of "
            "a valley by steps that are long for its curvature, or by the noise of "
            "small batches times the step size. The floor of such a run is "
            "proportional to η."
        ),
        reference="DL §8.3.1; Robbins & Monro (1951)",
        cause="A step size at the limit of stability, or constant to the end.",
        prescription=Prescription(
            "Let the learning rate decay to zero (cosine), or lower it"
            + (f" to {new:g}." if new else " threefold."),
            recipe={"schedule": "cosine"},
        ),
        confidence=0.7,
        refutation="With a third of the step size the jumps should shrink by as much.",
        chart=Chart(name),
    )


def scatter(value: Float[np.ndarray, " time"], n: int) -> float:
    """The noise of a mean over n neighbours, from differences, which a trend leaves."""
    return float(np.median(np.abs(np.diff(value))) / 0.954 / np.sqrt(n))


def divergence(record: Record, limits: Limits) -> Finding | None:
    """The loss ends far above where it has been."""
    f = fall(record)
    if f is None:
        return None
    _, value = finite(record, "loss")
    n = max(1, len(value) // 20)
    means = running(value, n)
    scale = max(f.range, 0.05 * abs(f.first), 1e-12)
    last, best, first = f.last, f.best, f.first
    if record.meta.get("ended") == "non-finite" and len(value):
        # The last updates before a NaN are seen by the batch loss alone.
        if len(means) > 2 and means[-1] - means.min() > 3 * scatter(value, n):
            last = max(last, float(means[-1]))
        last = max(last, float(value[-1]))
    rise = (last - best) / scale
    above = (last - first) / max(abs(first), 1e-12)
    noise = 3 * f.sem
    if last - best <= noise:
        return None
    worse = above > limits["above"] and last - first > noise
    lost = (
        rise > limits["rise"] and f.range > 0.1 * abs(f.first) and not succeeded(record)
    )
    if not (worse or lost):
        return None
    eta = learning_rate(record)
    new = rounded(eta / 10) if np.isfinite(eta) else None
    return Finding(
        rule="OPT004",
        severity=Severity.CRITICAL if worse else Severity.HIGH,
        claim=(
            f"Training diverges: the loss ends at {number(last)}, above the "
            f"{number(first)} it started from."
            if worse
            else f"Training diverges: the loss ends at {number(last)} after it had come "
            f"down to {number(best)}."
        ),
        evidence=(
            Evidence(
                "loss at the end", last, first if worse else best, f.steps, "", f.sem
            ),
        ),
        why=(
            "A descent method that is stable lowers the loss on average. A loss that "
            "ends above its start, by more than its noise, says that the steps carry "
            "the weights away from every minimum they pass: step size, curvature and "
            "noise together are past the limit of stability, or a sign is wrong."
        ),
        reference="DL §8.2.4, §8.3.1",
        cause="A step size too large for the curvature, or gradients that explode.",
        prescription=Prescription(
            f"Lower the learning rate to {new:g}; warm it up; clip the gradient norm."
            if new
            else "Lower the learning rate tenfold; warm it up; clip the gradient norm.",
            recipe={"learning_rate": new} if new else {},
        ),
        confidence=0.85,
        refutation="A run with a tenth of the step size that diverges as well.",
        chart=Chart("loss", log=True),
    )


GAINED = 0.01  # of the first loss: less is no gain to measure jumps by

#: What a plateau is, by where the run stands: words, cause, advice.
PLACES = {
    "moving": (
        ", on a slope: the gradient is not small",
        "Steps too short for the slope, or noise that holds the loss up.",
        "try Adam at 1e-3",
    ),
    "saddle": (
        ", on a saddle",
        "A symmetric start, or weights far too small.",
        "leave it with Adam at 1e-3",
    ),
    "minimum": (
        ", in a minimum: every curvature is positive",
        "A model, or a loss, whose best is no better than this.",
        "give the model more units, and try Adam at 1e-3",
    ),
    "flat": (
        ", on a flat: neither a gradient nor a negative curvature leads down",
        "Units without a slope, or a loss that does not depend on the inputs.",
        "begin anew from other weights, with Adam at 1e-3",
    ),
    "unknown": (
        "",
        "Something upstream; see the findings about signal, program and data.",
        "try Adam at 1e-3",
    ),
}


def plateau(record: Record, limits: Limits) -> Finding | None:
    """The loss has stopped falling although simple models do better."""
    f = fall(record)
    if f is None or not failed(record) or record.meta.get("ended") == "non-finite":
        return None
    _, value = finite(record, "loss")
    late = value[len(value) // 2 :]
    if len(late) < 16:
        return None
    s = slope(late)
    # What the line gains over half the run, against what is still to be gained.
    flat = abs(s.change) < 2 * s.sem or abs(s.change) < limits["gain"] * abs(f.last)
    if not flat or s.change < -limits["gain"] * abs(f.last):
        return None
    known = scores(record)
    evidence = [
        Evidence(
            "change of the batch loss over the last half of the run",
            s.change,
            -limits["gain"] * abs(f.last),
            f.steps,
            error=s.sem,
        )
    ]
    what = f"at {f.last:.3g}, having started from {f.first:.3g}"
    if "linear" in known and "train" in known:
        evidence.append(
            Evidence(
                f"training {known['metric']} (limit: a linear model's)",
                known["train"],
                known["linear"],
                error=known.get("train_sem"),
            )
        )
    ground = ground_of(record)
    place, cause, advice = PLACES[ground.place if ground else "unknown"]
    if ground is not None:
        evidence += [
            Evidence("norm of the gradient on the probe batch", ground.gradient),
            Evidence(
                "λ_min ÷ λ_max at the end",
                ground.lowest / max(abs(ground.highest), 1e-30),
                -NEGATIVE,
                error=ground.lowest_residual / max(abs(ground.highest), 1e-30),
            ),
        ]
    return Finding(
        rule="OPT005",
        severity=Severity.MEDIUM,
        claim=f"The training loss stands still {what}, far from what can be reached"
        f"{place}.",
        evidence=tuple(evidence),
        why=(
            "Training that stops with a high loss has met not a bad local minimum, "
            "which are rare in many dimensions, but a region where the gradient "
            "carries no information: dead or saturated units, a symmetric start, a "
            "saddle, or a loss that does not depend on the inputs as it should."
        ),
        reference="DL §8.2.2, §8.2.3",
        cause=cause,
        prescription=Prescription(
            f"Mend the causes above first; if there are none, {advice}.",
            recipe={"optimizer": "adam", "learning_rate": 1e-3},
        ),
        confidence=0.6,
        refutation="Ten times as many updates that bring the loss down after all.",
        chart=Chart("loss"),
    )


RULES: tuple[Rule, ...] = (
    Rule(
        id="OPT003",
        title="Oscillating loss",
        severity=Severity.MEDIUM,
        judge=oscillation,
        needs=("probe.loss",),
        limits={"switches": 0.4, "swing": 0.1},
        doc=(
            "The loss on fixed data over the last half of the run: `switches` of "
            "direction, and the median jump as a share of all that was gained "
            "(`swing`), above twice the standard error. Look-alikes: batch noise, "
            "which fixed data do not have, and jumps of a loss that is nearly zero."
        ),
        explains=("OPT006",),
    ),
    Rule(
        id="OPT004",
        title="Divergence",
        severity=Severity.CRITICAL,
        judge=divergence,
        needs=("loss",),
        limits={"above": 0.2, "rise": 0.5},
        doc=(
            "`above`: the loss at the end is above that at the start by this share, "
            "and by more than three standard errors. `rise`: or it lost this share of "
            "what it had gained. Look-alike: a loss near zero that doubles."
        ),
        explains=(
            "NUM001",
            "OPT003",
            "OPT005",
            "OPT006",
            "GEN002",
            "OPT008",
        ),
    ),
    Rule(
        id="OPT005",
        title="Plateau far from the floor",
        severity=Severity.MEDIUM,
        judge=plateau,
        needs=("loss",),
        limits={"gain": 0.05},
        doc=(
            "The slope of the batch loss over the last half of the run is zero within "
            "two standard errors or gains less than `gain`, although the run failed: "
            "it fits its training data worse than a linear model or a constant. A "
            "plateau of a run that is done is not one."
        ),
        explains=("GEN002",),
    ),
)
