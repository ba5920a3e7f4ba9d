"""Differences of nearly equal functions, in forms that do not subtract them.

    expm1_over_x(x) = (eˣ − 1)/x = E₀(x),    Eₙ(x) = ∫₀¹ sⁿ e^{sx} ds,    Eₙ′ = Eₙ₊₁
    expm1_minus(x) = eˣ − 1 − x,    log1p_minus(x) = log(1 + x) − x
    one_minus_cos(x) = 2 sin²(x/2)
    sqrt1pm1(x) = √(1 + x) − 1 = x/(√(1 + x) + 1)
    sqrt_difference(a, b) = √a − √b = (a − b)/(√a + √b)

Where a series is used, its terms have one sign. The root has the derivative 0 at 0, as
in `norms`.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ._forms import (
    derivatives,
    divide,
    horner,
    log1p_of,
    rounded_once,
    terms,
)


expm1_of = derivatives(jnp.expm1, jnp.exp)


def _expm1_minus(x: Array) -> Array:
    near = jnp.abs(x) < 1
    s = jnp.where(near, x, 0.0)
    series = [1 / math.factorial(k) for k in range(2, terms(x, 13, 21))]
    far = jnp.where(x == jnp.inf, x, jnp.expm1(x) - x)
    return jnp.where(near, s * s * horner(series, s), far)


expm1_minus_of = derivatives(_expm1_minus, expm1_of)


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def _moment(n: int, x: Array) -> Array:
    """Eₙ(x) by the series of M(n+1, n+2, x), by Kummer's of M(1, n+2, −x), by recurrence."""
    size = terms(x, 20, 34)
    up = jnp.clip(x, 0.0, 3.0)
    rising = horner([1 / (math.factorial(k) * (n + k + 1)) for k in range(size)], up)
    down = jnp.clip(-x, 0.0, 3.0)
    falls = [math.factorial(n) / math.factorial(n + k + 1) for k in range(size)]
    falling = jnp.exp(-down) * horner(falls, down)

    low = jnp.minimum(x, -3.0)
    below = jnp.expm1(low) / low
    for k in range(1, n + 1):
        below = (jnp.exp(low) - k * below) / low
    high = jnp.clip(x, 3.0, 40.0)
    above = jnp.expm1(high) / high
    for k in range(1, n + 1):
        above = (jnp.exp(high) - k * above) / high
    far = jnp.maximum(x, 40.0)
    signs = [(-1) ** k * math.perm(n, k) for k in range(n + 1)]
    beyond = jnp.exp(far - jnp.log(far)) * horner(signs, 1 / far)

    small = jnp.where(x < 0, falling, rising)
    large = jnp.where(x < 0, below, jnp.where(x < 40, above, beyond))
    result = jnp.where(jnp.abs(x) < 3, small, large)
    return jnp.where(x == jnp.inf, jnp.inf, jnp.where(jnp.isnan(x), x, result))


