"""The direction in which a loss falls fastest, and how long a unit step is meant to be.

To first order a step δ changes a loss L with gradient g by gᵀδ, the directional
derivative. Among all unit steps the best is

    d = argmin { gᵀδ : ‖δ‖ ≤ 1 },     gᵀd = −‖g‖_*,                          (1)

and ‖g‖_* = max { gᵀδ : ‖δ‖ ≤ 1 } is the dual norm. What is "steepest" depends on the
norm by which steps are measured:

    ‖δ‖₂ = √(δᵀδ)         d = −g/‖g‖₂                    ‖g‖_* = ‖g‖₂         (2)
    ‖δ‖₁ = Σ |δᵢ|         d = −sign(gᵢ) eᵢ, i largest    ‖g‖_* = max |gᵢ|     (3)
    ‖δ‖_∞ = max |δᵢ|      d = −sign(g)                   ‖g‖_* = Σ |gᵢ|       (4)
    ‖δ‖_P = √(δᵀPδ)       d = −P⁻¹g/√(gᵀP⁻¹g)            ‖g‖_* = √(gᵀP⁻¹g)    (5)

with P symmetric positive definite. In (2) gᵀδ = ‖g‖ cos(angle), least at the angle π:
gradient descent. (3) moves one parameter, (4) moves all of them by the same amount
(sign descent), and (5) with P = H is Newton's direction, with P = √v̂ + ε that of Adam.
All norms are those of the whole pytree, not of its leaves.

The gradient is divided by its largest entry before anything is squared, so that no
intermediate value overflows or vanishes. A largest entry below the smallest normal
number of the format counts as zero in (2) and (5).

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §4.3.
    Boyd & Vandenberghe (2004), Convex Optimization, §9.4.          -- (1) to (5)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..core.errors import InputError
from ..curvature.products import Params
from ._ray import (
    dot,
    float_leaves,
    is_false,
    largest,
    same_shapes,
    total,
    working_dtype,
)


#: A norm by its name, by the positive diagonal P, or by the function g ↦ P⁻¹g of (5).
Norm = str | Callable[[Params], Params] | Params
NAMES = ("l2", "l1", "linf")


class Direction(NamedTuple):
    """The unit step (1), and the change of the loss along it for each unit of length."""

    direction: Params  # in the structure and dtypes of the gradient
    slope: Float[Array, ""]  # gᵀd = −‖g‖_*, never positive


def steepest_direction(gradient: Params, norm: Norm = "l2") -> Direction:
    """The direction (1) of steepest descent for a `gradient`, in one of the norms.

    `norm` is `"l2"`, `"l1"`, `"linf"`, the positive diagonal P as a pytree like
    `gradient`, or a function that applies P⁻¹ to such a pytree. In `"l1"` the first of
    several largest entries moves. A gradient of zero has the direction zero and the
    slope 0, inside of `jit`.

    Raises `InputError` for an unknown norm, a P that is not positive or not shaped like
    the gradient, and a gradient that is empty, zero, not floating-point or not finite.
    What depends on values is checked outside of `jit` only; inside, NaN makes NaN.
    """
    found = direction_or_zero(gradient, norm)
    if is_false(found.slope < 0) and bool(found.slope == 0):
        raise InputError(
            "`gradient` is zero, so the loss falls in no direction: this is a critical "
            "point, and `steepest.curvature.critical_point` tells which kind."
        )
    return found


def direction_or_zero(gradient: Params, norm: Norm = "l2") -> Direction:
    """`steepest_direction`, zero for a gradient of zero everywhere."""
    g = float_leaves(gradient, "gradient")
    dtype = working_dtype(g)
    g = jax.tree.map(lambda x: x.astype(dtype), g)
    top = largest(g)
    if is_false(jnp.isfinite(top)):
        raise InputError(
            "`gradient` holds NaN or infinity, so no direction is the steepest; find "
            "where with `steepest.locate_nonfinite`."
        )
    match norm:
        case "l2":
            direction, length = _unit(g)
        case "l1":
            direction, length = _one_coordinate(g), top
        case "linf":
            direction = jax.tree.map(lambda x: -jnp.sign(x), g)
            length = total(jax.tree.map(lambda x: jnp.sum(jnp.abs(x)), g))
        case str():
            names = ", ".join(f'"{name}"' for name in NAMES)
            raise InputError(f'`norm` must be one of {names}, not "{norm}".')
        case _ if callable(norm):
            direction, length = _applied(g, top, norm)
        case _:
            direction, length = _diagonal(g, norm)
    as_given = jax.tree.map(
        lambda d, x: d.astype(jnp.asarray(x).dtype), direction, gradient
    )
    return Direction(as_given, -length)


def dual_norm(gradient: Params, norm: Norm = "l2") -> Float[Array, ""]:
    """The dual norm ‖g‖_* of (1): how fast the loss can fall for a unit of length.

    `norm` is the norm of steps, as in `steepest_direction`: `"l1"` gives max |gᵢ| and
    `"linf"` gives Σ |gᵢ|. Raises `InputError` as `steepest_direction` does, but for a
    gradient of zero: its norm is 0.
    """
    return -direction_or_zero(gradient, norm).slope


def _unit(g: Params) -> tuple[Params, Float[Array, ""]]:
    """−g/‖g‖ and ‖g‖, or zeros."""
    top = largest(g)
    zero = top < jnp.finfo(top.dtype).tiny  # False for NaN, which goes through
    scale = jnp.where(zero, jnp.ones_like(top), top)
    u = jax.tree.map(lambda x: jnp.where(zero, jnp.zeros_like(x), x / scale), g)
    norm = jnp.sqrt(dot(u, u))  # between 1 and √n
    safe = jnp.where(zero, jnp.ones_like(norm), norm)
    return jax.tree.map(lambda x: -x / safe, u), jnp.where(zero, 0, top * norm)


def _one_coordinate(g: Params) -> Params:
    """(3): minus the sign at the first largest entry, 0 elsewhere."""
    leaves, structure = jax.tree.flatten(g)
    tops = jnp.stack([jnp.max(jnp.abs(x), initial=0) for x in leaves])
    chosen = jnp.argmax(tops)

    def one(i: int, x: Array) -> Array:
        if not x.size:
            return x
        flat = x.ravel()
        j = jnp.argmax(jnp.abs(flat))
        here = (jnp.arange(flat.size) == j) & (chosen == i)
        return jnp.where(here, -jnp.sign(flat), jnp.zeros_like(flat)).reshape(x.shape)

    return jax.tree.unflatten(structure, [one(i, x) for i, x in enumerate(leaves)])


def _diagonal(g: Params, P: Params) -> tuple[Params, Float[Array, ""]]:
    """(5) for a diagonal, as (2) in the variable P^{1/2}δ."""
    P = same_shapes(P, g, "norm", "gradient")
    lowest = [jnp.min(p, initial=jnp.inf) > 0 for p in jax.tree.leaves(P)]
    if is_false(jnp.all(jnp.stack(lowest))):
        raise InputError(
            "The diagonal P given as `norm` must be positive in every entry; add a "
            "small constant to it."
        )
    root = jax.tree.map(lambda p, x: jnp.sqrt(p.astype(x.dtype)), P, g)
    direction, length = _unit(jax.tree.map(lambda x, r: x / r, g, root))
    return jax.tree.map(lambda d, r: d / r, direction, root), length


def _applied(
    g: Params, top: Float[Array, ""], apply: Callable[[Params], Params]
) -> tuple[Params, Float[Array, ""]]:
    """(5) for P⁻¹ given as a function."""
    zero = top < jnp.finfo(top.dtype).tiny
    scale = jnp.where(zero, jnp.ones_like(top), top)
    g = jax.tree.map(lambda x: x / scale, g)
    u = same_shapes(apply(g), g, "norm(gradient)", "gradient")
    u = jax.tree.map(lambda a, x: a.astype(x.dtype), u, g)
    square = dot(g, u)
    if is_false(zero | (square > 0)):
        raise InputError(
            "The function given as `norm` must apply the inverse of a positive definite "
            f"P, but gᵀP⁻¹g = {float(square):.3g} is not positive."
        )
    norm = jnp.sqrt(square)
    direction = jax.tree.map(lambda a: jnp.where(zero, 0, -a / norm), u)
    return direction, jnp.where(zero, 0, top * norm)
