"""Spread, and sums and means that lose nothing to their length.

    var(x) = Σ c²/(n − d),    c = x − mean(x),

with the mean taken twice (that of c is subtracted again) and in units of a power of
two near max |x|, so that 10²⁰ does not overflow. E[x²] − E[x]², the form in one pass,
loses all digits where the mean is large, and can be negative. A constant row has
variance and standard deviation 0 with derivative 0, and is standardised to 0.
"""

from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from ._forms import Axis, axes, rounded_once, squeezed
from ._softmax import Axes, masked, over
from .norms import norm_of, scaled, total_square, unit_of


def _mean(axis: Axes, y: Array, kept: Array) -> Array:
    n = jnp.sum(kept, axis, keepdims=True)
    return jnp.sum(kept * y, axis, keepdims=True) / jnp.maximum(n, 1.0)


@over
def centre_of(axis: Axes, x: Array, kept: Array) -> Array:
    """x − mean(x) where `kept` is 1, else 0."""
    s, y = scaled(axis, x)
    c = kept * (y - _mean(axis, y, kept))
    c = kept * (c - _mean(axis, c, kept))
    return jnp.where(s == 0, 0.0, c * s)


@centre_of.defjvp
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x, kept), (t, _) = primals, tangents
    return centre_of(axis, x, kept), kept * (t - _mean(axis, t, kept))


@over
def _variance(axis: Axes, x: Array, kept: Array, per: Array) -> Array:
    s, y = scaled(axis, centre_of(axis, x, kept))
    return jnp.where(s == 0, 0.0, total_square(axis, y) / per * s * s)


@_variance.defjvp
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x, kept, per), (t, _, _) = primals, tangents
    c = centre_of(axis, x, kept)
    slope = 2 * jnp.sum(c / per * t, axis, keepdims=True)
    return _variance(axis, x, kept, per), slope


def _kept(x: Array, where: ArrayLike | None) -> tuple[Array, Array]:
    """`x` with 0 for what is left out, and 1 for what is kept."""
    return masked(x, where, 0.0), masked(jnp.ones_like(x), where, 0.0)


def _per(axis: Axes, kept: Array, ddof: int) -> Array:
    return jnp.sum(kept, axis, keepdims=True) - ddof


@rounded_once(static=("axis", "ddof", "keepdims"))
def variance(
    x: Array,
    /,
    axis: Axis = None,
    *,
    ddof: int = 0,
    where: ArrayLike | None = None,
    keepdims: bool = False,
) -> Array:
    """Σ(x − mean(x))²/(n − ddof) over `axis` (all axes if None)."""
    axis = axes(x, axis)
    x, kept = _kept(x, where)
    return squeezed(_variance(axis, x, kept, _per(axis, kept, ddof)), axis, keepdims)


@rounded_once(static=("axis", "ddof", "keepdims"))
def standard_deviation(
    x: Array,
    /,
    axis: Axis = None,
    *,
    ddof: int = 0,
    where: ArrayLike | None = None,
    keepdims: bool = False,
) -> Array:
    """The root of the variance, which may exist where the variance overflows."""
    axis = axes(x, axis)
    x, kept = _kept(x, where)
    spread = norm_of(axis, centre_of(axis, x, kept), _per(axis, kept, ddof))
    return squeezed(spread, axis, keepdims)


@rounded_once(static=("axis",))
def standardise(
    x: Array, /, axis: Axis = -1, *, where: ArrayLike | None = None
) -> Array:
    """(x − mean)/standard deviation over `axis`; 0 for constant rows, without an epsilon."""
    axis = axes(x, axis)
    x, kept = _kept(x, where)
    n = _per(axis, kept, 0)
    return unit_of(axis, centre_of(axis, x, kept)) * jnp.sqrt(n)
