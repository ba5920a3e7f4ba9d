"""Inputs at which a program is likely to fail, inside of what is allowed.

Faults of floating point lie where random numbers of one scale never go: at the ends of
a range, at zero, where one element dwarfs the others, where two numbers are nearly
equal, at magnitudes of every order. So a point is drawn by choosing, for each argument,
one of some twenty *ways* to fill it; half of them are corners, which the extreme values
of monotone operations are attained at, and half random. Arguments of one shape are
sometimes drawn nearly equal or nearly opposite to each other, since that is where
differences, angles and distances lose their digits.

The first points are mild (magnitudes about 1): what fails there fails in everyday use.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np


class Box(NamedTuple):
    """What one array of the input may hold."""

    low: np.ndarray  # float64 or integer; scalars, or of the array's shape
    high: np.ndarray
    shape: tuple[int, ...]
    dtype: Any
    fixed: Any = None  # the array itself, when it is given

    @property
    def free(self) -> bool:
        return self.fixed is None

    @property
    def real(self) -> bool:
        return bool(jnp.issubdtype(self.dtype, jnp.floating))


Way = Callable[["_Draw"], np.ndarray]
Point = list[Any]  # one array for each box


class _Draw(NamedTuple):
    """What a way to fill an array may look at."""

    low: np.ndarray
    high: np.ndarray
    shape: tuple[int, ...]
    tiny: float  # the smallest normal number of the format
    eps: float
    rng: np.random.Generator

    def spread(self, shape: tuple[int, ...] | None = None) -> np.ndarray:
        """Magnitudes of every order between the format's least and the range's."""
        if shape == () and np.ndim(self.low) + np.ndim(self.high):
            hull = self._replace(low=np.min(self.low), high=np.max(self.high))
            return hull.spread(())
        shape = self.shape if shape is None else shape
        least = np.where((self.low <= 0) & (self.high >= 0), self.tiny, 0)
        small = np.maximum(np.minimum(abs(self.low), abs(self.high)), self.tiny)
        least = np.where(least > 0, least, small)
        most = np.maximum(np.maximum(abs(self.low), abs(self.high)), least)
        if self.rng.random() < 0.5:  # the middle orders, more often than the extreme
            least = np.maximum(least, np.minimum(most, 1) * self.eps**2)
        scale = np.exp(self.rng.uniform(np.log(least), np.log(most), shape))
        sign = np.where(self.rng.random(shape) < 0.5, -1.0, 1.0)
        sign = np.where(self.low >= 0, 1.0, np.where(self.high <= 0, -1.0, sign))
        return sign * scale

    def fill(self, value: Any) -> np.ndarray:
        return np.broadcast_to(np.asarray(value, float), self.shape).copy()

    def one(self, value: Any, rest: Any) -> np.ndarray:
        """One element of each row apart from the others."""
        out, value = self.fill(rest), self.fill(value)
        if out.ndim == 0:
            return value
        rows, chosen = out.reshape(-1, out.shape[-1]), value.reshape(-1, out.shape[-1])
        at = self.rng.integers(rows.shape[1], size=len(rows))
        rows[np.arange(len(rows)), at] = chosen[np.arange(len(rows)), at]
        return rows.reshape(out.shape)


def mild(d: _Draw) -> np.ndarray:
    return d.rng.normal(size=d.shape)


def uniform(d: _Draw) -> np.ndarray:
    return d.rng.uniform(d.low, d.high, d.shape)


def ends(d: _Draw) -> np.ndarray:
    return np.where(d.rng.random(d.shape) < 0.5, d.low, d.high)


def near(d: _Draw) -> np.ndarray:
    """All elements the same but for a small part."""
    part = d.eps ** d.rng.uniform(0, 1.2)
    return d.spread(()) * (1 + part * d.rng.normal(size=d.shape))


def offset(d: _Draw) -> np.ndarray:
    """A large mean and a deviation of one."""
    return d.spread(()) + d.rng.normal(size=d.shape)


def aloft(d: _Draw) -> np.ndarray:
    """All elements nearly the same, and about as large as the range allows.

    There E[x²] − E[x]² and the like lose all of their digits.
    """
    ends = [np.min(d.low), np.max(d.high)]
    mean = d.rng.choice(ends) * d.rng.uniform(0.1, 1.0)
    part = abs(mean) * d.eps ** d.rng.uniform(0.2, 0.8)
    return mean + part * d.rng.normal(size=d.shape)


def special(d: _Draw) -> np.ndarray:
    values = np.array([0, 1, -1, 0.5, d.eps, -d.eps, 1 - d.eps, d.tiny, 2])
    return d.rng.choice(values, d.shape)


def ladder(d: _Draw) -> np.ndarray:
    size = int(np.prod(d.shape))
    steps = np.linspace(0, 1, size).reshape(d.shape)
    return d.low * (1 - steps) + d.high * steps


def sparse(d: _Draw) -> np.ndarray:
    return np.where(d.rng.random(d.shape) < 0.2, d.spread(), 0)


CORNERS: tuple[Way, ...] = (
    lambda d: d.fill(d.high),
    lambda d: d.fill(d.low),
    lambda d: d.fill(0),
    lambda d: d.fill(1),
    lambda d: d.one(d.high, d.low),
    lambda d: d.one(d.low, d.high),
    ends,
    lambda d: d.one(d.high, 0),
    lambda d: d.fill(d.tiny),
    lambda d: d.one(0, d.low),
)
RANDOM: tuple[Way, ...] = (
    lambda d: d.spread(),
    lambda d: d.fill(d.spread(())),
    uniform,
    mild,
    near,
    offset,
    special,
    sparse,
    ladder,
    lambda d: mild(d) * abs(d.spread(())),
    lambda d: d.one(d.spread(()), 0),
    lambda d: d.one(0, d.spread(())),
)


def points(boxes: Sequence[Box], seed: int = 0) -> Iterator[Point]:
    """Points without end, the mild ones and the corners first."""
    rng = np.random.default_rng(seed)
    n = sum(box.free for box in boxes)
    for way in (mild, mild, uniform, mild):
        yield fill(boxes, [way] * n, rng)
    for way in CORNERS:
        yield fill(boxes, [way] * n, rng)
    apart = np.random.default_rng((seed, 1))
    for _ in range(12):
        yield fill(boxes, [aloft] * n, apart)
    while True:
        for way in RANDOM:
            yield fill(boxes, [way] * n, rng)
        for way in RANDOM:
            kin = fill(boxes, [way] * n, rng)
            yield relate(boxes, kin, rng) if n > 1 else kin
        for _ in range(len(CORNERS) + len(RANDOM) if n > 1 else 4):
            yield fill(boxes, [one_of(rng) for _ in range(n)], rng)


def one_of(rng: np.random.Generator) -> Way:
    """A corner or a random way."""
    ways = CORNERS if rng.random() < 0.4 else RANDOM
    return ways[rng.integers(len(ways))]


def fill(boxes: Sequence[Box], ways: Sequence[Way], rng: Any) -> Point:
    """Each free array filled in its way, and clipped to its range."""
    rest = iter(ways)
    return [draw(box, next(rest), rng) if box.free else box.fixed for box in boxes]


def draw(box: Box, way: Way, rng: np.random.Generator) -> np.ndarray:
    if not box.real:
        return whole(box, way, rng)
    info = jnp.finfo(box.dtype)
    low, high = finite(box.low, info), finite(box.high, info)
    tiny, eps = float(info.tiny), float(info.eps)
    with np.errstate(all="ignore"):
        value = way(_Draw(low, high, box.shape, tiny, eps, rng))
    if (np.isinf(box.low).any() or np.isinf(box.high).any()) and rng.random() < 0.2:
        value = np.where(
            value <= low, box.low, np.where(value >= high, box.high, value)
        )
    return inside(box, value)


def whole(box: Box, way: Way, rng: np.random.Generator) -> np.ndarray:
    """Numbers that are not floats: ends by the corners, else drawn evenly."""
    low, high = np.asarray(box.low), np.asarray(box.high)
    if way is CORNERS[0]:
        value = np.broadcast_to(high, box.shape)
    elif way is CORNERS[1]:
        value = np.broadcast_to(low, box.shape)
    else:
        value = rng.integers(low, high, box.shape, endpoint=True)
    return np.asarray(value).astype(box.dtype)


def relate(boxes: Sequence[Box], point: Point, rng: np.random.Generator) -> Point:
    """Make arrays of one shape nearly equal to the first of them, or to its negative."""
    first: dict[tuple[int, ...], np.ndarray] = {}
    out: Point = []
    for box, value in zip(boxes, point, strict=True):
        if not (box.free and box.real):
            out.append(value)
            continue
        kin = first.setdefault(box.shape, np.asarray(value, np.float64))
        if kin is not value and rng.random() < 0.9:
            eps = float(jnp.finfo(box.dtype).eps)
            part = rng.choice([0.0, eps ** rng.uniform(0, 1.0)])
            with np.errstate(all="ignore"):
                value = kin * (1 + part * rng.normal(size=box.shape))
            value = inside(box, value * rng.choice([1.0, 1.0, -1.0]))
        out.append(value)
    return out


def inside(box: Box, value: np.ndarray) -> np.ndarray:
    """The nearest point of the box, in its format (rounding never leaves the box)."""
    value = np.where(np.isnan(value), 0, value)
    value = np.clip(value, box.low, box.high)
    with np.errstate(over="ignore"):
        out = np.asarray(value).astype(box.dtype)
    wide = out.astype(np.float64)
    with np.errstate(over="ignore"):
        up = np.asarray(np.nextafter(out, np.asarray(np.inf, out.dtype)))
        down = np.asarray(np.nextafter(out, np.asarray(-np.inf, out.dtype)))
    out = np.where(wide < box.low, up, np.where(wide > box.high, down, out))
    return np.asarray(out).astype(box.dtype).reshape(box.shape)


def finite(end: np.ndarray, info: Any) -> np.ndarray:  # of a format
    return np.clip(np.asarray(end, np.float64), float(info.min), float(info.max))
