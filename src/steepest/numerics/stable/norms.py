"""Lengths, directions, angles and distances of vectors of any size.

    ‖x‖ = s √Σ (x/s)²    with s the power of two at or below max |x|,

so that nothing overflows or vanishes that the norm itself does not. The derivative is
the direction u = x/‖x‖, whose own derivative is the tangential part (t − u(u·t))/‖x‖. For
the leading component of u, 1 − u² is a difference of nearly equal numbers; with
t = ρu + r, where ρ is chosen so that r vanishes there, the tangential part is
r − u(u·r), which is not.

Convention: at 0 the direction is 0, and so is every derivative of a norm, a root or an
angle: the subgradient of least norm. An infinite component has all of the direction.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array

from ...core.errors import InputError
from ._forms import Axis, axes, binade, rounded_once, squeezed
from ._softmax import Axes, over
from .differences import root_of


def scaled(axis: Axes, x: Array) -> tuple[Array, Array]:
    """A power of two s, and x/s, of which the largest is between 1 and 4."""
    largest = jnp.max(jnp.abs(x), axis, keepdims=True, initial=0.0)
    s = jnp.where(jnp.isnan(largest), largest, binade(largest))
    y = jnp.where(s == 0, 0.0, x / jnp.where((s == 0) | jnp.isinf(s), 1.0, s))
    return s, jnp.where(s == jnp.inf, jnp.where(jnp.isinf(x), jnp.sign(x), 0.0), y)


def total_square(axis: Axes, y: Array) -> Array:
    return jnp.sum(y * y, axis, keepdims=True)


@over
def norm_of(axis: Axes, x: Array, per: Array) -> Array:
    """√(Σ x²/per): the norm for per = 1, the root mean square for per = n."""
    s, y = scaled(axis, x)
    return jnp.where(s == 0, 0.0, s * jnp.sqrt(total_square(axis, y) / per))


@norm_of.defjvp
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x, per), (t, _) = primals, tangents
    slope = jnp.sum(unit_of(axis, x) * t, axis, keepdims=True) / jnp.sqrt(per)
    return norm_of(axis, x, per), slope


@over
def unit_of(axis: Axes, x: Array) -> Array:
    s, y = scaled(axis, x)
    return jnp.where(
        s == 0, 0.0, y / jnp.sqrt(jnp.where(s == 0, 1, total_square(axis, y)))
    )


@unit_of.defjvp
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    u, size = unit_of(axis, x), norm_of(axis, x, jnp.ones((), x.dtype))
    part = tangential(axis, u, t / jnp.where(size == 0, 1.0, size))
    return u, jnp.where(size == 0, 0.0, part)


def tangential(axis: Axes, u: Array, t: Array) -> Array:
    """t − u(u·t) for a unit vector u."""
    size = jnp.abs(jax.lax.stop_gradient(u))
    top = size == jnp.max(size, axis, keepdims=True, initial=0.0)
    only = jnp.sum(top.astype(u.dtype), axis, keepdims=True) == 1
    top = top & only
    along = jnp.where(top, t / jnp.where(top, u, 1.0), 0.0)
    r = jnp.where(top, 0.0, t - u * jnp.sum(along, axis, keepdims=True))
    return r - u * jnp.sum(u * r, axis, keepdims=True)


@jax.custom_jvp
def _hypot(a: Array, b: Array) -> Array:
    s = binade(jnp.maximum(jnp.abs(a), jnp.abs(b)))
    usual = (s != 0) & (s != jnp.inf)
    p, q = a / jnp.where(usual, s, 1.0), b / jnp.where(usual, s, 1.0)
    size = jnp.where(usual, s, 0.0) * jnp.sqrt(p * p + q * q)
    return jnp.where(usual, size, jnp.maximum(jnp.abs(a), jnp.abs(b)))


@_hypot.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (a, b), (ta, tb) = primals, tangents
    c, d = _direction(a, b)
    return _hypot(a, b), c * ta + d * tb


@jax.custom_jvp
def _direction(a: Array, b: Array) -> tuple[Array, Array]:
    """(a, b)/√(a² + b²)."""
    u = unit_of((0,), jnp.stack([a, b]))
    return u[0], u[1]


@_direction.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (a, b), (ta, tb) = primals, tangents
    c, d = _direction(a, b)
    turn = _turn(a, b, ta, tb)
    return (c, d), (-d * turn, c * turn)


def _turn(a: Array, b: Array, ta: Array, tb: Array) -> Array:
    """The derivative of the angle of (a, b), and 0 at the origin."""
    c, d = _direction(a, b)
    return _shorter(c * tb - d * ta, _hypot(a, b))


@jax.custom_jvp
def _shorter(x: Array, size: Array) -> Array:
    """x/size, and 0 for size 0; the derivative divides twice, since size⁻² overflows."""
    return jnp.where(size == 0, 0.0, x / jnp.where(size == 0, 1, size))


@_shorter.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (x, size), (tx, ts) = primals, tangents
    ratio = _shorter(x, size)
    return ratio, _shorter(tx - ratio * ts, size)


@jax.custom_jvp
def _arctan2(y: Array, x: Array) -> Array:
    none = (
        binade(jnp.maximum(jnp.abs(x), jnp.abs(y))) == 0
    )  # subnormal numbers are zeros
    return jnp.arctan2(jnp.where(none, 0 * y, y), jnp.where(none, 0 * x, x))


@_arctan2.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (y, x), (ty, tx) = primals, tangents
    return _arctan2(y, x), _turn(x, y, tx, ty)


def length(axis: Axes, x: Array) -> Array:
    return norm_of(axis, x, jnp.ones((), x.dtype))


@rounded_once()
def sqrt(x: Array, /) -> Array:
    """√x, with the derivatives 0 at 0 in place of inf."""
    return root_of(x)


@rounded_once(static=("axis", "keepdims"))
def norm(x: Array, /, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """√Σx² over `axis` (all axes if None); derivative x/‖x‖, and 0 at 0.

    >>> from steepest.numerics import stable
    >>> print(stable.norm([3e30, 4e30]))
    5e+30
    """
    axis = axes(x, axis)
    return squeezed(length(axis, x), axis, keepdims)


@rounded_once(static=("axis",))
def normalise(x: Array, /, axis: Axis = -1) -> Array:
    """x/‖x‖, and 0, with derivative 0, for a vector of zeros."""
    return unit_of(axes(x, axis), x)


@rounded_once(2)
def hypot(a: Array, b: Array, /) -> Array:
    """√(a² + b²), with derivatives a/√(a² + b²) and b/√(a² + b²), 0 at (0, 0)."""
    return _hypot(a, b)


@rounded_once(2)
def arctan2(y: Array, x: Array, /) -> Array:
    """The angle of the point (x, y); at the origin 0 (π for x = −0), with derivative 0."""
    return _arctan2(y, x)


@rounded_once(2, static=("axis",))
def cosine_similarity(a: Array, b: Array, /, axis: Axis = -1) -> Array:
    """The inner product of the directions of a and b; 0 if one of them is 0."""
    axis = axes(a, axis)
    return jnp.sum(unit_of(axis, a) * unit_of(axis, b), axis)


@rounded_once(2, static=("axis",))
def angle(a: Array, b: Array, /, axis: Axis = -1) -> Array:
    """The angle between a and b, in [0, π]: 2 arctan2(‖û − v̂‖, ‖û + v̂‖).

    The arccosine of the inner product has no digits near 0 and π. Kahan (2006), How
    futile are mindless assessments of roundoff. With a vector of zeros it is π/2, with
    derivative 0. The second derivative has an error of one unit times 1/sin(angle).
    """
    axis = axes(a, axis)
    u, v = unit_of(axis, a), unit_of(axis, b)
    apart, together = length(axis, u - v), length(axis, u + v)
    none = (together == 0) & (apart == 0)
    half = _arctan2(apart, jnp.where(none, 0.0, together))
    return squeezed(jnp.where(none, jnp.pi / 2, 2 * half), axis, False)


def _pairs(name: str, a: Array, b: Array) -> Array:
    if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-1]:
        raise InputError(
            f"`{name}` takes points in rows, of shapes (n, d) and (m, d); it was given "
            f"{a.shape} and {b.shape}."
        )
    return a[..., :, None, :] - b[..., None, :, :]


@rounded_once(2, broadcast=False)
def squared_distances(a: Array, b: Array, /) -> Array:
    """‖aᵢ − bⱼ‖² for the rows of a (n, d) and b (m, d), from the differences.

    ‖a‖² + ‖b‖² − 2a·b, the form by one matrix product, has an error of the order of
    ‖a‖² and can be negative; this one is ≥ 0, and 0 for equal rows.
    """
    return jnp.sum(jnp.square(_pairs("squared_distances", a, b)), -1)


@rounded_once(2, broadcast=False)
def distances(a: Array, b: Array, /) -> Array:
    """‖aᵢ − bⱼ‖ for the rows of a and b; 0 for equal rows, with derivative 0."""
    d = _pairs("distances", a, b)
    return jnp.squeeze(length((d.ndim - 1,), d), -1)
