"""What a program would give without rounding.

A small program is evaluated in extended precision, with more digits until they no
longer change (`exact`): that is the result, for all that floats can say. A large one
is run once in float64, which is a second opinion and no more: where float64 fails too,
it says so by not being finite.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ..core import jaxpr
from . import exact
from .points import Box, Point
from ._shadow import shadow_program


Truth = Callable[[Point], list[Any]]  # a point -> one array for each output

#: Elements computed in a run, above which extended precision takes too long.
SMALL = 4_000


def truth_of(closed: jaxpr.Closed, boxes: Sequence[Box]) -> Truth:
    """The exact outputs of a program at a point; in float64 where it is large."""
    wide = jax.jit(lambda *values: shadow_program(closed, values)[1])

    def truth(point: Point) -> list[Any]:
        if is_small(closed):
            return exact.evaluate(closed, *point)
        return [np.asarray(out) for out in wide(*point)]

    return truth


def is_small(closed: jaxpr.Closed) -> bool:
    """Whether extended precision answers at once."""
    work = 0
    for equation in jaxpr.equations(closed):
        if isinstance(equation.control, jaxpr.While):
            return False
        turns = (
            equation.control.length if isinstance(equation.control, jaxpr.Scan) else 1
        )
        work += turns * sum(int(np.prod(v.shape)) for v in equation.outputs)
    return work <= SMALL
