"""Logarithms of sums and differences of two exponentials.

    log1mexp(x) = log(1 − eˣ),   x ≤ 0        log_expm1(x) = log(eˣ − 1),   x ≥ 0
    logaddexp(a, b) = log(eᵃ + eᵇ)            logdiffexp(a, b) = log(eᵃ − eᵇ),   b ≤ a

The derivative of log1mexp is −n(x) with n(x) = 1/(e⁻ˣ − 1), the mean occupation number
of Bose and Einstein, and n′ = n(1 + n): a sum of positive terms. Mächler (2012), Accurately
computing log(1 − exp(−|a|)), places the change of form at x = −log 2.
"""

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ._forms import along, derivatives, log1p_of, rounded_once
from .logistic import logistic


def _occupation(x: Array) -> Array:
    return jnp.where(x == 0, jnp.inf, 1 / jnp.expm1(-x))


def _occupation_slope(x: Array) -> Array:
    n = occupation(x)
    return n * (1 + n)


occupation = derivatives(_occupation, _occupation_slope)


def _log1mexp(x: Array) -> Array:
    near = x > -math.log(2)
    return jnp.where(
        near,
        jnp.log(-jnp.expm1(jnp.where(near, x, -1.0))),
        log1p_of(-jnp.exp(jnp.where(near, -1.0, x))),
    )


log1mexp_of = derivatives(_log1mexp, lambda x: -occupation(x))


def _log_expm1(x: Array) -> Array:
    near = x < math.log(2)
    return jnp.where(
        near,
        jnp.log(jnp.expm1(jnp.where(near, x, 0.5))),
        x + log1p_of(-jnp.exp(-jnp.where(near, 1.0, x))),
    )


log_expm1_of = derivatives(_log_expm1, lambda x: 1 + occupation(-x))


def _difference(a: Array, b: Array) -> Array:
    """a − b, and 0 for two equal infinities."""
    same = (a == b) & jnp.isinf(a)
    return jnp.where(same, 0.0, a) - jnp.where(same, 0.0, b)


@jax.custom_jvp
def _logaddexp(a: Array, b: Array) -> Array:
    return jnp.maximum(a, b) + log1p_of(jnp.exp(-jnp.abs(_difference(a, b))))


@_logaddexp.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (a, b), (ta, tb) = primals, tangents
    empty = (a == -jnp.inf) & (b == -jnp.inf)
    d = _difference(a, b)
    slope = jnp.where(empty, 0.0, logistic(d)) * ta
    return _logaddexp(a, b), slope + jnp.where(empty, 0.0, logistic(-d)) * tb


@jax.custom_jvp
def _logdiffexp(a: Array, b: Array) -> Array:
    return a + jnp.where(b == -jnp.inf, 0.0, log1mexp_of(_difference(b, a)))


@partial(_logdiffexp.defjvp, symbolic_zeros=True)
def _(primals: Any, tangents: Any) -> Any:
    (a, b), (ta, tb) = primals, tangents
    empty = a == -jnp.inf
    n = jnp.where(
        b == -jnp.inf, 0.0, occupation(jnp.where(empty, -1.0, _difference(b, a)))
    )
    of_a = lambda: jnp.where(empty, 0.0, 1 + n)
    return _logdiffexp(a, b), along((of_a, ta), (lambda: -n, tb))


@rounded_once()
def log1mexp(x: Array, /) -> Array:
    """log(1 − eˣ) for x ≤ 0: −inf at 0, with derivative −inf; NaN for x > 0."""
    return log1mexp_of(x)


@rounded_once()
def log_expm1(x: Array, /) -> Array:
    """log(eˣ − 1) for x ≥ 0, the inverse of `softplus`; −inf at 0, NaN below."""
    return log_expm1_of(x)


@rounded_once(2)
def logaddexp(a: Array, b: Array, /) -> Array:
    """log(eᵃ + eᵇ) = max(a, b) + log1p(e^−|a−b|); derivatives σ(a − b) and σ(b − a).

    At (−inf, −inf) it is −inf with derivatives 0; at (inf, inf) they are 1/2.
    """
    return _logaddexp(a, b)


@rounded_once(2)
def logdiffexp(a: Array, b: Array, /) -> Array:
    """log(eᵃ − eᵇ) = a + log1mexp(b − a) for b ≤ a, NaN for b > a.

    It is a where b is −inf, and −inf where a = b. At (−inf, −inf) the derivatives are 0.
    """
    return _logdiffexp(a, b)
