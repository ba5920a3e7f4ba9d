"""Bounds of exp, log, tanh and their like, as XLA computes them.

Each is monotone, or monotone between known turns, so that its values at the ends are
bounds, widened by the error of XLA's implementation in units of the result's format
(measured by the tests over the whole range), but not beyond what every implementation
keeps to: exp x ≤ 1 for x ≤ 0, |tanh| ≤ 1, log1p x ≥ 0 for x ≥ 0.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .arithmetic import Context, Events, Interval, Result, Rule, add, div, holds_zero
from .formats import settle, widened


erf = np.frompyfunc(math.erf, 1, 1)
erfc = np.frompyfunc(math.erfc, 1, 1)


def _gammaln(x: float) -> float:
    if x > 1e290:
        return x * (math.log(x) - 1) if x < np.inf else np.inf
    return math.lgamma(x) if x > 0 else np.inf


gammaln = np.frompyfunc(_gammaln, 1, 1)


def floats(f: Callable) -> Callable:
    return lambda x: np.asarray(f(np.asarray(x, np.float64)), np.float64)


def units(c: Context, ulps: Any) -> Any:
    """In double precision XLA's functions are less exact, in its units."""
    return ulps * (16 if c.fmt.eps < 1e-10 else 1)


def increasing(
    f: Callable,
    ulps: float,
    *,
    at: tuple[tuple[float, float], ...] = (),
    low: float = -np.inf,
    high: float = np.inf,
) -> Rule:
    """For an increasing `f`; `at` are points (x, y) that the computed one passes."""

    def rule(c: Context, x: Interval) -> Result:
        bounds = widened(c.fmt, f(x[0]), f(x[1]), units(c, ulps))
        least, most = np.maximum(bounds[0], low), np.minimum(bounds[1], high)
        for point, value in at:
            least = np.where(x[0] >= point, np.maximum(least, value), least)
            most = np.where(x[1] <= point, np.minimum(most, value), most)
        return least, most, {}

    return rule


def log(c: Context, x: Interval) -> Result:
    low, high, _ = _log(c, (np.maximum(x[0], 0), np.maximum(x[1], 0)))
    return low, high, {"pole": holds_zero(x), "domain": x[0] < 0}


_log = increasing(np.log, 3, at=((1.0, 0.0),))


def log1p(c: Context, x: Interval) -> Result:
    low, high, _ = _log1p(c, (np.maximum(x[0], -1), np.maximum(x[1], -1)))
    pole = (x[0] <= -1) & (x[1] >= -1)
    return low, high, {"pole": pole, "domain": x[0] < -1}


_log1p = increasing(np.log1p, 8, at=((0.0, 0.0),))


def sqrt(c: Context, x: Interval) -> Result:
    low, high = np.sqrt(np.maximum(x[0], 0)), np.sqrt(np.maximum(x[1], 0))
    return *settle(c.fmt, low, high), {"domain": x[0] < 0}


def rsqrt(c: Context, x: Interval) -> Result:
    low, high = 1 / np.sqrt(np.maximum(x[1], 0)), 1 / np.sqrt(np.maximum(x[0], 0))
    low, high = widened(c.fmt, low, high, 2)
    if c.minus[0]:  # of −0 it is −∞
        low = np.where(holds_zero(x), -np.inf, low)
    return low, high, {"pole": holds_zero(x), "domain": x[0] < 0}


def logistic(c: Context, x: Interval) -> Result:
    """1/(1 + exp(−x)), by its parts: where exp(−x) < ε/2 it is 1."""
    e = exp(c, (-x[1], -x[0]))[:2]
    one = np.ones_like(e[0]), np.ones_like(e[1])
    low, high, _ = div(c, one, add(c, one, e)[:2])
    low, high = widened(c.fmt, low, np.minimum(high, 1), 2)
    low = np.where((x[0] >= 0), np.maximum(low, 0.5 - 2 * c.fmt.eps), low)
    sure = np.exp(-x[0]) < c.fmt.eps / 4
    low = np.where(sure, 1.0, np.maximum(low, 0))
    return low, np.minimum(high, 1), {}


