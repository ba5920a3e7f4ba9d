"""Which operation of a program will overflow, underflow or lose its digits.

An audit goes from what cannot be excluded to what is proved:

1. *Candidates.* Interval arithmetic with relations (`intervals`) bounds every value of
   the program and of its gradient program over the whole of the specs. An operation of
   which the bounds exclude a failure is acquitted for good.
2. *Witnesses.* The program is run at inputs of all kinds inside the specs, then by
   gradient towards the danger of each candidate that is left (`witness`). What fails is
   made to fail as mildly as possible, and so confirmed: operation, line, input.
3. *Digits.* At the inputs where nothing fails the program is run once more in wider
   precision (`shadow`). For a result y, its exact value y* and unit roundoff u,

       lost = |y − y*| / (u |y*| + max_δ |y*(x + δ) − y*(x)|),   |δᵢ| ≤ u |xᵢ|,    (1)

   is the error in terms of what rounding the result and the *inputs* would cost anyway
   (the condition of the problem, not of the program): 1 is perfect, 1000 means that
   three digits were lost without need.

The gradient program is that of Σ c·f(x), with c = 1 for a scalar and cotangents in
[−1, 1] otherwise. What is confirmed was seen in a run that computes operation by
operation; `mode` says whether it is so under `jit` too, where XLA rewrites programs.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §4.1.
    Higham (2002), Accuracy and Stability of Numerical Algorithms, §1.5 (forward error
    against condition number).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.extend import core

from ..core.errors import InputError
from ..core.progress import progress
from .auditing import digits
from .auditing.compiled import only_compiled, suspected
from .auditing.faults import confirmed, noted, possible
from .auditing.finding import Audit, Fault
from .auditing.search import Clock, search
from .auditing.sides import Side, as_range, gradient_side, value_side
from .auditing.specs import Question, ask
from .auditing.summary import (
    gravity,
    with_gradients,
    with_suggestions,
    without_echoes,
)
from .auditing.truth import truth_of
from .intervals import Analysis, Candidate, Interval as Interval, analyse


#: Fewer bits than these between a result and the end of its format are worth a note.
HEADROOM = 4


def audit(
    fun: Callable[..., Any],
    *specs: Any,
    gradient: bool = True,
    budget: float = 30.0,
    seed: int = 0,
) -> Audit:
    """Find the operations of `fun` that overflow, underflow or lose digits.

    A spec is an array, a `jax.ShapeDtypeStruct` (any finite number) or
    `steepest.Interval(low, high, shape, dtype)`, in any pytree; one for each argument.
    With `gradient`, the derivative of the outputs by every float argument is audited
    too. `budget` is the time in seconds for the search, without compilation; the search
    is the same for the same `seed`, as far as the budget reaches.

    Raises `InputError` for specs that are none, do not fit or are empty, and for a
    function with side effects or callbacks.

    >>> import jax.numpy as jnp
    >>> naive = lambda z: jnp.log(jnp.exp(z).sum())
    >>> found = audit(naive, Interval(-300, 300, (3,)), gradient=False)
    >>> found.defects[0].operation, found.defects[0].kind
    ('exp', 'overflow')
    """
    check(budget, seed)
    total = int(budget) if math.isfinite(float(budget)) else None
    with progress("auditing (seconds)", total) as tell:
        clock = Clock(float(budget), tell)
        return searched(fun, specs, gradient, clock, seed)


def searched(
    fun: Callable[..., Any],
    specs: Sequence[Any],
    gradient: bool,
    clock: Clock,
    seed: int,
) -> Audit:
    """The audit of a function, in the time that the clock has."""
    question = ask(fun, specs)
    sides = [value_side(question)]
    if gradient and (side := gradient_side(question)) is not None:
        sides.append(side)
    clock.lap("tracing")
    faults: list[Fault] = []
    counts = {"candidates": 0, "unbounded": 0, "points": 0}
    unseen: list[Any] = []
    for side in sides:
        ranges = [as_range(box) for box in side.boxes]
        analysis = analyse(side.closed, ranges)
        candidates = [c for c in analysis.candidates if c.equation.address in side.own]
        counts["candidates"] += len(candidates)
        counts["unbounded"] += sum(c.derived for c in candidates)
        unseen += [n for n in analysis.not_analysed if n not in unseen]
        clock.lap("bounds")
        wrong = any(f.verdict in ("defect", "domain") for f in faults)
        faults += examine(
            side, candidates, analysis, question, clock, counts, seed, wrong
        )
    faults = without_echoes(with_gradients(faults))
    faults = with_suggestions(faults, question)
    clock.lap("suggestions")
    return Audit(
        tuple(sorted(faults, key=gravity)),
        tuple(unseen),
        complete=not clock.cut,
        seconds=clock.laps,
        **counts,
    )


def check(budget: Any, seed: Any) -> None:
    """Raise `InputError` for a budget that is no time, or a seed that is none."""
    try:
        positive = float(budget) > 0
    except (TypeError, ValueError):
        positive = False
    if not positive:
        raise InputError(f"`budget` is a time in seconds above 0; {budget!r} came.")
    if not hasattr(seed, "__index__") or seed < 0:
        raise InputError(f"`seed` is a whole number from 0; {seed!r} came.")


def examine(
    side: Side,
    candidates: Sequence[Candidate],
    analysis: Analysis,
    question: Question,
    clock: Clock,
    counts: dict[str, int],
    seed: int,
    wrong: bool,
) -> list[Fault]:
    """All findings of one program.

    `wrong` says that the value fails somewhere. Then the digits of the gradient are not
    asked for: most of what it has lost is the value's loss, spread over other lines.
    """
    tried = search(side, candidates, analysis.results, clock, counts, seed)
    truth = truth_of(side.closed)
    compiled = jax.jit(core.jaxpr_as_fun(side.closed))
    faults: list[Fault] = []
    blamed: set[int] = set()
    for number, failures in tried.failures.items():
        blamed.add(number)
        faults.append(
            confirmed(side, number, failures, tried, truth, compiled, question, clock)
        )
    if not wrong:
        suspects = suspected(side, analysis, clock, counts, seed)
        faults += only_compiled(side, tried.fine, truth, compiled, question, suspects)
    clock.lap("witnesses")
    if not wrong:
        faults += digits.lost(side, tried.fine, truth, compiled, question, clock)
        clock.lap("digits")
    kinds = {c.equation.address: c for c in candidates}
    told = {(f.operation, f.place) for f in faults}
    for number in sorted(tried.masked - blamed):
        equation = side.watch.equations[number]
        if (
            equation.address in side.own
            and (equation.primitive, equation.place) not in told
        ):
            faults.append(noted(side, number, kinds, "masked"))
    for number, room in tried.room.items():
        address = side.watch.equations[number].address
        if room < HEADROOM and number not in tried.born and address in side.own:
            faults.append(noted(side, number, kinds, "latent"))
    told = {(f.operation, f.place) for f in faults if f.verdict != "latent"}
    faults += [
        possible(side, c)
        for c in candidates
        if not c.derived and (c.equation.primitive, c.equation.place) not in told
    ]
    return faults
