"""Rules about the ground where a run came to stand: saddle, or a ravine.

A loss that stands still far from its floor stands in one of several places, and the
cures differ. With the gradient g and the eigenvalues λ of the Hessian on the probe batch,

    g not small                        moving: steps too short, or noise holds it   (1)
    g small, λ_min < −ρ λ_max          a saddle: the way out is along v_min         (2)
    g small, λ_min not below zero      a minimum, or a flat                         (3)

where small is what `curvature.critical_point` calls so, or what the noise of the
examples hides. (2) has a rule of its own; (1) and (3) are told by the plateau's
(`progress`). In a ravine the loss does fall, but the step that the steepest direction
allows is too short for the others: an error along λ takes some

    κ = λ_max/λ   updates                                                        (4)

to be gone. The λ of the directions that are still to go is read off the gradient, which
consists of them, gᵀHg/‖g‖²; or off the inputs x, whose second moments E xxᵀ the Hessian of
the first layer contains as a factor: κ is then their largest eigenvalue over the median.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3.1, 8.2.1-8.2.3.
    Dauphin et al. (2014), Identifying and attacking the saddle point problem.  -- (2)
"""

from typing import Literal, NamedTuple

import numpy as np

from ...training.record import Record
from ..finding import Chart, Evidence, Finding, Prescription, Severity
from ..rule import Limits, Rule
from .stability import stability_of, stable_rate
from .trend import (
    ADAPTIVE,
    failed,
    fall,
    finite,
    learning_rate,
    recipe_of,
    rising,
    slope,
    succeeded,
)


Place = Literal["moving", "saddle", "minimum", "flat"]
INPUTS = "largest second moment of the inputs ÷ the median"
NEGATIVE = 0.1  # ρ of (2)


class Ground(NamedTuple):
    """The place (1)-(3), and the numbers that say so."""

    place: Place
    gradient: float
    lowest: float
    lowest_residual: float
    highest: float


def ground_of(record: Record, negative: float = NEGATIVE) -> Ground | None:
    """Where the run came to stand; None where it was not measured."""
    facts = record.facts
    if "curvature.kind" not in facts or "curvature.highest" not in facts:
        return None
    gradient = float(facts["curvature.gradient_norm"])
    low, high = float(facts["curvature.lowest"]), float(facts["curvature.highest"])
    error = float(facts.get("curvature.lowest_residual", 0.0))
    small = facts["curvature.kind"] != "moving"
    if "noise.gradient" in facts:
        square, sem = map(float, facts["noise.gradient"])
        small = small or square < 2 * sem
    place: Place = "moving"
    if small and low < -negative * abs(high) - error:
        place = "saddle"
    elif small:
        place = "minimum" if facts["curvature.kind"] == "minimum" else "flat"
    return Ground(place, gradient, low, error, high)


