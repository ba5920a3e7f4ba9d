"""What an audit is asked about: a function, and what each of its arguments may hold.

A spec stands where an argument would: an array (these very numbers), an `Interval` (any
numbers between its ends), a `ShapeDtypeStruct` (any finite number of the format), in
any pytree. What is no array, an activation function or a flag, belongs to the program.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ...core import jaxpr
from ...core.errors import InputError, in_short, type_name
from ..intervals import Interval
from .points import Box, Point


class Question(NamedTuple):
    """A traced function and the boxes of its arguments."""

    fun: Callable[..., Any]
    program: jaxpr.Program
    boxes: list[Box]  # one for each operand of the program
    tree: Any  # of the arguments
    leaves: list[Any]  # of the arguments, specs and others

    @property
    def given(self) -> tuple[bool, ...]:
        """For each array of the arguments, whether it was given as such."""
        return tuple(not box.free for box in self.boxes)

    def arguments(self, point: Point) -> tuple[Any, ...]:
        """A point as the arguments of the function."""
        rest = iter(point)
        filled = [
            jnp.asarray(next(rest)) if is_spec(leaf) else leaf for leaf in self.leaves
        ]
        return jax.tree.unflatten(self.tree, filled)


SPECS = (Interval, jax.ShapeDtypeStruct, *jaxpr.ARRAYS)


def is_spec(leaf: Any) -> bool:
    return isinstance(leaf, SPECS)


def ask(fun: Callable[..., Any], specs: Sequence[Any]) -> Question:
    """Read specs and trace the function; nothing is computed.

    Raises `InputError` for specs that are none or do not fit, for a function that
    cannot be traced at them, and for one with side effects.
    """
    if not callable(fun):
        raise InputError(f"An audit is of a function; {type_name(fun)} came.")
    leaves, tree = jax.tree.flatten(tuple(specs))
    for leaf in leaves:
        refuse_number(leaf)
        refuse_text(leaf)
    leaves = [numbers(leaf) for leaf in leaves]
    if not any(is_spec(leaf) for leaf in leaves):
        raise InputError(
            "There are no specs. Give one for each argument of the function: an array, "
            "or steepest.Interval(low, high, shape)."
        )
    boxes = [box_of(leaf) for leaf in leaves if is_spec(leaf)]
    shaped = [shape_of(leaf) if is_spec(leaf) else leaf for leaf in leaves]
    args = jax.tree.unflatten(tree, shaped)
    program = traced(fun, args)
    refuse_effects(program.closed)
    if not program.closed.jaxpr.outvars:
        raise InputError(
            "The function returns no array, so there is nothing to audit; return what "
            "it computes."
        )
    return Question(fun, program, boxes, tree, leaves)


def traced(fun: Callable[..., Any], args: tuple[Any, ...]) -> jaxpr.Program:
    try:
        return jaxpr.trace(fun, *args)
    except InputError:
        raise
    except Exception as error:
        shapes = ", ".join(map(short, jax.tree.leaves(args))) or "nothing"
        said = in_short(error).rstrip(".")
        raise InputError(
            f"The function cannot be traced at these specs ({shapes}): {said}. "
            f"{cure(error)}"
        ) from error


def cure(error: Exception) -> str:
    """What helps against an error of tracing."""
    if isinstance(error, jax.errors.TracerArrayConversionError):
        return "Compute with jax.numpy where the function uses NumPy."
    if isinstance(error, jax.errors.ConcretizationTypeError):
        return "Write decisions on values with jnp.where or jax.lax.cond."
    if isinstance(error, TypeError | ValueError):
        return (
            "Give one spec for each argument, of the shape and dtype that the function "
            "takes."
        )
    return "Audit a function that runs under jax.jit."


def numbers(leaf: Any) -> Any:
    """An array of NumPy in JAX's own format of it; other leaves as they are."""
    if isinstance(leaf, Tracer):
        raise InputError(
            "An audit needs numbers or ranges, not the traced values inside of `jit` or "
            "`grad`; call it outside of them."
        )
    if not isinstance(leaf, (np.ndarray, np.generic)):
        return leaf
    if leaf.dtype.kind not in "biufcV":
        raise InputError(
            f"An array of {leaf.dtype} is no spec; give numbers, or a range: "
            "steepest.Interval(low, high, shape)."
        )
    return jnp.asarray(leaf)


def short(leaf: Any) -> str:
    if hasattr(leaf, "shape") and hasattr(leaf, "dtype"):
        return f"{leaf.dtype}[{','.join(map(str, leaf.shape))}]"
    return type(leaf).__name__


def refuse_number(leaf: Any) -> None:
    if isinstance(leaf, (bool, int, float, complex)):
        raise InputError(
            f"The number {leaf!r} is no spec. Give an array, as in "
            f"jnp.asarray({leaf!r}), or a range: steepest.Interval(low, high, shape)."
        )


def refuse_text(leaf: Any) -> None:
    if isinstance(leaf, str) and "[" in leaf:
        raise InputError(
            f"{leaf!r} is a spec for the command line; here a range is "
            "steepest.Interval(low, high, shape, dtype)."
        )


def refuse_effects(closed: jaxpr.Closed) -> None:
    """A run with side effects cannot be repeated at other inputs."""
    for equation in jaxpr.equations(closed):
        name = equation.primitive
        if "callback" in name or name in ("infeed", "outfeed", "debug_print"):
            raise InputError(
                f"The function calls back into Python (`{name}` at {equation.place}), "
                "so it cannot be run at other inputs without side effects. Take the "
                "callback out, or audit a function without it."
            )
    effects = getattr(closed, "effects", None) or getattr(closed.jaxpr, "effects", None)
    if effects:
        names = ", ".join(sorted({type(e).__name__ for e in effects}))
        raise InputError(
            f"The function has side effects ({names}), so it cannot be run at other "
            "inputs. Audit a function that returns all that it computes."
        )


def shape_of(leaf: Any) -> Any:
    """What the function is traced at."""
    if isinstance(leaf, Interval):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    return leaf


def box_of(leaf: Any) -> Box:
    """What may stand in the place of a spec."""
    if isinstance(leaf, Interval):
        dtype = jnp.dtype(leaf.dtype)
        kind = np.float64 if jnp.issubdtype(dtype, jnp.floating) else np.int64
        low, high = np.asarray(leaf.low, kind), np.asarray(leaf.high, kind)
        return Box(low, high, tuple(leaf.shape), dtype)
    if isinstance(leaf, jax.ShapeDtypeStruct):
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.extended):
            raise InputError(
                "A random key has no range; give the key itself, jax.random.key(0)."
            )
        low, high = ends(jnp.dtype(leaf.dtype))
        return Box(low, high, tuple(leaf.shape), jnp.dtype(leaf.dtype))
    dtype = leaf.dtype
    zero = np.asarray(0.0)
    return Box(zero, zero, tuple(leaf.shape), dtype, fixed=leaf)


def ends(dtype: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest finite number of a format."""
    if dtype.kind == "b":
        return np.asarray(0), np.asarray(1)
    if jnp.issubdtype(dtype, jnp.floating):
        info = jnp.finfo(dtype)
        return np.asarray(float(info.min)), np.asarray(float(info.max))
    if jnp.issubdtype(dtype, jnp.integer):
        integers = jnp.iinfo(dtype)
        return np.asarray(int(integers.min)), np.asarray(int(integers.max))
    raise InputError(f"An audit knows no ranges of {dtype}; give the array itself.")
