"""What is kept of an operation: its worst element, and what that was made from.

For a result ŷ of the program and y of the wide run, of operands x̂ and x, the element
with the greatest relative error |ŷ − y| / |y| is kept as a row of numbers: the error, ŷ
and y, and of up to two operands x̂ᵢ and xᵢ there. For a sum (a product of matrices is
one) the terms t̂ and t of that element are kept as Σ t̂, Σ |t| and Σ |t̂ − t|; where the
sum is over a large array, Σ |t| and Σ |t̂ − t| as a typical element has them. The rest is
worked out from these where somebody reads it (`reading`), so that a shadow adds little
to a program. Errors of numbers below the smallest normal one of the format are relative
to that one; of a large result a regular sample of elements is looked at.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...core import jaxpr
from .operations import LINEAR, STEPS, TERMS, Address, is_float
from .wide import bind, run_wide, widened


SAMPLE = 512  # elements of a result
LARGE = 4_096  # elements; the sums over larger arrays are judged by samples of these


class Row(NamedTuple):
    """Scalars of float64."""

    error: (
        Any  # |ŷ − y| / |y| at the worst element; ∞ where a NaN or an infinity is born
    )
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


class Pair(NamedTuple):
    """A value of the program and its shadow; one and the same if it is no float."""

    native: Any
    wide: Any


def paired(x: Any) -> Pair:
    extended = jax.dtypes.issubdtype(getattr(x, "dtype", None), jax.dtypes.extended)
    x = x if extended else jnp.asarray(x)
    return Pair(x, widened(x))


class Probe(NamedTuple):
    """An operation that was run: samples of its result and of its operands."""

    address: Address
    native: Any  # vector
    wide: Any
    operands: tuple[Any, ...]  # x̂₁, x₁, x̂₂, x₂ at the same elements, or none
    terms: Callable[[Any], tuple[Any, ...]] | None  # of a sum, at an element
    count: int  # of terms in a large sum, which is judged by samples; else 0
    tiny: float
    step: int  # between elements of the sample


def probe(
    equation: jaxpr.Equation, operands: Sequence[Pair], outs: Sequence[Pair]
) -> Probe | None:
    """What is kept of an equation that was run, until its worst element is known."""
    out = next((o for o in outs if is_float(o.native)), None)
    if out is None or equation.primitive in STEPS or out.native.size == 0:
        return None
    shape, step = out.native.shape, step_of(out.native)
    terms, taken, count = None, (), 0
    floats = [x for x in operands if is_float(x.native)][:2]
    if equation.primitive in TERMS:
        if max(x.native.size for x in floats) > LARGE:
            count = terms_in(equation)
            taken = tuple(
                sampled(v, v.shape, step_of(v))
                for x in floats[: 1 + product(equation)]
                for v in x
            )
        else:
            terms = functools.partial(look, equation, operands, outs)
    elif all(x.native.ndim in (0, len(shape)) for x in floats):
        taken = tuple(sampled(v, shape, step) for x in floats for v in x)
    return Probe(
        equation.address,
        sampled(out.native, shape, step),
        sampled(out.wide, shape, step),
        taken,
        terms,
        count,
        float(jnp.finfo(out.native.dtype).tiny),
        step,
    )


def step_of(x: Any) -> int:
    return max(1, x.size // SAMPLE)


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


def sampled(x: Any, shape: tuple[int, ...], step: int) -> Any:
    """Every `step`-th element, in float64, of an array that is repeated to `shape`."""
    size = math.prod(shape)
    length = min(size, SAMPLE)
    if x.size == 1:
        return lax.broadcast(lax.reshape(widened(x), ()), (length,))
    if x.shape != shape:
        x = lax.broadcast_in_dim(x, shape, tuple(range(len(shape))))
    x = lax.reshape(x, (size,))
    if size > SAMPLE:
        x = lax.slice(x, (0,), ((length - 1) * step + 1,), (step,))
    return widened(x)


def rows_of(probes: Sequence[Probe]) -> list[Any]:
    """The rows of probes, in matrices with the addresses of their rows."""
    groups: dict[Any, list[Probe]] = {}
    for p in probes:
        sizes = tuple(v.size for v in p.operands)
        kind = p.native.size, p.native.dtype, sizes, p.terms is None, p.count > 0
        groups.setdefault(kind, []).append(p)
    return [(tuple(p.address for p in g), _rows(g)) for g in groups.values()]


def _rows(probes: Sequence[Probe]) -> Any:
    """All of one kind at once, which keeps the program small."""
    native = jnp.stack([p.native for p in probes])
    wide = jnp.stack([p.wide for p in probes])
    tiny = jnp.asarray([[p.tiny] for p in probes], jnp.float64)
    size = len(probes[0].operands)
    operands = [jnp.stack([p.operands[i] for p in probes]) for i in range(size)]
    error = relative(native, wide, jnp.broadcast_to(tiny, wide.shape))
    if not probes[0].count:
        error = jnp.where(born(native, operands[::2]), jnp.inf, error)
    worst = error.max(axis=1)
    index = lax.broadcasted_iota(jnp.uint32, error.shape, 1)
    last = jnp.full_like(index, error.shape[1] - 1)
    k = jnp.where(error == worst[:, None], index, last).min(axis=1)
    element = k * jnp.asarray([p.step for p in probes], jnp.uint32)

    def at(x: Any) -> Any:
        chosen = jnp.take_along_axis(x, k[:, None].astype(jnp.int32), 1)[:, 0]
        return jnp.real(chosen)

    if probes[0].count:
        kept = judged(operands, jnp.asarray([float(p.count) for p in probes]))
    else:
        kept = [at(x) for x in operands]
    if probes[0].terms is not None:
        kept = sums([p.terms(element[i]) for i, p in enumerate(probes) if p.terms])
    n, zero, one = len(probes), jnp.zeros(len(probes)), jnp.ones(len(probes))
    columns = EMPTY._replace(
        error=worst,
        native=at(native),
        wide=at(wide),
        element=element.astype(jnp.float64),
        ran=one,
        **dict(zip(KEPT, kept, strict=False)),
    )
    return jnp.stack(
        [v if hasattr(v, "shape") and v.shape == (n,) else zero + v for v in columns], 1
    )


KEPT = ("first", "first_wide", "second", "second_wide")


def assemble(rows: Sequence[Any], order: Sequence[Address]) -> Any:
    """One matrix with the rows of these addresses, empty where there is none."""
    empty = jnp.asarray([EMPTY], jnp.float64)
    where = {a: i for i, a in enumerate(a for addresses, _ in rows for a in addresses)}
    whole = jnp.concatenate([*(matrix for _, matrix in rows), empty])
    return whole[np.asarray([where.get(a, len(where)) for a in order], np.int32)]


def born(native: Any, operands: Sequence[Any]) -> Any:
    """Where a NaN or an infinity is made from operands that are none."""
    if not operands:
        return jnp.zeros(native.shape, bool)
    finite, number = jnp.isfinite(native), ~jnp.isnan(native)
    given, known = jnp.ones_like(finite), jnp.ones_like(finite)
    for x in operands:
        given, known = given & jnp.isfinite(x), known & ~jnp.isnan(x)
    return (~finite & given) | (~number & known)


def relative(a: Any, b: Any, tiny: Any) -> Any:
    """|a − b| / |b|; 0 where b says nothing, ∞ where a is not finite and b is."""
    error = abs(a - b) / jnp.maximum(abs(b), tiny)
    nothing = jnp.where(jnp.isfinite(b), jnp.inf, 0.0)
    return jnp.where(error == error, error, nothing)


def pick(x: Any, k: Any) -> Any:
    """One element of a vector, as a real number."""
    return jnp.real(lax.reshape(lax.dynamic_slice(x, (k,), (1,)), ()))


def decided(
    equation: jaxpr.Equation, operands: Sequence[Pair], out: Pair
) -> tuple[tuple[Address, ...], Any]:
    """How many elements the wide run would decide in another way, as a row."""
    wides = [x.wide for x in operands]
    if equation.primitive in ("argmax", "argmin"):
        other = outdone(equation, wides[0], out.native)
    else:
        found = bind(equation, wides)[0]
        other = (found != lax.convert_element_type(out.native, found.dtype)).sum()
    row = EMPTY._replace(decisions=other, ran=1)
    columns = [lax.convert_element_type(v, jnp.float64) for v in row]
    return (equation.address,), jnp.stack(columns)[None]


def outdone(equation: jaxpr.Equation, x: Any, chosen: Any) -> Any:
    """How many indices of an `argmax` are not those of the greatest wide values."""
    (axis,) = equation.params["axes"]
    x = x if equation.primitive == "argmax" else -x
    at = jnp.expand_dims(chosen, axis).astype(jnp.int32)
    return (jnp.take_along_axis(x, at, axis) < x.max(axis, keepdims=True)).sum()


# -- What an element was made from -----------------------------------------------------


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
