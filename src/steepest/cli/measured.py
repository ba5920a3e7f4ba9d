"""The numbers of `steepest spectrum`, and the sentence that they come to.

The largest learning rate that curvature allows is

    η_max = c / λ,                                                           (1)

c the optimiser's limit (`curvature.limits`) and λ the largest eigenvalue of what its
steps see, H or P^{-1/2} H P^{-1/2}.
"""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..checkup.numbers import number
from ..curvature import (
    Eigenpairs,
    blocks,
    eigenpairs,
    hessian,
    preconditioned_operator,
)
from ..curvature.operators import Operator
from ..curvature.spectrum import (
    Conditioning,
    Density,
    Estimate,
    condition_number,
    sem,
    spectral_density,
)
from ..training._objective import Objective
from ..training.recipe import Recipe
from ..training.step import global_norm


EXACT = 512  # parameters up to which every eigenvalue is computed
PROBES, STEPS = 8, 64  # of the quadrature beyond
BLOCK = 64  # products for the largest eigenvalue of a block
EDGE = (0.9, 1.1)  # of the limit: hovering there is no fault by itself


class Measured(NamedTuple):
    """What is known of the curvature, and of the step that it allows."""

    size: int
    loss: float
    gradient_norm: float
    highest: Eigenpairs
    lowest: Eigenpairs
    density: Density
    exact: bool  # every eigenvalue was computed
    trace: Estimate
    dimension: Estimate
    alpha: float
    negative_mass: Estimate
    condition: Conditioning
    layers: tuple[tuple[str, float, float], ...]  # path, λ_max, residual
    seen: float | None  # λ of (1)
    largest_step: float | None
    ratio: float | None  # of the learning rate to it
    why_no_step: str
    verdict: str


def measure(
    made: Objective,
    recipe: Recipe,
    *,
    top: int,
    lowest: int,
    batch_size: int | None,
    by_layer: bool,
    seed: int,
) -> Measured:
    """Everything that `steepest spectrum` says of an objective."""
    keys = jax.random.split(jax.random.key(seed), 6)
    value, g = jax.jit(jax.value_and_grad(made.loss))(made.params)
    operator = operator_of(made, batch_size)
    n = operator.size
    high = eigenpairs(operator, min(top, n), "largest", key=keys[0])
    low = eigenpairs(operator, min(lowest, n), "smallest", key=keys[1])
    exact = n <= EXACT
    if exact:
        every = np.linalg.eigvalsh(np.asarray(operator.dense(), np.float64))
        density = Density(every[None], np.full((1, n), 1 / n), n, n)
    else:
        density = spectral_density(
            operator, key=keys[2], num_probes=PROBES, num_steps=STEPS
        )
    most = float(high.values[0])
    alpha = most / 100 if most > 0 else math.nan
    layers = []
    if by_layer:
        for path, block in blocks(operator).items():
            found = eigenpairs(block, key=keys[3], max_products=min(BLOCK, block.size))
            layers.append((path, float(found.values[0]), float(found.residuals[0])))
    seen, why = most, ""
    if made.limit is None:
        seen, why = None, made.missing or "theory has no limit for it."
    elif made.preconditioner is not None:
        scaled = preconditioned_operator(operator, made.preconditioner)
        seen = float(eigenpairs(scaled, key=keys[4]).values[0])
    elif made.missing:
        seen, why = None, f"{made.missing} `--steps 100` makes some."
    step = ratio = None
    if seen is not None and made.limit is not None:
        step = made.limit / seen if seen > 0 else math.inf
        ratio = made.learning_rate / step
    measured = Measured(
        size=n,
        loss=float(value),
        gradient_norm=float(global_norm(g)),
        highest=high,
        lowest=low,
        density=density,
        exact=exact,
        trace=density.total(lambda x: x),
        dimension=density.effective_dimension(alpha)
        if alpha > 0
        else Estimate(0.0, 0.0, 0),
        alpha=alpha,
        negative_mass=negative_mass(density),
        condition=condition_number(operator, key=keys[5]),
        layers=tuple(layers),
        seen=seen,
        largest_step=step,
        ratio=ratio,
        why_no_step=why,
        verdict="",
    )
    return measured._replace(verdict=verdict(measured))


def operator_of(made: Objective, batch_size: int | None) -> Operator:
    """The Hessian on all of the batch at once, or part by part."""
    if batch_size is None or batch_size >= made.examples:
        return hessian(made.loss, made.params)
    parts = made.examples // batch_size * batch_size  # of one length, for one program
    batch = jax.tree.map(lambda a: jnp.asarray(a[:parts]), made.batch)
    return hessian(made.batch_loss, made.params, data=batch, batch_size=batch_size)


def negative_mass(density: Density) -> Estimate:
    """Σ|λ| over the negative eigenvalues, as a share of that over all."""
    x = np.nan_to_num(density.nodes)
    whole = np.sum(density.weights * np.abs(x), axis=1)
    part = np.sum(density.weights * np.maximum(-x, 0), axis=1)
    each = part / np.where(whole > 0, whole, 1.0)
    return Estimate(float(each.mean()), sem(each), density.num_products)


def verdict(found: Any) -> str:  # a Measured without its verdict
    """One sentence on the step, one on the point."""
    return f"{of_step(found.ratio)} {of_point(found)}".strip()


def of_step(ratio: float | None) -> str:
    if ratio is None or math.isnan(ratio):
        return ""
    if ratio == 0:
        return "No curvature limits the step here."
    if ratio > EDGE[1]:
        return (
            f"The learning rate is {number(ratio)} times the limit of the quadratic model "
            "along the sharpest direction, where steps grow until the curvature falls. "
            "Many networks train on at this edge: `steepest check` judges the run."
        )
    if ratio >= EDGE[0]:
        return (
            "The learning rate is at the limit of the quadratic model, the edge of "
            "stability: no fault while the loss falls."
        )
    far = ": curvature does not hold it back" if ratio < 0.05 else ""
    return (
        f"The learning rate is stable here, {ratio:.2g} of the limit of the quadratic "
        f"model{far}."
    )


def of_point(found: Any) -> str:  # a Measured
    low, floor = float(found.lowest.values[0]), found.lowest.floor
    high = float(found.highest.values[0])
    proved = low + float(found.lowest.residuals[0]) < -floor
    if proved and high > floor:
        return (
            f"Curvature is negative along some directions (λ_min = {low:.3g}, proved by "
            "its residual), so this is no minimum."
        )
    if proved:
        return "Curvature is negative along every direction that was seen."
    if abs(low) <= floor + float(found.lowest.residuals[0]):
        return "No negative curvature was found beyond rounding."
    return "All curvature that was found is positive."
