"""Where a gradient becomes exactly zero.

The gradient program is run beside itself in float64. An operation whose result is 0 in
all elements, and not 0 in float64, *rounded* it to zero; the first one on the way to a
gradient is to blame. If there is none, the function is *flat* there: the first
operation is named that makes zeros of what is not zero.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ...core import jaxpr
from .errors import Pair, paired
from .operations import PASSING, is_float, reached
from .program import Run, in_float64


class Zeroed(NamedTuple):
    """The operation at which a gradient became zero."""

    operation: str  # the primitive
    place: jaxpr.Place
    rounded: bool  # to zero: in float64 it is not

    def __str__(self) -> str:
        at = f" at {self.place}" if self.place.file else ""
        how = "rounds it to zero" if self.rounded else "is flat there"
        return f"`{self.operation}`{at} {how}"


def where_zero(closed: jaxpr.Closed, values: Sequence[Any]) -> Zeroed | None:
    """The operation at which the gradients become zero, of `(value, *gradients)`."""
    ways = reached(closed)
    with in_float64():
        run = _Zeros()
        run.evaluate(closed, [paired(v) for v in values], None, 0)
    wanted = set(range(1, len(closed.jaxpr.outvars)))
    on_the_way = [z for z in run.zeros if ways.get(z.equation.address, set()) & wanted]
    rounded = [z for z in on_the_way if z.rounded]
    flat = [z for z in on_the_way if z.made and not z.rounded]
    for found, by_rounding in ((rounded, True), (flat, False)):
        if found:
            e = found[0].equation
            return Zeroed(e.primitive, e.place, by_rounding)
    return None


class _Zero(NamedTuple):
    equation: jaxpr.Equation
    rounded: bool  # not zero in float64
    made: bool  # of operands that are not zero


class _Zeros(Run):
    """A run beside float64 that notes which results are 0 in all elements."""

    def __init__(self) -> None:
        super().__init__(Counter(), late=True)
        self.zeros: list[_Zero] = []

    def step(self, equation: jaxpr.Equation, *operands: Pair) -> list[Pair]:
        outs = super().step(equation, *operands)
        self.probes.clear()
        self.ready.clear()
        self.note(equation, operands, outs)
        return outs

    def scan(self, equation: jaxpr.Equation, *operands: Pair) -> list[Pair]:
        return self._noted(super().scan, equation, operands)

    def loop(self, equation: jaxpr.Equation, *operands: Pair) -> list[Pair]:
        return self._noted(super().loop, equation, operands)

    def cond(self, equation: jaxpr.Equation, *operands: Pair) -> list[Pair]:
        return self._noted(super().cond, equation, operands)

    def _noted(self, rule: Any, equation: Any, operands: Sequence[Pair]) -> list[Pair]:
        outs = rule(equation, *operands)
        self.note(equation, operands, outs)
        return outs

    def note(
        self, equation: Any, operands: Sequence[Pair], outs: Sequence[Pair]
    ) -> None:
        floats = [o for o in outs if is_float(o.native) and o.native.size]
        if not floats or not all(_is_zero(o.native) for o in floats):
            return
        rounded = not all(_is_zero(o.wide) for o in floats)
        given = [x.native for x in operands if is_float(x.native)]
        made = bool(given) and not all(map(_is_zero, given))
        if equation.primitive not in PASSING or equation.primitive == "select_n":
            self.zeros.append(_Zero(equation, rounded, made))


def _is_zero(x: Any) -> bool:
    return not np.any(np.asarray(x, np.float64))
