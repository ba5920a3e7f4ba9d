"""What fails only when it is compiled.

XLA computes another program than the one that is written: it folds x·10³⁰·10³⁰ to x·∞,
which is NaN at 0, and (1 − p) + ε to (1 + ε) − p, which is 0 at 1. So the inputs at
which an eager run is fine are given to the compiled program too; and where the program
as XLA may fold it (`compiler`) can fail in a way that the written one cannot, inputs
that make it fail are looked for and given to the compiled program.

What is to blame is asked of a second compilation, in which every intermediate value is
an output: the first of them that is not finite. Asking can change the answer, since a
value that has to be there cannot be folded away; then the operation that makes the
output is named, with the kind "compiled".
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from ...core import jaxpr
from ..intervals import Analysis, Candidate, analyse
from .compiler import folded
from .digits import Fine
from .events import Plan, is_float
from .finding import Fault
from .points import Point
from .search import Clock, floats, search
from .sides import Side, as_range, side_of
from .specs import Question
from .truth import Truth
from .witness import milder


MOST = 120  # inputs that the compiled program is run at


def only_compiled(
    side: Side,
    fine: Sequence[Fine],
    truth: Truth,
    compiled: Callable[..., Any],
    question: Question,
    suspects: Sequence[Point] = (),
) -> list[Fault]:
    """The fault that the compiled program has at an input where an eager run is fine.

    `suspects` are inputs at which it may fail.
    """

    def fails(point: Point) -> bool:
        outs = compiled(*point)
        return not all(np.isfinite(floats(outs[i])).all() for i in side.outputs)

    chosen = fine[:: 1 + len(fine) // MOST]
    bad = next((ran.point for ran in chosen if fails(ran.point)), None)
    if bad is None:
        bad = next((p for p in suspects if fails(p) and is_fine(side, p)), None)
    if bad is None:
        return []
    good = next((ran.point for ran in chosen if not fails(ran.point)), bad)
    point = milder(lambda p: fails(p) and is_fine(side, p), good, bad, side.boxes)
    equation = culprit(side.watch.plan, point) or maker(side)
    outs, true = compiled(*point), truth(point)
    computed, exact = worst(side, outs, true)
    return [
        Fault(
            operation=equation.primitive if equation else "?",
            place=equation.place if equation else jaxpr.NOWHERE,
            kind="compiled",
            where=side.where,
            mode="jit",
            verdict="defect" if np.isfinite(exact) else "domain",
            reaches_output=True,
            operands=(),
            witness=question.arguments(point),
            given=question.given,
            computed=computed,
            exact=exact,
            address=equation.address if equation else (),
            path=equation.path if equation else (),
        )
    ]


def suspected(
    side: Side, bounds: Analysis, clock: Clock, counts: dict[str, int], seed: int
) -> list[Point]:
    """Inputs at which the program fails as XLA may fold it; `bounds` are its own."""
    program = folded(side.closed)
    if program is None:
        return []
    other = side_of(side.where, program, side.boxes, side.outputs, set())
    found = analyse(program, [as_range(box) for box in side.boxes])
    known = Counter(map(kind_of, bounds.candidates))
    new = [c for c in found.candidates if not c.derived]
    if not Counter(map(kind_of, new)) - known:
        return []
    tried = search(other, new, found.results, clock, counts, seed)
    return [f.point for failures in tried.failures.values() for f in failures]


def kind_of(candidate: Candidate) -> tuple[str, str]:
    return candidate.equation.primitive, candidate.kind


def is_fine(side: Side, point: Point) -> bool:
    seen = side.watch.run(*point)
    return all(np.isfinite(floats(seen.outputs[i])).all() for i in side.outputs)


def worst(side: Side, outs: Sequence[Any], true: Sequence[Any]) -> tuple[float, float]:
    """The first element that is not finite, and what it should be."""
    for i in side.outputs:
        value = floats(outs[i]).ravel()
        exact = np.asarray(true[i], np.float64).ravel()
        for k in np.flatnonzero(~np.isfinite(value)):
            return float(value[k]), float(exact[k])
    return np.nan, np.nan


def culprit(plan: Plan, point: Point) -> jaxpr.Equation | None:
    """The first equation of which the compiled result is not finite."""
    steps = [s for s in plan.steps if s.number >= 0 and not s.bodies]

    def values(*operands: Any) -> list[Any]:
        env: list[Any] = [None] * plan.size
        for slot, value in (*plan.constants, *zip(plan.inputs, operands, strict=True)):
            env[slot] = value
        for s in plan.steps:
            outs = s.bind(*(env[i] for i in s.reads))
            for slot, out in zip(s.writes, outs, strict=True):
                env[slot] = out
        return [[env[i] for i in s.writes] for s in steps]

    for s, outs in zip(steps, jax.jit(values)(*point), strict=True):
        if any(is_float(y) and not np.isfinite(np.asarray(y)).all() for y in outs):
            return s.equation
    return None


def maker(side: Side) -> jaxpr.Equation | None:
    """The last equation that computes an output."""
    slots = {side.watch.plan.outputs[i] for i in side.outputs}
    made = [s for s in side.watch.plan.steps if slots & set(s.writes)]
    return made[-1].equation if made else None
