"""Loops and branches.

A loop of few turns is unrolled, which loses nothing. Otherwise its body is interpreted
with bounds that hold before every turn: the carried values are joined over some turns,
then an end that still moves is pushed to the next of a few thresholds until nothing
moves (Cousot & Cousot 1977, widening). What is found in the turns before that is not
written down.
"""

from collections.abc import Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from ...core import jaxpr
from .state import State, hull, ranged
from .value import ELEMENTS, Pieces, Source, Value, small


class Run(Protocol):
    """Interprets the body with this number of an equation."""

    def __call__(
        self, equation: jaxpr.Equation, body: int, values: Sequence[Value]
    ) -> list[Value]: ...


#: Equations that unrolling a loop may cost.
UNROLLED = 1500
JOINED = 3  # turns before bounds are widened


def count(closed: jaxpr.Closed) -> int:
    return sum(1 for _ in jaxpr.equations(closed))


def scan(state: State, run: Run, equation: jaxpr.Equation, *values: Value) -> Any:
    loop = equation.control
    consts, carry, xs = loop.split(values)
    n, m = loop.length, loop.num_carry
    if n * count(loop.body) <= UNROLLED or n <= 4:
        outs: list[list[Value]] = [[] for _ in equation.outputs[m:]]
        order = range(n)[:: -1 if loop.reverse else 1]
        for t in order:
            rows = [turn(state, x, t) for x in xs]
            result = run(equation, 0, [*consts, *carry, *rows])
            carry = result[:m]
            for ys, y in zip(outs, result[m:]):
                ys.append(y)
        avals = equation.outputs[m:]
        flip = -1 if loop.reverse else 1
        stacked = [
            stack(state, ys[::flip], a) for ys, a in zip(outs, avals, strict=True)
        ]
        return [*carry, *stacked]
    rows = [any_turn(state, x) for x in xs]
    step = lambda now: run(equation, 0, [*consts, *now, *rows])
    carry, result = settled(state, step, carry, m, n)
    ends = [hull([a, b], state) for a, b in zip(carry, result[:m])]
    stacked = [
        stack(state, [y] * n, a) for y, a in zip(result[m:], equation.outputs[m:])
    ]
    return [*ends, *stacked]


def settled(
    state: State, step: Any, carry: Sequence[Value], m: int, length: int = 0
) -> tuple[list[Value], list[Value]]:
    """Bounds of the carried values that hold before every turn, and a turn from them."""
    now = list(carry)
    with silent(state):
        after = step(now)[:m]
        now = [
            a if a.number == b.number else bare(state, a) for a, b in zip(now, after)
        ]
        for turns in range(64):
            before, after = now, step(now)[:m]
            now = [join(state, a, b, turns > JOINED) for a, b in zip(now, after)]
            if all(a is b for a, b in zip(now, before)):
                break
            if turns == JOINED and (
                steady := growing(state, step, before, now, length)
            ):
                now = steady
                break
        else:
            top = lambda v: ranged(state, v, -np.inf, np.inf, nan=True, spoilt=True)
            now = list(map(top, now))
    if any(v.spoilt and not a.spoilt for v, a in zip(now, carry)):
        step(list(map(finite, now)))  # what becomes infinite here, and not before
    return now, step(now)


def finite(v: Value) -> Value:
    """Its finite part."""
    top = v.fmt.high if v.fmt.real else np.inf
    low, high = np.clip(v.low, -top, top), np.clip(v.high, -top, top)
    return replace(v, low=low, high=high, spoilt=False, views={}, of=None)


def growing(
    state: State, step: Any, before: Sequence[Value], now: Sequence[Value], length: int
) -> list[Value] | None:
    """Carried values that grow by at most as much in every turn, if they do.

    With bounds h + βt before turn t as the pieces of a source "turn", one interpretation
    of the body shows for all turns at once whether h + β(t + 1) holds after it.
    """
    if not 0 < length <= ELEMENTS:
        return None
    source = Source(-1 - state.fresh())
    turns = np.arange(length, dtype=np.float64)
    trial, rates = [], []
    for a, b in zip(before, now):
        rate = 1.05 * max(a.least - b.least, b.most - a.most, 0.0)
        if a is b or not (b.fmt.real and np.isfinite(rate) and rate > 0):
            trial.append(b)
            rates.append(0.0)
            continue
        rate += 1e-6 * (abs(b.least) + abs(b.most))
        pieces = Pieces(b.least - rate * turns, b.most + rate * turns, turns < 0)
        v = ranged(state, b, pieces.low[-1], pieces.high[-1], spoilt=b.spoilt)
        v.views[source] = pieces
        trial.append(v)
        rates.append(rate)
    for v, b, after, rate in zip(trial, now, step(trial), rates):
        view = after.views.get(source) if rate else None
        low, high = (view.low, view.high) if view else (after.least, after.most)
        late = turns + 1 if view else 1
        inside = (low >= b.least - rate * late) & (high <= b.most + rate * late)
        if after.number != v.number and (not np.all(inside) or after.nan > v.nan):
            return None
    return trial


@contextmanager
def silent(state: State) -> Any:
    before, state.recording = state.recording, False
    try:
        yield
    finally:
        state.recording = before


