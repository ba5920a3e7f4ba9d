"""Where the values of a source are cut.

At the numbers where functions turn, 0 and ±1, and at the constants of the program, with
a piece for the number alone; in equal steps where exponentials and sigmoids bend, and
at powers of two beyond. A piece spoils a bound by at most what the function varies in
it.
"""

import functools
from typing import Any

import numpy as np

from .formats import beside, format_of, rounded


def steps() -> np.ndarray:
    """Magnitudes of ordinary cuts."""
    linear = [
        np.arange(0.125, 4, 0.125),
        np.arange(4, 20, 0.5),
        np.arange(20, 32, 1),
        np.arange(32, 128, 4),
    ]
    powers = [
        np.exp2(np.arange(-24.0, -3)),
        np.exp2(np.arange(7.0, 24)),
        np.exp2(np.arange(24.0, 128, 6)),
        np.exp2(np.arange(-126.0, -24, 8)),
        np.exp2(np.arange(128.0, 1024, 64)),
        np.exp2(np.arange(-1022.0, -126, 64)),
    ]
    return np.unique(np.concatenate([*linear, *powers]))


STEPS = steps()
GRID = np.unique(np.concatenate([-STEPS, STEPS]))


@functools.lru_cache(maxsize=4096)
def split(
    low: float, high: float, dtype: Any, special: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Ends of pieces that together hold every number of the format in [low, high]."""
    fmt = format_of(dtype)
    points = rounded(fmt, np.array([0.0, 1.0, -1.0, low, high, *special]))
    if np.isinf(low) or np.isinf(high):
        points = np.append(points, [fmt.low, fmt.high])
    points = np.unique(points[(points >= low) & (points <= high)])
    first, last = max(low, fmt.low), min(high, fmt.high)
    grid = rounded(fmt, np.append(GRID, np.linspace(first, last, 33)[1:-1]))
    grid = grid[(grid > first) & (grid < last) & (abs(grid) >= fmt.tiny)]
    cuts = np.unique(np.append(grid, points))
    cuts = cuts[np.isfinite(cuts)]
    exact = np.isin(cuts, points)
    left = np.where(exact, beside(fmt, cuts, np.inf), cuts)[:-1]
    right = np.where(exact, beside(fmt, cuts, -np.inf), cuts)[1:]
    full = left <= right
    lows = np.append(left[full], points)
    highs = np.append(right[full], points)
    order = np.lexsort((highs, lows))
    return lows[order], highs[order]
