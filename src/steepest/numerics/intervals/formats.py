"""Number formats as intervals see them: rounding, the ends, what counts as zero.

Bounds are kept in float64 and rounded to the format of the result. Rounding to nearest
is monotone, so that x ≤ y gives fl(x) ≤ fl(y), and a bound of the exact result, rounded
to nearest, bounds the rounded result: nothing is lost in +, −, ×, ÷ and √, which are
rounded correctly. (The detour through float64 changes no rounding, since
53 ≥ 2·24 + 2; Figueroa 1995.)

Subnormal numbers count as zero, as XLA computes on CPU, except in float16. An interval
that ends in a subnormal number reaches to zero.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np


class Format(NamedTuple):
    """Of a dtype; for integers and booleans `tiny` is 1."""

    dtype: Any
    kind: str  # "float", "int", "bool", or "other": keys, complex numbers
    low: float
    high: float
    tiny: float  # least positive number that is not taken for zero
    eps: float  # from 1 to the next number
    infinite: bool  # too large becomes ±inf; in some 8-bit formats NaN
    gap: float = 0.0  # between subnormal numbers, where they count

    @property
    def real(self) -> bool:
        return self.kind == "float"


@functools.cache
def format_of(dtype: Any) -> Format:
    if jax.dtypes.issubdtype(dtype, jax.dtypes.extended):
        return Format(dtype, "other", 0.0, 0.0, 1.0, 0.0, False)
    if jnp.issubdtype(dtype, jnp.bool_):
        return Format(dtype, "bool", 0.0, 1.0, 1.0, 0.0, False)
    if jnp.issubdtype(dtype, jnp.integer):
        info = jnp.iinfo(dtype)
        return Format(dtype, "int", float(info.min), float(info.max), 1.0, 0.0, False)
    if not jnp.issubdtype(dtype, jnp.floating):
        return Format(dtype, "other", -np.inf, np.inf, 1.0, 0.0, True)
    info = ml_dtypes.finfo(dtype)
    flushed = dtype in (jnp.float32, jnp.float64, jnp.bfloat16)
    least = info.tiny if flushed else info.smallest_subnormal
    with np.errstate(all="ignore"):
        infinite = bool(np.isinf(np.asarray(np.inf).astype(dtype)))
    top = float(info.max)
    gap = 0.0 if flushed else float(least)
    ends = (-top, top, float(least), float(info.eps))
    return Format(dtype, "float", *ends, infinite, gap)


def rounded(fmt: Format, x: np.ndarray) -> np.ndarray:
    """The nearest number of the format; what is beyond it becomes infinite."""
    if fmt.dtype == np.float64:
        return x
    out = x.astype(fmt.dtype).astype(np.float64)
    if not fmt.infinite:
        out = np.where(np.isnan(out) & ~np.isnan(x), np.copysign(np.inf, x), out)
    return out


def settle(fmt: Format, low: Any, high: Any) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of the exact result as bounds of the computed one."""
    if fmt.kind == "float":
        return flushed(fmt, rounded(fmt, low), rounded(fmt, high))
    if fmt.kind == "int":  # wraps around
        over = (low < fmt.low) | (high > fmt.high)
        return np.where(over, fmt.low, low), np.where(over, fmt.high, high)
    return np.clip(low, fmt.low, fmt.high), np.clip(high, fmt.low, fmt.high)


def flushed(fmt: Format, low: Any, high: Any) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of numbers of which the subnormal ones may become 0."""
    low = np.where((low > 0) & (low < fmt.tiny), 0.0, low)
    return low, np.where((high < 0) & (high > -fmt.tiny), 0.0, high)


def widened(fmt: Format, low: Any, high: Any, ulps: Any) -> tuple[Any, Any]:
    """Bounds of a function that is computed with an error of some units."""
    part = ulps * fmt.eps
    gap = ulps * fmt.gap
    lower = low - part * abs(low) - gap * (low != 0)
    higher = high + part * abs(high) + gap * (high != 0)
    few = 8 * fmt.tiny * (np.asarray(ulps) > 0)  # what is halved on the way is flushed
    lower = np.where((low > 0) & (low < few), 0.0, lower)
    higher = np.where((high < 0) & (high > -few), 0.0, higher)
    lower = np.where(np.isinf(low), low, lower)  # ∞ − ∞
    return settle(fmt, lower, np.where(np.isinf(high), high, higher))


def beside(fmt: Format, x: np.ndarray, toward: float) -> np.ndarray:
    """The next number of the format; next to zero are ±tiny."""
    if fmt.dtype == np.float64:
        out = np.nextafter(x, toward)
    else:
        narrow = x.astype(fmt.dtype)
        end = np.asarray(toward).astype(fmt.dtype)
        out = np.nextafter(narrow, end).astype(np.float64)
    small = abs(out) < fmt.tiny
    step = np.where(x == 0, np.copysign(fmt.tiny, toward), 0.0)
    return np.where(small, step, out)
