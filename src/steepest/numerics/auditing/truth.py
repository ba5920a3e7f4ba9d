"""What a program would give without rounding.

A small program is evaluated in extended precision, with more digits until they no
longer change (`exact`): that is the result, for all that floats can say. A large one
is run once in float64, which is a second opinion and no more: where float64 fails too,
it says so by not being finite.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np

from ...core import jaxpr
from ...core.errors import InputError
from .. import exact
from ..shadowing.program import shadow_program
from .points import Point


#: Elements computed in a run, above which extended precision takes too long.
SMALL = 4_000


#: Each is a program of its own, of many steps.
FACTORISATIONS = frozenset(
    ["cholesky", "eig", "eigh", "lu", "qr", "geqrf", "schur", "svd", "tridiagonal"]
)


class Truth(NamedTuple):
    """Two ways to the exact outputs at a point, one array for each."""

    wide: Callable[[Point], list[np.ndarray]]  # in float64
    exact: Callable[[Point], list[Any]] | None  # of mpmath numbers; None: too large

    def __call__(self, point: Point) -> list[Any]:
        """The better of the two that there is."""
        return self.wide(point) if self.exact is None else self.exact(point)


def truth_of(closed: jaxpr.Closed) -> Truth:
    """The exact outputs of a program; in float64 where it is large.

    In the wide run comparisons, indices and branches are those of the program.
    """
    run = jax.jit(lambda *values: shadow_program(closed, values)[1])

    def wide(point: Point) -> list[np.ndarray]:
        with jax.enable_x64(True):  # some primitives are traced when they are lowered
            return [np.asarray(out) for out in run(*point)]

    def in_full(point: Point) -> list[Any]:
        try:
            return exact.evaluate(closed, *point)
        except InputError:  # a primitive that exact arithmetic has no rule for
            return wide(point)

    return Truth(wide, in_full if is_small(closed) else None)


def is_small(closed: jaxpr.Closed) -> bool:
    """Whether extended precision answers at once."""
    work = 0
    for equation in jaxpr.equations(closed):
        looped = isinstance(equation.control, jaxpr.While)
        if looped or equation.primitive in FACTORISATIONS:
            return False
        turns = (
            equation.control.length if isinstance(equation.control, jaxpr.Scan) else 1
        )
        work += turns * sum(int(np.prod(v.shape)) for v in equation.outputs)
    return work <= SMALL