exp = increasing(np.exp, 4, at=((0.0, 1.0),), low=0.0)
_tanh = increasing(np.tanh, 5, at=((0.0, 0.0),), low=-1.0, high=1.0)


def tanh(c: Context, x: Interval) -> Result:
    """Exactly ±1 where 1 − |tanh| is far below a unit: 2 exp(−2|x|) < ε/16."""
    low, high, _ = _tanh(c, x)
    end = 0.5 * np.log(32 / c.fmt.eps) if c.fmt.eps > 1e-10 else np.inf
    return np.where(x[0] >= end, 1.0, low), np.where(x[1] <= -end, -1.0, high), {}


def erfc_bounds(c: Context, x: Interval) -> Result:
    """By exp(−x²), so that its error grows with x²."""
    f = floats(erfc)
    size = np.minimum(np.maximum(x[0], x[1]) ** 2, 1024) * (x[1] > 0)
    low, high = widened(c.fmt, f(x[1]), f(x[0]), units(c, 16 + size))
    high = np.where(x[0] >= 0, np.minimum(high, 1), high)
    low = np.where(x[1] <= 0, np.maximum(low, 1), low)
    return np.maximum(low, 0), np.minimum(high, 2), {}


def erf_inv(c: Context, x: Interval) -> Result:
    """The real bound of the tail is √(−log(1 − |x|)), which is what is needed."""
    pole = (x[0] <= -1) | (x[1] >= 1)
    low, high = inverse_erf(x[0]), inverse_erf(x[1])
    low, high = widened(c.fmt, low, high, units(c, 32))
    return low, high, {"pole": pole, "domain": (x[0] < -1) | (x[1] > 1)}


def inverse_erf(y: np.ndarray) -> np.ndarray:
    """By Newton's method from Winitzki's formula; increasing and odd."""
    size = np.minimum(abs(y), 1.0)
    a = 0.147
    rest = np.log1p(-size * size)
    b = 2 / (np.pi * a) + rest / 2
    x = np.sqrt(np.maximum(np.sqrt(b * b - rest / a) - b, 0))
    x = np.where(size < 1e-3, size * np.sqrt(np.pi) / 2, np.minimum(x, 5.8))
    for _ in range(6):
        slope = np.sqrt(np.pi) / 2 * np.exp(x * x)
        rest = np.maximum(floats(erfc)(x), 1e-300)
        tail = rest * np.log(rest / np.maximum(1 - size, 1e-300))
        centre = size - floats(erf)(x)
        x = x + np.where(size > 0.5, tail, centre) * slope
    x = np.where(size < 1, x, np.inf)
    return np.copysign(x, y)


def bounded_wave(f: Callable, top: float) -> Rule:
    """sin and cos; `top` is where the first maximum is."""

    def rule(c: Context, x: Interval) -> Result:
        u, v = f(x[0]), f(x[1])
        low, high = np.minimum(u, v), np.maximum(u, v)
        long = ~(x[1] - x[0] < 2 * np.pi) | (np.maximum(abs(x[0]), abs(x[1])) > 1e5)
        turn = lambda at: (
            np.floor((x[1] - at) / (2 * np.pi)) > np.floor((x[0] - at) / (2 * np.pi))
        )
        high = np.where(long | turn(top), 1.0, high)
        low = np.where(long | turn(top + np.pi), -1.0, low)
        low, high = (
            low - 8 * c.fmt.eps * (x[0] != x[1]),
            high + 8 * c.fmt.eps * (x[0] != x[1]),
        )
        low, high = widened(c.fmt, low, high, 8)
        return np.maximum(low, -1), np.minimum(high, 1), {"domain": infinities(x)}

    return rule


