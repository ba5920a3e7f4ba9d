"""Interval arithmetic in a number format: bounds of each operation, and what goes wrong.

A rule takes a `Context` and intervals (pairs of float64 arrays), and returns bounds of
the computed result and *events*: which faults the intervals do not exclude, each a
boolean array. Infinite ends are allowed; the ends of a product 0·∞ count as 0, and the
NaN is an event.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from .formats import Format, settle, widened


Interval = tuple[np.ndarray, np.ndarray]
Events = dict[str, np.ndarray]
Result = tuple[Any, Any, Events]


class Context(NamedTuple):
    """Of one operation: formats, parameters, whether operands can be NaN."""

    fmt: Format  # of the result
    inputs: tuple[Format, ...]
    params: Mapping[str, Any]
    nans: Sequence[Any]
    minus: Sequence[bool] = (True, True)  # whether zeros of operands may be −0


Rule = Callable[..., Any]
FAULTY = ("inf-inf", "0*inf", "inf/inf")  # of infinite operands
NANS = ("domain", "0/0", *FAULTY)  # events whose result is NaN


def add(c: Context, x: Interval, y: Interval) -> Result:
    low, high = x[0] + y[0], x[1] + y[1]
    events = {}
    if np.isnan(low).any() or np.isnan(high).any() or opposite(x, y).any():
        low = np.where(np.isnan(low), -np.inf, low)
        high = np.where(np.isnan(high), np.inf, high)
        events = {"inf-inf": opposite(x, y)}
    return *settle(c.fmt, low, high), events


def opposite(x: Interval, y: Interval) -> np.ndarray:
    """Whether ∞ − ∞ is possible."""
    up = (x[1] == np.inf) & (y[0] == -np.inf)
    return up | ((x[0] == -np.inf) & (y[1] == np.inf))


def neg(c: Context, x: Interval) -> Result:
    return *settle(c.fmt, -x[1], -x[0]), {}


def sub(c: Context, x: Interval, y: Interval) -> Result:
    return add(c, x, (-y[1], -y[0]))


def corners(f: Callable, x: Interval, y: Interval) -> Interval:
    """Bounds of what is monotone in each operand; NaN, as in 0·∞, counts as 0."""
    values = f(x[0], y[0]), f(x[0], y[1]), f(x[1], y[0]), f(x[1], y[1])
    low = np.minimum(np.minimum(values[0], values[1]), np.minimum(*values[2:]))
    high = np.maximum(np.maximum(values[0], values[1]), np.maximum(*values[2:]))
    if np.isnan(low).any():
        values = [np.where(np.isnan(v), 0.0, v) for v in values]
        low = np.minimum(np.minimum(values[0], values[1]), np.minimum(*values[2:]))
        high = np.maximum(np.maximum(values[0], values[1]), np.maximum(*values[2:]))
    return low, high


def holds_zero(x: Interval) -> np.ndarray:
    return (x[0] <= 0) & (x[1] >= 0)


def infinite(x: Interval) -> np.ndarray:
    return (x[0] == -np.inf) | (x[1] == np.inf)


def mul(c: Context, x: Interval, y: Interval) -> Result:
    low, high = corners(np.multiply, x, y)
    bad = (holds_zero(x) & infinite(y)) | (holds_zero(y) & infinite(x))
    return *settle(c.fmt, low, high), {"0*inf": bad}


def square(c: Context, x: Interval) -> Result:
    large = np.maximum(abs(x[0]), abs(x[1]))
    least = np.where(holds_zero(x), 0.0, np.minimum(abs(x[0]), abs(x[1])))
    return *settle(c.fmt, least * least, large * large), {}


def div(c: Context, x: Interval, y: Interval) -> Result:
    """XLA may multiply by a reciprocal: an error of one unit, but not above 1 for x ≤ y.

    A zero is taken for +0 only where it cannot be −0.
    """
    if not c.fmt.real:
        return integer_div(c, x, y)
    zero = holds_zero(y)
    plus = zero & (y[0] >= 0) & (not c.minus[-1])
    divisor = np.where(zero & ~plus, 1.0, y[0]), np.where(zero & ~plus, 1.0, y[1])
    divisor = divisor[0], np.where(plus & (y[1] == 0), 1.0, divisor[1])
    low, high = corners(np.divide, x, divisor)
    exact = (y[0] == y[1]) & (np.frexp(abs(y[0]))[0] == 0.5)
    low, high = widened(c.fmt, low, high, np.where(exact, 0.0, 1.0))
    events: Events = {}
    if zero.any():
        last = abs(divisor[1])
        below = np.where(plus & (x[0] >= 0), x[0] / last * (1 - c.fmt.eps), -np.inf)
        above = np.where(plus & (x[1] <= 0), x[1] / last * (1 - c.fmt.eps), np.inf)
        low, high = np.where(zero, below, low), np.where(zero, above, high)
        some = (x[0] != 0) | (x[1] != 0)
        events = {"pole": zero & some, "0/0": zero & holds_zero(x)}
    events["inf/inf"] = infinite(x) & infinite(y)
    return *settle(c.fmt, low, high), events


def np_nonzero(y: Interval, zero: np.ndarray) -> Interval:
    return np.where(zero, 1.0, y[0]), np.where(zero, 1.0, y[1])


def integer_div(c: Context, x: Interval, y: Interval) -> Result:
    """Toward zero; by zero gives −1 or, of unsigned numbers, the largest."""
    zero = holds_zero(y)
    low, high = corners(np.divide, x, np_nonzero(y, zero))
    low, high = np.trunc(low), np.trunc(high)
    large = np.maximum(abs(x[0]), abs(x[1]))
    low = np.where(zero, np.maximum(np.minimum(-large, -1), c.fmt.low), low)
    high = np.where(zero, c.fmt.high, high)
    return *settle(c.fmt, low, high), {}


def rem(c: Context, x: Interval, y: Interval) -> Result:
    """x − y·trunc(x/y): of the sign of x, of smaller magnitude than y."""
    size = np.maximum(abs(y[0]), abs(y[1]))
    if not c.fmt.real:
        size = np.where(holds_zero(y), np.inf, size - 1)
    low = np.where(x[0] < 0, np.maximum(x[0], -size), 0.0)
    high = np.where(x[1] > 0, np.minimum(x[1], size), 0.0)
    if not c.fmt.real:
        low = np.maximum(low, c.fmt.low)
        return low, high, {}
    events = {"domain": holds_zero(y), "inf/inf": infinite(x)}
    return low, high, events


def maximum(c: Context, x: Interval, y: Interval) -> Result:
    return np.maximum(x[0], y[0]), np.maximum(x[1], y[1]), {}


def minimum(c: Context, x: Interval, y: Interval) -> Result:
    return np.minimum(x[0], y[0]), np.minimum(x[1], y[1]), {}


def clamp(c: Context, low: Interval, x: Interval, high: Interval) -> Result:
    clip = lambda i: np.minimum(np.maximum(x[i], low[i]), high[i])
    return clip(0), clip(1), {}


def absolute(c: Context, x: Interval) -> Result:
    large = np.maximum(abs(x[0]), abs(x[1]))
    least = np.where(holds_zero(x), 0.0, np.minimum(abs(x[0]), abs(x[1])))
    return least, large, {}


def sign(c: Context, x: Interval) -> Result:
    return np.sign(x[0]), np.sign(x[1]), {}


def same(c: Context, x: Interval) -> Result:
    return x[0], x[1], {}


def monotone(f: Callable) -> Rule:
    """Floor, ceiling, rounding: exact and increasing."""
    return lambda c, x: (f(x[0]), f(x[1]), {})


def nextafter(c: Context, x: Interval, y: Interval) -> Result:
    part = 2 * c.fmt.eps
    low, high = x[0] - part * abs(x[0]), x[1] + part * abs(x[1])
    low, high = settle(c.fmt, low - c.fmt.tiny, high + c.fmt.tiny)
    return low, high, {}


def convert(c: Context, x: Interval) -> Result:
    """To another format; what was infinite or NaN becomes some integer."""
    source, target = c.inputs[0], c.fmt
    none: Events = {}
    if target.kind == "bool":
        sure = ~holds_zero(x) | np.asarray(c.nans[0] & False)
        never = (x[0] == 0) & (x[1] == 0) & ~np.asarray(c.nans[0])
        return np.where(sure, 1.0, 0.0), np.where(never, 0.0, 1.0), none
    if target.kind != "int":
        return *settle(target, x[0], x[1]), none
    low, high = np.trunc(x[0]), np.trunc(x[1])
    over = (low < target.low) | (high > target.high)
    if source.real:
        nan = np.asarray(c.nans[0])
        low, high = (
            np.clip(low, target.low, target.high),
            np.clip(high, target.low, target.high),
        )
        low = np.where(nan, target.low, low)
        high = np.where(nan, target.high, high)
        return low, high, {"cast": over}
    return *settle(target, low, high), none


def reduce_precision(c: Context, x: Interval) -> Result:
    part = 2.0 ** -int(c.params["mantissa_bits"])
    top = 2.0 ** (2 ** (int(c.params["exponent_bits"]) - 1))
    low, high = x[0] - part * abs(x[0]), x[1] + part * abs(x[1])
    low, high = np.where(low < -top, -np.inf, low), np.where(high > top, np.inf, high)
    return *settle(c.fmt, low, high), {}


# -- Comparisons and logic: 0 and 1 -----------------------------------------------------


def truth(c: Context, always: Any, never: Any) -> Result:
    """A comparison; with NaN it is False."""
    nan = np.asarray(c.nans[0]) | np.asarray(c.nans[1])
    return np.where(always & ~nan, 1.0, 0.0), np.where(never, 0.0, 1.0), {}


def lt(c: Context, x: Interval, y: Interval) -> Result:
    return truth(c, x[1] < y[0], x[0] >= y[1])


def le(c: Context, x: Interval, y: Interval) -> Result:
    return truth(c, x[1] <= y[0], x[0] > y[1])


def gt(c: Context, x: Interval, y: Interval) -> Result:
    return lt(c._replace(nans=c.nans[::-1]), y, x)


def ge(c: Context, x: Interval, y: Interval) -> Result:
    return le(c._replace(nans=c.nans[::-1]), y, x)


def eq(c: Context, x: Interval, y: Interval) -> Result:
    point = (x[0] == x[1]) & (y[0] == y[1]) & (x[0] == y[0])
    return truth(c, point, (x[1] < y[0]) | (x[0] > y[1]))


def ne(c: Context, x: Interval, y: Interval) -> Result:
    low, high, _ = eq(c, x, y)
    return 1 - high, 1 - low, {}


def is_finite(c: Context, x: Interval) -> Result:
    nan = np.asarray(c.nans[0])
    always = (x[0] > -np.inf) & (x[1] < np.inf) & ~nan
    never = (x[1] == -np.inf) | (x[0] == np.inf)
    return np.where(always, 1.0, 0.0), np.where(never, 0.0, 1.0), {}


def logical_and(c: Context, x: Interval, y: Interval) -> Result:
    if c.fmt.kind == "bool":
        return np.minimum(x[0], y[0]), np.minimum(x[1], y[1]), {}
    plus = (x[0] >= 0) | (y[0] >= 0)
    high = np.where(x[0] >= 0, x[1], np.inf)
    high = np.minimum(high, np.where(y[0] >= 0, y[1], np.inf))
    high = np.where(plus, high, c.fmt.high)
    return np.where(plus, 0.0, c.fmt.low), high, {}


def logical_or(c: Context, x: Interval, y: Interval) -> Result:
    if c.fmt.kind == "bool":
        return np.maximum(x[0], y[0]), np.maximum(x[1], y[1]), {}
    plus = (x[0] >= 0) & (y[0] >= 0)
    low = np.where(plus, np.maximum(x[0], y[0]), c.fmt.low)
    bits = np.exp2(np.floor(np.log2(np.maximum(np.maximum(x[1], y[1]), 1))) + 1) - 1
    high = np.where(
        plus, np.minimum(np.minimum(bits, x[1] + y[1]), c.fmt.high), c.fmt.high
    )
    return low, high, {}


def logical_xor(c: Context, x: Interval, y: Interval) -> Result:
    if c.fmt.kind == "bool":
        return ne(c, x, y)
    low, high, _ = logical_or(c, x, y)
    low = np.where(low >= 0, 0.0, c.fmt.low)
    known = (x[0] == x[1]) & (y[0] == y[1]) & (abs(x[0]) < 2**53) & (abs(y[0]) < 2**53)
    a, b = (np.where(known, z[0], 0.0).astype(np.int64) for z in (x, y))
    only = (a ^ b).astype(np.float64)
    return np.where(known, only, low), np.where(known, only, high), {}


def logical_not(c: Context, x: Interval) -> Result:
    if c.fmt.kind == "bool":
        return 1 - x[1], 1 - x[0], {}
    top = c.fmt.high + c.fmt.low  # −1 of signed numbers
    return top - x[1], top - x[0], {}


def shift_left(c: Context, x: Interval, y: Interval) -> Result:
    fits = (y[0] >= 0) & (y[1] < 64)
    low, high = corners(np.multiply, x, (np.exp2(y[0]), np.exp2(y[1])))
    low = np.where(fits, low, c.fmt.low)
    return *settle(c.fmt, low, np.where(fits, high, c.fmt.high)), {}


def shift_right(c: Context, x: Interval, y: Interval) -> Result:
    """Arithmetic, and logical where nothing is negative."""
    fits = (y[0] >= 0) & (x[0] >= 0)
    high = np.where(fits, np.floor(x[1] / np.exp2(np.maximum(y[0], 0))), c.fmt.high)
    bits = 8.0 * np.dtype(c.fmt.dtype).itemsize
    low = np.where(fits, np.floor(x[0] / np.exp2(np.minimum(y[1], bits))), c.fmt.low)
    return low, high, {}


def power(c: Context, x: Interval, n: int) -> Result:
    """xⁿ by repeated multiplication, and its reciprocal for n < 0."""
    if n == 0:
        return np.ones_like(x[0]), np.ones_like(x[0]), {}
    m = abs(n)
    if m % 2 == 0:
        low, high, _ = absolute(c, x)
    else:
        low, high = x
    low, high = low**m, high**m
    low, high = widened(c.fmt, low, high, m if m > 2 else 0)
    if n > 0:
        return low, high, {}
    one = np.ones_like(low)
    c = c._replace(minus=[m % 2 == 1])
    low, high, events = div(c, (one, one), (low, high))
    low, high = widened(c.fmt, low, high, 2)
    return low, high, {"pole": events.get("pole", np.zeros(low.shape, bool))}


def one_minus_square(c: Context, x: Interval) -> Result:
    """Computed as (1 + x)(1 − x), of which each rounding is relative."""
    least, large, _ = absolute(c, x)
    low, high = (1 - large) * (1 + large), (1 - least) * (1 + least)
    return *widened(c.fmt, low, high, 2), {}


def polynomial(c: Context, x: Interval, *coefficients: Interval) -> Result:
    """Σ aₖ xᵏ by Horner's rule, the products rounded or not."""
    out, c = coefficients[-1], c._replace(nans=[np.asarray(False)] * 2)
    for a in coefficients[-2::-1]:
        low, high, _ = mul(c, out, x)
        low, high, _ = add(c, widened(c.fmt, low, high, 1), a)
        out = (
            np.where(np.isnan(low), -np.inf, low),
            np.where(np.isnan(high), np.inf, high),
        )
    return *out, {}


