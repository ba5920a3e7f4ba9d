"""How far to go along a direction: rules that never take an uphill step.

Along the ray θ + td the loss is φ(t) = L(θ + td), with slope φ′(0) = gᵀd. A rule chooses
the size t:

    constant     t as given, refused where φ(t) > φ(0)
    best of      argmin φ(t) over a few candidates, all evaluated in one batch
    Armijo       the first t = t₀, ρt₀, ρ²t₀, … with φ(t) ≤ φ(0) + c t φ′(0)         (1)
    exact        t = −gᵀd / dᵀHd, the minimiser on a quadratic with dᵀHd > 0         (2)
    Polyak       t = (L − L*) / ‖g‖², for d = −g and a known least value L*          (3)
    curvature    t = 1/λ_max(H), for d = −g: half of the limit of stability          (4)

On a quadratic with eigenvalues in [λ_min, λ_max] the best constant size for d = −g is
2/(λ_min + λ_max), and then, as with (2), the loss falls by ((κ − 1)/(κ + 1))² at the
worst in every step, κ = λ_max/λ_min.

Close to a minimum the fall of the loss is less than its rounding error, and (1) can no
longer be read from values. Where φ(t) fails (1) by no more than

    NOISE · eps · |φ(0)|,                                                            (5)

the slope at the trial decides instead,

    φ′(t) ≤ (2c − 1) φ′(0),                                                          (6)

which on a quadratic says the same as (1) and keeps its digits (the approximate Wolfe
condition). So a step may be accepted whose computed loss is higher by a few units in
the last place; nothing larger.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3, 4.3.1.
    Nocedal & Wright (2006), Numerical Optimization, §3.1.               -- (1), (2)
    Polyak (1987), Introduction to Optimization, §5.3.                   -- (3)
    Hager & Zhang (2005), A new conjugate gradient method with guaranteed descent
    and an efficient line search.                                        -- (5), (6)
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ..core.errors import InputError
from ..curvature import Sharpness, hvp, sharpness
from ..curvature.products import Loss, Params
from ._ray import (
    Known,
    as_known,
    dot,
    first_size,
    float_leaves,
    largest,
    moved,
    noise_of,
    ray,
    scalar_loss,
    value_and_slope,
    working_dtype,
)
from .steepest import dual_norm


class Step(NamedTuple):
    """A step along a direction; without success it has size 0 and leads nowhere."""

    size: Float[Array, ""]  # t
    value: Float[Array, ""]  # φ(t)
    num_evaluations: Int[Array, ""]  # of the loss, with or without its derivative
    success: Bool[Array, ""]  # the rule found a step


class ExactStep(NamedTuple):
    """The minimiser (2) of the quadratic model along a direction."""

    size: Float[Array, ""]  # −gᵀd / dᵀHd, or 0 where that is not a minimiser
    slope: Float[Array, ""]  # gᵀd
    curvature: Float[Array, ""]  # dᵀHd
    finite: Bool[Array, ""]  # dᵀHd > 0: the model has a minimum along d


class CurvatureStep(NamedTuple):
    """The size (4), and the estimate that it rests on."""

    size: Float[Array, ""]  # 1/λ_max, or 0 without success
    success: Bool[Array, ""]  # λ_max is positive by more than its residual
    sharpness: Sharpness


def constant(
    loss: Loss, params: Params, direction: Params, *, size: float | Float[Array, ""]
) -> Step:
    """The step of the given size, unless the loss is higher there or not finite.

    Two evaluations. Raises `InputError` for a loss that is not scalar and for arguments
    of wrong structure, shapes or dtypes.
    """
    f, params, direction, dtype = ray(loss, params, direction)
    t = jnp.asarray(size, dtype)
    start, value = f(params), f(moved(params, direction, t))
    success = jnp.isfinite(value) & ~(value > start)
    return _step(success, t, value, start, jnp.int32(2))


def best_of(
    loss: Loss,
    params: Params,
    direction: Params,
    candidates: Float[Array, " k"] | Sequence[float],
) -> Step:
    """The candidate size with the least loss, all k of them evaluated in one batch.

    Candidates that are not finite, or where the loss is not, are ignored; if none is
    lower than the start, there is no success. Holds k + 1 copies of `params`.

    Raises `InputError` when there are no candidates, and as `constant` does.
    """
    f, params, direction, dtype = ray(loss, params, direction)
    sizes = jnp.asarray(candidates, dtype)
    if sizes.ndim != 1 or not sizes.size:
        raise InputError(
            "`candidates` must be a vector of one or more step sizes, not an array of "
            f"shape {sizes.shape}."
        )
    sizes = jnp.concatenate([jnp.zeros(1, dtype), sizes])
    values = jax.vmap(lambda t: f(moved(params, direction, t)))(sizes)
    usable = jnp.isfinite(sizes) & jnp.isfinite(values)
    ranked = jnp.where(usable, values, jnp.inf)
    best = jnp.argmin(ranked)  # the first of equals: the start, if none is lower
    return _step(best > 0, sizes[best], values[best], values[0], jnp.int32(sizes.size))


def armijo(
    loss: Loss,
    params: Params,
    direction: Params,
    *,
    initial: float | Float[Array, ""] = 1.0,
    shrink: float = 0.5,
    slope_share: float = 1e-4,
    max_evaluations: int = 50,
    known: Known | None = None,
) -> Step:
    """Backtrack from the size `initial` by `shrink` until (1) holds with c = `slope_share`.

    Trials at which the loss is not finite are shrunk as well. There is no success when
    the direction does not lead downhill, or when `max_evaluations` are spent: the one at
    the start counts, and so does a slope that (6) asks for, which may be one more.
    `known`, the value and the gradient at `params`, saves the first evaluation.

    Raises `InputError` for `shrink` or `slope_share` outside of (0, 1), for `initial`
    that is not positive, and as `constant` does.
    """
    for name, number in {"shrink": shrink, "slope_share": slope_share}.items():
        if not 0 < number < 1:
            raise InputError(f"`{name}` must lie between 0 and 1, not {number}.")
    if max_evaluations < 2:
        raise InputError("`max_evaluations` must be at least 2: the start and a trial.")
    f, params, direction, dtype = ray(loss, params, direction)
    first = first_size(initial, dtype)
    if known is None:
        start, slope = value_and_slope(f, params, direction)
    else:
        start, gradient = as_known(known, params, dtype)
        slope = dot(gradient, direction)
    noise = noise_of(start)

    def spent_or_found(state: tuple) -> Bool[Array, ""]:
        *_, count, found = state
        return downhill & ~found & (count < max_evaluations)

    def trial(state: tuple) -> tuple:
        t, _, count, _ = state
        there = moved(params, direction, t)
        value = f(there)
        # Differences: added to the start, a small fall would round away.
        excess = value - start - slope_share * t * slope
        doubtful = (excess > 0) & (excess <= noise)  # False for NaN and infinity
        slope_there = jax.lax.cond(
            doubtful,
            lambda: value_and_slope(f, there, direction)[1],
            lambda: jnp.asarray(jnp.inf, dtype),
        )
        enough = (excess <= 0) | (slope_there <= (2 * slope_share - 1) * slope)
        found = jnp.isfinite(value) & enough
        count = count + 1 + doubtful.astype(count.dtype)
        return jnp.where(found, t, t * shrink), value, count, found

    downhill = jnp.isfinite(start) & (slope < 0) & jnp.isfinite(slope)
    state = (first, start, jnp.int32(known is None), jnp.asarray(False))
    t, value, count, found = jax.lax.while_loop(spent_or_found, trial, state)
    return _step(found, t, value, start, count)


def exact_quadratic(loss: Loss, params: Params, direction: Params) -> ExactStep:
    """The exact line search (2) on the quadratic model of `loss` at `params`.

    One gradient and one Hessian-vector product. Where dᵀHd ≤ 0 the model falls without
    end (or is flat): `finite` is False and the size 0. Along an uphill direction the
    size is negative, which is downhill. Raises `InputError` as `constant` does.
    """
    f, params, direction, dtype = ray(loss, params, direction)
    scale = largest(direction)  # a direction of length 1e-30 has its curvature too
    scale = jnp.where(scale > 0, scale, jnp.ones_like(scale))
    d = jax.tree.map(
        lambda x, p: (x.astype(dtype) / scale).astype(p.dtype), direction, params
    )
    slope = dot(jax.grad(f)(params), d)
    with jax.default_matmul_precision("highest"):  # TF32 would cost half the digits
        curvature = dot(hvp(f, params, d), d)
    finite = curvature > 0
    size = -slope / jnp.where(finite, curvature, jnp.ones_like(curvature)) / scale
    finite = finite & jnp.isfinite(size)
    return ExactStep(
        jnp.where(finite, size, jnp.zeros_like(size)),
        slope * scale,
        curvature * scale * scale,
        finite,
    )


def polyak(
    value: float | Float[Array, ""],
    lowest: float | Float[Array, ""],
    gradient: Params,
) -> Float[Array, ""]:
    """The size (3) for the direction −`gradient`, from the `lowest` value of the loss.

    0 at a zero gradient and where `value` is not above `lowest`. A `lowest` that is too
    low makes the steps too long. Raises `InputError` for an unusable gradient.
    """
    norm = dual_norm(gradient, "l2")
    value = jnp.asarray(value, getattr(value, "dtype", norm.dtype))
    gap = (value - jnp.asarray(lowest, value.dtype)).astype(norm.dtype)
    ahead = (norm > 0) & (gap > 0)
    safe = jnp.where(ahead, norm, jnp.ones_like(norm))
    return jnp.where(ahead, gap / safe / safe, jnp.zeros_like(norm))


def inverse_curvature(
    loss: Loss,
    params: Params,
    *,
    key: PRNGKeyArray,
    num_products: int = 16,
    start: Params | None = None,
) -> CurvatureStep:
    """The size (4) for the direction −gradient, from `num_products` Lanczos steps.

    The estimate of λ_max is a lower bound; the step keeps a factor 2 from the limit
    2/λ_max, so that it stays stable while the estimate is more than half of the truth.
    `start` is the `sharpness.direction` of an earlier estimate nearby. There is no
    success where λ_max is not positive: there the curvature sets no limit.

    Raises `InputError` as `steepest.curvature.sharpness` does.
    """
    params = float_leaves(params, "params")
    found = sharpness(
        scalar_loss(loss, working_dtype(params)),
        params,
        key=key,
        num_products=num_products,
        start=start,
    )
    success = (found.value > found.residual) & jnp.isfinite(found.value)
    safe = jnp.where(success, found.value, jnp.ones_like(found.value))
    size = jnp.where(success, 1 / safe, jnp.zeros_like(safe))
    return CurvatureStep(size, success, found)


def _step(
    success: Bool[Array, ""],
    t: Float[Array, ""],
    value: Float[Array, ""],
    start: Float[Array, ""],
    count: Int[Array, ""],
) -> Step:
    """The step, or none."""
    zero = jnp.zeros_like(t)
    return Step(
        jnp.where(success, t, zero), jnp.where(success, value, start), count, success
    )
