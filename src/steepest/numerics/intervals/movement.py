"""Operations that move elements and compute nothing.

Bounds move with the elements; so do views, under a name that says how they were moved,
and relations, whose array is moved alike.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...core import jaxpr
from .state import Candidate, Spread, State, ranged, signature, unknown
from .value import (
    ELEMENTS,
    About,
    Peak,
    Share,
    Source,
    Value,
    boxed,
    own_axes,
    small,
)


Axes = tuple[int, ...]  # for each axis of the result, that of the operand, or −1


def moved(
    state: State,
    equation: jaxpr.Equation,
    v: Value,
    low: np.ndarray,
    high: np.ndarray,
    axes: Axes | None,
    *others: Value,
    spreads: bool = False,
    out: int = 0,
) -> Value:
    """The operand with its elements moved; with `spreads`, `axes` say all about it."""
    shape = tuple(equation.outputs[out].shape)
    name: Any = (*signature(equation), out, *(o.number for o in others))
    if spreads and axes is not None:
        axes = tuple(-1 if n == 1 else a for a, n in zip(axes, shape))
        name = Spread(axes, v.shape, shape)
    elif name[0] == "reshape":
        name = ("reshape", shape)
    low, high = small(low, high)
    result = Value(shape, v.dtype, low, high, v.nan, v.spoilt)
    result.number = renumbered(state, v.number, name)
    result.constant, result.minus = v.constant, v.minus
    for key, pieces in state.rooted(v).views.items():
        if isinstance(key, Source):
            there = Source(key.number, onward(key.moves, name))
            result.views[there] = pieces
            result.of = there if key == v.of else result.of
        elif axes is not None and (rest := carried(key.axes, axes)) is not None:
            moves = onward(key.moves, name)
            result.views[Peak(key.number, rest, moves)] = pieces

    own = own_axes(v.shape)

    lost = {d for d, n in enumerate(v.shape) if n > 1 and d not in (axes or ())}

    def mapped(a: About) -> About | None:
        """Of an array that stays as it is."""
        if axes is None or any(a.axes[d] >= 0 for d in lost):
            return None
        there = tuple(a.axes[d] if d >= 0 else -1 for d in axes)
        return About(a.number, a.shape, there)

    def about(a: About) -> About | None:
        """Of an array that was moved alike, where that has a number of its own."""
        if not spreads and a.axes == own and a.shape == v.shape:
            return About(renumbered(state, a.number, name), shape, own_axes(shape))
        return mapped(a)

    def powers(relations: Any) -> Any:
        pairs = [(about(a), power) for a, power in relations.items()]
        return {a: power for a, power in pairs if a is not None}

    abouts = lambda relations: frozenset(filter(None, map(about, relations)))
    result.above, result.below = abouts(v.above), abouts(v.below)
    result.over, result.under = powers(v.over), powers(v.under)
    result.maximum = about(v.maximum) if v.maximum else None
    result.summed = about(v.summed) if v.summed else None
    for share in ("total", "mixed"):
        old: Share | None = getattr(v, share)
        there = carried(old.axes, axes) if old and axes is not None else None
        if (
            old
            and there is not None
            and length(shape, there) == length(v.shape, old.axes)
        ):
            setattr(result, share, old._replace(axes=there))
    state.keep(result)
    return result


def renumbered(state: State, number: int, name: Any) -> int:
    if isinstance(name, Spread):
        return state.spread(name._replace(source=number))
    return state.number("moved", name, number)


def onward(moves: tuple[Any, ...], name: Any) -> tuple[Any, ...]:
    """A list of moves and one more."""
    last = moves[-1] if moves else None
    if isinstance(name, Spread):
        if isinstance(last, Spread):
            name, moves = name.after(last), moves[:-1]
        return moves if name.nothing else (*moves, name)
    if last is not None and name[0] == last[0] == "reshape":
        moves = moves[:-1]
    return (*moves, name)


def length(shape: Sequence[int], axes: Any) -> int:
    return math.prod(shape[a] for a in axes)


def carried(old: frozenset[int], axes: Axes) -> frozenset[int] | None:
    """Where some axes of the operand are in the result; None if one is gone."""
    there = frozenset(d for d, a in enumerate(axes) if a in old)
    return there if len(there) == len(old) else None


def broadcast(state: State, equation: jaxpr.Equation, v: Value, *_: Value) -> Value:
    shape = tuple(equation.outputs[0].shape)
    dims = tuple(equation.params["broadcast_dimensions"])
    if shape == v.shape:
        return v
    axes = [-1] * len(shape)
    sizes = [1] * len(shape)
    for d, there in enumerate(dims):
        sizes[there] = v.low.shape[d]
        axes[there] = d if v.shape[d] == shape[there] else -1
    low, high = v.low.reshape(sizes), v.high.reshape(sizes)
    return moved(state, equation, v, low, high, tuple(axes), spreads=True)


def reshape(state: State, equation: jaxpr.Equation, v: Value, *_: Value) -> Value:
    shape = tuple(equation.outputs[0].shape)
    if equation.primitive == "reshape" and equation.params["dimensions"] is not None:
        return NotImplemented
    if shape == v.shape:
        return v
    axes, groups = regroup(v.shape, shape)
    low, high = regrouped(v, shape, groups)
    large = [d for d, n in enumerate(v.shape) if n > 1]
    spreads = large == sorted(a for a in axes if a >= 0)
    return moved(state, equation, v, low, high, axes, spreads=spreads)


def regroup(old: Axes, new: Axes) -> tuple[Axes, list[tuple[list[int], list[int]]]]:
    """Axes of both shapes in groups that hold the same elements."""
    axes, groups = [-1] * len(new), []
    i = j = 0
    while i < len(old) or j < len(new):
        mine, theirs = [], []
        a = b = 1
        if i < len(old):
            mine, a, i = [i], old[i], i + 1
        if j < len(new):
            theirs, b, j = [j], new[j], j + 1
        while a != b:
            if (a < b and i < len(old)) or j >= len(new):
                a, mine, i = a * old[i], [*mine, i], i + 1
            else:
                b, theirs, j = b * new[j], [*theirs, j], j + 1
        groups.append((mine, theirs))
        large = [d for d in mine if old[d] > 1]
        same = [d for d in theirs if new[d] > 1]
        if len(large) == 1 and len(same) == 1:
            axes[same[0]] = large[0]
    return tuple(axes), groups


def regrouped(v: Value, shape: Axes, groups: Any) -> tuple[np.ndarray, np.ndarray]:
    """Bounds in the new shape; a group that varies is spread out."""
    full: list[int] = list(v.low.shape)
    sizes: list[int] = [1] * len(shape)
    for mine, theirs in groups:
        if any(v.low.shape[d] > 1 for d in mine):
            for d in mine:
                full[d] = v.shape[d]
            for d in theirs:
                sizes[d] = shape[d]
    if math.prod(full) > 4 * ELEMENTS:
        return boxed(v.least, shape), boxed(v.most, shape)
    low, high = (np.broadcast_to(b, full).reshape(sizes) for b in (v.low, v.high))
    return low, high


def transpose(state: State, equation: jaxpr.Equation, v: Value) -> Value:
    axes = tuple(equation.params["permutation"])
    low, high = v.low.transpose(axes), v.high.transpose(axes)
    return moved(state, equation, v, low, high, axes, spreads=True)


def reverse(state: State, equation: jaxpr.Equation, v: Value) -> Value:
    dims = tuple(d for d in equation.params["dimensions"] if v.low.shape[d] > 1)
    low, high = np.flip(v.low, dims), np.flip(v.high, dims)
    return moved(state, equation, v, low, high, v.whole)


def cut(state: State, equation: jaxpr.Equation, v: Value) -> Value:
    """A slice with constant ends."""
    params = equation.params
    strides = params["strides"] or (1,) * len(v.shape)
    ends = zip(params["start_indices"], params["limit_indices"], strides)
    index = tuple(
        slice(*e) if n > 1 else slice(None) for e, n in zip(ends, v.low.shape)
    )
    out = equation.outputs[0].shape
    axes = tuple(d if n == m else -2 for d, (n, m) in enumerate(zip(v.shape, out)))
    kept = tuple(-1 if a == -2 else a for a in axes)
    return moved(state, equation, v, v.low[index], v.high[index], kept)


def dynamic_slice(
    state: State, equation: jaxpr.Equation, v: Value, *at: Value
) -> Value:
    sizes = equation.params["slice_sizes"]
    low, high, axes = v.low, v.high, []
    for d, n in enumerate(sizes):
        axes.append(d if n == v.shape[d] else -1)
        if n != v.shape[d] and low.shape[d] > 1:
            first = int(np.clip(at[d].least, 0, v.shape[d] - n))
            last = int(np.clip(at[d].most, 0, v.shape[d] - n))
            if first == last:
                index = (*(slice(None),) * d, slice(first, first + n))
                low, high = low[index], high[index]
            else:
                index = (*(slice(None),) * d, slice(first, last + n))
                low = low[index].min(d, keepdims=True)
                high = high[index].max(d, keepdims=True)
    return moved(state, equation, v, low, high, tuple(axes), *at)


def dynamic_update_slice(
    state: State, equation: jaxpr.Equation, v: Value, update: Value, *at: Value
) -> Value:
    out = equation.outputs[0]
    nan, spoilt = v.nan or update.nan, v.spoilt or update.spoilt
    fixed = all(a.least == a.most for a in at)
    if fixed and v.size <= ELEMENTS:
        low, high = np.broadcast_to(v.low, v.shape), np.broadcast_to(v.high, v.shape)
        low, high = low.copy(), high.copy()
        index = tuple(
            slice(s := int(np.clip(a.least, 0, n - m)), s + m)
            for a, n, m in zip(at, v.shape, update.shape)
        )
        low[index], high[index] = update.low, update.high
    else:
        low = np.minimum(v.low, update.least)
        high = np.maximum(v.high, update.most)
    number = state.computed(equation, (v, update, *at))
    return ranged(state, out, low, high, nan=nan, spoilt=spoilt, number=number)


def split(state: State, equation: jaxpr.Equation, v: Value) -> list[Value]:
    axis, start, outs = equation.params["axis"], 0, []
    for i, n in enumerate(equation.params["sizes"]):
        index = (slice(None),) * axis + (slice(start, start + n),)
        part = index if v.low.shape[axis] > 1 else ...
        axes = tuple(d if d != axis else -1 for d in v.whole)
        outs.append(moved(state, equation, v, v.low[part], v.high[part], axes, out=i))
        start += n
    return outs


def concatenate(state: State, equation: jaxpr.Equation, *values: Value) -> Value:
    axis, out = equation.params["dimension"], equation.outputs[0]
    alike = all(v.low.size == 1 for v in values)
    ends = {(v.least, v.most) for v in values}
    if alike and len(ends) == 1:
        low, high = values[0].low, values[0].high
    elif out.shape[axis] > ELEMENTS:
        low = boxed(min(v.least for v in values), out.shape)
        high = boxed(max(v.most for v in values), out.shape)
    else:
        low = join([v.low for v in values], values, axis)
        high = join([v.high for v in values], values, axis)
    return ranged(
        state,
        out,
        low,
        high,
        nan=any(v.nan for v in values),
        spoilt=any(v.spoilt for v in values),
        number=state.computed(equation, values),
    )


def join(
    bounds: Sequence[np.ndarray], values: Sequence[Value], axis: int
) -> np.ndarray:
    shape = [max(n) for n in zip(*[b.shape for b in bounds])]
    parts = []
    for bound, v in zip(bounds, values):
        shape[axis] = v.shape[axis]
        parts.append(np.broadcast_to(bound, shape))
    return np.concatenate(parts, axis)


def stack(state: State, equation: jaxpr.Equation, *values: Value) -> Value:
    axis, out = equation.params["axis"], equation.outputs[0]
    put = lambda bound: np.expand_dims(bound, axis)
    lows = [put(v.low) for v in values]
    highs = [put(v.high) for v in values]
    shape = tuple(map(max, zip(*[b.shape for b in lows])))
    low = np.concatenate([np.broadcast_to(b, shape) for b in lows], axis)
    high = np.concatenate([np.broadcast_to(b, shape) for b in highs], axis)
    number = state.computed(equation, values)
    nan, spoilt = any(v.nan for v in values), any(v.spoilt for v in values)
    return ranged(state, out, low, high, nan=nan, spoilt=spoilt, number=number)


def unstack(state: State, equation: jaxpr.Equation, v: Value) -> list[Value]:
    axis = equation.params["axis"]
    axes = tuple(d for d in v.whole if d != axis)
    outs = []
    for i in range(len(equation.outputs)):
        at = (slice(None),) * axis + (i if v.low.shape[axis] > 1 else 0,)
        outs.append(moved(state, equation, v, v.low[at], v.high[at], axes, out=i))
    return outs


def tile(state: State, equation: jaxpr.Equation, v: Value) -> Value:
    low, high = v.low, v.high
    for d, (n, m) in enumerate(zip(v.shape, equation.outputs[0].shape)):
        if n != m and low.shape[d] > 1:
            low, high = low.min(d, keepdims=True), high.max(d, keepdims=True)
    return moved(state, equation, v, low, high, None)


def pad(state: State, equation: jaxpr.Equation, v: Value, fill: Value) -> Value:
    out = equation.outputs[0]
    low, high = np.minimum(v.low, fill.least), np.maximum(v.high, fill.most)
    config = equation.params["padding_config"]
    sizes = [
        1 if a <= 0 and b <= 0 and i == 0 and n == m else n
        for (a, b, i), n, m in zip(config, v.shape, out.shape)
    ]
    if v.size <= ELEMENTS and math.prod(out.shape) <= ELEMENTS and v.low.size > 1:
        low, high = (
            padded(v.low, v, config, fill.least),
            padded(v.high, v, config, fill.most),
        )
    else:
        for d, n in enumerate(sizes):
            if n != 1 and low.shape[d] > 1:
                low, high = low.min(d, keepdims=True), high.max(d, keepdims=True)
        if any(a < 0 or b < 0 for a, b, _ in config):
            low, high = boxed(low.min(), out.shape), boxed(high.max(), out.shape)
    return ranged(
        state,
        out,
        low,
        high,
        nan=v.nan or fill.nan,
        spoilt=v.spoilt or fill.spoilt,
        number=state.computed(equation, (v, fill)),
    )


def padded(bound: np.ndarray, v: Value, config: Any, fill: float) -> np.ndarray:
    out = np.broadcast_to(bound, v.shape)
    for d, (before, after, inside) in enumerate(config):
        n = out.shape[d] + max(out.shape[d] - 1, 0) * inside
        spread = np.full((*out.shape[:d], n, *out.shape[d + 1 :]), fill)
        index = (slice(None),) * d
        spread[(*index, slice(None, None, inside + 1))] = out
        spread = spread[(*index, slice(max(-before, 0), n - max(-after, 0)))]
        widths = [(0, 0)] * out.ndim
        widths[d] = max(before, 0), max(after, 0)
        out = np.pad(spread, widths, constant_values=fill)
    return out


def iota(state: State, equation: jaxpr.Equation, *_: Value) -> Value:
    out, axis = equation.outputs[0], equation.params["dimension"]
    n = out.shape[axis]
    sizes = [1] * len(out.shape)
    sizes[axis] = n
    numbers = np.arange(n, dtype=np.float64).reshape(sizes)
    number = state.computed(equation, ())
    low = numbers if n <= ELEMENTS else boxed(0.0, out.shape)
    high = numbers if n <= ELEMENTS else boxed(n - 1.0, out.shape)
    return ranged(state, out, low, high, number=number)


def same(state: State, equation: jaxpr.Equation, *values: Value) -> Any:
    return list(values) if len(equation.outputs) > 1 or len(values) != 1 else values[0]


def gather(state: State, equation: jaxpr.Equation, v: Value, at: Value) -> Value:
    """Elements from wherever the indices may point to; outside there is a filling."""
    params, out = equation.params, equation.outputs[0]
    dnums, sizes = params["dimension_numbers"], params["slice_sizes"]
    last = [v.shape[d] - sizes[d] for d in dnums.start_index_map]
    first, final = spans(at)
    inside = bool((first >= 0).all() and (final <= np.asarray(last)).all())
    mode = str(params["mode"])
    low, high = v.low, v.high
    for i, d in enumerate(dnums.start_index_map):
        if low.shape[d] > 1:
            a = int(np.clip(first[i], 0, last[i]))
            b = int(np.clip(final[i], 0, last[i])) + sizes[d]
            index = (slice(None),) * d + (slice(a, b),)
            low, high = low[index], high[index]
    low, high = boxed(low.min(), out.shape), boxed(high.max(), out.shape)
    result = moved(state, equation, v, low, high, None, at)
    fills = "FILL" in mode and not inside
    if fills and v.fmt.real:
        fill = params.get("fill_value")
        if fill is None or np.isnan(fill):
            result.nan = True
            event = Candidate(
                equation,
                "domain",
                ((v.least, v.most),),
                (v.least, v.most),
                "nan",
                at.spoilt,
            )
            state.found(event)
            result.views = {
                k: p._replace(nan=np.ones_like(p.nan)) for k, p in result.views.items()
            }
        else:
            result.low, result.high = np.minimum(low, fill), np.maximum(high, fill)
            result.views, result.of = {}, None
        forget(result)
    elif fills:
        fill = params.get("fill_value")
        ends = (v.fmt.low, v.fmt.high) if fill is None else (float(fill), float(fill))
        result.low, result.high = np.minimum(low, ends[0]), np.maximum(high, ends[1])
        result.views = {}
        forget(result)
    return result


def forget(v: Value) -> None:
    v.above = v.below = frozenset()
    v.over, v.under, v.maximum, v.summed = {}, {}, None, None
    v.total = v.mixed = None


def spans(at: Value) -> tuple[np.ndarray, np.ndarray]:
    """Ends of each coordinate of an array of indices, which is its last axis."""
    n = at.shape[-1] if at.shape else 1
    axes = tuple(range(at.low.ndim - 1))
    low = at.low.min(axes) if axes else at.low
    high = at.high.max(axes) if axes else at.high
    return np.broadcast_to(low, n), np.broadcast_to(high, n)


def copies(state: State, equation: jaxpr.Equation, at: Value) -> int:
    """How many updates may meet in one element."""
    dnums = equation.params["dimension_numbers"]
    batch = tuple(getattr(dnums, "scatter_indices_batching_dims", ()))
    if equation.params.get("unique_indices"):
        return 1
    if distinct(at):
        return 1
    n = [size for d, size in enumerate(at.shape[:-1]) if d not in batch]
    return max(math.prod(n), 1)


def distinct(at: Value) -> bool:
    """Whether all index vectors differ, by coordinates that count the positions."""
    if len(at.shape) < 2:
        return True
    rest = {d for d in range(len(at.shape) - 1) if at.shape[d] > 1}
    for i in range(at.low.shape[-1]):
        low, high = at.low[..., i], at.high[..., i]
        if (low == high).all():
            rest -= {d for d in rest if counts(np.moveaxis(low, d, 0), at.shape[d])}
    return not rest


def counts(rows: np.ndarray, n: int) -> bool:
    """Whether there are n different numbers, each alone in its row."""
    rows = rows.reshape(len(rows), -1)
    alone = (rows.max(1) == rows.min(1)).all()
    return len(rows) == n and bool(alone) and len(np.unique(rows[:, 0])) == n


def scatter_add(
    state: State, equation: jaxpr.Equation, v: Value, at: Value, updates: Value
) -> Value:
    from .reductions import summed

    n = copies(state, equation, at)
    low, high = np.minimum(updates.least, 0.0), np.maximum(updates.most, 0.0)
    terms = (np.minimum(v.low, v.low + n * low), np.maximum(v.high, v.high + n * high))
    return summed(state, equation, [v, updates], *terms, n + 1)


def scatter_sub(
    state: State, equation: jaxpr.Equation, v: Value, at: Value, updates: Value
) -> Value:
    turned = replace(
        updates, low=-updates.high, high=-updates.low, number=state.fresh()
    )
    return scatter_add(state, equation, v, at, turned)


def scatter(
    state: State, equation: jaxpr.Equation, v: Value, at: Value, updates: Value
) -> Value:
    low = np.minimum(v.low, updates.least)
    high = np.maximum(v.high, updates.most)
    number = state.computed(equation, (v, at, updates))
    return ranged(
        state,
        equation.outputs[0],
        low,
        high,
        nan=v.nan or updates.nan,
        spoilt=v.spoilt or updates.spoilt,
        number=number,
    )


def sort(state: State, equation: jaxpr.Equation, *values: Value) -> Any:
    axis, outs = equation.params["dimension"], []
    for v in values:
        low, high = v.low.min(axis, keepdims=True), v.high.max(axis, keepdims=True)
        aval = equation.outputs[len(outs)]
        outs.append(ranged(state, aval, low, high, nan=v.nan, spoilt=v.spoilt))
    return outs if len(outs) > 1 else outs[0]


def top_k(state: State, equation: jaxpr.Equation, v: Value) -> list[Value]:
    axis = equation.params.get("axis", len(v.shape) - 1)
    low, high = v.low.min(axis, keepdims=True), v.high.max(axis, keepdims=True)
    values = ranged(state, equation.outputs[0], low, high, nan=v.nan, spoilt=v.spoilt)
    return [values, ranged(state, equation.outputs[1], 0, v.shape[axis] - 1)]


def bitcast(state: State, equation: jaxpr.Equation, v: Value) -> Value:
    """Floats from 0 up and integers from 0 up, of the same bits, in the same order."""
    out = equation.outputs[0]
    target = np.dtype(out.dtype)
    size = target.itemsize
    same = v.fmt.real and target.kind in "iu" and v.dtype.itemsize == size
    if same and not v.nan and (v.least > 0 or (v.least == 0 and not v.minus)):
        bits = np.array([v.least, v.most]).astype(v.dtype).view(f"u{size}")
        return ranged(
            state, out, *bits.astype(float), number=state.computed(equation, [v])
        )
    known = v.fmt.kind == "int" and v.dtype.itemsize == target.itemsize
    if known and target in (np.float32, np.float64, np.float16) and v.least >= 0:
        kind = np.dtype(f"u{target.itemsize}")
        ends = np.array([v.least, v.most]).astype(kind).view(target)
        if np.isfinite(ends).all():
            return ranged(
                state, out, *ends.astype(float), number=state.computed(equation, [v])
            )
    result = unknown(state, out, nan=True)
    if result.fmt.real:
        span = (v.least, v.most)
        event = Candidate(equation, "domain", (span,), (-np.inf, np.inf), "nan", False)
        state.found(event)
    return result


def full_range(state: State, equation: jaxpr.Equation, *_: Value) -> list[Value]:
    """Random bits, keys: anything of the format."""
    return [unknown(state, aval) for aval in equation.outputs]


RULES: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": broadcast,
    "reshape": reshape,
    "squeeze": reshape,
    "expand_dims": reshape,
    "transpose": transpose,
    "rev": reverse,
    "slice": cut,
    "dynamic_slice": dynamic_slice,
    "dynamic_update_slice": dynamic_update_slice,
    "split": split,
    "concatenate": concatenate,
    "pad": pad,
    "stack": stack,
    "unstack": unstack,
    "tile": tile,
    "iota": iota,
    "copy": same,
    "copy_p": same,
    "stop_gradient": same,
    "optimization_barrier": same,
    "sharding_constraint": same,
    "device_put": same,
    "pvary": same,
    "name": same,
    "gather": gather,
    "scatter-add": scatter_add,
    "scatter_add": scatter_add,
    "scatter_sub": scatter_sub,
    "scatter-sub": scatter_sub,
    "scatter": scatter,
    "scatter_max": scatter,
    "scatter_min": scatter,
    "scatter-max": scatter,
    "scatter-min": scatter,
    "sort": sort,
    "top_k": top_k,
    "bitcast_convert_type": bitcast,
    "random_bits": full_range,
    "random_seed": full_range,
    "random_wrap": full_range,
    "random_unwrap": full_range,
    "random_split": full_range,
    "random_fold_in": full_range,
    "random_clone": full_range,
    "threefry2x32": full_range,
    "rng_bit_generator": full_range,
}
