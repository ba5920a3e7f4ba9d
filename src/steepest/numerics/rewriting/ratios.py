"""Functions over their argument, with the point 0 filled in, and divided differences.

    log1p(x)/x = 1/E(log1p x)          E(u) = (e^u − 1)/u
    sin x / x, tanh x / x, sinh x / x  their series in x² near 0
    (xᵗ − 1)/t = log x · E(t·log x)    (1 − rⁿ)/(1 − r) = 1 + r + … + rⁿ⁻¹
    (e^a − e^b)/(a − b) = e^a·E(b − a) (log a − log b)/(a − b) = log1p(d/b)/d

E has all its derivatives at 0, and so have these.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import gammaln

from .. import stable
from ..stable._forms import along, divide, horner


E = stable.expm1_over_x


def _series(s: Any, first: int) -> Any:
    """Σ sᵏ/(2k + first)!: sinh x/x and cosh x of s = x², first = 1 and 0."""
    return horner([1 / math.factorial(2 * k + first) for k in range(11)], s)


def sinc(x: Any) -> Any:
    """sin x / x."""
    near = jnp.abs(x) < 1
    y, far = jnp.where(near, x, 0.0), jnp.where(near, 1.0, x)
    return jnp.where(near, _series(-y * y, 1), jnp.sin(far) / far)


def log1p_over_x(x: Any) -> Any:
    near = x < 1
    close = 1 / E(jnp.log1p(jnp.where(near, x, 0.0)))
    far = jnp.where(near, 1.0, x)
    return jnp.where(near, close, jnp.log1p(far) / far)


def tanh_over_x(x: Any) -> Any:
    near = jnp.abs(x) < 1
    y, far = jnp.where(near, x * x, 0.0), jnp.where(near, 1.0, x)
    return jnp.where(near, _series(y, 1) / _series(y, 0), jnp.tanh(far) / far)


def sinh_over_x(x: Any) -> Any:
    near = jnp.abs(x) < 1
    y, far = jnp.where(near, x * x, 0.0), jnp.where(near, 1.0, x)
    return jnp.where(near, _series(y, 1), jnp.sinh(far) / far)


@jax.custom_jvp
def xlogx_near_one(d: Any) -> Any:
    """(1 + d)·log(1 + d), which is 0 at d = −1."""
    empty = d == -1
    return jnp.where(empty, 0.0, (1 + d) * jnp.log1p(jnp.where(empty, 0.0, d)))


xlogx_near_one.defjvps(lambda t, y, d: t * (1 + jnp.log1p(d)))


@jax.custom_jvp
def xlog1py(x: Any, d: Any) -> Any:
    """x·log(1 + d), which is 0 at x = 0."""
    none = (x == 0) & ~jnp.isnan(d)
    return jnp.where(none, 0.0, x * jnp.log1p(jnp.where(none, 0.0, d)))


@partial(xlog1py.defjvp, symbolic_zeros=True)
def _(primals: Any, tangents: Any) -> Any:
    (x, d), (tx, td) = primals, tangents
    slopes = ((lambda: jnp.log1p(d), tx), (lambda: divide(x, 1 + d), td))
    return xlog1py(x, d), along(*slopes)


def power_over_exponent(x: Any, t: Any, d: Any = None) -> Any:
    """(xᵗ − 1)/t; `d` is x − 1, if that is known without cancellation."""
    positive = x > 0
    safe = jnp.where(positive, x, 1.0)
    L = jnp.log(safe) if d is None else jnp.log1p(jnp.where(positive, d, 0.0))
    near = positive & (jnp.abs(t * L) < 1)
    close = jnp.where(near, L, 0.0) * E(jnp.where(near, t * L, 0.0))
    base, power = jnp.where(near, 1.0, x), jnp.where(near, 1.0, t)
    return jnp.where(near, close, (base**power - 1) / power)


def power_less_one(x: Any, t: Any) -> Any:
    """xᵗ − 1, for exponents that may be small."""
    positive = x > 0
    u = t * jnp.log(jnp.where(positive, x, 1.0))
    near = positive & (jnp.abs(u) < 1)
    close = jnp.expm1(jnp.where(near, u, 0.0))
    return jnp.where(near, close, jnp.where(near, 1.0, x) ** t - 1)


def power_over_base(r: Any, t: Any, d: Any) -> Any:
    """(rᵗ − 1)/(r − 1), d = r − 1."""
    near = jnp.abs(d) < 0.5
    c = jnp.where(near, d, 0.0)
    close = t * E(t * jnp.log1p(c)) * log1p_over_x(c)
    far, base = jnp.where(near, 1.0, d), jnp.where(near, 1.0, r)
    return jnp.where(near, close, (base**t - 1) / far)


def geometric_sum(r: Any, *, n: int) -> Any:
    """1 + r + … + rⁿ⁻¹, by doubling."""
    if n == 1:
        return jnp.ones_like(r)
    if n % 2:
        return 1 + r * geometric_sum(r, n=n - 1)
    return geometric_sum(r, n=n // 2) * (1 + r ** (n // 2))


def slope_of_exp(a: Any, b: Any) -> Any:
    """(e^a − e^b)/(a − b)."""
    over = a >= b
    low, high = jnp.where(over, b, a), jnp.where(over, a, b)
    return jnp.exp(high) * E(low - high)


def slope_of_log(a: Any, b: Any) -> Any:
    """(log a − log b)/(a − b)."""
    near = (jnp.abs(a - b) < jnp.abs(b) / 2) & (b > 0)
    p, q = jnp.where(near, a, 1.0), jnp.where(near, b, 1.0)
    close = log1p_over_x((p - q) / q) / q
    a, b = jnp.where(near, 2.0, a), jnp.where(near, 1.0, b)
    return jnp.where(near, close, (jnp.log(a) - jnp.log(b)) / (a - b))


def slope_of_sqrt(a: Any, b: Any) -> Any:
    """(√a − √b)/(a − b)."""
    return 1 / (jnp.sqrt(a) + jnp.sqrt(b))


def slope_of_square(a: Any, b: Any) -> Any:
    return a + b


def difference_of_gammaln(a: Any, b: Any, d: Any) -> Any:
    """log Γ(a) − log Γ(b), d = a − b, for positive numbers whose difference is moderate.

    With the recurrence eight steps up and Stirling's series there (DLMF 5.11.1):
    (b − ½)·log1p(d/b) + d·(log a − 1) + S(a) − S(b).
    """
    good = (a > 0) & (b > 0) & (jnp.abs(d) < b + 8)
    p, q = jnp.where(good, a, 1.0), jnp.where(good, b, 1.0)
    c = jnp.where(good, d, 0.0)
    down = sum(jnp.log1p(c / (q + i)) for i in range(8))
    u, w = p + 8, q + 8
    main = (w - 0.5) * jnp.log1p(c / w) + c * (jnp.log(u) - 1)
    value = main + (_stirling(u) - _stirling(w)) - down
    one = jnp.where(good, 1.0, a), jnp.where(good, 1.0, b)
    return jnp.where(good, value, gammaln(one[0]) - gammaln(one[1]))


def _stirling(z: Any) -> Any:
    s = 1 / (z * z)
    return (1 / 12 - s * (1 / 360 - s * (1 / 1260 - s / 1680))) / z


def hypot_less_one(x: Any) -> Any:
    """√(1 + x²) − 1, also where x² overflows."""
    far = jnp.abs(x) > 1024
    big, small = jnp.where(far, x, 1.0), jnp.where(far, 0.0, x)
    one = jnp.ones_like(x)
    return jnp.where(far, stable.hypot(one, big) - 1, stable.sqrt1pm1(small * small))


def versine_over_square(x: Any) -> Any:
    """(1 − cos x)/x² = ½·(sin(x/2)/(x/2))²."""
    return jnp.square(sinc(x / 2)) / 2


def log1p_square(x: Any) -> Any:
    """log(1 + x²), also where x² overflows."""
    far = jnp.abs(x) > 1024
    big, small = jnp.where(far, x, 1.0), jnp.where(far, 0.0, x)
    tail = jnp.log1p(jnp.square(1 / big))
    return jnp.where(far, 2 * jnp.log(jnp.abs(big)) + tail, jnp.log1p(small * small))


def share_of_powers(x: Any, k: Any, t: Any = None, *, n: Any = None) -> Any:
    """xᵗ/(xᵗ + kᵗ) by the quotient of the smaller and the larger of x and k."""
    t = n if t is None else t
    over = jnp.abs(x) >= jnp.abs(k)
    p, q = jnp.where(over, k, x), jnp.where(over, x, k)
    r = (p / q) ** t
    return jnp.where(over, 1 / (1 + r), r / (1 + r))


def power_of_product(x: Any, *, axis: Any, t: float) -> Any:
    """(Π x)ᵗ; NaN where the product is negative."""
    sign = jnp.prod(jnp.sign(x), axis=axis)
    some = x != 0
    L = jnp.sum(jnp.log(jnp.abs(jnp.where(some, x, 1.0))), axis=axis)
    value = jnp.where(
        jnp.all(some, axis=axis), jnp.exp(t * L), 0.0 if t > 0 else jnp.inf
    )
    return jnp.where(sign < 0, jnp.nan, value)


def log_cumprod(x: Any, *, axis: int, reverse: bool, absolute: bool = False) -> Any:
    """log of the cumulative product, or of its size; NaN where it is negative."""
    L = lax.cumsum(jnp.log(jnp.abs(x)), axis=axis, reverse=reverse)
    if absolute:
        return L
    sign = lax.cumprod(jnp.sign(x), axis=axis, reverse=reverse)
    return jnp.where(sign < 0, jnp.nan, L)


def share_of_products(x: Any, *, axis: Any, over: int) -> Any:
    """Π x / Σ Π x: all factors are divided by those of the largest product."""
    size = lax.stop_gradient(jnp.abs(x))
    L = jnp.sum(jnp.log(size), axis=axis, keepdims=True)
    best = jnp.argmax(L, axis=over, keepdims=True)
    factors = jnp.take_along_axis(size, jnp.broadcast_to(best, _one(x, over)), over)
    a = jnp.prod(x / jnp.where(factors == 0, 1.0, factors), axis=axis)
    shift = sum(k < over for k in axis)
    return a / jnp.sum(a, axis=over - shift, keepdims=True)


def _one(x: Any, axis: int) -> tuple[int, ...]:
    return tuple(1 if k == axis else n for k, n in enumerate(x.shape))
