"""Operations on arrays, element by element: the box, every view, and the peaks at once.

An operation is interpreted on one long vector: for each source the pieces of the
operands (where an operand is no function of that source, its whole range), then the
range of the operands altogether. The result lies in each of these bounds, so that a
fault is possible only where all of them allow it.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...core import jaxpr
from . import arithmetic, functions, relations
from .arithmetic import FAULTY, NANS, Context, Events, Interval, Rule, corners
from .formats import format_of
from .state import Candidate, State
from .value import Peak, Pieces, Source, Value, boxed, small


VIEWS = 4  # sources that are followed at once
PEAKS = 2
RULES: dict[str, Rule] = {**arithmetic.RULES, **functions.RULES}


def select(c: Context, which: Interval, *cases: Interval) -> Any:
    """The case of the number `which`; where several are possible, all of them."""
    low, high = np.asarray(np.inf), np.asarray(-np.inf)
    nan = np.asarray(c.nans[0])
    for i, case in enumerate(cases):
        here = (which[0] <= i) & (which[1] >= i)
        low = np.where(here, np.minimum(low, case[0]), low)
        high = np.where(here, np.maximum(high, case[1]), high)
        nan = nan | (here & c.nans[i + 1])
    return low, high, {}, nan


RULES["select_n"] = select


def elementwise(state: State, equation: jaxpr.Equation, *values: Value) -> Any:
    """The result of an elementwise operation that has a rule."""
    if not all(v.fmt.kind != "other" for v in values):
        return NotImplemented
    aval = equation.outputs[0]
    name = equation.primitive
    alike = relations.identity(state, equation, values)
    if alike is not None:
        return alike
    number = relations.number(state, equation, values)
    rule, operands = RULES[name], list(values)
    if len(values) == 2 and values[0].number == values[1].number and name in SAME:
        rule, operands = SAME[name], operands[:1]
    context = Context(
        format_of(aval.dtype),
        tuple(v.fmt for v in operands),
        equation.params,
        (),
        [v.minus for v in operands],
    )
    shape = tuple(aval.shape)
    ceilings = relations.ceilings(state, name, values, shape)
    limits = relations.limits(state, name, values, ceilings)
    keys = followed(state, operands)
    seen = look(rule, context, operands, keys, limits)
    common = factored(state, name, values)
    if common is not None and seen.parts:
        factor, rest, sides = common
        other = look(sides, context, [factor, rest], keys, limits, seen)
        n = len(other.low)  # the box of all may be behind them
        low = np.maximum(seen.low[:n], other.low)
        high = np.maximum(low, np.minimum(seen.high[:n], other.high))
        seen.low = np.append(low, seen.low[n:])
        seen.high = np.append(high, seen.high[n:])
    out = combine(seen, keys, operands, shape, aval.dtype)
    if name == "mul" and values[0].shape == values[1].shape:
        state.products[number] = values[0], values[1]
    if out.low.size == 1 and out.least == out.most and not out.nan:
        number = state.point(out.least, aval.dtype, shape)
    out.number, out.minus = number, relations.minus(name, values)
    out.of = function_of(operands)
    kinds = {k for k, m in seen.events.items() if m.any()}
    for kind in sorted(kinds):
        told = "cast" if kind == "overflow" and name == "convert_element_type" else kind
        report(state, equation, told, kind, operands, keys, seen, out)
    gives = bool(kinds - set(NANS))
    edge = np.isinf(out.least) or np.isinf(out.most)
    out.spoilt = bool(edge) and (gives or any(v.spoilt for v in values))
    relations.relate(state, equation, values, out, ceilings)
    return out


class Seen:
    """Bounds on the vector of all views, on the box, and the events left possible."""

    def __init__(self, lengths: list[int]) -> None:
        ends = np.cumsum([0, *lengths]).tolist()
        self.parts = [slice(a, b) for a, b in itertools.pairwise(ends)]
        self.low = self.high = self.nan = np.zeros(0)
        self.box: tuple[Any, Any, bool] = (0.0, 0.0, False)
        self.raw: Events = {}
        self.events: Events = {}


def followed(state: State, operands: Sequence[Value]) -> list[Source | Peak]:
    """The views that the result will have."""
    keys: dict[Any, None] = {}
    for v in operands:
        keys.update(dict.fromkeys(state.rooted(v).views))
    sources = sorted((k for k in keys if isinstance(k, Source)), key=lambda k: k.number)
    own = {v.of for v in operands}
    chosen = [k for k in sources if k in own] + [k for k in sources if k not in own]
    peaks = [k for k in keys if isinstance(k, Peak)]
    peaks.sort(key=lambda k: k.number, reverse=True)  # a mask has those of all its uses
    return [*chosen[:VIEWS], *peaks[:PEAKS]]


def function_of(operands: Sequence[Value]) -> Source | None:
    """The one source that all operands are functions of."""
    sources = {v.of for v in operands if not (v.low.size == 1 and v.least == v.most)}
    return sources.pop() if len(sources) == 1 else None


def look(
    rule: Rule,
    context: Context,
    operands: Sequence[Value],
    keys: Sequence[Source | Peak],
    limits: tuple[float, float],
    like: "Seen | None" = None,
) -> Seen:
    """The operation on all views; on the same vector as another one with `like`."""
    if like is None:
        lengths = [
            next(len(v.views[key].low) for v in operands if key in v.views)
            for key in keys
        ]
        even = all(v.low.size == 1 for v in operands)
    else:
        lengths, even = [p.stop - p.start for p in like.parts], False
    seen = Seen([*lengths, 1] if even else lengths)
    if seen.parts:
        columns = [column(v, keys, lengths, even) for v in operands]
        args = [(c.low, c.high) for c in columns]
        vector = context._replace(nans=[c.nan for c in columns])
        low, high, events, nan = interpret(rule, vector, args, limits)
        n = seen.parts[-1].stop
        seen.low, seen.high = np.broadcast_to(low, n), np.broadcast_to(high, n)
        seen.nan = np.broadcast_to(nan, n)
        seen.raw = {k: np.broadcast_to(m, n) for k, m in events.items()}
    if like is not None:
        return seen
    if "overflow" in seen.raw and "pole" in seen.raw and seen.parts[even:]:
        # where pieces tell them apart, an infinity at a pole is no overflow
        parts = slice(0, seen.parts[-1].stop - even)
        over = seen.raw["overflow"].copy()
        over[parts] &= ~seen.raw["pole"][parts]
        seen.raw["overflow"] = over
    if even:
        last = seen.parts.pop()
        seen.box = seen.low[last], seen.high[last], bool(seen.nan[last].any())
        boxes = {k: m[last] for k, m in seen.raw.items()}
    else:
        whole = context._replace(nans=[v.nan for v in operands])
        args = [(v.low, v.high) for v in operands]
        low, high, boxes, nan = interpret(rule, whole, args, limits)
        seen.box = low, high, bool(np.any(nan))
    seen.events = possible(seen, keys, boxes)
    return seen


def possible(seen: Seen, keys: Sequence[Any], boxes: Events) -> Events:
    """The faults that no view excludes.

    One view may say that a fault is of one kind, another that it is of another: then
    it is none the less a fault, and those of the box stay.
    """
    views = [p for p, key in zip(seen.parts, keys) if isinstance(key, Source)]
    allows = lambda kind, part: kind in seen.raw and seen.raw[kind][part].any()
    boxes = {kind: mask for kind, mask in boxes.items() if mask.any()}
    out = {k: m for k, m in boxes.items() if all(allows(k, p) for p in views)}
    infinities = seen.raw.keys() - set(NANS)
    for kinds in (set(NANS), infinities | boxes.keys() - set(NANS)):
        here = {k: m for k, m in boxes.items() if k in kinds}
        known = out.keys() & kinds
        if not known and all(any(allows(k, p) for k in kinds) for p in views):
            out |= here
    return out


def column(v: Value, keys: Any, lengths: list[int], even: bool) -> Pieces:
    """An operand on the vector; one number where it has none of the views."""
    if not any(key in v.views for key in keys):
        nan = np.array([v.nan])
        return Pieces(np.array([v.least]), np.array([v.most]), nan)
    lows, highs, nans = [], [], []
    ends = [*keys, None] if even else keys
    for key, n in zip(ends, [*lengths, 1] if even else lengths):
        view = v.views.get(key) if key is not None else None
        view = view or Pieces(
            np.full(n, v.least), np.full(n, v.most), np.full(n, v.nan)
        )
        lows.append(view.low)
        highs.append(view.high)
        nans.append(view.nan)
    return Pieces(np.concatenate(lows), np.concatenate(highs), np.concatenate(nans))


def interpret(
    rule: Rule, context: Context, args: Sequence[Interval], limits: tuple[float, float]
) -> tuple[Any, Any, Events, Any]:
    """A rule at operands that may be infinite: (low, high, events, NaN).

    Overflow is what becomes infinite from finite operands, and so the rule is asked a
    second time, about the finite part of the operands.
    """
    low, high, events, *nan = rule(context, *args)
    low, high = limited(low, high, events, limits)
    isnan = nan[0] if nan else any_of(context.nans)
    if not context.fmt.real:
        return low, high, {k: m for k, m in events.items() if m.any()}, isnan
    unbounded = [np.isinf(a[0]) | np.isinf(a[1]) for a in args]
    if any(u.any() for u in unbounded):
        empty = np.asarray(False)
        finite = []
        for (a, b), fmt in zip(args, context.inputs):
            empty = empty | (a == np.inf) | (b == -np.inf)
            top = (fmt.low, fmt.high) if fmt.real else (-np.inf, np.inf)
            finite.append((np.clip(a, *top), np.clip(b, *top)))
        least, most, some, *_ = rule(context, *finite)
        least, most = limited(least, most, some, limits)
        some = {k: m & ~empty for k, m in some.items() if k not in FAULTY}
        for kind in NANS:
            if kind in events:
                some[kind] = some.get(kind, np.asarray(False)) | events[kind]
        over = (np.isinf(least) | np.isinf(most)) & ~empty
        events = some
    else:
        over = np.isinf(low) | np.isinf(high)
    if over.any():
        events["overflow"] = over
    events = {k: np.asarray(m) for k, m in events.items() if np.any(m)}
    for kind in NANS:
        if kind in events:
            isnan = isnan | events[kind]
    return low, high, events, isnan


def limited(low: Any, high: Any, events: Events, limits: Any) -> tuple[Any, Any]:
    """Cut down to what relations allow, except for infinities at poles."""
    pole = events.get("pole", np.asarray(False))
    least, most = np.maximum(low, limits[0]), np.minimum(high, limits[1])
    least = np.where(pole & (low == -np.inf), low, least)
    return least, np.where(pole & (high == np.inf), high, most)


def any_of(masks: Sequence[Any]) -> Any:
    out = np.asarray(False)
    for mask in masks:
        out = out | mask
    return out


def combine(
    seen: Seen, keys: Any, operands: Any, shape: tuple[int, ...], dtype: Any
) -> Value:
    """The result with all its views, each cut down to what the others leave."""
    low, high, nan = seen.box
    least, most = float(np.min(low)), float(np.max(high))
    for part, key in zip(seen.parts, keys):
        if isinstance(key, Source):
            least = max(least, float(seen.low[part].min()))
            most = min(most, float(seen.high[part].max()))
            nan = nan and bool(seen.nan[part].any())
    most = max(least, most)
    low, high = np.clip(low, least, most), np.clip(high, least, most)
    low, high = small(boxed(low, shape), boxed(high, shape))
    views: dict[Any, Pieces] = {}
    for part, key in zip(seen.parts, keys):
        piece = seen.low[part], seen.high[part]
        views[key] = Pieces(
            np.clip(piece[0], least, most),
            np.clip(piece[1], least, most),
            np.logical_and(seen.nan[part], nan),
        )
    return Value(shape, dtype, low, high, nan, views=views)


def report(
    state: State,
    equation: jaxpr.Equation,
    told: str,
    kind: str,
    operands: Sequence[Value],
    keys: Sequence[Any],
    seen: Seen,
    out: Value,
) -> None:
    """Write down a candidate, with the operands where it is possible."""
    spans = []
    for v in operands:
        low, high = v.least, v.most
        for part, key in zip(seen.parts, keys):
            if isinstance(key, Source) and key in v.views and kind in seen.raw:
                mask = seen.raw[kind][part]
                if not mask.any():
                    continue
                low = max(low, float(v.views[key].low[mask].min()))
                high = min(high, float(v.views[key].high[mask].max()))
                break
        spans.append((low, max(low, high)))
    gives = "nan" if kind in NANS else "inf"
    state.found(
        Candidate(
            equation,
            told,
            tuple(spans),
            (out.least, out.most),
            gives,
            derived(kind, operands),
        )
    )


def derived(kind: str, operands: Sequence[Value]) -> bool:
    """Whether it takes an end that an earlier candidate made infinite."""
    spoilt = [v for v in operands if v.spoilt]
    if not spoilt:
        return False
    if kind in ("pole", "0/0", "domain"):
        last = operands[-1]
        inner = last.least < 0 < last.most
        below = last.spoilt and last.least == -np.inf
        return below if kind == "domain" else last.spoilt and inner
    clean = [
        v for v in operands if not v.spoilt and (np.isinf(v.least) or np.isinf(v.most))
    ]
    return not clean


def factored(state: State, name: str, values: Sequence[Value]) -> Any:
    """Of g ± g·t the factor, the rest, and a rule for g·(1 ± t) in its place."""
    if name not in ("add", "add_any", "sub") or values[0].shape != values[1].shape:
        return None
    for i, (x, y) in enumerate((values, values[::-1])):
        if y.number not in state.products or not x.fmt.real:
            continue
        factors = state.products[y.number]
        sign = -1.0 if name == "sub" else 1.0
        for g, t in (factors, factors[::-1]):
            if g.number == x.number:
                terms = (1.0, sign) if i == 0 else (sign, 1.0)
                return g, t, distribute(*terms)
    return None


def distribute(one: float, sign: float) -> Rule:
    """g·(one + sign·t), with the errors of rounding the two terms."""

    def rule(c: Context, g: Interval, t: Interval) -> Any:
        ends = one + sign * t[0], one + sign * t[1]
        low, high = corners(np.multiply, g, (np.minimum(*ends), np.maximum(*ends)))
        size = np.maximum(abs(t[0]), abs(t[1])) + abs(one)
        error = 2 * c.fmt.eps * size * np.maximum(abs(g[0]), abs(g[1])) + c.fmt.tiny
        exact = (t[0] == t[1]) & np.isin(t[0], (-1.0, 0.0, 1.0))
        error = np.where(exact, 0.0, np.where(np.isnan(error), np.inf, error))
        low, high = arithmetic.settle(c.fmt, low - error, high + error)
        unknown = np.isnan(low) | np.isnan(high)
        return np.where(unknown, -np.inf, low), np.where(unknown, np.inf, high), {}

    return rule


# -- Both operands are one -------------------------------------------------------------


def zero(c: Context, x: Interval) -> Any:
    events = {"inf-inf": arithmetic.infinite(x)}
    return np.zeros_like(x[0]), np.zeros_like(x[0]), events


def one(c: Context, x: Interval) -> Any:
    events = {"0/0": arithmetic.holds_zero(x), "inf/inf": arithmetic.infinite(x)}
    return np.ones_like(x[0]), np.ones_like(x[0]), events


def double(c: Context, x: Interval) -> Any:
    low, high = arithmetic.settle(c.fmt, 2 * x[0], 2 * x[1])
    return low, high, {}


def number_at_all(c: Context, x: Interval) -> Any:
    nan = np.asarray(c.nans[0])
    return np.where(nan, 0.0, 1.0) + np.zeros_like(x[0]), np.ones_like(x[0]), {}


def no_number(c: Context, x: Interval) -> Any:
    nan = np.asarray(c.nans[0])
    return np.zeros_like(x[0]), np.where(nan, 1.0, 0.0) + np.zeros_like(x[0]), {}


def never(c: Context, x: Interval) -> Any:
    return np.zeros_like(x[0]), np.zeros_like(x[0]), {}


SAME: dict[str, Rule] = {
    "mul": arithmetic.square,
    "sub": zero,
    "div": one,
    "add": double,
    "add_any": double,
    "max": arithmetic.same,
    "min": arithmetic.same,
    "eq": number_at_all,
    "le": number_at_all,
    "ge": number_at_all,
    "ne": no_number,
    "lt": never,
    "gt": never,
}
