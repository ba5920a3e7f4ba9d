"""The terms that one element of a sum adds: what `errors` keeps of a sum.

Sums are reductions, products of matrices, convolutions and what else is linear. Of a
small one the terms of its worst element are taken; a large one is judged by samples of
its operands.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ...core import jaxpr
from .operations import LINEAR, is_float
from .pairs import Pair
from .wide import run_wide, widened


def look(
    equation: jaxpr.Equation,
    operands: Sequence[Pair],
    outs: Sequence[Pair],
    element: Any,
) -> tuple[Any, ...]:
    """Of one element of a sum: Σ t̂, Σ |t|, Σ |t̂ − t|; or what they are the sums of."""
    if equation.primitive in LINEAR:
        return of_linear(equation, operands, outs, element)
    return ROWS[equation.primitive](equation, operands, element)


def judged(operands: Sequence[Any], count: Any) -> list[Any]:
    """Σ |t| and Σ |t̂ − t| of large sums, from samples of their operands; Σ t̂ is NaN."""
    mass, change = count, jnp.zeros_like(count)
    for x_hat, x in zip(operands[::2], operands[1::2], strict=True):
        size = abs(x).mean(axis=1)
        moved = abs(x_hat - x).mean(axis=1)
        mass = mass * size
        change = change + jnp.where(size > 0, moved / jnp.where(size > 0, size, 1), 0.0)
    return [jnp.full_like(count, jnp.nan), mass, mass * change]


def sums(found: Sequence[tuple[Any, ...]]) -> list[Any]:
    """Σ t̂, Σ |t| and Σ |t̂ − t| of many sums, those of one length at once."""
    groups: dict[Any, list[int]] = {}
    for i, parts in enumerate(found):
        kind = tuple((v.shape, str(v.dtype)) for v in parts)
        groups.setdefault(kind, []).append(i)
    order, columns = [], []
    for members in groups.values():
        parts = [
            jnp.stack([found[i][k] for i in members])
            for k in range(len(found[members[0]]))
        ]
        order += members
        columns.append(parts if parts[0].ndim == 1 else _summed(parts))
    back = np.argsort(np.asarray(order))
    return [jnp.concatenate([c[k] for c in columns])[back] for k in range(3)]


def _summed(parts: Sequence[Any]) -> list[Any]:
    """Of terms (t̂, t), or of factors (û, u, v̂, v) with t = u v; along the last axis."""
    parts = [widened(v) for v in parts]
    native, wide = (
        parts if len(parts) == 2 else (parts[0] * parts[2], parts[1] * parts[3])
    )
    return [jnp.real(native.sum(1)), abs(wide).sum(1), abs(native - wide).sum(1)]


def unravelled(k: Any, shape: Sequence[int]) -> list[Any]:
    """Of a number of an element its number along each axis."""
    at: list[Any] = []
    for n in reversed(shape):
        size = jnp.uint32(n)
        at.insert(0, lax.rem(k, size) if n > 1 else jnp.uint32(0))
        k = lax.div(k, size) if n > 1 else k
    return at


def ravelled(at: Sequence[Any], shape: Sequence[int]) -> Any:
    k: Any = jnp.uint32(0)
    for i, n in zip(at, shape, strict=True):
        k = k * jnp.uint32(n) + i
    return k


def sliced(x: Any, at: dict[int, Any]) -> Any:
    """One place along each of some axes."""
    if not at:
        return x
    starts = [at.get(i, jnp.uint32(0)) for i in range(x.ndim)]
    sizes = [1 if i in at else n for i, n in enumerate(x.shape)]
    return lax.dynamic_slice(x, starts, sizes)


def reduce_terms(equation: Any, operands: Sequence[Pair], element: Any) -> Any:
    """The terms that one element of a `reduce_sum` adds, of both runs."""
    x = operands[0]
    axes = equation.params["axes"]
    kept = [i for i in range(x.native.ndim) if i not in axes]
    at = unravelled(element, [x.native.shape[i] for i in kept])
    chosen = dict(zip(kept, at, strict=True))
    return tuple(sliced(v, chosen).reshape(-1) for v in x)


def dot_terms(equation: Any, operands: Sequence[Pair], element: Any) -> Any:
    """The factors of the products that one element of a `dot_general` adds."""
    (ca, cb), (ba, bb) = equation.params["dimension_numbers"]
    a, b = operands
    fa = [i for i in range(a.native.ndim) if i not in (*ca, *ba)]
    fb = [i for i in range(b.native.ndim) if i not in (*cb, *bb)]
    at = unravelled(element, equation.outputs[0].shape)
    batch, rest = at[: len(ba)], at[len(ba) :]
    left = dict(zip([*ba, *fa], [*batch, *rest[: len(fa)]], strict=True))
    right = dict(zip([*bb, *fb], [*batch, *rest[len(fa) :]], strict=True))

    def factors(x: Pair, at: Any, axes: Sequence[int], contracted: Any) -> list[Any]:
        cut = [sliced(v, at) for v in x]
        if list(contracted) != sorted(contracted):
            cut = [v.transpose([*axes, *contracted]) for v in cut]
        return [v.reshape(-1) for v in cut]

    return (*factors(a, left, [*ba, *fa], ca), *factors(b, right, [*bb, *fb], cb))


def of_linear(
    equation: Any, operands: Sequence[Pair], outs: Sequence[Pair], element: Any
) -> tuple[Any, ...]:
    """A linear operation on x̂, |x| and |x̂ − x|."""
    operands, element = smaller(equation, operands, element)
    natives = [x.native for x in operands]

    def at(values: Sequence[Any]) -> Any:
        found = run_wide(equation, values, natives, [o.native for o in outs])
        return pick(lax.reshape(found[0], (found[0].size,)), element)  # type: ignore[index]

    given = [widened(n) for n in natives]
    size = [abs(x.wide) if is_float(x.wide) else x.wide for x in operands]
    moved = [
        abs(g - x.wide) if is_float(g) else g
        for g, x in zip(given, operands, strict=True)
    ]
    if (
        equation.primitive == "conv_general_dilated"
    ):  # of a product, one factor at a time
        change = at([moved[0], size[1]]) + at([size[0], moved[1]])
    elif equation.primitive == "select_and_scatter_add":
        change = at([moved[0], operands[1].wide])
        return at(given), at([size[0], operands[1].wide]), change
    else:
        change = at(moved)
    return at(given), at(size), change


def smaller(
    equation: Any, operands: Sequence[Pair], element: Any
) -> tuple[Sequence[Pair], Any]:
    """Of a convolution, only the example and the filter that the element is of."""
    if equation.primitive != "conv_general_dilated":
        return operands, element
    p = equation.params
    numbers, shape = p["dimension_numbers"], list(equation.outputs[0].shape)
    at, cut = unravelled(element, shape), [{}, {}]
    if p["batch_group_count"] == 1:
        axis = numbers.out_spec[0]
        cut[0], at[axis], shape[axis] = (
            {numbers.lhs_spec[0]: at[axis]},
            jnp.uint32(0),
            1,
        )
        if p["feature_group_count"] == 1:
            axis = numbers.out_spec[1]
            cut[1] = {numbers.rhs_spec[0]: at[axis]}
            at[axis], shape[axis] = jnp.uint32(0), 1
    parts = [
        Pair(*(sliced(v, c) for v in x)) for x, c in zip(operands, cut, strict=True)
    ]
    return parts, ravelled(at, shape)


ROWS: dict[str, Callable[..., Any]] = {
    "reduce_sum": reduce_terms,
    "dot_general": dot_terms,
}


def product(equation: jaxpr.Equation) -> bool:
    """Whether the terms of a sum are products of two operands."""
    return equation.primitive in ("dot_general", "conv_general_dilated")


def terms_in(equation: jaxpr.Equation) -> int:
    """How many terms an element of a sum has."""
    p, (x, *rest) = equation.params, equation.inputs
    match equation.primitive:
        case "reduce_sum":
            return math.prod(x.shape[i] for i in p["axes"])
        case "dot_general":
            return math.prod(x.shape[i] for i in p["dimension_numbers"][0][0])
        case "conv_general_dilated":
            outputs = rest[0].shape[p["dimension_numbers"].rhs_spec[0]]
            return max(1, rest[0].size // outputs)
        case "cumsum":
            return max(1, x.shape[p["axis"]] // 2)
        case "reduce_window_sum":
            return math.prod(p["window_dimensions"])
        case _:
            return 1


def pick(x: Any, k: Any) -> Any:
    """One element of a vector, as a real number."""
    return jnp.real(lax.reshape(lax.dynamic_slice(x, (k,), (1,)), ()))
