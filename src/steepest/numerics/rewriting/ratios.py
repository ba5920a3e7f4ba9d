"""Functions over their argument, with the point 0 filled in, and divided differences.

    log1p(x)/x = 1/E(log1p x)          E(u) = (e^u − 1)/u
    tanh x / x = 2E(−2x)/(1 + e^(−2x)) sinh x / x = e^(−x)·E(2x)
    (xᵗ − 1)/t = log x · E(t·log x)    (1 − rⁿ)/(1 − r) = 1 + r + … + rⁿ⁻¹
    (e^a − e^b)/(a − b) = e^a·E(b − a) (log a − log b)/(a − b) = log1p(d/b)/d

E has all its derivatives at 0, and so have these.
"""

from typing import Any

import jax.numpy as jnp

from .. import stable


E = stable.expm1_over_x


def sinc(x: Any) -> Any:
    """sin x / x."""
    return jnp.sinc(x / jnp.pi)


def log1p_over_x(x: Any) -> Any:
    near = x < 1
    close = 1 / E(jnp.log1p(jnp.where(near, x, 0.0)))
    far = jnp.where(near, 1.0, x)
    return jnp.where(near, close, jnp.log1p(far) / far)


def tanh_over_x(x: Any) -> Any:
    near = jnp.abs(x) < 1
    y, far = jnp.where(near, -2 * x, 0.0), jnp.where(near, 1.0, x)
    return jnp.where(near, 2 * E(y) / (1 + jnp.exp(y)), jnp.tanh(far) / far)


def sinh_over_x(x: Any) -> Any:
    near = jnp.abs(x) < 1
    y, far = jnp.where(near, x, 0.0), jnp.where(near, 1.0, x)
    return jnp.where(near, jnp.exp(-y) * E(2 * y), jnp.sinh(far) / far)


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
