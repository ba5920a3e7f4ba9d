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

import jax.numpy as jnp
import numpy as np
from jax import lax

from ...core import jaxpr
from .operations import STEPS, TERMS, Address, is_float
from .pairs import Pair as Pair, paired as paired
from .terms import judged, look, product, sums, terms_in
from .wide import bind, widened


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
    elif all(repeats(x.native.shape, shape) for x in floats):
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


def repeats(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
    """Whether an array of one shape fills the other when it is repeated."""
    if not small:
        return True
    each = zip(small, large, strict=False)
    return len(small) == len(large) and all(m in (1, n) for m, n in each)


def step_of(x: Any) -> int:
    return max(1, x.size // SAMPLE)


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
