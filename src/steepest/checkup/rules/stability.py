"""How long a step is: against the curvature of the loss, and against the weights.

The limits of η λ for each optimiser are those of `curvature.limits`: 2 for gradient
descent, 2(1 + β) with momentum, 2(1 + β₁)/(1 − β₁) for Adam on its preconditioned
Hessian, which is 38 for β₁ = 0.9. A deep network may hover at the limit with a falling
loss (the edge of stability): that is no fault. Where no limit is known, the relative
update ‖Δw‖/‖w‖ tells: 10⁻³ is usual. Clipping by norm shortens the steps, and the P that
Adam makes of its gradients, so that η λ says nothing where it acts.

References
    Cohen et al. (2021), Gradient descent on neural networks typically occurs at the
    edge of stability.
    Cohen et al. (2022), Adaptive gradient methods at the edge of stability.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ...curvature.limits import stability_limit
from ...training.record import Record
from .trend import early, finite, layers, recipe_of


SELDOM = 0.05  # of the updates clipped: so few leave η λ what it was
NOTHING = 1e-6  # length of an array below which no update is small
BLOWN = 3.0  # times the first loss: what is measured beyond is no ground to judge by


class Stability(NamedTuple):
    """Step size × sharpness along the run, and the limit that theory sets for it."""

    limit: float
    series: str  # the sharpness that it was read from
    steps: Int[np.ndarray, " time"]
    product: Float[np.ndarray, " time"]
    formula: str  # of the limit, for the reader of a report
    curvature: Float[np.ndarray, " time"]  # what the step size is multiplied with

    @property
    def excess(self) -> Float[np.ndarray, " time"]:
        """η λ in units of its limit."""
        return self.product / self.limit


def stability_of(record: Record) -> Stability | None:
    """Step size × sharpness against the limit of the recipe's optimiser.

    None where theory has no limit, nothing was measured, or clipping acts.
    """
    return None if clips(record) else _course(record)


def clips(record: Record) -> bool:
    """Whether clipping by norm shortens more than a few of the updates."""
    bound = recipe_of(record).get("clip_norm")
    if bound is None:
        return False
    if not isinstance(bound, int | float) or "gradient_norm" not in record:
        return True
    _, norm = finite(record, "gradient_norm")
    return not len(norm) or bool(np.mean(norm > bound) > SELDOM)


def grounded(record: Record, steps: Int[np.ndarray, " time"]) -> np.ndarray:
    """Which of these steps come before the loss blew up; all where none does."""
    known = [n for n in ("train.loss", "probe.loss", "loss") if n in record]
    if not known:
        return np.ones(len(steps), bool)
    series = record[known[0]]
    value = np.asarray(series.value, float)
    start = value[: 1 if known[0] != "loss" else 5]
    # One batch is noisy, so that its loss must have blown up by more.
    bar = (BLOWN if known[0] != "loss" else 3 * BLOWN) * abs(float(np.mean(start)))
    bad = ~np.isfinite(value) | (value > bar)
    end = series.step[np.argmax(bad)] if bad.any() else np.inf
    before = np.asarray(steps < end)
    return before if before.any() else np.ones(len(steps), bool)


def stable_rate(record: Record) -> float:
    """The largest learning rate to prescribe: 0.9 of the limit at the largest sharpness.

    Infinite where that is not known. Of clipped gradients P is not that of the others.
    """
    course = _course(record)
    if course is None or (course.series != "sharpness" and clips(record)):
        return float("inf")
    highest = course.curvature[grounded(record, course.steps)].max()
    return 0.9 * course.limit / float(highest)


def _course(record: Record) -> Stability | None:
    recipe = recipe_of(record)
    kind = recipe.get("optimizer")
    beta = float(recipe.get("momentum", 0.9) or 0.0)
    beta1 = float(recipe.get("beta1", 0.9) or 0.0)
    series = "sharpness"
    match kind:
        case "sgd":
            limit, formula = stability_limit("gd"), "ηλ < 2"
        case "momentum":
            limit = stability_limit("momentum", beta)
            formula = f"ηλ < 2(1 + β) = {limit:.3g}"
        case "nesterov":
            limit = stability_limit("nesterov", beta)
            formula = f"ηλ < 2(1 + β)/(1 + 2β) = {limit:.3g}"
        case "adam" | "adamw":
            series, limit = "sharpness.preconditioned", stability_limit("adam", beta1)
            formula = f"ηλ(P⁻¹H) < 2(1 + β₁)/(1 − β₁) = {limit:.3g}"
        case "rmsprop":
            series, limit = "sharpness.preconditioned", stability_limit("rmsprop")
            formula = "ηλ(P⁻¹H) < 2"
        case _:
            return None
    if series not in record or "learning_rate" not in record:
        return None
    step, value = record[series].step, np.asarray(record[series].value, float)
    rates = record["learning_rate"]
    eta = np.asarray(rates.value, float)
    at = np.clip(np.searchsorted(rates.step, step), 0, len(eta) - 1)
    # Decoupled decay adds its own curvature, which no preconditioner divides.
    decay = float(recipe.get("weight_decay", 0.0) or 0.0)
    curvature = value + (decay if series == "sharpness" else 0.0)
    product = eta[at] * curvature
    if recipe.get("warmup"):
        product = np.where(step < int(recipe["warmup"]), np.nan, product)
    good = np.isfinite(product) & (value > 0)
    if not good.any():
        return None
    return Stability(limit, series, step[good], product[good], formula, curvature[good])


def early_rate(
    record: Record, first: bool = False
) -> tuple[float, str, tuple[int, int]] | None:
    """The relative update of the fastest weight array: early median, path, steps.

    With `first`, that of the very first update if it is larger: a step that kills every
    unit leaves nothing to be seen afterwards.
    """
    if "layer.update_norm" not in record or "layer.weight_norm" not in record:
        return None
    step, update, paths = layers(record, "layer.update_norm")
    _, weight, _ = layers(record, "layer.weight_norm")
    if not len(paths) or not len(step):
        return None
    warm = int(recipe_of(record).get("warmup", 0) or 0)
    chosen = np.array([i for i in early(step) if step[i] >= warm], int)
    if not len(chosen):
        chosen = np.arange(len(step))
    # An array that starts at nothing has no length to compare with, then or soon after.
    weight = np.where((weight > 0) & (weight[0] > NOTHING)[None], weight, np.nan)
    ratio = update[chosen] / weight[chosen]
    if first and step[0] >= warm and np.isfinite(update[0] / weight[0]).any():
        start = update[0] / weight[0]
        start = np.where(np.isfinite(start), start, -1)
        middle = early_rate(record)
        if middle is None or start.max() > middle[0]:
            top = int(np.argmax(start))
            return float(start[top]), paths[top], (int(step[0]), int(step[0]))
    if not np.isfinite(ratio).any():
        return None
    with np.errstate(all="ignore"):
        usual = np.array(
            [
                np.median(c[np.isfinite(c)]) if np.isfinite(c).any() else -1
                for c in ratio.T
            ]
        )
    top = int(np.argmax(usual))
    return float(usual[top]), paths[top], (int(step[chosen[0]]), int(step[chosen[-1]]))
