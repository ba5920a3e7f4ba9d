"""Axes: what range a picture shows, where a value lies in it, and round numbers on it."""

import math
from typing import Any, NamedTuple

import numpy as np

from ..numbers import SUPERSCRIPT
from .lines import Line
from .vitals import Vital


DECADES = 12  # on one axis at most


class Axis(NamedTuple):
    """A scale: where a value lies between two ends, in pixels."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, x: Any) -> float:  # a number of any kind
        low, high, x = map(self.measure, (self.low, self.high, float(x)))
        share = (x - low) / (high - low)
        return self.start + min(max(share, 0.0), 1.0) * (self.end - self.start)

    def measure(self, x: float) -> float:
        return math.log10(max(x, 1e-300)) if self.log else x


def x_range(vital: Vital) -> tuple[float, float]:
    """From the first update to the last."""
    steps = [s for line in vital.lines for s in (line.step[:1], line.step[-1:])]
    every = np.concatenate(steps) if steps else np.zeros(1)
    low, high = float(every.min()), float(max(every.max(), vital.last))
    if vital.event:
        high = max(high, float(vital.event[0]))
    low = 0.0 if low < 0.1 * high else low
    return (low, high) if high > low else (low, low + 1)


def y_range(vital: Vital) -> tuple[float, float]:
    """Everything finite, the limit and the band."""
    values = [line.value[np.isfinite(line.value)] for line in vital.lines]
    every = np.concatenate(values) if values else np.zeros(0)
    extra = [v for v in (vital.limit, *(vital.healthy or ())) if v is not None]
    if vital.percent:
        top = max([1.0, *every]) if every.size and every.max() > 1.05 else 1.0
        low = math.floor(10 * every.min()) / 10 if every.size else 0.0
        return (0.0 if extra or low < 0.5 else low), top
    if vital.log:
        every = np.concatenate([np.zeros(0), *map(_shown, vital.lines)])
        extra = [v for v in extra if v > 0]
        every = np.array([*every, *extra]) if every.size or extra else np.ones(1)
        high = float(every.max())
        low = max(float(every.min()), high * 10.0**-DECADES)
        if high < 3 * low:
            low, high = low / 2, high * 2
        return low / 1.25, high * 1.25
    every = np.array([*every, *extra]) if every.size or extra else np.zeros(1)
    low, high = float(every.min()), float(every.max())
    if not math.isfinite(high - low):
        low, high = low / 4, high / 4
    room = 0.05 * (high - low) or 0.5 * abs(high) or 1.0
    return (0.0 if 0 <= low < 0.3 * high else low - room), high + room


def _shown(line: Line) -> np.ndarray:
    """The positive values of a line; of a faint one, without its lowest few."""
    value = line.value[np.isfinite(line.value) & (line.value > 0)]
    return (
        value[value >= np.quantile(value, 0.02)] if line.faint and len(value) else value
    )


def ticks(axis: Axis, most: int, *, whole: bool = False) -> list[float]:
    """Round numbers on an axis."""
    if axis.log:
        first, last = (
            math.ceil(axis.measure(axis.low)),
            math.floor(axis.measure(axis.high)),
        )
        every = max(1, math.ceil((last - first + 1) / most))
        decades = [10.0**k for k in range(first, last + 1) if k % every == 0]
        if len(decades) >= 2:
            return decades
        fine = [m * 10.0**k for k in range(first - 1, last + 1) for m in (1, 2, 5)]
        return [t for t in fine if axis.low <= t <= axis.high]
    span = axis.high - axis.low
    unit = 10.0 ** math.floor(math.log10(span / most))
    step = next(m * unit for m in (1, 2, 5, 10, 20) if span / (m * unit) <= most)
    step = max(step, 1.0) if whole else step
    first = math.ceil(axis.low / step - 1e-9)
    count = math.floor((axis.high - first * step) / step + 1e-9)
    return [(first + i) * step for i in range(count + 1)]


def tick_name(value: float, vital: Vital) -> str:
    if vital.percent:
        return f"{100 * value:.0f} %"
    if value > 0 and not 0.009 < value < 9999:
        exponent = math.floor(math.log10(value) + 1e-9)
        mantissa = f"{value / 10.0**exponent:.4g}"
        power = f"10{str(exponent).translate(SUPERSCRIPT)}"
        return power if mantissa == "1" else f"{mantissa}·{power}"
    return f"{value:.4g}".replace("-", "−")
