"""A line search for steps that are neither too long nor too short.

Along the ray φ(t) = L(θ + td), φ′(0) < 0, a size t satisfies the strong Wolfe conditions
when, with 0 < c₁ < c₂ < 1,

    φ(t) ≤ φ(0) + c₁ t φ′(0) + NOISE · eps · |φ(0)|,                                 (1)
    |φ′(t)| ≤ c₂ |φ′(0)|.                                                            (2)

(1) asks for a fall in proportion to the step, up to the rounding error of the loss; (2)
asks that the slope be mostly spent, which rules out tiny steps and gives quasi-Newton
methods the positive curvature that they need. Close to a minimum the fall drowns in
rounding; then (1) says little and the slopes in (2), which keep their digits, decide.

A loss that is bounded below has such sizes. They lie between two trials, `low` and
`high`, where low satisfies (1) with the least value so far and its slope points to high:

    φ′(low) (high − low) < 0.                                                        (3)

*Expansion*: trials grow until one violates (1), rises, or slopes upwards; then (3)
holds. *Zoom*: a trial inside replaces one of the ends, so that (3) goes on holding. The
trial is the minimiser of the cubic through both values and slopes,

    t = a + (b − a) · −φ′ₐ/(β + √(β² − γφ′ₐ)) = a + (b − a) · (√(β² − γφ′ₐ) − β)/γ,  (4)
    β = 3(φ_b − φₐ)/(b − a) − 2φ′ₐ − φ′_b,   γ = 3(φ′ₐ + φ′_b) − 6(φ_b − φₐ)/(b − a),

where slopes change their signs for a > b; the first form is exact for β ≥ 0 and the
second for β < 0. Where the values differ by rounding alone, the trial is the zero of the
secant through the slopes; and it is the midpoint whenever the last one took away less
than a third of the bracket. A trial at which the loss or its gradient is not finite is
an end that cannot be interpolated.

A loss that falls without end never leaves the expansion: there is no success, and the
best point of all is returned, which is a long way down.

References
    Nocedal & Wright (2006), Numerical Optimization, §3.5, algorithms 3.5, 3.6.
    Moré & Thuente (1994), Line search algorithms with guaranteed sufficient decrease.
    Hager & Zhang (2005), A new conjugate gradient method with guaranteed descent
    and an efficient line search.                                        -- rounding
"""

from typing import NamedTuple, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from ..core.errors import InputError
from ..curvature.products import Loss, Params
from ._ray import (
    Known,
    as_known,
    dot,
    first_size,
    is_false,
    largest,
    moved,
    noise_of,
    ray,
)


GROWTH = (2.0, 10.0)  # of the span in expansion: least and most
INSIDE = 1e-3  # a trial keeps this share of the bracket away from its ends
WALL = 0.1  # and goes so far towards an end that is not finite

T = TypeVar("T")


class WolfeStep(NamedTuple):
    """A step along a direction; without success the lowest point that was seen."""

    size: Float[Array, ""]  # t, 0 if nothing was lower than the start
    value: Float[Array, ""]  # φ(t)
    slope: Float[Array, ""]  # φ′(t)
    gradient: Params  # at θ + td
    num_evaluations: Int[Array, ""]  # of the loss with its gradient
    success: Bool[Array, ""]  # (1) and (2) hold


class _Trial(NamedTuple):
    """One point of the ray."""

    size: Float[Array, ""]
    value: Float[Array, ""]
    slope: Float[Array, ""]


class _Search(NamedTuple):
    """Where the search is."""

    next: Float[Array, ""]  # the size to try
    low: _Trial
    high: _Trial  # means something once `bracketed`
    best: _Trial
    gradient: Params  # at the best
    bracketed: Bool[Array, ""]
    found: Bool[Array, ""]
    stuck: Bool[Array, ""]  # the bracket holds no more numbers
    count: Int[Array, ""]


def strong_wolfe(
    loss: Loss,
    params: Params,
    direction: Params,
    *,
    initial: float | Float[Array, ""] = 1.0,
    c1: float = 1e-4,
    c2: float = 0.9,
    max_evaluations: int = 25,
    known: Known | None = None,
) -> WolfeStep:
    """Search along `direction` for a size that satisfies (1) and (2), from `initial`.

    `known`, the value and the gradient at `params`, saves the first of
    `max_evaluations`. There is no success where the loss falls without end, where a
    kink hides (2), and where `direction` does not lead downhill.

    Raises `InputError` unless 0 < c1 < c2 < 1 and `initial` is positive; outside of
    `jit`, for a direction that is zero or leads uphill and for a start that is not finite;
    and for
    a loss that is not scalar or arguments of wrong structure, shapes or dtypes.
    """
    if not 0 < c1 < c2 < 1:
        raise InputError(f"`c1` and `c2` need 0 < c1 < c2 < 1, not {c1} and {c2}.")
    if max_evaluations < 2:
        raise InputError("`max_evaluations` must be at least 2: the start and a trial.")
    f, params, direction, dtype = ray(loss, params, direction)
    first = first_size(initial, dtype)
    if known is None:
        known = jax.value_and_grad(f)(params)
    else:
        known = as_known(known, params, dtype)
    slope = dot(known[1], direction)
    if is_false(jnp.isfinite(known[0]) & jnp.isfinite(slope)):
        raise InputError(
            "The loss or its slope along `direction` is not finite at `params`; start "
            "where both are."
        )
    if is_false(slope <= 0):
        raise InputError(
            f"`direction` leads uphill (the slope is {float(slope):.3g}); turn it round."
        )
    if is_false(largest(direction) > 0):
        raise InputError(
            "`direction` is zero, so no step along it goes anywhere; where it comes of a "
            "gradient, the search has arrived."
        )
    return line_search(f, params, direction, known, first, c1, c2, max_evaluations)


