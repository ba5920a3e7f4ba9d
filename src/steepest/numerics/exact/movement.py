"""Operations that move elements: let JAX move numbers of elements instead.

Each element of the operands gets a number, the operation is run on arrays of these
numbers, and what comes out says which element goes where. Numbers are never negative,
so that what JAX fills in (out of the bounds of a `gather`) is told from them.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...core import jaxpr
from ...core.errors import InputError
from .elementary import is_object, natively
from .functions import NAN, ZERO, add
from .run import Run, each, is_float


#: Number of leading operands that are moved; the others say whereto.
MOVED: dict[str, int | None] = {
    "broadcast_in_dim": 1,
    "reshape": None,
    "squeeze": None,
    "expand_dims": None,
    "transpose": None,
    "slice": None,
    "rev": None,
    "copy": None,
    "split": None,
    "stack": None,
    "unstack": None,
    "concatenate": None,
    "pad": None,
    "gather": 1,
    "dynamic_slice": 1,
    "dynamic_update_slice": 2,
    "tile": None,
}


def move(run: Run, equation: jaxpr.Equation, *values: Any) -> Any:
    count = MOVED[equation.primitive]
    moved = list(values) if count is None else list(values[:count])
    if not any(map(is_object, moved)):
        return natively(equation, *values)
    pool, numbers = numbered(moved)
    params = dict(equation.eqn.primitive.get_bind_params(equation.eqn.params))
    if equation.primitive == "gather":
        params["fill_value"] = -1
    out = equation.eqn.primitive.bind(*numbers, *values[len(moved) :], **params)
    outs = out if equation.eqn.primitive.multiple_results else [out]
    return [taken(pool, o) for o in outs]


def numbered(values: list[Any]) -> tuple[np.ndarray, list[Any]]:
    """All elements in a row, and arrays of their numbers."""
    numbers, start = [], 0
    for x in values:
        x = np.asarray(x)
        numbers.append(
            jnp.arange(start, start + x.size, dtype=jnp.int32).reshape(x.shape)
        )
        start += x.size
    rows = [np.asarray(x, object).ravel() for x in values]
    return np.concatenate(rows), numbers


def taken(pool: np.ndarray, numbers: Any, missing: Any = NAN) -> np.ndarray:
    numbers = np.asarray(numbers)
    out = np.empty(numbers.shape, object)
    flat = numbers.ravel()
    rest = out.reshape(-1)
    for i, n in enumerate(flat):
        rest[i] = pool[n] if n >= 0 else missing
    return rest.reshape(numbers.shape)


def select(run: Run, equation: jaxpr.Equation, which: Any, *cases: Any) -> Any:
    if not is_object(cases[0]):
        return natively(equation, which, *cases)
    index = np.asarray(which).astype(int)
    index = np.broadcast_to(index, cases[0].shape)
    return each(lambda i, *at: at[i], index, *cases)


def scatter(run: Run, equation: jaxpr.Equation, x: Any, at: Any, updates: Any) -> Any:
    """Write, add, multiply or compare updates into places of x."""
    if not is_object(x):
        return natively(equation, x, at, updates)
    combine = SCATTERED[equation.primitive]
    out = x.copy().reshape(-1)
    for n, u in zip(targets(equation, x, at, updates), updates.ravel(), strict=True):
        if n >= 0:
            out[n] = combine(run, out[n], u)
    return out.reshape(x.shape)


def targets(equation: jaxpr.Equation, x: Any, at: Any, updates: Any) -> np.ndarray:
    """The number of the element that each update goes to; −1 for none.

    The transpose of a scatter-add takes from each place what would be added there.
    """
    params = equation.params
    promised = params["mode"] == lax.GatherScatterMode.PROMISE_IN_BOUNDS
    drop = lax.GatherScatterMode.FILL_OR_DROP

    def added(u: Any) -> Any:
        return lax.scatter_add(
            jnp.zeros(x.shape, jnp.float32),
            jnp.asarray(at),
            u,
            params["dimension_numbers"],
            mode=drop if promised else params["mode"],
        )

    names = jnp.arange(1, x.size + 1, dtype=jnp.float32).reshape(x.shape)
    _, transposed = jax.vjp(added, jnp.zeros(updates.shape, jnp.float32))
    (found,) = transposed(names)
    return np.asarray(found).ravel().astype(int) - 1


SCATTERED: dict[str, Callable[..., Any]] = {
    "scatter": lambda run, old, new: new,
    "scatter-add": add,
    "scatter_add": add,
    "scatter_sub": lambda run, old, new: add(run, old, -new),
    "scatter-sub": lambda run, old, new: add(run, old, -new),
    "scatter_mul": lambda run, old, new: old * new,
    "scatter-mul": lambda run, old, new: old * new,
    "scatter_min": lambda run, old, new: min(old, new),
    "scatter-min": lambda run, old, new: min(old, new),
    "scatter_max": lambda run, old, new: max(old, new),
    "scatter-max": lambda run, old, new: max(old, new),
}


def empty(run: Run, equation: jaxpr.Equation) -> Any:
    """Memory that nothing reads before it is written."""
    return [np.full(v.shape, ZERO, object) for v in equation.outputs]


def native(run: Run, equation: jaxpr.Equation, *values: Any) -> Any:
    """An equation without floats runs as it is; another one is refused."""
    floats = [v for v in (*equation.inputs, *equation.outputs) if is_float(v)]
    if floats and equation.primitive not in RANDOM:
        at = f" at {equation.place}" if equation.place.file else ""
        raise InputError(
            f"`{equation.primitive}`{at} has no rule in exact arithmetic. Evaluate a "
            "part of the program without it."
        )
    return natively(equation, *values)


#: They draw floats: what is drawn is the program's number.
RANDOM = frozenset(("random_gamma", "rng_uniform", "random_bits"))


RULES: dict[str, Callable[..., Any]] = {
    **dict.fromkeys(MOVED, move),
    **dict.fromkeys(SCATTERED, scatter),
    "select_n": select,
    "empty": empty,
    "empty2": empty,
}
