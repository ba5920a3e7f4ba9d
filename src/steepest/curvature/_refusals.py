"""What derivatives cannot be taken of, in one sentence each with the cure.

Shapes, structures and dtypes are known while a program is traced, so that these checks
leave nothing in a compiled one. What depends on values is looked at where there are some,
outside of `jit`.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jaxtyping import Array, Float, PyTree

from ..core.errors import InputError, type_name


Params = PyTree[Float[Array, "..."]]
Loss = Callable[[Params], Float[Array, ""]]


@contextlib.contextmanager
def no_while_loop(fun: Callable) -> Iterator[None]:
    """Says of a function that reverse mode refuses why, and what to write instead."""
    try:
        yield
    except ValueError as error:
        if "while_loop" not in str(error) or isinstance(error, InputError):
            raise
        name = getattr(fun, "__name__", "<lambda>")
        who = "The function" if name == "<lambda>" else f"`{name}`"
        raise InputError(
            f"{who} has a `lax.while_loop`, through which no gradient leads; write it "
            "with a fixed number of iterations: `lax.scan`, or `lax.fori_loop` with "
            "bounds that are Python integers."
        ) from error


def scalar(loss: Loss) -> Loss:
    """The loss, refused when it is traced and returns anything but one number."""

    def checked(params: Params) -> Float[Array, ""]:
        value = loss(params)
        check_value(value)
        return jnp.asarray(value)

    return checked


def check(loss: Loss, params: Params, *others: Params) -> None:
    """Refuse, in one sentence, what has no curvature: see each of them.

    `others` are directions: they must have the structure and the shapes of `params`.

    Raises `InputError`.
    """
    check_params(params)
    check_value(jax.eval_shape(loss, params))
    for v in others:
        check_direction(params, v)


def check_value(value: Any) -> None:
    """Refuse what a loss returns, unless it is one floating-point number."""
    if isinstance(value, float):
        return
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise InputError(
            f"The loss returns {type_name(value)}; it must return one number. Return "
            "the loss alone, without metrics or state."
        )
    if value.shape != () or not jnp.issubdtype(value.dtype, jnp.floating):
        raise InputError(
            f"The loss returns {value.dtype}{list(value.shape)}; it must return one "
            "floating-point number: take a mean or a sum over the batch."
        )


def check_params(params: Params) -> None:
    """Refuse parameters that are not floating-point arrays, or none at all."""
    leaves = jax.tree.leaves(params)
    for leaf in leaves:
        if not hasattr(leaf, "dtype") or not jnp.issubdtype(leaf.dtype, jnp.floating):
            kind = getattr(leaf, "dtype", type_name(leaf))
            raise InputError(
                f"`params` must hold floating-point arrays only, not {kind}; keep "
                "integers, flags and functions out of it "
                "(`steepest.core.pytree.trainable` takes a model apart)."
            )
    if not sum(leaf.size for leaf in leaves):
        raise InputError("`params` holds no numbers, so its loss has no curvature.")


def check_direction(
    params: Params,
    v: Params,
    what: str = "direction",
    cure: str = "make it in the shapes of `params`",
) -> None:
    """Refuse a direction of another structure or of other shapes than `params`."""
    if jax.tree.structure(params) != jax.tree.structure(v):
        raise InputError(
            f"The {what} must have the structure of `params`: "
            f"{jax.tree.structure(params)}, not {jax.tree.structure(v)}."
        )
    for p, d in zip(jax.tree.leaves(params), jax.tree.leaves(v), strict=True):
        if jnp.shape(p) != jnp.shape(d):
            raise InputError(
                f"The {what} has an array of shape {jnp.shape(d)} where `params` has "
                f"{jnp.shape(p)}; {cure}."
            )


def check_tangent(params: Params, v: Params) -> None:
    """Refuse parameters or a direction that no derivative can be taken with."""
    check_params(params)
    check_direction(params, v)
    for p, d in zip(jax.tree.leaves(params), jax.tree.leaves(v), strict=True):
        ours, theirs = canonical(p), canonical(d)
        if ours != theirs:
            raise InputError(
                f"The direction has an array of {theirs} where `params` has {ours}; "
                "convert it: `jax.tree.map(lambda d, p: d.astype(p.dtype), v, params)`."
            )


def canonical(x: Any) -> Any:  # both: an array or a number; a NumPy dtype
    """The dtype that JAX makes of it: float32 of float64 where that is not enabled."""
    return jax.dtypes.canonicalize_dtype(getattr(x, "dtype", type(x)))


def check_diagonal(params: Params, P: Params) -> None:
    """Refuse a preconditioner that is not a positive diagonal shaped like `params`."""
    cure = "it is the diagonal of P, one number a parameter"
    check_direction(params, P, "preconditioner", cure)
    for d in map(jnp.asarray, jax.tree.leaves(P)):
        if isinstance(d, Tracer):
            continue
        if not bool(jnp.all(jnp.isfinite(d) & (d > 0))):
            raise InputError(
                "The preconditioner must be positive and finite in every entry; add a "
                "small constant to it."
            )