def stands_still(record: Record, gain: float) -> bool:
    """Whether the loss gained less than this share over the last half of the run."""
    f = fall(record)
    if f is None or record.meta.get("ended") == "non-finite" or "loss" not in record:
        return False
    _, value = finite(record, "loss")
    late = value[len(value) // 2 :]
    if len(late) < 16:
        return False
    s = slope(late)
    return abs(s.change) < max(2 * s.sem, gain * abs(f.last))


def saddle(record: Record, limits: Limits) -> Finding | None:
    """The loss stands still where a direction of negative curvature leads down."""
    ground = ground_of(record, limits["negative"])
    f = fall(record)
    if ground is None or f is None or ground.place != "saddle":
        return None
    if succeeded(record) or not failed(record):
        return None
    if not stands_still(record, limits["gain"]):
        return None
    gone = "is gone"
    if record.facts["curvature.kind"] == "moving":
        gone = "is no larger than the noise of the examples"
    adaptive = recipe_of(record).get("optimizer") in ADAPTIVE
    change = (
        {"learning_rate": min(10 * learning_rate(record), stable_rate(record))}
        if adaptive and np.isfinite(learning_rate(record))
        else {"optimizer": "adam", "learning_rate": 1e-3}
    )
    return Finding(
        rule="OPT008",
        severity=Severity.HIGH,
        claim=(
            f"The run stands on a saddle: its loss is {f.last:.3g}, the gradient {gone}, "
            f"and along one direction the curvature is {ground.lowest:.3g}."
        ),
        evidence=(
            Evidence(
                "λ_min ÷ λ_max at the end",
                ground.lowest / max(abs(ground.highest), 1e-30),
                -limits["negative"],
                error=ground.lowest_residual / max(abs(ground.highest), 1e-30),
            ),
            Evidence("norm of the gradient on the probe batch", ground.gradient),
        ),
        why=(
            "At a saddle the gradient vanishes although the loss is no minimum. "
            "Descent leaves it as exp(η|λ_min|t), which takes long from near by, and "
            "for ever where symmetry keeps it exactly there. Steps that do not shrink "
            "with the gradient leave at once: those of Adam, or noise."
        ),
        reference="DL §8.2.3; Dauphin et al. (2014)",
        cause="A symmetric start: weights that are zero, equal or far too small.",
        prescription=Prescription(
            "Draw the first weights at random with variance 1/fan-in; or leave the "
            "saddle with "
            + (
                f"a learning rate of {change['learning_rate']:.3g}."
                if adaptive
                else "Adam at 1e-3."
            ),
            recipe=change,
        ),
        confidence=0.85,
        refutation="A step along the eigenvector of λ_min that does not lower the loss.",
        chart=Chart("loss"),
    )


def ravine(record: Record, limits: Limits) -> Finding | None:
    """The steepest direction allows no step that would suit the others."""
    facts = record.facts
    recipe = recipe_of(record)
    if succeeded(record) or recipe.get("optimizer") not in (
        "sgd",
        "momentum",
        "nesterov",
    ):
        return None
    stability, f = stability_of(record), fall(record)
    if stability is None or f is None or record.meta.get("ended") == "non-finite":
        return None
    if rising(record):
        return None
    used = float(np.median(stability.product)) / stability.limit
    if used < limits["used"]:
        return None  # the step is short of what even the steepest direction allows
    high = float(facts["curvature.highest"])
    if not high > 0:
        return None
    # What float32 can tell from zero is the least that there can be along g.
    along = max(abs(float(facts["curvature.along_gradient"])), 1e-6 * high)
    ratios = {"largest curvature ÷ that along the gradient": high / along}
    inputs = facts.get("curvature.inputs")
    if inputs is not None and inputs[1] > 0:
        ratios[INPUTS] = inputs[0] / inputs[1]
    which = max(ratios, key=lambda name: ratios[name])
    kappa = float(ratios[which])
    updates = int(record.meta.get("steps", len(record["loss"].step)))
    if kappa < limits["kappa"] or kappa / max(used, 1e-12) < limits["turns"] * updates:
        return None
    return Finding(
        rule="OPT009",
        severity=Severity.HIGH if failed(record) else Severity.MEDIUM,
        claim=(
            f"The loss is ill-conditioned, by a factor of {kappa:.3g}, and {updates} "
            f"updates left it at {f.last:.3g}."
        ),
        evidence=(
            Evidence(which, kappa, limits["kappa"]),
            Evidence(
                "step size × sharpness ÷ its limit (median)", used, limits["used"]
            ),
        ),
        why=(
            "The steepest direction sets the step size, η < 2/λ_max, and an error along "
            "curvature λ then needs some λ_max/λ updates to be gone. Where that is more "
            "than the run has, the loss stays high however long the steps. Inputs that "
            "vary together, or on unlike scales, make such a ravine. A step size for each "
            "parameter goes along one that follows the axes, and whitening removes any."
        ),
        reference="DL §4.3.1, §8.2.1, §8.5",
        cause="Correlated inputs, unlike scales, or units of unlike sensitivity.",
        prescription=Prescription(
            "Take out what the inputs have in common: whiten them.",
            treatment="whitened inputs",
        )
        if which == INPUTS
        else Prescription(
            "Standardise the inputs, and train with Adam at 3e-3.",
            recipe={"optimizer": "adam", "learning_rate": 3e-3},
        ),
        confidence=0.75,
        refutation=(
            "Adam, or whitened inputs, if the loss falls no faster with either."
        ),
        chart=Chart("sharpness", log=True),
    )


RULES: tuple[Rule, ...] = (
    Rule(
        id="OPT008",
        title="Saddle point",
        severity=Severity.HIGH,
        judge=saddle,
        needs=("loss", "curvature.kind"),
        limits={"negative": NEGATIVE, "gain": 0.05},
        doc=(
            "The run failed, its loss gained less than `gain` over its last half, the "
            "gradient at its end is that of a critical point (or hidden by noise), and "
            "λ_min is below −`negative` λ_max by more than its residual. Look-alikes: "
            "a run that moves, whose Hessian has negative eigenvalues all the same; "
            "a minimum or a flat, which the plateau's rule tells; branches that start "
            "at zero and leave it."
        ),
        explains=("OPT002", "OPT003", "OPT005", "OPT006", "OPT009", "GEN002", "SIG005"),
    ),
    Rule(
        id="OPT009",
        title="Ill-conditioned loss",
        severity=Severity.HIGH,
        judge=ravine,
        needs=("loss", "sharpness", "curvature.along_gradient"),
        limits={"kappa": 3000.0, "used": 0.05, "turns": 1.0},
        doc=(
            "Descent that did not succeed although its step is at least `used` of what "
            "the sharpness allows, where λ_max is `kappa` times the curvature along "
            "the gradient, or the largest eigenvalue of the inputs' second moments "
            "`kappa` times the median, and the updates that this ratio asks for at that step are "
            "more than `turns` times those of the run. Look-alikes: a small step size "
            "(OPT002), outliers of a spectrum whose other directions are done, and the "
            "edge of stability with a falling loss."
        ),
        explains=("OPT002", "OPT005", "OPT006", "GEN002"),
    ),
)
