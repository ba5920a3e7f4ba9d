"""What the second-order model says about a step, and what the step then does.

    L(θ + d) ≈ L(θ) + gᵀd + ½ dᵀHd                                           (1)

For a step of gradient descent, d = −ηg, the gain is η gᵀg and the correction by
curvature ½η² gᵀHg; where the correction is larger, the step goes uphill (DL §4.3.1).
Along any direction d the model is a parabola in the step size t. Where dᵀHd > 0 it is
lowest at

    t* = −gᵀd / dᵀHd,     L(θ) − L(θ + t*d) ≈ (gᵀd)² / (2 dᵀHd),             (2)

which is gᵀg / gᵀHg for d = −g, at least 1/λ_max. Where dᵀHd ≤ 0 the model falls without
end and names no step: the answer is then infinity, said as such.

The ratio of the actual decrease to the predicted one, ρ, tells how far (1) can be
trusted. Both are differences of numbers of the size of L, so that ρ means something
only while they exceed the rounding of L, some eps |L|.

Critical sharpness needs no derivative beyond the update itself. With t_c the smallest
t for which L(θ + t·u) > L(θ),

    λ_c = 2 / t_c                                                            (3)

is, for u = −g, the sharpness seen by the step: on a quadratic t_c = 2 gᵀg/gᵀHg.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §4.3.1, equations 4.8-4.10.
    Conn, Gould & Toint (2000), Trust-Region Methods, §6.1.                  -- ρ
    Kalra et al. (2026), critical sharpness (arXiv 2601.16979).              -- (3)
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core._fixed import fixed
from ..core.errors import InputError
from ._refusals import check, check_tangent, no_while_loop
from .products import Loss, Params, curvature_along, forward_or, inner


DOUBLINGS, LEAP = 17, 1024.0  # evaluations until steps leap, and how far
ROUNDING = 4.0  # in units of eps |L|: the noise of a difference of two losses


class StepForecast(NamedTuple):
    """A step as (1) sees it, and as it is."""

    value: float  # L(θ)
    slope: float  # gᵀd: negative downhill
    curvature: float  # dᵀHd
    predicted: float  # the decrease that (1) predicts, −gᵀd − ½ dᵀHd
    actual: float  # L(θ) − L(θ + d)
    rounding: float  # the noise of `actual`

    @property
    def ratio(self) -> float:
        """ρ: actual over predicted decrease; NaN where rounding hides the decrease."""
        if abs(self.predicted) <= self.rounding:
            return float("nan")
        return self.actual / self.predicted

    def __str__(self) -> str:
        if self.slope == self.curvature == self.actual == 0:
            return (
                "The step leads nowhere: its slope, its curvature and the change of the "
                "loss are zero."
            )
        turn = "downhill" if self.predicted > 0 else "UPHILL"
        text = (
            f"The step goes {turn}: gain {0.0 - self.slope:.4g} − curvature term "
            f"{self.curvature / 2:.4g} = predicted decrease {self.predicted:.4g}; "
            f"actual {self.actual:.4g} ± {self.rounding:.1g}"
        )
        if np.isnan(self.ratio):
            return text + ", less than the loss can resolve."
        return text + f", {self.ratio:.3g} times what was predicted."


def forecast(loss: Loss, params: Params, step: Params) -> StepForecast:
    """Predict what `step`, in the structure of `params`, does to the loss; then try it.

    `forecast(loss, params, tree.map(lambda g: -0.1 * g, gradient))`.

    Raises `InputError` for a step of another structure, or a loss that is not finite.
    """
    check(loss, params, step)
    check_tangent(params, step)
    value, slope, curvature, after = (float(x) for x in terms(loss, params, step))
    if not np.isfinite([value, slope, curvature]).all():
        raise InputError(
            f"The loss is {value:.4g}, its slope {slope:.4g} and its curvature "
            f"{curvature:.4g} along the step; a prediction needs finite numbers."
        )
    return StepForecast(
        value,
        slope,
        curvature,
        -slope - curvature / 2,
        value - after,
        ROUNDING * eps_of(params) * max(abs(value), abs(after)),
    )


class OptimalStep(NamedTuple):
    """The best step along a direction, by (2)."""

    size: float  # t*, infinite where the parabola falls without end
    decrease: float  # what (2) predicts
    slope: float  # gᵀd
    curvature: float  # dᵀHd
    rayleigh: float  # dᵀHd / dᵀd
    reason: str

    @property
    def finite(self) -> bool:
        """Whether the model names a step."""
        return np.isfinite(self.size)


def optimal_step(
    loss: Loss, params: Params, direction: Params | None = None
) -> OptimalStep:
    """The step size that the quadratic model likes best, along −g or a direction.

    Where the curvature along it is not positive the size is infinite and `reason` says
    so. A negative size says that the loss falls the other way.

    Raises `InputError` for a direction of length zero, at a critical point where no
    direction is given, and where the loss, its slope or its curvature is not finite.
    """
    if direction is None:
        check(loss, params)
        with no_while_loop(loss):
            direction = jax.tree.map(jnp.negative, jax.grad(loss)(params))
        if not any(bool(jnp.any(x != 0)) for x in jax.tree.leaves(direction)):
            raise InputError(
                "The gradient is zero: there is no steepest direction here. Pass a "
                "`direction`, or ask `critical_point` what kind of point this is."
            )
    check(loss, params, direction)
    check_tangent(params, direction)
    scale = check_length(direction)
    unit = scaled(direction, 1 / scale)  # its squares neither overflow nor vanish
    value, slope, curvature, _ = (float(x) for x in terms(loss, params, unit))
    if not np.isfinite([value, slope, curvature]).all():
        raise InputError(
            f"The loss is {value:.4g}, its slope {slope:.4g} and its curvature "
            f"{curvature:.4g} along the direction; a step size needs finite numbers."
        )
    rayleigh = curvature / float(inner(unit, unit))
    best = -slope / curvature / scale if curvature > 0 else 0.0
    fall = slope**2 / (2 * curvature) if curvature > 0 else 0.0
    upwards = curvature > 0
    slope, curvature = slope * scale, curvature * scale**2
    if upwards:
        reason = "the minimum of the parabola along the direction"
        return OptimalStep(best, fall, slope, curvature, rayleigh, reason)
    kind = "zero" if curvature == 0 else "negative"
    if slope == 0 and curvature == 0:
        reason = "slope and curvature are zero: the model is flat along the direction"
        return OptimalStep(0.0, 0.0, slope, curvature, rayleigh, reason)
    way = -1.0 if slope > 0 else 1.0
    reason = (
        f"the curvature along the direction is {kind}: the model falls without end, so "
        "a line search or a trust region must bound the step"
    )
    return OptimalStep(
        way * float("inf"), float("inf"), slope, curvature, rayleigh, reason
    )


class CriticalSharpness(NamedTuple):
    """(3), from evaluations of the loss alone."""

    value: float  # λ_c; 0 where no step raised the loss
    step: float  # t_c, between the two below
    bracket: tuple[float, float]  # a step that did not raise the loss, one that did
    num_evaluations: int


def critical_sharpness(
    loss: Loss,
    params: Params,
    direction: Params,
    *,
    initial: float = 1e-3,
    accuracy: float = 0.02,
    max_evaluations: int = 60,
) -> CriticalSharpness:
    """2 / t_c, with t_c the smallest step along `direction` that raises the loss.

    Steps double from `initial` until one raises the loss (or halve until one does not;
    where sixteen were not enough they go on by factors of 1024),
    then the bracket is bisected, geometrically, to a relative width of `accuracy`. No
    derivative is taken, so that it works where a program refuses them. Along −g it is
    at most λ_max on a quadratic. Start from the last answer to pay about six
    evaluations.

    Raises `InputError` for a direction of length zero or another structure, one along
    which no step lowers the loss, numbers of no use for the search, and a loss that is
    not finite at `params`.
    """
    check(loss, params, direction)
    check_tangent(params, direction)
    check_length(direction)
    for name, number in {"initial": initial, "accuracy": accuracy}.items():
        if not 0 < number < np.inf:
            raise InputError(f"`{name}` must be positive and finite, not {number}.")
    if max_evaluations < 3:
        raise InputError(
            "`max_evaluations` must be at least 3, the start and two steps, not "
            f"{max_evaluations}."
        )
    loss = fixed(loss, params)
    dtype = jnp.result_type(float)
    at = lambda t: float(_value_at(loss, params, direction, jnp.asarray(t, dtype)))
    base, count = at(0.0), 1
    if not np.isfinite(base):
        raise InputError(f"The loss is {base} at `params`; it must be finite there.")
    noise = ROUNDING * eps_of(params) * abs(base)

    least = base

    def raises(t: float) -> bool:
        nonlocal count, least
        count += 1
        there = at(t)
        least = min(least, there)  # of NaN, the first
        return not there <= base + noise

    low, high = 0.0, float("inf")
    t = initial
    while count < max_evaluations:
        if raises(t):
            high = t
        else:
            low = t
        if low > 0 and high < np.inf and high / low <= 1 + accuracy:
            break
        growth = 2.0 if count < DOUBLINGS else LEAP
        if high == np.inf:
            t = low * growth
        elif low == 0:
            t = high / growth
        else:
            t = float(np.sqrt(low) * np.sqrt(high))
    if high < np.inf and least >= base - noise:
        raises(high / 2)  # where a parabola is lowest
        if least >= base - noise:
            raise InputError(
                "No step along the direction lowers the loss by more than its rounding: "
                "it leads uphill, or the point is critical. Pass one downhill, as "
                "−gradient is."
            )
    step = float(np.sqrt(low) * np.sqrt(high)) if low > 0 and high < np.inf else high
    value = 2 / step if step > 0 and np.isfinite(step) else 0.0
    return CriticalSharpness(value, step, (low, high), count)


def check_length(direction: Params) -> float:
    """The power of two just above the largest entry; refuses zero and what is no number."""
    top = max(float(jnp.max(jnp.abs(x), initial=0)) for x in jax.tree.leaves(direction))
    if not np.isfinite(top):
        raise InputError(
            "The direction holds NaN or infinities, which lead nowhere; where it is a "
            "gradient, `steepest.locate_nonfinite` names the operation."
        )
    if top == 0:
        raise InputError(
            "The direction has length zero, so no step along it goes anywhere; pass "
            "one that is not."
        )
    return 2.0 ** int(np.frexp(top)[1])


def scaled(direction: Params, factor: float) -> Params:
    """A multiple by a power of two, which is exact."""
    half = 2.0 ** (int(np.log2(factor)) // 2)  # each fits the formats that both do
    rest = factor / half
    return jax.tree.map(
        lambda x: x * jnp.asarray(half, x.dtype) * jnp.asarray(rest, x.dtype), direction
    )


def eps_of(params: Params) -> float:
    """The spacing of the coarsest format among the parameters."""
    return max(float(jnp.finfo(p.dtype).eps) for p in jax.tree.leaves(params))


# -- Compiled once for each loss -------------------------------------------------------


def terms(loss: Loss, params: Params, step: Params) -> tuple[Array, ...]:
    """L(θ), gᵀd, dᵀHd and L(θ + d), in one program."""
    loss = fixed(loss, params)
    return forward_or(
        lambda: _forwardterms(loss, params, step),
        lambda: _reverseterms(loss, params, step),
    )


@partial(jax.jit, static_argnums=0)
def _forwardterms(loss: Loss, params: Params, step: Params) -> tuple[Array, ...]:
    value, slope = jax.jvp(loss, (params,), (step,))
    after = loss(jax.tree.map(jnp.add, params, step))
    return value, slope, curvature_along(loss, params, step), after


@partial(jax.jit, static_argnums=0)
def _reverseterms(loss: Loss, params: Params, step: Params) -> tuple[Array, ...]:
    value, gradient = jax.value_and_grad(loss)(params)
    after = loss(jax.tree.map(jnp.add, params, step))
    return value, inner(gradient, step), curvature_along(loss, params, step), after


@partial(jax.jit, static_argnums=0)
def _value_at(loss: Loss, params: Params, direction: Params, t: Array) -> Array:
    return loss(jax.tree.map(lambda p, d: p + t.astype(p.dtype) * d, params, direction))
