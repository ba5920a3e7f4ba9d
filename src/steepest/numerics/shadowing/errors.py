"""What is kept of an operation: its worst element, and what that was made from.

For a result ŷ of the program and y of the wide run, of operands x̂ and x, the element
with the greatest relative error |ŷ − y| / |y| is kept as a row of numbers: the error, ŷ
and y, and of up to two operands x̂ᵢ and xᵢ there. For a sum (a product of matrices is
one) the terms t̂ and t of that element are kept as Σ t̂, Σ |t| and Σ |t̂ − t|. The rest is
worked out from these where somebody reads it (`reading`), so that a shadow adds little
to a program. Errors of numbers below the smallest normal one of the format are relative
to that one; of a large result a regular sample of elements is looked at.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from ...core import jaxpr
from .operations import COMPARES, LINEAR, STEPS, is_float
from .wide import bind, run_wide, widened


SAMPLE = 16_384  # elements of a result


class Row(NamedTuple):
    """Scalars of float64."""

    error: Any  # |ŷ − y| / |y| at the worst element
    native: Any  # ŷ
    wide: Any  # y
    first: Any  # x̂₁, or Σ t̂ of a sum
    first_wide: Any  # x₁, or Σ |t|
    second: Any  # x̂₂, or Σ |t̂ − t|
    second_wide: Any
    element: Any  # its number
    turn: Any  # of the innermost loop; −1 outside of loops
    decisions: Any  # elements that the wide run would decide in another way
    ran: Any  # 1 if the operation was run


EMPTY = Row(0, 0, 0, 0, 0, 0, 0, 0, -1, 0, 0)
COLUMNS = {name: i for i, name in enumerate(Row._fields)}


def stacked(row: Row) -> Any:
    return jnp.stack([lax.convert_element_type(v, jnp.float64) for v in row])


class Pair(NamedTuple):
    """A value of the program and its shadow; one and the same if it is no float."""

    native: Any
    wide: Any


def paired(x: Any) -> Pair:
    extended = jax.dtypes.issubdtype(getattr(x, "dtype", None), jax.dtypes.extended)
    x = x if extended else jnp.asarray(x)
    return Pair(x, widened(x))


def row_of(
    equation: jaxpr.Equation, operands: Sequence[Pair], outs: Sequence[Pair]
) -> Row:
    """The row of an equation that was run."""
    out = next((o for o in outs if is_float(o.native)), None)
    if out is None or equation.primitive in STEPS:
        return decided(equation, operands, outs[0])
    if out.native.size == 0:
        return EMPTY
    step = -(-out.native.size // SAMPLE)
    tiny = float(jnp.finfo(out.native.dtype).tiny)
    n = lax.reshape(widened(out.native), (out.native.size,))
    w = lax.reshape(out.wide, (out.native.size,))
    if step > 1:
        n, w = (lax.slice(v, (0,), (v.size,), (step,)) for v in (n, w))
    error = relative(n, w, tiny)
    worst, k = greatest(error)
    at = k if step == 1 else k * jnp.uint32(step)
    kept = look(equation, operands, outs, at)
    return EMPTY._replace(
        error=worst,
        native=pick(n, k),
        wide=pick(w, k),
        **dict(zip(KEPT, kept, strict=False)),
        element=at,
        ran=1,
    )


KEPT = ("first", "first_wide", "second", "second_wide")


def relative(a: Any, b: Any, tiny: float) -> Any:
    """|a − b| / |b|; 0 where b says nothing, ∞ where a is not finite and b is."""
    error = abs(a - b) / lax.max(abs(b), jnp.full(b.shape, tiny, jnp.float64))
    nothing = lax.select(
        lax.is_finite(lax.real(b)) if jnp.iscomplexobj(b) else lax.is_finite(b),
        jnp.full(b.shape, jnp.inf),
        jnp.zeros(b.shape),
    )
    return lax.select(lax.ne(error, error), nothing, error)


def greatest(x: Any) -> tuple[Any, Any]:
    """The greatest element of a vector, and its number.

    `argmax` is lowered outside of our context, and knows no float64 there.
    """
    worst = lax.reduce_max(x, (0,))
    index = lax.iota(jnp.uint32, x.size)
    last = jnp.full(x.shape, x.size - 1, jnp.uint32)
    found = lax.eq(x, lax.broadcast_in_dim(worst, x.shape, ()))
    return worst, lax.reduce_min(lax.select(found, index, last), (0,))


def pick(x: Any, k: Any) -> Any:
    """One element of a vector, as a real number."""
    v = lax.reshape(lax.dynamic_slice(x, (k,), (1,)), ())
    return lax.real(v) if jnp.iscomplexobj(v) else v


def decided(equation: jaxpr.Equation, operands: Sequence[Pair], out: Pair) -> Row:
    """How many elements the wide run would decide in another way."""
    wides = [x.wide for x in operands]
    if equation.primitive in ("argmax", "argmin"):
        other = outdone(equation, wides[0], out.native)
    elif equation.primitive in COMPARES or equation.primitive in STEPS:
        other = jnp.sum(bind(equation, wides)[0] != widened(out.native))
    else:
        other = jnp.sum(bind(equation, wides)[0] != out.native)
    return EMPTY._replace(decisions=other, ran=1)


def outdone(equation: jaxpr.Equation, x: Any, chosen: Any) -> Any:
    """How many indices of an `argmax` are not those of the greatest wide values."""
    (axis,) = equation.params["axes"]
    x = x if equation.primitive == "argmax" else -x
    at = jnp.expand_dims(chosen, axis).astype(jnp.int32)
    return jnp.sum(jnp.take_along_axis(x, at, axis) < x.max(axis, keepdims=True))


# -- What an element was made from -----------------------------------------------------


def look(
    equation: jaxpr.Equation,
    operands: Sequence[Pair],
    outs: Sequence[Pair],
    element: Any,
) -> tuple[Any, ...]:
    """The numbers `KEPT` of one element of the result."""
    name = equation.primitive
    if name in ROWS:
        native, wide = ROWS[name](equation, operands, element)
        return native.sum(), abs(wide).sum(), abs(native - wide).sum()
    if name in LINEAR:
        return of_linear(equation, operands, outs, element)
    shape = equation.outputs[0].shape
    floats = [x for x in operands if is_float(x.native)]
    if any(x.native.ndim not in (0, len(shape)) for x in floats):
        return ()
    picked: list[Any] = []
    for x in floats[:2]:
        picked += [picked_at(widened(v), shape, element) for v in x]
    return tuple(picked)


def picked_at(x: Any, shape: tuple[int, ...], element: Any) -> Any:
    """The element of an operand that one of the result comes from."""
    if x.size == 1:
        x = lax.reshape(x, ())
        return lax.real(x) if jnp.iscomplexobj(x) else x
    if x.shape != shape:  # sides of length 1 are repeated
        at = unravelled(element, shape)
        at = [i for i, n in zip(at, x.shape, strict=True) if n > 1]
        element = ravelled(at, [n for n in x.shape if n > 1])
    return pick(lax.reshape(x, (x.size,)), element)


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
    return tuple(widened(sliced(v, chosen)) for v in x)


def dot_terms(equation: Any, operands: Sequence[Pair], element: Any) -> Any:
    """The products that one element of a `dot_general` adds, of both runs."""
    (ca, cb), (ba, bb) = equation.params["dimension_numbers"]
    a, b = operands
    fa = [i for i in range(a.native.ndim) if i not in (*ca, *ba)]
    fb = [i for i in range(b.native.ndim) if i not in (*cb, *bb)]
    at = unravelled(element, equation.outputs[0].shape)
    batch, rest = at[: len(ba)], at[len(ba) :]
    left = dict(zip([*ba, *fa], [*batch, *rest[: len(fa)]], strict=True))
    right = dict(zip([*bb, *fb], [*batch, *rest[len(fa) :]], strict=True))

    def terms(u: Any, v: Any) -> Any:
        u = widened(sliced(u, left)).transpose([*ba, *fa, *ca]).reshape(-1)
        v = widened(sliced(v, right)).transpose([*bb, *fb, *cb]).reshape(-1)
        return u * v

    return terms(a.native, b.native), terms(a.wide, b.wide)


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
