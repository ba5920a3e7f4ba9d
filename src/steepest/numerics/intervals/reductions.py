"""Sums, products, maxima along axes; matrix products and convolutions.

A sum of n terms that is computed in any order has an error of at most n·u·Σ|xᵢ|
(Higham 2002, §4.2); rounding is monotone, so a sum of numbers that are not negative is
at least the largest of them. What a sum overflows by is its positive or its negative
part.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ...core import jaxpr
from . import relations
from .arithmetic import corners
from .formats import Format, flushed, settle
from .state import Candidate, State, ranged
from .value import About, Peak, Value, boxed


def summed(
    state: State,
    equation: jaxpr.Equation,
    operands: Sequence[Value],
    low: np.ndarray,
    high: np.ndarray,
    terms: int,
    positive: Any = None,
    negative: Any = None,
    limits: tuple[float, float] = (-np.inf, np.inf),
    number: int | None = None,
) -> Value:
    """A sum with these bounds of its exact value, for all of its results.

    `positive` and `negative` bound the sums of terms of one sign, where they are not
    the bounds themselves.
    """
    aval = equation.outputs[0]
    fmt = operands[0].fmt
    positive = np.maximum(high, 0) if positive is None else positive
    negative = np.minimum(low, 0) if negative is None else negative
    endless = any(v.fmt.real and np.isinf([v.least, v.most]).any() for v in operands)
    if endless:
        low = np.where(np.isnan(low), -np.inf, low)
        high = np.where(np.isnan(high), np.inf, high)
    one_sign = (np.min(negative) >= 0) | (np.max(positive) <= 0)
    size = np.minimum(np.maximum(abs(positive), abs(negative)), fmt.high)
    part = terms * fmt.eps / 2 if terms > 1 else 0.0
    below = np.minimum(abs(low), fmt.high) if one_sign else size
    above = np.minimum(abs(high), fmt.high) if one_sign else size
    low = np.maximum(low - part * below, limits[0])
    high = np.minimum(high + part * above, limits[1])
    low = np.minimum(low, high)
    low, high = settle(fmt, low, high)
    nan = any(v.nan for v in operands)
    contracted = equation.primitive == "dot_general"  # of products, which may be −0
    signed = any(v.minus or v.least < 0 for v in operands)
    gives_inf = gives_nan = False
    if fmt.real:
        top = finite_sum(fmt, operands, positive, terms, limits[1])
        bottom = finite_sum(fmt, operands, -negative, terms, -limits[0])
        spans = tuple((v.least, v.most) for v in operands)
        span = (float(low.min()), float(high.max()))
        spoilt = any(v.spoilt for v in operands)
        if (top | bottom) and terms > 1:
            gives_inf = True
            event = Candidate(equation, "overflow", spans, span, "inf", spoilt)
            state.found(event)
            low = np.full_like(low, -np.inf) if bottom else low
            high = np.full_like(high, np.inf) if top else high
        if endless and terms > 1:
            for kind in infinite_faults(operands):
                gives_nan = True
                clean = any(
                    np.isinf([v.least, v.most]).any() and not v.spoilt for v in operands
                )
                state.found(Candidate(equation, kind, spans, span, "nan", not clean))
    edge = bool(np.isinf(low).any() or np.isinf(high).any())
    return ranged(
        state,
        aval,
        low,
        high,
        nan=nan or gives_nan,
        minus=bool(terms == 1 or np.min(low) < 0 or (contracted and signed)),
        spoilt=edge and (gives_inf or any(v.spoilt for v in operands)),
        number=state.computed(equation, operands) if number is None else number,
    )


def finite_sum(fmt: Format, operands: Any, size: Any, terms: int, limit: float) -> bool:
    """Whether finite terms may add up to more than the format holds."""
    size = np.minimum(size, max(limit, 0))
    largest = float(np.max(size * (1 + terms * fmt.eps / 2)))
    return largest >= fmt.high * (1 + fmt.eps / 4)


def infinite_faults(operands: Sequence[Value]) -> list[str]:
    low = [v.least == -np.inf for v in operands]
    high = [v.most == np.inf for v in operands]
    kinds = []
    if len(operands) == 1:
        return ["inf-inf"] if low[0] and high[0] else []
    zero = [v.least <= 0 <= v.most for v in operands]
    inf = [a or b for a, b in zip(low, high)]
    if (inf[0] and zero[1]) or (inf[1] and zero[0]):
        kinds.append("0*inf")
    signs = [(v.least < 0, v.most > 0) for v in operands]
    if any(i and all(signs[1 - k]) for k, i in enumerate(inf)) or any(
        a and b for a, b in zip(low, high)
    ):
        kinds.append("inf-inf")
    return kinds


def kept(v: Value, axes: Sequence[int]) -> tuple[int, ...]:
    return tuple(d for d in v.whole if d not in axes)


def several(v: Value, axes: Sequence[int]) -> frozenset[int]:
    """The axes along which there is more than one element."""
    return frozenset(int(a) for a in axes if v.shape[a] > 1)


def along(bound: np.ndarray, v: Value, axes: Any, f: Callable = np.sum) -> np.ndarray:
    """Sum of a bound along axes, where one that does not vary counts as often."""
    axes = tuple(axes)
    n = math.prod(v.shape[a] for a in axes if bound.shape[a] == 1)
    out = f(bound, axis=axes) if axes else bound
    if f is np.sum:
        out = np.where(out == 0, 0.0, out * n)
    return out


def reduce_sum(state: State, equation: jaxpr.Equation, v: Value) -> Any:
    axes = tuple(equation.params["axes"])
    n = math.prod(v.shape[a] for a in axes)
    if n == 0:
        return ranged(state, equation.outputs[0], 0.0, 0.0)
    low, high = along(v.low, v, axes), along(v.high, v, axes)
    positive = along(np.maximum(v.high, 0), v, axes)
    negative = along(np.minimum(v.low, 0), v, axes)
    least, most = -np.inf, np.inf
    if v.least >= 0:
        low = np.maximum(low, 0)
        least = max(0.0, float(along(v.low, v, axes, np.max).min()))
    if v.most <= 0:
        most = min(0.0, float(along(v.high, v, axes, np.min).max()))
    for key, piece in v.views.items():
        if isinstance(key, Peak) and key.axes <= set(axes):
            rest = n - 1
            bottom = float(piece.low[0]) + rest * min(v.least, 0.0)
            ceiling = float(piece.high[0]) + rest * v.most
            if v.least >= 0:
                least = max(least, float(piece.low[0]))
            elif np.isfinite(bottom):
                part = n * v.fmt.eps * abs(bottom)
                least = max(least, bottom - part)
            if np.isfinite(ceiling) and ceiling >= 0:
                most = min(most, ceiling * (1 + n * v.fmt.eps))
    limits = (least, most)
    for share in (v.total, v.mixed):
        if share is not None and share.axes == several(v, axes):
            limits = max(limits[0], share.low), min(limits[1], share.high)
    under = {
        About(a.number, a.shape, tuple(a.axes[d] for d in kept(v, axes))): (p, c * n)
        for a, (p, c) in relations.under(state, v).items()
        if len(a.axes) == len(v.shape) and all(a.axes[d] == -1 for d in axes)
    }
    for about, (p, c) in under.items():
        top = relations.ceiling(state, about, p, c) * (1 + (n + 64) * v.fmt.eps)
        limits = max(limits[0], -top), min(limits[1], top)
    out = summed(state, equation, [v], low, high, n, positive, negative, limits)
    out.under = {a: (p, c * (1 + n * v.fmt.eps)) for a, (p, c) in under.items()}
    if v.fmt.real and v.least >= 0:
        rest = kept(v, axes)
        compose = lambda a: About(a.number, a.shape, tuple(a.axes[d] for d in rest))
        out.above = frozenset(map(compose, v.above)) | {compose(v.base)}
        out.over = {compose(a): k for a, k in v.over.items()}
        out.over[compose(v.base)] = (1.0, 1.0)
        out.summed = compose(v.itself)  # not what it repeats: how often, counts
    relations.told(state, out)
    return out


def reduce_extreme(greatest: bool) -> Callable[..., Any]:
    def rule(state: State, equation: jaxpr.Equation, v: Value) -> Any:
        axes = tuple(equation.params["axes"])
        if math.prod(v.shape[a] for a in axes) == 0:
            return NotImplemented
        f = np.max if greatest else np.min
        low, high = along(v.low, v, axes, f), along(v.high, v, axes, f)
        for key, piece in v.views.items():
            if isinstance(key, Peak) and key.axes <= set(axes):
                if greatest:
                    low = np.maximum(low, float(piece.low[0]))
                else:
                    high = np.minimum(high, float(piece.high[0]))
        number = state.computed(equation, [v])
        out = ranged(
            state,
            equation.outputs[0],
            low,
            high,
            nan=v.nan,
            spoilt=v.spoilt,
            number=number,
        )
        rest = kept(v, axes)
        compose = lambda a: About(a.number, a.shape, tuple(a.axes[d] for d in rest))
        if greatest:
            out.above = frozenset(map(compose, v.above)) | {compose(v.base)}
            out.over = {compose(a): k for a, k in v.over.items()}
            out.over |= {compose(v.base): (1.0, 1.0)} if v.least >= 0 else {}
            out.maximum = compose(v.base)
        else:
            out.below = frozenset(map(compose, v.below)) | {compose(v.base)}
        return out

    return rule


def reduce_logic(state: State, equation: jaxpr.Equation, v: Value) -> Value:
    return ranged(state, equation.outputs[0], v.least, v.most)


def reduce_any(state: State, equation: jaxpr.Equation, v: Value) -> Value:
    return ranged(state, equation.outputs[0], v.fmt.low, v.fmt.high)


def reduce_prod(state: State, equation: jaxpr.Equation, v: Value) -> Value:
    axes = equation.params["axes"]
    return products(state, equation, v, math.prod(v.shape[a] for a in axes))


def products(state: State, equation: jaxpr.Equation, v: Value, n: int) -> Value:
    """A product of up to `n` elements."""
    size = max(abs(v.least), abs(v.most))
    least = min(1.0, size)
    top = max(size, 1.0) ** n * (1 + n * v.fmt.eps)
    if v.least >= 0:
        low = min(v.least, 1.0) ** n * (1 - min(n * v.fmt.eps, 1))
        high = top if v.most > 1 else v.most ** (1 if n == 1 else n if n else 0)
        high = max(high, least if equation.primitive == "cumprod" else 0) * (
            1 + n * v.fmt.eps
        )
    else:
        low, high = -top, top
    low, high = settle(v.fmt, np.asarray(low), np.asarray(high))
    event = v.fmt.real and bool(np.isinf(low) or np.isinf(high))
    if event:
        spans, span = ((v.least, v.most),), (float(low), float(high))
        over = Candidate(equation, "overflow", spans, span, "inf", v.spoilt)
        state.found(over)
        if np.isinf([v.least, v.most]).any():
            state.found(over._replace(kind="0*inf", gives="nan"))
    return ranged(
        state,
        equation.outputs[0],
        low,
        high,
        nan=v.nan or (event and np.isinf(size)),
        spoilt=event or v.spoilt,
    )


def cumulative_sum(state: State, equation: jaxpr.Equation, v: Value) -> Value:
    n = v.shape[equation.params["axis"]]
    axis = equation.params["axis"]
    low, high = v.low.min(axis, keepdims=True), v.high.max(axis, keepdims=True)
    first = np.minimum(low, np.where(low == 0, 0, n * low))
    last = np.maximum(high, np.where(high == 0, 0, n * high))
    limits = (0.0 if v.least >= 0 else -np.inf, 0.0 if v.most <= 0 else np.inf)
    return summed(state, equation, [v], first, last, n, limits=limits)


def cumulative_product(state: State, equation: jaxpr.Equation, v: Value) -> Value:
    return products(state, equation, v, v.shape[equation.params["axis"]])


def cumulative_extreme(state: State, equation: jaxpr.Equation, v: Value) -> Value:
    axis = equation.params["axis"]
    low, high = v.low.min(axis, keepdims=True), v.high.max(axis, keepdims=True)
    out = equation.outputs[0]
    return ranged(state, out, low, high, nan=v.nan, spoilt=v.spoilt)


def cumulative_logsumexp(state: State, equation: jaxpr.Equation, v: Value) -> Value:
    n = v.shape[equation.params["axis"]]
    part = 8 * v.fmt.eps * max(abs(v.least), abs(v.most)) + 8 * v.fmt.eps
    part = part if np.isfinite(part) else 0.0
    low, high = v.least - part, v.most + math.log(n) + part
    out = equation.outputs[0]
    return ranged(state, out, low, high, nan=v.nan, spoilt=v.spoilt)


def index_of(state: State, equation: jaxpr.Equation, v: Value) -> Value:
    n = math.prod(v.shape[a] for a in equation.params["axes"])
    return ranged(state, equation.outputs[0], 0, max(n - 1, 0))


# -- Products of arrays ----------------------------------------------------------------


PRODUCTS = 1 << 16  # elementwise products that are bounded one by one


def dot_general(state: State, equation: jaxpr.Equation, a: Value, b: Value) -> Any:
    if a.fmt.kind == "other" or b.fmt.kind == "other":
        return NotImplemented
    (ka, kb), (ba, bb) = equation.params["dimension_numbers"]
    out = equation.outputs[0]
    k = math.prod(a.shape[d] for d in ka)
    if a.number == b.number and tuple(ka) == tuple(kb) and not free(a, ka, ba):
        return squares(state, equation, a, k, ka)
    x, y = grouped(a, ba, ka), grouped(b, bb, kb)
    size = math.prod(np.broadcast_shapes(x[0].shape, y[0].swapaxes(1, 2).shape))
    if size > PRODUCTS:
        x, y = flat(a), flat(b)
    turned = y[0].swapaxes(1, 2), y[1].swapaxes(1, 2)
    terms = corners(np.multiply, x, turned)
    if a.fmt.kind == "float":
        terms = flushed(a.fmt, *terms)
    n = k if terms[0].shape[-1] == 1 else 1
    add = lambda e: np.where((s := e.sum(-1)) == 0, 0.0, s * n)
    low, high = add(terms[0]), add(terms[1])
    positive, negative = add(np.maximum(terms[1], 0)), add(np.minimum(terms[0], 0))
    limits = mixing(a, ka, b) or mixing(b, kb, a) or (-np.inf, np.inf)
    shape = spread(a, b, ba, bb, ka, kb, low.shape)
    fit = lambda e: e.reshape(shape)
    low, high, positive, negative = map(fit, (low, high, positive, negative))
    number = state.computed(equation, (a, b))
    if np.isnan(low).any() or np.isnan(high).any():
        low, high = boxed(-np.inf, out.shape), boxed(np.inf, out.shape)
    return summed(
        state,
        equation,
        [a, b],
        low,
        high,
        max(k, 1),
        positive,
        negative,
        limits,
        number,
    )


def free(v: Value, contracted: Any, batch: Any) -> list[int]:
    return [d for d in v.whole if d not in (*contracted, *batch)]


def squares(
    state: State, equation: jaxpr.Equation, a: Value, k: int, axes: Any
) -> Value:
    """x·x ≥ 0, and ≥ each xᵢ²."""
    top = max(a.least**2, a.most**2)
    low = np.where(a.least <= 0 <= a.most, 0.0, min(a.least**2, a.most**2))
    if a.fmt.kind == "float":
        low, _ = flushed(a.fmt, low, low)
    bounds = (
        boxed(low * k, equation.outputs[0].shape),
        boxed(top * k, equation.outputs[0].shape),
    )
    out = summed(state, equation, [a, a], *bounds, k, limits=(0.0, np.inf))
    rest = tuple(d for d in a.whole if d not in axes)
    out.over[About(a.number, a.shape, rest)] = (2.0, 1.0)
    return out


def flat(v: Value) -> tuple[np.ndarray, np.ndarray]:
    return np.full((1, 1, 1, 1), v.least), np.full((1, 1, 1, 1), v.most)


def grouped(v: Value, batch: Any, contracted: Any) -> tuple[np.ndarray, np.ndarray]:
    """Bounds as (batch, free, 1, contracted)."""
    groups = [list(batch), free(v, contracted, batch), list(contracted)]
    order = [d for group in groups for d in group]
    full, sizes = [], []
    for group in groups:
        varies = any(v.low.shape[d] > 1 for d in group)
        full += [v.shape[d] if varies else 1 for d in group]
        sizes.append(math.prod(v.shape[d] for d in group) if varies else 1)
    if math.prod(full) > PRODUCTS:
        return flat(v)
    sizes.insert(2, 1)
    put = lambda e: np.broadcast_to(e.transpose(order), full).reshape(sizes)
    return put(v.low), put(v.high)


def spread(
    a: Value, b: Value, ba: Any, bb: Any, ka: Any, kb: Any, sizes: Any
) -> list[int]:
    """The shape of bounds in the result: an axis of a group that does not vary is 1."""
    batch = [a.shape[d] for d in ba]
    left = [a.shape[d] for d in free(a, ka, ba)]
    right = [b.shape[d] for d in free(b, kb, bb)]
    shape: list[int] = []
    for group, n in zip((batch, left, right), sizes):
        shape += group if n == math.prod(group) and n > 1 else [1] * len(group)
    return shape


def mixing(p: Value, axes: Any, v: Value) -> tuple[float, float] | None:
    """Bounds of Σ p·v where the p, along these axes, are a share of one."""
    share = p.total
    if share is None or share.axes != several(p, axes):
        return None
    ends = [v.least * share.low, v.least * share.high]
    tops = [v.most * share.low, v.most * share.high]
    n = math.prod(p.shape[a] for a in axes)
    part = 4 * n * p.fmt.eps * max(abs(v.least), abs(v.most))
    if not np.isfinite(part):
        return None
    return min(ends) - part, max(tops) + part


def convolution(state: State, equation: jaxpr.Equation, x: Value, w: Value) -> Any:
    if x.fmt.kind == "other":
        return NotImplemented
    out_axis = equation.params["dimension_numbers"].rhs_spec[0]
    n = w.size // w.shape[out_axis]
    low, high = corners(np.multiply, flat(x), flat(w))
    low, high = min(float(low.min()), 0.0), max(float(high.max()), 0.0)
    out = equation.outputs[0]
    axes = tuple(d for d in w.whole if d != out_axis)
    weights = along(np.maximum(abs(w.low), abs(w.high)), w, axes).max()
    size = float(weights) * max(abs(x.least), abs(x.most))
    size = np.inf if np.isnan(size) else size
    least = boxed(max(n * low, -size), out.shape)
    most = boxed(min(n * high, size), out.shape)
    return summed(state, equation, [x, w], least, most, n)


# -- Windows ---------------------------------------------------------------------------


def window(equation: jaxpr.Equation) -> int:
    return math.prod(equation.params["window_dimensions"])


def window_sum(state: State, equation: jaxpr.Equation, v: Value) -> Value:
    n, out = window(equation), equation.outputs[0]
    low = boxed(n * min(v.least, 0.0), out.shape)
    high = boxed(n * max(v.most, 0.0), out.shape)
    unpadded = all(tuple(p) == (0, 0) for p in equation.params["padding"])
    limits = (-np.inf, np.inf)
    if unpadded and v.least >= 0:
        limits = (v.least, np.inf)
    return summed(state, equation, [v], low, high, n, limits=limits)


def window_extreme(state: State, equation: jaxpr.Equation, v: Value) -> Value:
    low, high, out = v.least, v.most, equation.outputs[0]
    if any(tuple(p) != (0, 0) for p in equation.params["padding"]):
        widest = max(max(p) for p in equation.params["padding"])
        if widest >= max(equation.params["window_dimensions"]):
            low, high = -np.inf, np.inf
    return ranged(state, out, low, high, nan=v.nan, spoilt=v.spoilt)


def scatter_window(
    state: State, equation: jaxpr.Equation, source: Value, operand: Value
) -> Value:
    """The gradient of a maximum in windows: each element gets that of all its windows."""
    params, out = equation.params, equation.outputs[0]
    n = math.prod(
        -(-w // s)
        for w, s in zip(params["window_dimensions"], params["window_strides"])
    )
    low = boxed(n * min(source.least, 0.0), out.shape)
    high = boxed(n * max(source.most, 0.0), out.shape)
    number = state.computed(equation, (source, operand))
    return summed(state, equation, [source], low, high, n, number=number)


def gather_window(
    state: State, equation: jaxpr.Equation, tangents: Value, operand: Value
) -> Value:
    low, high = min(tangents.least, 0.0), max(tangents.most, 0.0)
    out = equation.outputs[0]
    nan, spoilt = tangents.nan, tangents.spoilt
    return ranged(state, out, low, high, nan=nan, spoilt=spoilt)


RULES: dict[str, Callable[..., Any]] = {
    "reduce_sum": reduce_sum,
    "reduce_max": reduce_extreme(True),
    "reduce_min": reduce_extreme(False),
    "reduce_and": reduce_logic,
    "reduce_or": reduce_logic,
    "reduce_xor": reduce_any,
    "reduce_prod": reduce_prod,
    "cumsum": cumulative_sum,
    "cumprod": cumulative_product,
    "cummax": cumulative_extreme,
    "cummin": cumulative_extreme,
    "cumlogsumexp": cumulative_logsumexp,
    "argmax": index_of,
    "argmin": index_of,
    "dot_general": dot_general,
    "conv_general_dilated": convolution,
    "reduce_window_sum": window_sum,
    "reduce_window_max": window_extreme,
    "reduce_window_min": window_extreme,
    "select_and_scatter_add": scatter_window,
    "select_and_gather_add": gather_window,
}
