"""Gaussian tails: log Φ, log erfc, φ/Φ, erfcx and GELU.

With φ the density and Φ the distribution function of a standard normal number,

    h = φ/Φ = (log Φ)′,    K = x + h,    h′ = −hK,    K′ = D = 1 − hK,    D′ = h″ = h(K² − D).

Far in the left tail h ≈ −x, so that K ≈ −1/x, D ≈ 1/x² and h″ ≈ −2/x³ are what is left of
nearly equal numbers. So for x ≤ 1, K, D and h″ are three functions of their own,
each a Chebyshev series in t = (w − 3)/(w + 3), w = 1 − x ≥ 0, of the function times
(a + w)ⁿ, with a such that the product is nearly constant (Shepherd and Laframboise
1981). The coefficients are computed in many digits.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import mpmath
from jax import lax
from jaxtyping import Array

from ._forms import derivatives, log1p_of, rounded_once
from .logistic import logistic


ROOT2 = math.sqrt(2)
NODES, PIVOT = 48, 3  # enough for float64: the coefficients fall by ten in two
OFFSETS = (0.8, 1.3, 1.9)  # the a of K, of D and of h″


def _exactly(w: Any) -> tuple[Any, Any, Any]:  # numbers of mpmath
    """K(a + w), D(a + w)² and h″(a + w)³ at x = 1 − w."""
    x = 1 - w
    below = mpmath.erfc(-x / mpmath.sqrt(2)) / 2
    h = mpmath.exp(-x * x / 2) / mpmath.sqrt(2 * mpmath.pi) / below
    K = x + h
    D = 1 - h * K
    a, b, c = OFFSETS
    return K * (a + w), D * (b + w) ** 2, h * (K * K - D) * (c + w) ** 3


@functools.cache
def _coefficients() -> tuple[tuple[float, ...], ...]:
    """Of the three series, by the discrete orthogonality of the polynomials."""
    with mpmath.workdps(80):
        angles = [mpmath.pi * (2 * i + 1) / (2 * NODES) for i in range(NODES)]
        values = [
            _exactly(PIVOT * (1 + mpmath.cos(a)) / (1 - mpmath.cos(a))) for a in angles
        ]
        table = [[mpmath.cos(m * a) for a in angles] for m in range(NODES)]
        return tuple(
            tuple(
                float((1 if m == 0 else 2) * mpmath.fdot(row, column) / NODES)
                for m, row in enumerate(table)
            )
            for column in zip(*values, strict=True)
        )


def _series(which: int, x: Array) -> Array:
    """Clenshaw's recurrence for one of the three, for x ≤ 1."""
    w = 1 - jnp.where(x <= 1, x, 1.0)  # with the slope of x at 1
    t = 1 - 2 * PIVOT / (w + PIVOT)
    size = NODES - 6 if jnp.finfo(x.dtype).bits > 32 else NODES // 2 + 2
    first, *rest = _coefficients()[which][:size]
    b = c = jnp.zeros_like(x)
    for coefficient in reversed(rest):
        b, c = coefficient + 2 * t * b - c, b
    total = first + t * b - c
    for _ in range(which + 1):
        total = total / (OFFSETS[which] + w)
    return total


def _density(x: Array) -> Array:
    return jnp.exp(-x * (x / 2)) / math.sqrt(2 * math.pi)


def _below(x: Array) -> Array:
    return lax.erfc(-x / ROOT2) / 2


def _left(
    which: int, right: Callable[[Array, Array], Array]
) -> Callable[[Array], Array]:
    """A function that is its series for x ≤ 1, and `right` of x and h beyond."""

    def value(x: Array) -> Array:
        y = jnp.maximum(x, 1.0)
        beyond = right(y, _density(y) / _below(y))
        return jnp.where(x <= 1, _series(which, x), beyond)

    return value


_K = lambda x, h: jnp.minimum(x, 1e4) + h  # beyond, h is 0 in every format
_D = lambda x, h: 1 - h * _K(x, h)
bend_of = _left(2, lambda x, h: h * (_K(x, h) * _K(x, h) - _D(x, h)))
excess_of = derivatives(_left(0, lambda x, h: x + h), _left(1, _D), bend_of)


