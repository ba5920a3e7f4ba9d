"""What is known of an array: bounds, pieces, and how it lies to other arrays.

`low` and `high` hold for every element; an axis of size 1 in them stands for all
elements along that axis, so that a bias of each channel, a mask or a one-hot matrix
keep their own bounds in arrays of any size.

A *view* describes the array as an elementwise function of one source: the values of the
source are cut into pieces, and where the source is in the k-th, the array is in
[low[k], high[k]]. Two arrays with views of the same source *and* the same positions are
combined piece by piece: x·σ(x) needs no rule of its own. A `Peak` is a view of one
piece that holds for at least one element along some axes.

Two arrays with the same `number` are equal, element by element.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from .formats import Format, format_of


#: Elements of which the bounds are kept apart.
ELEMENTS = 4096


class Pieces(NamedTuple):
    low: np.ndarray  # (k,)
    high: np.ndarray
    nan: np.ndarray  # whether it can be NaN there


class Source(NamedTuple):
    """Whose values are cut, and how its elements were moved since."""

    number: int
    moves: tuple[Any, ...] = ()


class Peak(NamedTuple):
    """At least one element along the axes, of that value, `number`."""

    number: int
    axes: frozenset[int]
    moves: tuple[Any, ...] = ()


class About(NamedTuple):
    """Another array that a relation is about.

    `axes[d]` is its axis at axis d of this one, −1 where this one does not vary. The
    relation holds with every element along its other axes.
    """

    number: int
    shape: tuple[int, ...]
    axes: tuple[int, ...]


class Share(NamedTuple):
    """Along `axes`, the elements add up to a number in [low, high]."""

    axes: frozenset[int]
    low: float
    high: float


@dataclass(slots=True, eq=False)
class Value:
    shape: tuple[int, ...]
    dtype: Any
    low: np.ndarray
    high: np.ndarray
    nan: bool = False
    spoilt: bool = False  # its infinite ends come from a candidate
    number: int = -1
    minus: bool = True  # its zeros may be −0
    core: About | None = None  # the array that it repeats, if it does
    constant: bool = False
    views: dict[Source | Peak, Pieces] = field(default_factory=dict)
    of: Source | None = None  # it is a function of that source alone
    above: frozenset[About] = frozenset()  # it is ≥ these
    below: frozenset[About] = frozenset()  # it is ≤ these
    over: dict[About, tuple[float, float]] = field(default_factory=dict)
    """It is ≥ c |u|^p, with (p, c)."""
    under: dict[About, tuple[float, float]] = field(default_factory=dict)
    """Its magnitude is ≤ c |u|^p."""
    maximum: About | None = None  # it is the greatest element of that
    summed: About | None = None  # it is the sum of the elements of that, all ≥ 0
    total: Share | None = None  # its elements, which are not negative
    mixed: Share | None = None

    @property
    def fmt(self) -> Format:
        return format_of(self.dtype)

    @property
    def least(self) -> float:
        return float(self.low.min())

    @property
    def most(self) -> float:
        return float(self.high.max())

    @property
    def whole(self) -> tuple[int, ...]:
        return tuple(range(len(self.shape)))

    @property
    def itself(self) -> About:
        return About(self.number, self.shape, own_axes(self.shape))

    @property
    def base(self) -> About:
        """The array whose powers bound others: itself, or what it repeats."""
        return self.core or self.itself

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


def own_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of an array to itself; along an axis of size 1 nothing varies."""
    return tuple(d if n > 1 else -1 for d, n in enumerate(shape))


def boxed(bound: Any, shape: tuple[int, ...]) -> np.ndarray:
    """A bound with one axis for each of the shape, of size 1 where it does not vary."""
    bound = np.asarray(bound, np.float64)
    if bound.size == 1:
        return bound.reshape((1,) * len(shape))
    return bound.reshape((1,) * (len(shape) - bound.ndim) + bound.shape)


def small(low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of at most `ELEMENTS` elements; the longest axes are given up first."""
    while low.size > ELEMENTS:
        axis = int(np.argmax(low.shape))
        low, high = low.min(axis, keepdims=True), high.max(axis, keepdims=True)
    return low, high