def integer_pow(c: Context, x: Interval) -> Result:
    return power(c, x, int(c.params["y"]))


def general_pow(c: Context, x: Interval, y: Interval) -> Result:
    """x^y: y·log x is monotone in each, so that for x ≥ 0 corners give bounds."""
    if y[0].size == 1 and y[0] == y[1] and y[0] == np.round(y[0]) and abs(y[0]) <= 64:
        n = int(y[0].item())
        if n == 2:
            return square(c, x)
        low, high, events = power(c, x, n)
        return *widened(c.fmt, low, high, 4), events
    positive = np.maximum(x[0], 0.0), np.maximum(x[1], 0.0)
    low, high = corners(np.power, positive, y)
    below = x[0] < 0
    if below.any():
        size = -np.minimum(x[0], 0.0)
        least = np.where(x[1] < 0, -x[1], 0.0)
        _, top = corners(np.power, (least, size), y)
        top = np.maximum(top, high)
        low, high = np.where(below, -top, low), np.where(below, top, high)
    low, high = widened(c.fmt, low, high, 32)
    fractional = (y[0] != y[1]) | (y[0] != np.round(y[0]))
    events = {"domain": below & fractional, "pole": holds_zero(x) & (y[0] < 0)}
    return low, high, events


RULES: dict[str, Rule] = {
    "add": add,
    "add_any": add,
    "sub": sub,
    "mul": mul,
    "neg": neg,
    "div": div,
    "rem": rem,
    "square": square,
    "max": maximum,
    "min": minimum,
    "clamp": clamp,
    "abs": absolute,
    "sign": sign,
    "floor": monotone(np.floor),
    "ceil": monotone(np.ceil),
    "round": monotone(np.round),
    "nextafter": nextafter,
    "convert_element_type": convert,
    "reduce_precision": reduce_precision,
    "lt": lt,
    "le": le,
    "gt": gt,
    "ge": ge,
    "eq": eq,
    "ne": ne,
    "lt_to": lt,
    "le_to": le,
    "eq_to": eq,
    "is_finite": is_finite,
    "and": logical_and,
    "or": logical_or,
    "xor": logical_xor,
    "not": logical_not,
    "shift_left": shift_left,
    "shift_right_logical": shift_right,
    "shift_right_arithmetic": shift_right,
    "integer_pow": integer_pow,
    "one_minus_square": one_minus_square,
    "polynomial": polynomial,
    "pow": general_pow,
}
