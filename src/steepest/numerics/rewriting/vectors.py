"""Distances and angles that rewritten programs call, from differences of vectors."""

from typing import Any

import jax.numpy as jnp
from jax import lax

from .. import stable


def squared_distances(a: Any, b: Any, *, contract: Any, pairs: bool, flip: bool) -> Any:
    """|a − b|² summed over `contract`, for all pairs of rows or row by row."""
    if not pairs:
        return jnp.sum(jnp.square(a - b), axis=contract[0])
    return _pairs(stable.squared_distances, a, b, contract, flip)


def distances(a: Any, b: Any, *, contract: Any, pairs: bool, flip: bool) -> Any:
    """|a − b| along `contract`, with slope 0 where the points are equal."""
    if not pairs:
        return stable.norm(a - b, axis=contract[0])
    return _pairs(stable.distances, a, b, contract, flip)


def _pairs(fun: Any, a: Any, b: Any, contract: Any, flip: bool) -> Any:
    a, b = jnp.moveaxis(a, contract[0], -1), jnp.moveaxis(b, contract[1], -1)
    out = fun(jnp.atleast_2d(a), jnp.atleast_2d(b))
    out = out[0] if a.ndim == 1 else out
    out = out[..., 0] if b.ndim == 1 else out
    return out.T if flip else out


def versine(a: Any, b: Any, *, axis: int) -> Any:
    """1 − cos θ for the angle θ of a and b.

    sin²θ/(1 + cos θ) up to a right angle, sin θ from the part of b − a that is
    orthogonal to a: it has the digits that the angle has.
    """
    a, b = _scaled(a, axis), _scaled(b, axis)
    aa, bb = _dot(a, a, axis), _dot(b, b, axis)
    aa, bb = (jnp.where(s == 0, 1.0, s) for s in (aa, bb))
    w = b - a
    across = w - a * (_dot(a, w, axis) / aa)
    cosine = _dot(a, b, axis) / jnp.sqrt(aa * bb)
    near = cosine > 0
    sine = _dot(across, across, axis) / bb
    below = jnp.where(near, 1 + cosine, 1.0)
    return jnp.squeeze(jnp.where(near, sine / below, 1 - cosine), axis)


def _dot(a: Any, b: Any, axis: int) -> Any:
    return jnp.sum(a * b, axis=axis, keepdims=True)


def _scaled(x: Any, axis: int) -> Any:
    """x over a power of two near its largest entry, or 1 for zeros."""
    top = jnp.max(jnp.abs(lax.stop_gradient(x)), axis=axis, keepdims=True)
    power = jnp.exp2(jnp.floor(jnp.log2(jnp.where(top > 0, top, 1.0))))
    return x / power


def great_circle(a: Any, b: Any, c: Any) -> Any:
    """The angle between points of latitudes a and b whose longitudes differ by c."""
    s = jnp.square(jnp.sin((a - b) / 2))
    s = s + jnp.cos(a) * jnp.cos(b) * jnp.square(jnp.sin(c / 2))
    return 2 * stable.arctan2(stable.sqrt(s), stable.sqrt(jnp.maximum(1 - s, 0.0)))