def infinities(x: Interval) -> np.ndarray:
    return (x[0] == -np.inf) | (x[1] == np.inf)


def tan(c: Context, x: Interval) -> Result:
    turn = np.floor(x[0] / np.pi - 0.5) != np.floor(x[1] / np.pi - 0.5)
    wide = turn | (np.maximum(abs(x[0]), abs(x[1])) > 1e3)
    low, high = widened(c.fmt, np.tan(x[0]), np.tan(x[1]), 64)
    top = min(4 / c.fmt.eps**2, c.fmt.high)
    low, high = np.where(wide, -top, low), np.where(wide, top, high)
    return low, high, {"domain": infinities(x)}


def inside(rule: Rule, low: float, high: float, poles: bool = False) -> Rule:
    """For a function of [low, high] alone; with `poles`, infinite at the ends."""

    def bounds(c: Context, x: Interval) -> Result:
        clipped = np.clip(x[0], low, high), np.clip(x[1], low, high)
        least, most, _ = rule(c, clipped)
        events: Events = {"domain": (x[0] < low) | (x[1] > high)}
        if poles:
            events["pole"] = (x[0] <= low) | (x[1] >= high)
        return least, most, events

    return bounds


def _acos(c: Context, x: Interval) -> Result:
    low, high = widened(c.fmt, np.arccos(x[1]), np.arccos(x[0]), 8)
    return np.maximum(low, 0), np.minimum(high, 3.1415928 + c.fmt.eps * 4), {}


def acosh(c: Context, x: Interval) -> Result:
    low, high = np.arccosh(np.maximum(x[0], 1)), np.arccosh(np.maximum(x[1], 1))
    low, high = widened(c.fmt, low, high, 16)
    return np.maximum(low, 0), high + 1e-3 * np.sqrt(c.fmt.eps), {"domain": x[0] < 1}


def sinh(c: Context, x: Interval) -> Result:
    """By exp(x ± log 2), so that its error grows with x."""
    size = np.maximum(abs(x[0]), abs(x[1]))
    ulps = units(c, 16 + np.minimum(size, 1024))
    low, high = widened(c.fmt, np.sinh(x[0]), np.sinh(x[1]), ulps)
    low = np.where(x[0] >= 0, np.maximum(low, 0), low)
    return low, np.where(x[1] <= 0, np.minimum(high, 0), high), {}


def cosh(c: Context, x: Interval) -> Result:
    large = np.maximum(abs(x[0]), abs(x[1]))
    least = np.where(holds_zero(x), 0.0, np.minimum(abs(x[0]), abs(x[1])))
    ulps = units(c, 16 + np.minimum(large, 1024))
    low, high = widened(c.fmt, np.cosh(least), np.cosh(large), ulps)
    return np.maximum(low, 1 - c.fmt.eps), high, {}


def atan2(c: Context, y: Interval, x: Interval) -> Result:
    pi = 3.1415928 + 4 * c.fmt.eps
    right = (x[0] > 0) | ((x[0] >= 0) & (not c.minus[1]))  # atan2(0, −0) is π
    half = pi / 2
    plus = (y[0] >= 0) & ((y[0] > 0) | (not c.minus[0]) | right)  # of −0 it is −π
    low = np.where(plus, 0.0, np.where(right, -half, -pi))
    high = np.where((y[1] <= 0) & right, 0.0, np.where(right, half, pi))
    return *settle(c.fmt, low, high), {}


def lgamma(c: Context, x: Interval) -> Result:
    """log |Γ|: least at 1.4616, infinite at 0, −1, −2, ..."""
    f, turn = floats(gammaln), 1.4616321449683622
    a, b = np.maximum(x[0], c.fmt.tiny), np.maximum(x[1], c.fmt.tiny)
    u, v = f(a), f(b)
    low = np.where((a <= turn) & (b >= turn), -0.1214862905358496, np.minimum(u, v))
    high = np.maximum(u, v)
    slack = 16 * c.fmt.eps
    low, high = widened(c.fmt, low - slack, high + slack, units(c, 16))
    pole = x[0] <= 0
    low = np.where(pole, np.minimum(low, _negative_gamma(x[0])), low)
    return low, np.where(pole, np.inf, high), {"pole": pole}


