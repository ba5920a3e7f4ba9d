"""One analysis under way: numbers of values, what was found, constants of the program."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from ...core import jaxpr
from .formats import format_of, settle
from .pieces import split
from .value import About, Pieces, Source, Value, boxed, small


Address = tuple[int, ...]


class Candidate(NamedTuple):
    """A fault of an operation that the ranges do not exclude."""

    equation: jaxpr.Equation
    kind: str
    operands: tuple[tuple[float, float], ...]  # least and greatest of each, where it is
    result: tuple[float, float]
    gives: str  # "inf" or "nan"
    derived: bool  # only because of what an earlier candidate made infinite


class Spread(NamedTuple):
    """An array that repeats another one along some axes, or has axes of size 1 added."""

    axes: tuple[int, ...]  # for each axis, that of the source, or −1
    shape: tuple[int, ...]  # of the source
    to: tuple[int, ...]
    source: int = -1

    @property
    def nothing(self) -> bool:
        """Whether it is the source itself."""
        return self.shape == self.to and all(
            a == d or n == 1 for d, (a, n) in enumerate(zip(self.axes, self.to))
        )

    def after(self, first: "Spread") -> "Spread":
        """Both, one after the other."""
        axes = tuple(first.axes[a] if a >= 0 else -1 for a in self.axes)
        return Spread(axes, first.shape, self.to, first.source)


@dataclass
class State:
    special: tuple[float, ...] = ()  # constants of the program, where sources are cut
    numbers: dict[Any, int] = field(default_factory=dict)
    candidates: dict[tuple[Address, str], Candidate] = field(default_factory=dict)
    results: dict[Address, list[Any]] = field(default_factory=dict)
    finite_of: dict[int, int] = field(default_factory=dict)  # is_finite(x) → x
    spreads: dict[int, Spread] = field(default_factory=dict)
    values: dict[int, Value] = field(default_factory=dict)  # by their numbers
    products: dict[int, tuple[Value, Value]] = field(default_factory=dict)
    peaks: dict[int, dict[Any, Pieces]] = field(default_factory=dict)  # by number
    chosen: dict[int, tuple[Value, ...]] = field(default_factory=dict)  # by select_n
    told: dict[int, dict[Any, Any]] = field(default_factory=dict)  # `under`, by number
    recording: bool = True
    serial: int = 0

    def number(self, *key: Any) -> int:
        """The same for the same key."""
        return self.numbers.setdefault(key, len(self.numbers))

    def fresh(self) -> int:
        self.serial += 1
        return self.number("fresh", self.serial)

    def point(self, x: float, dtype: Any, shape: tuple[int, ...]) -> int:
        """Of an array that holds one number alone."""
        number = self.number("point", str(dtype), x + 0.0)
        return self.spread(Spread((-1,) * len(shape), (), shape, number))

    def computed(self, equation: jaxpr.Equation, values: Sequence[Value]) -> int:
        """The number of the first result of an equation at these operands."""
        numbers = tuple(v.number for v in values)
        return self.number(*signature(equation), *numbers)

    def spread(self, spread: Spread) -> int:
        """The number of what is spread, the same by whichever way it came about."""
        if spread.source in self.spreads:
            spread = spread.after(self.spreads[spread.source])
        if spread.nothing:
            return spread.source
        number = self.number("spread", spread)
        self.spreads[number] = spread
        return number

    def keep(self, value: Value) -> None:
        """Find it by its number, and its core."""
        self.values[value.number] = value
        spread = self.spreads.get(value.number)
        if spread is not None:
            value.core = About(spread.source, spread.shape, spread.axes)
            self.values.setdefault(spread.source, value)

    def found(self, candidate: Candidate) -> None:
        if not self.recording:
            return
        key = candidate.equation.address, candidate.kind
        before = self.candidates.get(key)
        if before is not None:
            join = lambda a, b: (min(a[0], b[0]), max(a[1], b[1]))
            candidate = candidate._replace(
                derived=before.derived and candidate.derived,
                operands=tuple(map(join, before.operands, candidate.operands)),
                result=join(before.result, candidate.result),
            )
        self.candidates[key] = candidate

    def rooted(self, value: Value) -> Value:
        """Its views, with one of itself where it is not a function of one source."""
        for peak, piece in self.peaks.get(value.number, {}).items():
            value.views.setdefault(peak, piece)
        point = value.low.size == 1 and value.least == value.most
        if value.of is not None or point or not value.fmt.real:
            return value
        key = Source(value.number)
        if key not in value.views:
            low, high = split(value.least, value.most, value.dtype, self.special)
            nan = np.full(low.shape, value.nan)
            value.views[key] = Pieces(low, high, nan)
        value.of = key
        return value


def signature(equation: jaxpr.Equation) -> tuple[Any, ...]:
    """What an equation computes, apart from its operands; hashable."""
    items = []
    for name, param in sorted(equation.params.items()):
        try:
            hash(param)
        except TypeError:
            param = str(param)
        items.append((name, param))
    return equation.primitive, tuple(items)


def constant(state: State, array: Any) -> Value:
    """A known array."""
    shape, dtype = tuple(np.shape(array)), jax.numpy.result_type(array)
    fmt = format_of(dtype)
    if fmt.kind == "other":
        zero = boxed(0.0, shape)
        return Value(shape, dtype, zero, zero, number=state.number("id", id(array)))
    known = np.asarray(array).astype(dtype)
    if known.size == 0:
        zero = boxed(0.0, shape)
        return Value(shape, dtype, zero, zero, number=state.fresh())
    if known.size == 1 and not np.isnan(known.astype(np.float64)).any():
        number = state.point(float(known.flat[0]), dtype, shape)
    elif known.size <= 16384:
        number = state.number("constant", str(dtype), shape, known.tobytes())
    else:
        number = state.number("id", id(array))
    numbers = known.astype(np.float64)
    nan = bool(np.isnan(numbers).any())
    if nan:
        numbers = np.where(np.isnan(numbers), np.nanmean(finite(numbers)), numbers)
    if known.size > 1 and (numbers == numbers.flat[0]).all():
        numbers = boxed(numbers.flat[0], shape)
    low, high = small(*settle(fmt, numbers, numbers))
    single = known.size == 1
    minus = fmt.real and bool(((numbers == 0) & np.signbit(numbers)).any())
    out = Value(shape, dtype, low, high, nan, number=number, constant=single)
    out.minus = minus
    return out


def finite(x: np.ndarray) -> np.ndarray:
    """Without infinities; zero where nothing is left."""
    left = x[np.isfinite(x)]
    return left if left.size else np.zeros(1)


def unknown(
    state: State, aval: Any, *, spoilt: bool = False, nan: bool = False
) -> Value:
    """Anything of this shape and dtype."""
    fmt = format_of(aval.dtype)
    low, high = (-np.inf, np.inf) if fmt.real else (fmt.low, fmt.high)
    return ranged(state, aval, low, high, nan=nan and fmt.real, spoilt=spoilt)


def ranged(state: State, aval: Any, low: Any, high: Any, **known: Any) -> Value:
    """A new value with these bounds."""
    shape = tuple(aval.shape)
    ends = settle(format_of(aval.dtype), boxed(low, shape), boxed(high, shape))
    low, high = small(*ends)
    known.setdefault("number", state.fresh())
    return Value(shape, aval.dtype, low, high, **known)


def hull(values: Sequence[Value], state: State) -> Value:
    """What holds for each of several values of one shape."""
    first = values[0]
    if all(v.number == first.number for v in values):
        return first
    lows = np.broadcast_arrays(*[v.low for v in values])
    highs = np.broadcast_arrays(*[v.high for v in values])
    low, high = small(np.minimum.reduce(lows), np.maximum.reduce(highs))
    return replace(
        first,
        low=low,
        high=high,
        nan=any(v.nan for v in values),
        spoilt=any(v.spoilt for v in values),
        minus=any(v.minus for v in values),
        number=state.fresh(),
        constant=False,
        views={},
        of=None,
        above=frozenset.intersection(*[v.above for v in values]),
        below=frozenset.intersection(*[v.below for v in values]),
        over={},
        under={},
        maximum=None,
        summed=None,
        total=None,
        mixed=None,
    )
