"""The logarithm of a sum of exponentials, and of one with weights: a mixture.

    L = log Σ w eˣ,    ∂L/∂xᵢ = pᵢ = wᵢ sᵢ,    ∂L/∂wᵢ = sᵢ = e^(xᵢ − L)

With a tangent (t, τ), and aᵢ = tᵢ + τᵢ/wᵢ, the next derivatives are

    ∂pᵢ = pᵢ (aᵢ − Σ pⱼaⱼ),    ∂sᵢ = sᵢ (tᵢ − Σ pⱼtⱼ − Σ sⱼτⱼ),

formed as in `softmax`, without cancellation for a leading component. A weight of 0 has
pᵢ = 0 and a derivative sᵢ all the same.
"""

from functools import partial
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from ._forms import Axis, along, axes, fitted, log1p_of, rounded_once, squeezed
from ._softmax import Axes, centred, logsumexp_of, masked, over, shifted, top_of


def _lifted(x: Array, weights: Array) -> Array:
    return x + jnp.log(jnp.abs(weights))


def _leading(axis: Axes, x: Array, w: Array) -> tuple[Array, Array, Array]:
    """The largest term's logarithm m, the others relative to it, and their sum − 1."""
    m, z = shifted(axis, _lifted(x, w))
    tied, sign = z == 0, jnp.sign(w)
    rest = jnp.sum(jnp.where(tied, 0.0, sign * jnp.exp(z)), axis, keepdims=True)
    lead = jnp.sum(jnp.where(tied, sign, 0.0), axis, keepdims=True)
    return m, z, rest + (lead - 1)


@over
def _weighted(axis: Axes, x: Array, w: Array) -> Array:
    m, _, rest = _leading(axis, x, w)
    return m + jnp.where(m == -jnp.inf, 0.0, log1p_of(rest))


@partial(_weighted.defjvp, symbolic_zeros=True)
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x, w), (t, tw) = primals, tangents
    of_x, of_w = lambda: _shares(axis, x, w), lambda: _densities(axis, x, w)
    slope = along((of_x, t), (of_w, tw))
    return _weighted(axis, x, w), jnp.sum(slope, axis, keepdims=True)


@over
def _shares(axis: Axes, x: Array, w: Array) -> Array:
    m, z, rest = _leading(axis, x, w)
    return jnp.where(m == -jnp.inf, 0.0, jnp.sign(w) * jnp.exp(z) / (1 + rest))


@over
def _densities(axis: Axes, x: Array, w: Array) -> Array:
    total, absent = _weighted(axis, x, w), w == 0
    alone = jnp.exp(x - jnp.where(jnp.isinf(total), 0.0, total))
    share = _shares(axis, x, w) / jnp.where(absent, 1.0, w)
    return jnp.where(total == -jnp.inf, 0.0, jnp.where(absent, alone, share))


@partial(_shares.defjvp, symbolic_zeros=True)
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x, w), (t, tw) = primals, tangents
    p, top = _shares(axis, x, w), top_of(axis, _lifted(x, w))
    absent = w == 0
    rate = lambda: jnp.where(absent, 0.0, 1 / jnp.where(absent, 1.0, w))
    a = along((lambda: jnp.ones_like(x), t), (rate, tw))
    born = lambda: jnp.where(absent, _densities(axis, x, w), 0.0)
    none = lambda: jnp.zeros_like(x)
    return p, p * centred(axis, p, top, a) + along((none, t), (born, tw))


@partial(_densities.defjvp, symbolic_zeros=True)
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x, w), (t, tw) = primals, tangents
    p, top = _shares(axis, x, w), top_of(axis, _lifted(x, w))
    s = _densities(axis, x, w)
    one = lambda: jnp.ones_like(x)
    of_x = centred(axis, p, top, along((one, t), (lambda: jnp.zeros_like(x), tw)))
    weight = along((lambda: jnp.zeros_like(x), t), (lambda: s, tw))
    return s, s * (of_x - jnp.sum(weight, axis, keepdims=True))


@rounded_once(static=("axis", "keepdims"))
def logsumexp(
    x: Array,
    /,
    axis: Axis = None,
    *,
    weights: ArrayLike | None = None,
    where: ArrayLike | None = None,
    keepdims: bool = False,
) -> Array:
    """log Σ eˣ, or log Σ w eˣ, over `axis` (all axes if None).

    >>> from steepest.numerics import stable
    >>> print(f"{stable.logsumexp([0.0, -20.0]):.3e}")
    2.061e-09

    Nothing to add (all −inf, or `where` false) gives −inf with derivative 0; weights may
    be 0 or negative, and a sum below 0 has no logarithm: NaN.
    """
    axis = axes(x, axis)
    x = masked(x, where)
    if weights is None:
        total = logsumexp_of(axis, x)
    else:
        w = fitted("`weights`", jnp.asarray(weights), x).astype(x.dtype)
        total = _weighted(axis, x, w)
    return squeezed(total, axis, keepdims)


@rounded_once(static=("axis", "keepdims"))
def log_mixture(
    x: Array,
    weights: ArrayLike,
    /,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    keepdims: bool = False,
) -> Array:
    """log Σ w eˣ over `axis`: the density of a mixture from log-densities and weights ≥ 0.

    A component of weight 0 adds nothing, but its weight has a derivative.
    """
    axis = axes(x, axis)
    w = fitted("`weights`", jnp.asarray(weights), x).astype(x.dtype)
    return squeezed(_weighted(axis, masked(x, where), w), axis, keepdims)
