"""How long a step is: against the curvature of the loss, and against the weights.

The limits of η λ for each optimiser are those of `curvature.limits`: 2 for gradient
descent, 2(1 + β) with momentum, 2(1 + β₁)/(1 − β₁) for Adam on its preconditioned
Hessian, which is 38 for β₁ = 0.9. A deep network may hover at the limit with a falling
loss (the edge of stability): that is no fault. Where no limit is known, the relative
update ‖Δw‖/‖w‖ tells: 10⁻³ is usual.

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
from .trend import early, layers, recipe_of


class Stability(NamedTuple):
    """Step size × sharpness along the run, and the limit that theory sets for it."""

    limit: float
    series: str  # the sharpness that it was read from
    steps: Int[np.ndarray, " time"]
    product: Float[np.ndarray, " time"]
    formula: str  # of the limit, for the reader of a report


def stability_of(record: Record) -> Stability | None:
    """Step size × sharpness against the limit of the recipe's optimiser."""
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
    product = eta[at] * (value + (decay if series == "sharpness" else 0.0))
    if recipe.get("warmup"):
        product = np.where(step < int(recipe["warmup"]), np.nan, product)
    good = np.isfinite(product) & (value > 0)
    if not good.any():
        return None
    return Stability(limit, series, step[good], product[good], formula)


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
    # An array that starts at zero has no length to compare with, then or soon after.
    weight = np.where((weight > 0) & (weight[0] > 0)[None], weight, np.nan)
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