def line_search(
    f: Loss,
    params: Params,
    direction: Params,
    known: Known,
    first: Float[Array, ""],
    c1: float,
    c2: float,
    max_evaluations: int,
) -> WolfeStep:
    """The search of `strong_wolfe` for arguments that are checked, without complaints."""
    value, gradient = known
    dtype = value.dtype
    slope = dot(gradient, direction).astype(dtype)
    start = _Trial(jnp.zeros((), dtype), value, slope)
    noise = noise_of(value)
    downhill = jnp.isfinite(value) & jnp.isfinite(slope) & (slope < 0)
    eps = float(jnp.finfo(dtype).eps)

    def goes_on(s: _Search) -> Bool[Array, ""]:
        over = s.found | s.stuck | (s.count >= max_evaluations)
        return downhill & ~over

    def advance(s: _Search) -> _Search:
        there, gradient = jax.value_and_grad(f)(moved(params, direction, s.next))
        trial = _Trial(s.next, there, dot(gradient, direction).astype(dtype))
        finite = jnp.isfinite(trial.value) & jnp.isfinite(trial.slope)
        fall = trial.value - value  # added to the start, a small one would round away
        decreased = finite & (fall <= c1 * trial.size * slope + noise)
        found = decreased & (jnp.abs(trial.slope) <= c2 * jnp.abs(slope))
        better = found | (finite & (trial.value < s.best.value))

        worse = ~decreased | (trial.value - s.low.value > noise)
        ahead = jnp.where(s.bracketed, jnp.sign(s.high.size - s.low.size), 1)
        returns = ~worse & (trial.slope * ahead >= 0)  # the minimiser was passed
        low = _choose(worse, s.low, trial)
        high = _choose(worse, trial, _choose(returns, s.low, s.high))
        bracketed = s.bracketed | worse | returns

        width = jnp.abs(high.size - low.size)
        slow = s.bracketed & (width > 0.66 * jnp.abs(s.high.size - s.low.size))
        inside = _inside(low, high, noise, slow)
        size = jnp.where(bracketed, inside, _outside(s.low, trial))
        ends = jnp.maximum(jnp.abs(low.size), jnp.abs(high.size))
        return _Search(
            next=size,
            low=low,
            high=high,
            best=_choose(better, trial, s.best),
            gradient=_choose(better, gradient, s.gradient),
            bracketed=bracketed,
            found=found,
            stuck=(bracketed & (width <= 2 * eps * ends)) | ~jnp.isfinite(size),
            count=s.count + 1,
        )

    no = jnp.asarray(False)
    s = _Search(first, start, start, start, gradient, no, no, no, jnp.int32(1))
    s = jax.lax.while_loop(goes_on, advance, s)
    return WolfeStep(*s.best, s.gradient, s.count, s.found)


def _outside(before: _Trial, now: _Trial) -> Float[Array, ""]:
    """The next size of an expansion."""
    span = now.size - before.size
    share = (_cubic(before, now) - now.size) / span
    most = GROWTH[1] - 1
    share = jnp.where(jnp.isfinite(share) & (share > 0), share, most)
    return now.size + span * jnp.clip(share, GROWTH[0] - 1, most)


def _inside(
    low: _Trial, high: _Trial, noise: Float[Array, ""], slow: Bool[Array, ""]
) -> Float[Array, ""]:
    """The next size of a zoom."""
    span = high.size - low.size
    level = jnp.abs(high.value - low.value) <= noise
    secant = low.size - low.slope * span / (high.slope - low.slope)
    share = (jnp.where(level, secant, _cubic(low, high)) - low.size) / span
    usable = jnp.isfinite(share) & (share > 0) & (share < 1) & ~slow
    share = jnp.where(usable, jnp.clip(share, INSIDE, 1 - INSIDE), 0.5)
    wall = ~(jnp.isfinite(high.value) & jnp.isfinite(high.slope))
    return low.size + span * jnp.where(wall & (low.size == 0), WALL, share)


def _cubic(a: _Trial, b: _Trial) -> Float[Array, ""]:
    """The minimiser (4), NaN where there is none; each of its forms where it is exact."""
    span = b.size - a.size
    sign = jnp.sign(span)
    A, B = sign * a.slope, sign * b.slope
    bend = 3 * sign * (b.value - a.value) / span - 2 * A - B  # β
    D = bend + A
    scale = jnp.maximum(jnp.abs(D), jnp.maximum(jnp.abs(A), jnp.abs(B)))
    # β² − γA = D² − AB, with fewer roundings
    root = scale * jnp.sqrt((D / scale) ** 2 - (A / scale) * (B / scale))
    # Two terms of one sign are added in either form; else a short step would cancel.
    share = jnp.where(bend >= 0, -A / (bend + root), (root - bend) / (A + B - 2 * D))
    return a.size + span * share


def _choose(condition: Bool[Array, ""], one: T, other: T) -> T:
    """One of two pytrees."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), one, other)