def _mills(x: Array) -> Array:
    y = jnp.maximum(x, 0.0)
    left = excess_of(jnp.where(x <= 0, x, 0.0)) - x
    return jnp.where(x <= 0, left, _density(y) / _below(y))


def _mills_slope(x: Array) -> Array:
    h = _mills(x)
    return jnp.where(x < -10, _series(1, x) - 1, -h * excess_of(jnp.minimum(x, 1e4)))


mills_of = derivatives(_mills, _mills_slope, bend_of)


def _log_ndtr(x: Array) -> Array:
    y = jnp.minimum(x, 0.0)
    left = -y * (y / 2) - (math.log(2 * math.pi) / 2 + jnp.log(_mills(y)))
    return jnp.where(x < 0, left, log1p_of(-_below(-jnp.maximum(x, 0.0))))


log_ndtr_of = derivatives(_log_ndtr, _mills, _mills_slope, bend_of)


def _log_erfc(x: Array) -> Array:
    left = log1p_of(-lax.erf(jnp.minimum(x, 0.5)))
    return jnp.where(x < 0.5, left, math.log(2) + _log_ndtr(-ROOT2 * x))


_log_erfc_of = derivatives(
    _log_erfc,
    lambda x: -ROOT2 * _mills(-ROOT2 * x),
    lambda x: 2 * _mills_slope(-ROOT2 * x),
    lambda x: -2 * ROOT2 * bend_of(-ROOT2 * x),
)
_erfcx_of = derivatives(
    lambda x: math.sqrt(2 / math.pi) / _mills(-ROOT2 * x),
    lambda x: -2 / math.sqrt(math.pi) * excess_of(-ROOT2 * x) / _mills(-ROOT2 * x),
    lambda x: _erfcx_bend(-ROOT2 * x),
)


def _erfcx_bend(u: Array) -> Array:
    """2√(2/π) (D + K²)/h at u."""
    D = jnp.where(u <= 1, _series(1, u), _D(u, _mills(u)))
    return 2 * ROOT2 / math.sqrt(math.pi) * (D + excess_of(u) ** 2) / _mills(u)


def _gelu(x: Array) -> Array:
    return jnp.where(x == -jnp.inf, 0.0, x * _below(jnp.where(x == -jnp.inf, 0.0, x)))


def _gelu_slope(x: Array) -> Array:
    y = jnp.clip(x, -50.0, 50.0)  # where the density is 0 in every format
    return _below(x) + y * _density(y)


def _gelu_bend(x: Array) -> Array:
    y = jnp.clip(x, -50.0, 50.0)
    return _density(y) * (ROOT2 - y) * (ROOT2 + y)


_gelu_of = derivatives(_gelu, _gelu_slope, _gelu_bend)


def _gelu_tanh(x: Array) -> Array:
    y = jnp.clip(x, -50.0, 50.0)
    gate = logistic(2 * math.sqrt(2 / math.pi) * (y + 0.044715 * y * y * y))
    return jnp.where(jnp.abs(x) < 50, y * gate, jnp.maximum(x, 0.0))


@rounded_once()
def log_ndtr(x: Array, /) -> Array:
    """log Φ(x), with the derivatives h and −hK; 0 at inf, −inf at −inf."""
    return log_ndtr_of(x)


@rounded_once()
def log_erfc(x: Array, /) -> Array:
    """log erfc(x) = log1p(−erf(x)) for x < 1/2, else log 2 + log Φ(−√2 x)."""
    return _log_erfc_of(x)


@rounded_once()
def mills_ratio(x: Array, /) -> Array:
    """φ(x)/Φ(x), the inverse Mills ratio: the mean of a normal number cut off at −x."""
    return mills_of(x)


@rounded_once()
def erfcx(x: Array, /) -> Array:
    """e^(x²) erfc(x), which neither overflows nor vanishes for x > 0."""
    return _erfcx_of(x)


@rounded_once(static=("approximate",))
def gelu(x: Array, /, approximate: bool = False) -> Array:
    """x Φ(x) from erfc, 0 at −inf; derivatives Φ + xφ and (2 − x²)φ.

    `approximate` is x σ(2√(2/π)(x + 0.044715x³)), the usual form with tanh; the cube
    is taken of |x| ≤ 50, beyond which the gate is 0 or 1 in every format.
    """
    return _gelu_tanh(x) if approximate else _gelu_of(x)