def join(state: State, a: Value, b: Value, widen: bool) -> Value:
    """`a` itself if `b` lies inside."""
    low, high = np.minimum(a.low, b.low), np.maximum(a.high, b.high)
    grown = (low < a.low).any() or (high > a.high).any()
    if a.number == b.number or not (grown or (b.nan and not a.nan)):
        return a
    if widen and grown:
        low = np.where(low < a.low, below(a, low), a.low)
        high = np.where(high > a.high, above(a, high), a.high)
    low, high = small(low, high)
    return Value(
        a.shape,
        a.dtype,
        low,
        high,
        nan=a.nan or b.nan,
        spoilt=a.spoilt or b.spoilt,
        number=state.fresh(),
    )


def bare(state: State, v: Value) -> Value:
    """Its bounds alone: other turns have other values."""
    return Value(v.shape, v.dtype, v.low, v.high, v.nan, v.spoilt, number=state.fresh())


def thresholds(v: Value) -> np.ndarray:
    fmt = v.fmt
    if not fmt.real:
        return np.array([0.0, 1.0, fmt.high])
    powers = 10.0 ** np.array([0.0, 1, 2, 4, 8, 16, 30])
    return np.concatenate([[0.0], powers[powers < fmt.high], [fmt.high, np.inf]])


def above(v: Value, x: np.ndarray) -> np.ndarray:
    """The next threshold from x upwards."""
    steps = thresholds(v)
    if not v.fmt.real:
        steps = np.append(-steps[::-1] + min(v.fmt.low + v.fmt.high, 0), steps)
    else:
        steps = np.append(-steps[::-1], steps)
    steps = np.sort(steps)
    return steps[np.minimum(np.searchsorted(steps, x), len(steps) - 1)]


def below(v: Value, x: np.ndarray) -> np.ndarray:
    if v.fmt.real:
        return -above(v, -x)
    return np.where(x >= 0, 0.0, v.fmt.low)


def turn(state: State, xs: Value, t: int) -> Value:
    """The slice of one turn."""
    at = t if xs.low.shape[0] > 1 else 0
    number = state.number("turn", xs.number, t)
    low, high = xs.low[at], xs.high[at]
    return Value(xs.shape[1:], xs.dtype, low, high, xs.nan, xs.spoilt, number=number)


def any_turn(state: State, xs: Value) -> Value:
    low, high = xs.low.min(0), xs.high.max(0)
    number = state.fresh()
    return Value(xs.shape[1:], xs.dtype, low, high, xs.nan, xs.spoilt, number=number)


def stack(state: State, ys: Sequence[Value], aval: Any) -> Value:
    """The results of all turns in one array."""
    nan, spoilt = any(y.nan for y in ys), any(y.spoilt for y in ys)
    shapes = {y.low.shape for y in ys}
    size = len(ys) * max((y.low.size for y in ys), default=1)
    if not ys:
        return ranged(state, aval, 0.0, 0.0)
    same = all(y.number == ys[0].number for y in ys)
    if same or len(shapes) > 1 or size > ELEMENTS:
        low = np.minimum.reduce(np.broadcast_arrays(*[y.low for y in ys]))[None]
        high = np.maximum.reduce(np.broadcast_arrays(*[y.high for y in ys]))[None]
    else:
        low, high = np.stack([y.low for y in ys]), np.stack([y.high for y in ys])
    return ranged(state, aval, low, high, nan=nan, spoilt=spoilt)


def while_loop(state: State, run: Run, equation: jaxpr.Equation, *values: Value) -> Any:
    loop = equation.control
    tests, consts, carry = loop.split(values)
    counter = counted(loop, tests)

    def step(now: Sequence[Value]) -> list[Value]:
        run(equation, 0, [*tests, *now])
        return run(equation, 1, [*consts, *limited(state, now, counter)])

    now, after = settled(state, step, carry, len(carry))
    return [hull([a, bare(state, b)], state) for a, b in zip(now, after)]


def counted(loop: jaxpr.While, tests: Sequence[Value]) -> tuple[int, float] | None:
    """Of a condition `i < n`: which of the carried values i is, and the bound of n."""
    program = loop.condition.jaxpr
    if len(program.eqns) != 1 or program.eqns[0].primitive.name not in ("lt", "lt_to"):
        return None
    i, n = program.eqns[0].invars
    names = list(program.invars)
    if hasattr(i, "val") or i not in names[len(tests) :]:
        return None
    at = names.index(i) - len(tests)
    if hasattr(n, "val"):
        return at, float(n.val)
    if n in names[: len(tests)]:
        return at, tests[names.index(n)].most
    return None


def limited(
    state: State, now: Sequence[Value], counter: tuple[int, float] | None
) -> list[Value]:
    """What is carried, where the condition holds."""
    out = list(now)
    if counter is not None and now[counter[0]].fmt.kind == "int":
        v, top = now[counter[0]], counter[1] - 1
        high = np.maximum(np.minimum(v.high, top), v.low)
        if (high < v.high).any():
            out[counter[0]] = replace(bare(state, v), high=high)
    return out


def cond(state: State, run: Run, equation: jaxpr.Equation, *values: Value) -> Any:
    index, operands = values[0], values[1:]
    last = len(equation.control.branches) - 1
    first, final = (int(np.clip(e, 0, last)) for e in (index.least, index.most))
    results = [run(equation, i, operands) for i in range(first, final + 1)]
    return [hull(list(outs), state) for outs in zip(*results)]
