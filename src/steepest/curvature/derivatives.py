"""Derivatives of a function of a vector, compiled once for each function.

    L(θ), ∇L(θ);     H = ∇²L(θ);     Hv;     J = ∂r/∂θ;     L(θ + t v)        (1)

A search asks for these at many points, and so does a verdict after it. Functions are
`OnVector`s (`core.vectors.on_vector`) of `Fixed` losses, equal for equal programs and
structures, so that a second search or verdict with one loss compiles nothing, and one
with a loss that has changed since compiles anew.

H and J are formed column by column in one batch, n products with tangents. For the
losses of networks there is `hessian(...)`, which never forms anything.

References
    Griewank & Walther (2008), Evaluating Derivatives, §3.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from ..core.vectors import OnVector, working_dtype
from .products import hvp, jacobian_product


Vector = Float[Array, " n"]


@partial(jax.jit, static_argnums=0)
def value_and_gradient(loss: OnVector, theta: Vector) -> tuple[Any, Vector]:
    """L(θ) and ∇L(θ), shape (n,)."""
    return jax.value_and_grad(loss)(theta)


@partial(jax.jit, static_argnums=0)
def dense_hessian(loss: OnVector, theta: Vector) -> Float[Array, "n n"]:
    """H, not made symmetric: its asymmetry tells of its rounding."""
    eye = jnp.eye(theta.size, dtype=theta.dtype)
    return jax.vmap(lambda v: hvp(loss, theta, v))(eye)


@partial(jax.jit, static_argnums=0)
def hessian_product(loss: OnVector, theta: Vector, v: Vector) -> Vector:
    """Hv, shape (n,)."""
    return hvp(loss, theta, v)


@partial(jax.jit, static_argnums=0)
def hessian_products(
    loss: OnVector, theta: Vector, rows: Float[Array, "k n"]
) -> Float[Array, "k n"]:
    """Hv of several rows, one after another."""
    return jax.lax.map(lambda v: hvp(loss, theta, v), rows)


@partial(jax.jit, static_argnums=(0, 1))
def gradients_at(
    loss: OnVector, batch: int, points: Float[Array, "k n"]
) -> tuple[Float[Array, " k"], Float[Array, "k n"]]:
    """L and ∇L at several points, in one batch, or where `batch` is 0 one by one."""
    both = jax.value_and_grad(loss)
    return jax.vmap(both)(points) if batch else jax.lax.map(both, points)


@partial(jax.jit, static_argnums=0)
def values_along(
    loss: OnVector, theta: Vector, v: Vector, t: Float[Array, " k"]
) -> Float[Array, " k"]:
    """L(θ + t v) for several t in one batch, shape (k,)."""
    return jax.vmap(lambda s: loss(theta + s * v))(t)


@partial(jax.jit, static_argnums=0)
def residual_vector(fun: OnVector, theta: Vector) -> Float[Array, " m"]:
    """The outputs of a function in one vector, in the widest of their dtypes."""
    out = fun(theta)
    dtype = working_dtype(out)
    return ravel_pytree(jax.tree.map(lambda x: x.astype(dtype), out))[0]


@partial(jax.jit, static_argnums=0)
def dense_jacobian(fun: OnVector, theta: Vector) -> Float[Array, "m n"]:
    """J of the outputs in one vector."""
    vector = partial(residual_vector, fun)
    eye = jnp.eye(theta.size, dtype=theta.dtype)
    return jax.vmap(lambda v: jacobian_product(vector, theta, v), out_axes=1)(eye)


@partial(jax.jit, static_argnums=0)
def normal_product(fun: OnVector, theta: Vector, v: Vector) -> Vector:
    """JᵀJv, shape (n,)."""
    vector = partial(residual_vector, fun)
    _, pull = jax.vjp(vector, theta)
    return pull(jacobian_product(vector, theta, v))[0]
