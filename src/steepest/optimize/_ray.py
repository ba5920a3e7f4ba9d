"""The loss along a ray, and what this room asks of a pytree.

    φ(t) = L(θ + td),     φ′(t) = ∇L(θ + td)ᵀ d                                      (1)

Sizes t and values φ have the widest dtype of the parameters, float32 at least; θ + td is
computed there and rounded once to the dtypes of θ. Values of a loss count as equal when
they differ by no more than

    NOISE · eps · |φ(0)|,                                                            (2)

its rounding error, of which nothing more is known than its order.

References
    Hager & Zhang (2005), A new conjugate gradient method with guaranteed descent
    and an efficient line search.                                        -- (2)
"""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Bool, Float

from ..core.errors import InputError
from ..core.vectors import inner as dot, moved as moved, working_dtype
from ..curvature.products import Loss, Params


NOISE = 16.0  # a loss is a sum: some more than the half unit of its last addition

#: The loss at the start and its gradient there, from the caller who has them already.
Known = tuple[Float[Array, ""], Params]


def ray(
    loss: Loss, params: Params, direction: Params
) -> tuple[Loss, Params, Params, Any]:  # Any: a NumPy dtype
    """A checked loss, point and direction, and the dtype of sizes and values."""
    params = float_leaves(params, "params")
    direction = float_leaves(direction, "direction")
    direction = same_shapes(direction, params, "direction", "params")
    dtype = working_dtype(params)
    return scalar_loss(loss, dtype), params, direction, dtype


def scalar_loss(loss: Loss, dtype: Any) -> Loss:  # Any: a NumPy dtype
    """The loss in `dtype`, refused when it is not a real number."""

    def checked(params: Params) -> Float[Array, ""]:
        value = jnp.asarray(loss(params))
        if value.shape or not jnp.issubdtype(value.dtype, jnp.floating):
            raise InputError(
                "`loss` must return one floating-point number, not an array of shape "
                f"{value.shape} and dtype {value.dtype}; take its mean."
            )
        return value.astype(dtype)

    return checked


def value_and_slope(
    f: Loss, params: Params, direction: Params
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """φ and φ′, by a gradient: forward mode is cheaper, but a program with a rule for
    reverse mode alone refuses it, and inside of a loop only after it was compiled."""
    value, gradient = jax.value_and_grad(f)(params)
    return value, dot(gradient, direction)


def noise_of(value: Float[Array, ""]) -> Float[Array, ""]:
    """The rounding (2) of a loss."""
    return NOISE * float(jnp.finfo(value.dtype).eps) * jnp.abs(value)


def first_size(
    initial: float | Float[Array, ""],
    dtype: Any,  # a NumPy dtype
) -> Float[Array, ""]:
    """The first trial, which must be positive."""
    first = jnp.asarray(initial, dtype)
    if is_false(jnp.isfinite(first) & (first > 0)):
        raise InputError(f"`initial` must be a positive step size, not {initial}.")
    return first


def as_known(known: Known, params: Params, dtype: Any) -> Known:  # Any: a NumPy dtype
    """The value and the gradient at `params` in the dtypes in which they are computed."""
    value, gradient = known
    gradient = same_shapes(gradient, params, "the known gradient", "params")
    gradient = jax.tree.map(lambda g, p: g.astype(p.dtype), gradient, params)
    return jnp.asarray(value).astype(dtype), gradient


def float_leaves(tree: Params, name: str) -> Params:
    """The pytree with arrays for leaves; refuses what is empty or not real floats."""
    tree = jax.tree.map(jnp.asarray, tree)
    leaves = jax.tree.leaves(tree)
    if not sum(x.size for x in leaves):
        raise InputError(f"`{name}` holds no numbers, so there is nowhere to go.")
    for x in leaves:
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise InputError(
                f"`{name}` must hold floating-point arrays only, not {x.dtype}; keep "
                "integers and flags out of it."
            )
    return tree


def same_shapes(tree: Params, model: Params, name: str, model_name: str) -> Params:
    """The pytree with arrays for leaves; refuses what is not shaped like `model`."""
    tree = jax.tree.map(jnp.asarray, tree)
    shapes, wanted = (
        (jax.tree.structure(t), [x.shape for x in jax.tree.leaves(t)])
        for t in (tree, model)
    )
    if shapes != wanted:
        raise InputError(
            f"`{name}` must have the structure and the shapes of `{model_name}`: "
            f"{wanted[1]} in {wanted[0]}, not {shapes[1]} in {shapes[0]}."
        )
    return tree


def largest(tree: Params) -> Float[Array, ""]:
    """The largest absolute entry; NaN if there is one."""
    dtype = working_dtype(tree)
    tops = [jnp.max(jnp.abs(x), initial=0) for x in jax.tree.leaves(tree)]
    return jnp.max(jnp.stack([top.astype(dtype) for top in tops]))


def total(tree: Params) -> Float[Array, ""]:
    """The sum of scalar leaves of one dtype."""
    return jnp.sum(jnp.stack(jax.tree.leaves(tree)))


def is_false(condition: Bool[Array, ""]) -> bool:
    """Whether a condition is known, and false: inside of `jit` nothing is known."""
    return not isinstance(condition, Tracer) and not bool(condition)
