"""How values lie to each other: order, powers, maxima, sums that are one.

Bounds of each value alone do not know that x − max x ≤ 0. So a value remembers which
others it is above or below (`above`, `below`), and by which power of them it is bounded
(`over`: v ≥ c|u|^p; `under`: |v| ≤ c|u|^p). From Σ x² ≥ x²:

    x / √(mean x² + ε):   mean x² ≥ |x|²/n,   √(mean x² + ε) ≥ |x|/√n,   |·| ≤ √n.   (1)

Rounding to nearest is monotone and so keeps order: fl(u + t) ≥ u for t ≥ 0.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ...core import jaxpr
from .formats import rounded
from .state import State
from .value import About, Peak, Pieces, Share, Value


COMMUTE = ("add", "add_any", "mul", "max", "min", "eq", "ne", "and", "or", "xor")
MOST = 16  # relations of one value that are remembered
Powers = dict[About, tuple[float, float]]


def number(state: State, equation: jaxpr.Equation, values: Sequence[Value]) -> int:
    """Equal for equal results, also of x·x, x² and `integer_pow`."""
    spreads = [state.spreads.get(v.number) for v in values]
    ways = {s._replace(source=-1) for s in spreads if s is not None and s.shape}
    spread = all(s is not None or not v.shape for s, v in zip(spreads, values))
    if spread and len(ways) == 1:  # computed before it is spread, or after
        sources = [s.source if s else v.number for s, v in zip(spreads, values)]
        return state.spread(ways.pop()._replace(source=named(state, equation, sources)))
    return named(state, equation, [v.number for v in values])


def named(state: State, equation: jaxpr.Equation, numbers: list[int]) -> int:
    name, params = equation.primitive, equation.params
    if name == "square" or (name == "integer_pow" and params["y"] == 2):
        return state.number("mul", numbers[0], numbers[0])
    if name in COMMUTE:
        name = "add" if name == "add_any" else name
        return state.number(name, *sorted(numbers))
    if name == "convert_element_type":
        return state.number(name, str(params["new_dtype"]), *numbers)
    if name == "integer_pow":
        return state.number(name, params["y"], *numbers)
    if name == "reduce_precision":
        bits = params["exponent_bits"], params["mantissa_bits"]
        return state.number(name, *bits, *numbers)
    return state.number(name, *numbers)


def scalar(v: Value) -> float | None:
    """The number that every element is, or None."""
    if v.low.size == 1 and v.least == v.most and not v.nan:
        return v.least
    return None


def identity(
    state: State, equation: jaxpr.Equation, values: Sequence[Value]
) -> Value | None:
    """The operand that the result is equal to."""
    aval = equation.outputs[0]
    fits = lambda v: v.shape == tuple(aval.shape) and v.dtype == aval.dtype
    name, first = equation.primitive, values[0]
    if name == "convert_element_type":
        return first if fits(first) else None
    if name == "select_n":
        low, high = first.least, first.most
        if low == high and not first.nan and fits(values[1 + int(low)]):
            return values[1 + int(low)]
        return finite_part(state, values)
    if len(values) != 2:
        return None
    x, y = values
    for v, w in ((x, y), (y, x)):
        if not fits(v):
            continue
        c = scalar(w)
        if name in ("mul", "div") and c == 1 and (name == "mul" or w is y):
            return v
        if name in ("add", "sub", "add_any") and c == 0 and (name != "sub" or w is y):
            return v
        if name == "max" and v.least >= w.most and not (v.nan or w.nan):
            return v
        if name == "min" and v.most <= w.least and not (v.nan or w.nan):
            return v
    return None


def finite_part(state: State, values: Sequence[Value]) -> Value | None:
    """`where(isfinite(m), m, 0)` of a maximum: where it is not, all is −∞."""
    which, other, m = values[0], values[1], values[-1]
    if len(values) != 3 or state.finite_of.get(which.number) != m.number:
        return None
    if scalar(other) != 0 or m.most == np.inf or m.shape != other.shape or m.nan:
        return None
    top = m.fmt.high
    low, high = np.maximum(m.low, -top), np.maximum(m.high, 0.0)
    return replace(
        m,
        low=low,
        high=high,
        number=state.number("finite", m.number),
        views={},
        of=None,
        maximum=None,
        over={},
        below=frozenset(),
    )


def covers(about: About | None, v: Value, base: About | None = None) -> bool:
    """Whether a relation is with `v` (or its `base`), element by element."""
    if about is None:
        return False
    base = v.base if base is None else base
    same = about.number == base.number and about.shape == base.shape
    if not about.axes:  # of one number that stands for an array
        return same
    return same and all(a in (b, -1) for a, b in zip(about.axes, base.axes))


def rests(about: About, v: Value) -> frozenset[int]:
    """The axes of `v` along which it holds with every element."""
    axes = about.axes or (-1,) * len(v.shape)
    return frozenset(d for d, a in enumerate(axes) if a == -1 and v.shape[d] > 1)


def any_covers(abouts: Any, v: Value) -> bool:
    return any(covers(a, v) for a in abouts)


def limits(
    state: State, name: str, values: Sequence[Value], ceilings: Powers
) -> tuple[float, float]:
    """Bounds of a result that follow from relations of its operands."""
    low, high = -np.inf, np.inf
    sizes = values[:1] if name == "div" else values  # an infinite divisor gives 0
    tops = []
    if all(np.isfinite(v.least) and np.isfinite(v.most) for v in sizes):
        # a power that overflowed is above what its relations say
        tops = [ceiling(state, about, *power) for about, power in ceilings.items()]
    if name == "sub":
        x, y = values
        if any_covers(y.above, x) or any_covers(x.below, y):
            high = 0.0
        if any_covers(x.above, y) or any_covers(y.below, x):
            low = 0.0
    elif name == "div":
        x, y = values
        bound = [c for a, (p, c) in y.over.items() if p == 1 and covers(a, x)]
        tops += [slack(y) / c for c in bound if c > 0]
        if x.least >= 0 and any_covers(y.above, x):
            high = 1.0
    elif name == "mul":
        for x, y in (values, values[::-1]):
            if y.most < np.inf:
                bound = [c for a, (p, c) in y.under.items() if p == -1 and covers(a, x)]
                tops += [slack(x) * c for c in bound]
    if tops and values[0].fmt.real:
        top = min(tops) * (1 + 64 * values[0].fmt.eps)
        top = float(rounded(values[0].fmt, np.asarray(top)))
        low, high = max(low, -top), min(high, top)
    return low, high


def ceiling(state: State, about: About, p: float, c: float) -> float:
    """The greatest c·|u|^p over the range of u."""
    u = state.values.get(about.number)
    if u is None:
        return np.inf
    size = max(abs(u.least), abs(u.most))
    least = 0.0 if u.least <= 0 <= u.most else min(abs(u.least), abs(u.most))
    base = size if p > 0 else least
    with np.errstate(all="ignore"):
        top = float(c * np.float64(base) ** p)
    return top if np.isfinite(top) else np.inf


def under(state: State, v: Value) -> Powers:
    """What `v` is under: itself, and by what was told later of those it is under."""
    out = {v.base: (1.0, 1.0), **v.under}
    for about, (p, c) in list(out.items()):
        for b, (q, d) in state.told.get(about.number, {}).items():
            if p > 0:
                axes = tuple(b.axes[a] if a >= 0 else -1 for a in about.axes)
                factor = c * to_the(d, p)
                if 0 < factor < np.inf:
                    key = About(b.number, b.shape, axes)
                    out.setdefault(key, (p * q, factor))
    return out


def to_the(c: float, p: float) -> float:
    """cᵖ, which may overflow or vanish: then the relation that it is of says nothing."""
    with np.errstate(all="ignore"):
        return float(np.float64(c) ** p)


def ceilings(
    state: State, name: str, values: Sequence[Value], shape: tuple[int, ...]
) -> Powers:
    """|result| ≤ c |u|^p, from what holds of the operands."""
    if name not in ("mul", "div", "add", "add_any", "sub", "neg", "abs", "select_n"):
        return {}
    part = 1 + 4 * values[0].fmt.eps
    if name in ("neg", "abs"):
        return under(state, values[0])
    if name == "select_n":
        values = values[1:]
    out: Powers = {}
    x, y = values[0], values[-1]
    if name in ("mul", "div"):
        fits = lambda v: under(state, v) if v.shape == shape else {}
        first, second = fits(x), fits(y)
        if name == "div":
            floors = y.over if y.shape == shape else {}
            if safe(y) and y.shape == shape:
                floors = floors | {y.base: (1.0, 1.0)}
            floors = floors if safe(y) else {}
            second = {a: (-p, 1 / c) for a, (p, c) in floors.items() if c > 0}
            other = 1 / y.least if y.least > 0 else np.inf
        else:
            other = magnitude_of(y)
        for about in {**first, **second}:
            p, c = first.get(about, (0.0, magnitude_of(x)))
            q, d = second.get(about, (0.0, other))
            if np.isfinite(c * d) and abs(p + q) <= 8:
                out[about] = (p + q, c * d * part)
    elif len(values) == 2 and x.shape == y.shape == shape:
        first, second = under(state, x), under(state, y)
        for about in first.keys() & second.keys():
            (p, c), (q, d) = first[about], second[about]
            if p == q:
                most = max(c, d) if name == "select_n" else (c + d) * part
                out[about] = (p, most)
    return dict(list(out.items())[-MOST:])


def safe(v: Value) -> bool:
    """Whether it is so far above 0 that no square in it can have underflowed."""
    return v.least >= 1e3 * v.fmt.tiny


def magnitude_of(v: Value) -> float:
    return max(abs(v.least), abs(v.most))


def told(state: State, out: Value) -> None:
    """Tell the values that a result is above a power of: |u| ≤ (v/c)^(1/p)."""
    state.keep(out)
    if not out.fmt.real or not safe(out):
        return
    large = [d for d, n in enumerate(out.shape) if n > 1]
    for about, (p, c) in out.over.items():
        mapped = len(about.axes) == len(out.shape) and all(
            about.axes[d] >= 0 for d in large
        )
        if about.number == out.number or not mapped or p <= 0 or c <= 0:
            continue
        axes = [-1] * len(about.shape)
        for d in large:
            axes[about.axes[d]] = out.base.axes[d]
        key = About(out.base.number, out.base.shape, tuple(axes))
        facts = state.told.setdefault(about.number, {})
        factor = (1 + 1e-3 + 64 * out.fmt.eps) * to_the(c, -1 / p)
        if len(facts) < MOST and 0 < factor < np.inf:
            facts[key] = (1 / p, factor)


def slack(v: Value) -> float:
    """For rounding, and for squares that underflowed."""
    if v.fmt.gap and not safe(v):
        return 2.0
    return 1.0 + max(64 * v.fmt.eps, 0.01)


def relate(
    state: State,
    equation: jaxpr.Equation,
    values: Sequence[Value],
    out: Value,
    ceilings: Powers,
) -> None:
    """Give a result its relations."""
    name = equation.primitive
    if name == "select_n":
        state.chosen[out.number] = tuple(values)
    if name == "is_finite":
        state.finite_of[out.number] = values[0].number
    rule = RULES.get(name)
    out.under = ceilings
    if rule is not None and out.fmt.real:
        rule(equation, values, out)
        out.above, out.below = some(out.above), some(out.below)
    told(state, out)
    if (
        name in ("sub", "eq")
        and (about := values[1].maximum)
        and covers(about, values[0])
    ):
        x = values[0]
        if name == "eq" and x.nan:
            return  # where all comparisons fail
        nan = np.array([name == "sub" and out.nan])
        point = np.full(1, float(name == "eq"))
        peak = Peak(out.number, rests(about, x))
        out.views[peak] = Pieces(point, point, nan)
        decided(state, x, values[1].least, peak)


def decided(state: State, x: Value, least: float, peak: Peak) -> None:
    """Where x = `where(p, a, b)` is at its maximum, p is as it must be for that."""
    which, *cases = state.chosen.get(x.number, (x,))
    able = [float(i) for i, v in enumerate(cases) if v.most >= least]
    if len(able) == 1:
        point = np.array(able)
        piece = Pieces(point, point, np.array([False]))
        state.peaks.setdefault(which.number, {})[peak] = piece


PLUS = frozenset(["exp", "exp2", "logistic", "abs", "square", "cosh", "erfc"])
KEEP = frozenset(["sqrt", "convert_element_type", "copy", "reduce_precision"])


def minus(name: str, values: Sequence[Value]) -> bool:
    """Whether zeros of the result may be −0."""
    if name in PLUS or (len(values) == 2 and values[0].number == values[1].number):
        return False
    if name in ("add", "add_any"):
        return all(v.minus for v in values)
    if name in ("mul", "div"):
        return any(v.minus or v.least < 0 for v in values)
    if name in ("max", "min", "clamp", "select_n", *KEEP):
        return any(v.minus and v.least <= 0 <= v.most for v in values[-2:])
    return True


def some(abouts: frozenset[About]) -> frozenset[About]:
    if len(abouts) <= MOST:
        return abouts
    return frozenset(sorted(abouts, key=lambda a: -a.number)[:MOST])


def whole(v: Value, out: Value) -> bool:
    """Not a number that stands for an array of its own."""
    return v.shape == out.shape


def added(equation: Any, values: Sequence[Value], out: Value) -> None:
    for x, y in (values, values[::-1]):
        if not whole(x, out):
            continue
        if y.least >= 0:
            out.above |= x.above | {x.base}
            out.over |= x.over
        if y.most <= 0:
            out.below |= x.below | {x.base}


def subtracted(equation: Any, values: Sequence[Value], out: Value) -> None:
    x, y = values
    if not whole(x, out):
        return
    if y.most <= 0:
        out.above |= x.above | {x.base}
        out.over |= x.over
    if y.least >= 0:
        out.below |= x.below | {x.base}


def greater(equation: Any, values: Sequence[Value], out: Value) -> None:
    for x in values:
        if whole(x, out):
            out.above |= x.above | {x.base}
            out.over |= x.over


def lesser(equation: Any, values: Sequence[Value], out: Value) -> None:
    for x in values:
        if whole(x, out):
            out.below |= x.below | {x.base}


def magnitude(equation: Any, values: Sequence[Value], out: Value) -> None:
    (x,) = values
    out.above |= x.above | {x.base}
    out.over |= {**x.over, x.base: (1.0, 1.0)}
    out.under |= {**x.under, x.base: (1.0, 1.0)}


def multiplied(equation: Any, values: Sequence[Value], out: Value) -> None:
    x, y = values
    if x.number == y.number:
        squared(equation, values[:1], out)
        return
    for v, w in ((x, y), (y, x)):
        c = scalar(w)
        if c is not None and whole(v, out):
            times(out, v, c)
        if v.total is not None and whole(v, out):
            share, n = v.total, length(v, v.total.axes)
            part = 4 * n * out.fmt.eps * max(abs(w.least), abs(w.most))
            ends = [w.least * share.low, w.least * share.high]
            tops = [w.most * share.low, w.most * share.high]
            if np.isfinite(part):
                low, high = min(ends) - part, max(tops) + part
                out.mixed = Share(share.axes, low, high)


def times(out: Value, v: Value, c: float) -> None:
    """The powers of c·v."""
    own = {v.base: (1.0, abs(c))}
    out.under |= scaled(v.under, abs(c)) | own
    if c > 0:
        out.over |= scaled(v.over, c) | (own if v.least >= 0 else {})


def length(v: Value, axes: Any) -> int:
    return int(np.prod([v.shape[a] for a in axes], dtype=np.int64))


def scaled(relations: dict[About, Any], c: float) -> dict[About, Any]:
    return {a: (p, k * c) for a, (p, k) in relations.items()}


def raised(relations: dict[About, Any], power: float) -> dict[About, Any]:
    found = {a: (p * power, to_the(k, power)) for a, (p, k) in relations.items()}
    return {a: (p, k) for a, (p, k) in found.items() if 0 < k < np.inf}


def divided(equation: Any, values: Sequence[Value], out: Value) -> None:
    x, y = values
    c = scalar(y)
    if c is not None and c != 0 and whole(x, out):
        times(out, x, 1 / c)
        if x.total is not None:
            share, n = x.total, length(x, x.total.axes)
            part = 4 * n * out.fmt.eps / abs(c)
            low, high = sorted((share.low / c, share.high / c))
            out.mixed = Share(share.axes, low - part, high + part)
    c = scalar(x)
    if c is not None and c > 0 and whole(y, out) and safe(y):
        out.under |= scaled(raised(own(y), -1.0), c)
    if covers(y.summed, x, x.itself) and x.least >= 0:
        about = y.summed
        assert about is not None
        axes = rests(about, x)
        part = 4 * out.fmt.eps * (length(x, axes) + 4)
        out.total = Share(axes, max(1 - part, 0.0), 1 + part)


def own(v: Value) -> dict[About, Any]:
    """What it is over, itself included where it is not negative."""
    return {**v.over, v.base: (1.0, 1.0)} if v.least >= 0 else v.over


def squared(equation: Any, values: Sequence[Value], out: Value) -> None:
    (x,) = values
    out.over |= {**raised(x.over, 2.0), x.base: (2.0, 1.0)}
    out.under |= {x.base: (2.0, 1.0)}


def rooted(equation: Any, values: Sequence[Value], out: Value) -> None:
    out.over |= raised(own(values[0]), 0.5)


def reciprocal_root(equation: Any, values: Sequence[Value], out: Value) -> None:
    if safe(values[0]):
        out.under |= raised(own(values[0]), -0.5)


def powered(equation: Any, values: Sequence[Value], out: Value) -> None:
    n = equation.params["y"]
    if n == 2:
        squared(equation, values, out)
    elif n < 0 and safe(values[0]):
        out.under |= raised(own(values[0]), float(n))


def general(equation: Any, values: Sequence[Value], out: Value) -> None:
    c = scalar(values[1])
    if c is None or not whole(values[0], out):
        return
    if c > 0 and values[0].least >= 0:
        out.over |= raised(own(values[0]), c)
    elif c < 0 and safe(values[0]):
        out.under |= raised(own(values[0]), c)


def chosen(equation: Any, values: Sequence[Value], out: Value) -> None:
    cases = [v for v in values[1:] if whole(v, out)]
    if len(cases) == len(values) - 1:
        out.above = frozenset.intersection(*[v.above | {v.base} for v in cases])
        out.below = frozenset.intersection(*[v.below | {v.base} for v in cases])


def converted(equation: Any, values: Sequence[Value], out: Value) -> None:
    (x,) = values
    if x.fmt.real:
        out.over |= scaled(x.over, 1 - x.fmt.eps - out.fmt.eps)
        out.total = x.total
        if out.fmt.eps <= x.fmt.eps:
            out.above |= x.above | {x.base}
            out.below |= x.below | {x.base}
            out.maximum, out.summed = x.maximum, x.summed


RULES: dict[str, Any] = {
    "add": added,
    "add_any": added,
    "sub": subtracted,
    "max": greater,
    "min": lesser,
    "abs": magnitude,
    "mul": multiplied,
    "div": divided,
    "square": squared,
    "sqrt": rooted,
    "rsqrt": reciprocal_root,
    "integer_pow": powered,
    "pow": general,
    "select_n": chosen,
    "convert_element_type": converted,
}