def _negative_gamma(x: np.ndarray) -> np.ndarray:
    """A lower bound of log |Γ| on [x, 0): by reflection, log π − log Γ(1 − x)."""
    size = np.maximum(1 - x, 1)
    return np.log(np.pi) - floats(gammaln)(size) * 1.001 - 1


def digamma(c: Context, x: Interval) -> Result:
    """Increasing for x > 0; poles at 0, −1, −2, ..."""
    a, b = np.maximum(x[0], c.fmt.tiny), np.maximum(x[1], c.fmt.tiny)
    low, high = _digamma(a), _digamma(b)
    slack = 32 * c.fmt.eps
    low, high = widened(c.fmt, low - slack, high + slack, units(c, 32))
    pole = x[0] <= 0
    low, high = np.where(pole, -np.inf, low), np.where(pole, np.inf, high)
    return low, high, {"pole": pole, "domain": pole}  # at the poles XLA gives NaN


def _digamma(x: np.ndarray) -> np.ndarray:
    """By recurrence to x ≥ 20, then the asymptotic series."""
    out = np.zeros_like(x)
    with np.errstate(all="ignore"):
        for _ in range(20):
            out, x = out - np.where(x < 20, 1 / x, 0), np.where(x < 20, x + 1, x)
        s = 1 / (x * x)
        series = s * (1 / 12 - s * (1 / 120 - s * (1 / 252 - s / 240)))
    return out + np.log(x) - 0.5 / x - series


def exp2(c: Context, x: Interval) -> Result:
    """Computed as exp(x log 2), so that its error grows with x."""
    size = np.minimum(np.maximum(abs(x[0]), abs(x[1])), 2048)
    low, high = widened(c.fmt, np.exp2(x[0]), np.exp2(x[1]), 4 + size)
    low = np.where(x[0] >= 0, np.maximum(low, 1), np.maximum(low, 0))
    return low, np.where(x[1] <= 0, np.minimum(high, 1), high), {}


ODD = ((0.0, 0.0),)


def between(low: float, high: float) -> Rule:
    """A function of which only the range is known."""
    return lambda c, x: (np.full_like(x[0], low), np.full_like(x[0], high), {})


RULES: dict[str, Any] = {
    "exp": exp,
    "exp2": exp2,
    "expm1": increasing(np.expm1, 4, at=ODD, low=-1.0),
    "log": log,
    "log1p": log1p,
    "sqrt": sqrt,
    "rsqrt": rsqrt,
    "cbrt": increasing(np.cbrt, 4, at=ODD),
    "logistic": logistic,
    "tanh": tanh,
    "erf": increasing(floats(erf), 8, at=ODD, low=-1.0, high=1.0),
    "erfc": erfc_bounds,
    "erf_inv": erf_inv,
    "sin": bounded_wave(np.sin, np.pi / 2),
    "cos": bounded_wave(np.cos, 0.0),
    "tan": tan,
    "asin": inside(increasing(np.arcsin, 8, at=ODD), -1, 1),
    "acos": inside(_acos, -1, 1),
    "atan": increasing(np.arctan, 8, at=ODD),
    "atan2": atan2,
    "sinh": sinh,
    "cosh": cosh,
    "asinh": increasing(np.arcsinh, 8, at=ODD),
    "acosh": acosh,
    "atanh": inside(increasing(np.arctanh, 8, at=ODD), -1, 1, poles=True),
    "lgamma": lgamma,
    "digamma": digamma,
    "bessel_i0e": between(0.0, 1.0),
    "bessel_i1e": between(-1.0, 1.0),
}
