"""A power of a number near 1, less 1: (1 + x)ᵗ − 1 = expm1(t log1p(x)), for x ≥ −1.

Convention: 1ᵗ = 1 for every t, an infinite one too, and y⁰ = 1 for every y, as usual for
floats. The derivatives of 0ᵗ are the limits from the right where these are finite.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ._forms import along, log1p_of, rounded_once


@jax.custom_jvp
def _power1pm1(x: Array, t: Array) -> Array:
    return jnp.expm1(_tlog1p(x, t))


def _tlog1p(x: Array, t: Array) -> Array:
    """t log(1 + x), and 0 where one of the two is 0."""
    one = (t == 0) | (x == 0)
    return jnp.where(one, 0.0, t) * log1p_of(jnp.where(one, 0.0, x))


@jax.custom_jvp
def _power1p(x: Array, t: Array) -> Array:
    """(1 + x)ᵗ."""
    return jnp.exp(_tlog1p(x, t))


def _power_slopes(
    x: Array, t: Array
) -> tuple[Callable[[], Array], Callable[[], Array]]:
    """∂(1 + x)ᵗ/∂x = t (1 + x)ᵗ⁻¹ and ∂(1 + x)ᵗ/∂t = (1 + x)ᵗ log(1 + x), when called."""
    gone = (x == -1) & (t >= 0)
    flat = t == 0
    of_x = lambda: jnp.where(flat, 0.0, t * _power1p(jnp.where(flat, 0.0, x), t - 1))
    y = jnp.where(gone, 0.0, x)
    of_t = lambda: jnp.where(gone, 0.0, _power1p(y, t) * log1p_of(y))
    return of_x, of_t


@partial(_power1pm1.defjvp, symbolic_zeros=True)
def _(primals: Any, tangents: Any) -> Any:
    (tx, tt), (of_x, of_t) = tangents, _power_slopes(*primals)
    return _power1pm1(*primals), along((of_x, tx), (of_t, tt))


@partial(_power1p.defjvp, symbolic_zeros=True)
def _(primals: Any, tangents: Any) -> Any:
    (tx, tt), (of_x, of_t) = tangents, _power_slopes(*primals)
    return _power1p(*primals), along((of_x, tx), (of_t, tt))


@rounded_once(2)
def power1pm1(x: Array, t: Array, /) -> Array:
    """(1 + x)ᵗ − 1 = expm1(t log1p(x)), for x ≥ −1.

    −power1pm1(−β, t) is the bias correction 1 − (1 − β)ᵗ of a running mean.
    """
    return _power1pm1(x, t)