@_moment.defjvp
def _(n: int, primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return _moment(n, x), _moment(n + 1, x) * t


def _log1p_minus(x: Array) -> Array:
    near = (x > -0.5) & (x < 1)
    s = jnp.where(near, x, 0.0)
    r = s / (2 + s)
    series = [1 / (2 * k + 3) for k in range(terms(x, 9, 18))]
    close = r * (2 * r * r * horner(series, r * r) - s)
    return jnp.where(near, close, jnp.where(x == jnp.inf, -x, log1p_of(x) - x))


def _log1p_minus_slope(x: Array) -> Array:
    infinite = jnp.isinf(x)
    return jnp.where(infinite, -1.0, -x / (1 + jnp.where(infinite, 0.0, x)))


_log1p_bend = lambda x: -1 / (1 + x) / (1 + x)
_log1p_minus_of = derivatives(_log1p_minus, _log1p_minus_slope, _log1p_bend)
_one_minus_cos = derivatives(lambda x: 2 * jnp.sin(x / 2) ** 2, jnp.sin, jnp.cos)


def _sqrt1pm1(x: Array) -> Array:
    return jnp.where(x == jnp.inf, x, divide(x, jnp.sqrt(1 + x) + 1))


def _sqrt1p_slope(x: Array) -> Array:
    return 0.5 / jnp.sqrt(1 + x)


def _sqrt1p_bend(x: Array) -> Array:
    return -0.25 / jnp.sqrt(1 + x) / (1 + x)


_sqrt1pm1_of = derivatives(_sqrt1pm1, _sqrt1p_slope, _sqrt1p_bend)


def root_slope(x: Array) -> Array:
    """1/(2√x), and 0 at 0."""
    zero = x == 0
    return jnp.where(zero, 0.0, 0.5 / jnp.sqrt(jnp.where(zero, 1.0, x)))


def root_bend(x: Array) -> Array:
    """−1/(4 x^(3/2)), and 0 at 0."""
    zero = x == 0
    y = jnp.where(zero, 1.0, x)
    return jnp.where(zero, 0.0, -0.25 / jnp.sqrt(y) / y)


root_slope_of = derivatives(root_slope, root_bend)
root_of = derivatives(jnp.sqrt, root_slope_of)


@jax.custom_jvp
def _sqrt_difference(a: Array, b: Array) -> Array:
    return _over_roots(a - b, jnp.sqrt(a), jnp.sqrt(b))


@_sqrt_difference.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (a, b), (ta, tb) = primals, tangents
    return _sqrt_difference(a, b), root_slope_of(a) * ta - root_slope_of(b) * tb


@jax.custom_jvp
def _sqrt_increment(x: Array, d: Array) -> Array:
    return _over_roots(d, _root_of_sum(x, d), jnp.sqrt(x))


@_sqrt_increment.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (x, d), (tx, td) = primals, tangents
    slope = _inverse_increment(x, d) * tx + root_slope_of(x + d) * td
    return _sqrt_increment(x, d), slope


@jax.custom_jvp
def _inverse_increment(x: Array, d: Array) -> Array:
    """1/(2√(x + d)) − 1/(2√x) = −(R − r)/(2rR) with r = √x, R = √(x + d)."""
    r, R = jnp.sqrt(x), _root_of_sum(x, d)
    step = divide(_over_roots(d, R, r), jnp.where(jnp.isinf(R), 1.0, R))
    return -divide(jnp.where(jnp.isinf(R), 1.0, step), 2 * r)


@_inverse_increment.defjvp
def _(primals: Any, tangents: Any) -> Any:
    """1/(4r³) − 1/(4R³) = (R − r)(R/r + 1 + r/R)/(4r²R²), and −1/(4R³)."""
    (x, d), (tx, td) = primals, tangents
    value, r, R = _inverse_increment(x, d), jnp.sqrt(x), _root_of_sum(x, d)
    of_x = -divide(divide(value, 2 * r), R) * (divide(R, r) + 1 + divide(r, R))
    return value, of_x * tx + root_bend(x + d) * td


def _over_roots(difference: Array, R: Array, r: Array) -> Array:
    """The difference of two numbers over the sum of their roots R and r."""
    far = jnp.isinf(difference) & (jnp.isinf(R) != jnp.isinf(r))
    return jnp.where(far, difference, divide(difference, R + r))


def _root_of_sum(x: Array, d: Array) -> Array:
    """√(x + d), also where x + d is beyond the format."""
    total = x + d
    beyond = jnp.isinf(total)
    return jnp.where(beyond, 2 * jnp.sqrt(x / 4 + d / 4), jnp.sqrt(total))


@jax.custom_jvp
def _difference_of_squares(a: Array, b: Array) -> Array:
    same = jnp.abs(a) == jnp.abs(b)
    return jnp.where(same, 0.0, (a - b) * jnp.where(same, 0.0, a + b))


@_difference_of_squares.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (a, b), (ta, tb) = primals, tangents
    return _difference_of_squares(a, b), 2 * a * ta - 2 * b * tb


@rounded_once()
def expm1(x: Array, /) -> Array:
    """eˣ − 1, with the derivative eˣ, which JAX's (eˣ − 1) + 1 rounds to 0 below −17."""
    return expm1_of(x)


@rounded_once()
def log1p(x: Array, /) -> Array:
    """log(1 + x), as 2 artanh(x/(2 + x)) in float64, where XLA's loses a digit near −0.4."""
    return log1p_of(x)


@rounded_once()
def expm1_over_x(x: Array, /) -> Array:
    """(eˣ − 1)/x, 1 at 0, with derivatives 1/2 and 1/3 there."""
    return _moment(0, x)


@rounded_once()
def expm1_minus(x: Array, /) -> Array:
    """eˣ − 1 − x ≥ 0, x²/2 near 0: the variance term of a Gaussian divergence."""
    return expm1_minus_of(x)


@rounded_once()
def log1p_minus(x: Array, /) -> Array:
    """log(1 + x) − x ≤ 0, −x²/2 near 0.

    With r = x/(2 + x), log(1 + x) = 2 artanh(r), and the difference is 2(artanh r − r) − xr.
    """
    return _log1p_minus_of(x)


@rounded_once()
def one_minus_cos(x: Array, /) -> Array:
    """1 − cos(x) = 2 sin²(x/2)."""
    return _one_minus_cos(x)


@rounded_once()
def sqrt1pm1(x: Array, /) -> Array:
    """√(1 + x) − 1."""
    return _sqrt1pm1_of(x)


@rounded_once(2)
def difference_of_squares(a: Array, b: Array, /) -> Array:
    """a² − b² = (a − b)(a + b), 0 where |a| = |b|."""
    return _difference_of_squares(a, b)


@rounded_once(2)
def sqrt_difference(a: Array, b: Array, /) -> Array:
    """√a − √b; the derivative in an argument that is 0 is taken as 0."""
    return _sqrt_difference(a, b)


@rounded_once(2)
def sqrt_increment(x: Array, d: Array, /) -> Array:
    """√(x + d) − √x = d/(√(x + d) + √x), right also where x + d rounds to x."""
    return _sqrt_increment(x, d)
