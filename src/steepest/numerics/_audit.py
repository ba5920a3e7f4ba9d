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

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from ..core import jaxpr
from ..core.errors import InputError
from . import digits
from .events import Address, Seen, Watch, is_float, watch
from .finding import ORDER, Audit, Fault
from .intervals import Candidate, Interval, analyse, range_of
from .neighbourhood import fails_locally
from .points import Box, Point, points
from .slices import needed
from .specs import Question, ask, shape_of
from .truth import Truth, truth_of
from .witness import danger, descend, milder


#: Fewer bits than these between a result and the end of its format are worth a note.
HEADROOM = 4
MOST_POINTS = 400


class Side(NamedTuple):
    """The value program or the gradient program, ready to be run."""

    where: str  # "value" or "gradient"
    closed: jaxpr.Closed
    boxes: list[Box]
    outputs: list[int]  # the outputs that count: all, or the gradients
    own: set[Address]  # equations that belong to this side
    watch: Watch


class Failure(NamedTuple):
    """An output that is not finite at a point, and the equation to blame."""

    number: int  # of the equation in the side's watch
    point: Point


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
    if not budget > 0:
        raise InputError(f"`budget` is a time in seconds above 0; {budget!r} came.")
    clock = _Clock(budget)
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
            side, candidates, analysis.results, question, clock, counts, seed, wrong
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


class _Clock:
    """The time that a search has left; compilation does not count."""

    def __init__(self, budget: float) -> None:
        self.budget = budget
        self.spent = 0.0
        self.laps: dict[str, float] = {}
        self.last = time.perf_counter()
        self.cut = False  # whether a search ended for want of time

    def lap(self, name: str, searching: bool = False) -> None:
        now = time.perf_counter()
        self.laps[name] = self.laps.get(name, 0.0) + now - self.last
        self.spent += (now - self.last) * searching
        self.last = now

    def left(self) -> float:
        return self.budget - self.spent


# -- The two programs -----------------------------------------------------------------


def value_side(question: Question) -> Side:
    closed = question.program.closed
    own = {e.address for e in jaxpr.equations(closed)}
    outputs = [i for i, v in enumerate(closed.jaxpr.outvars) if is_float(v.aval)]
    return side_of("value", closed, question.boxes, outputs, own)


def gradient_side(question: Question) -> Side | None:
    """The program of the derivative by every float operand that is free; or None."""
    closed, boxes = question.program.closed, question.boxes
    moving = [i for i, box in enumerate(boxes) if box.real]
    floats = [i for i, v in enumerate(closed.jaxpr.outvars) if is_float(v.aval)]
    if not moving or not floats:
        return None
    value = core.jaxpr_as_fun(closed)
    scalar = len(floats) == 1 and closed.jaxpr.outvars[floats[0]].aval.shape == ()

    def grads(*operands: Any) -> list[Any]:
        operands, cotangents = operands[: len(boxes)], operands[len(boxes) :]

        def of(*moved: Any) -> list[Any]:
            values = list(operands)
            for i, x in zip(moving, moved, strict=True):
                values[i] = x
            outs = value(*values)
            return [outs[i] for i in floats]

        outs, pull = jax.vjp(of, *(operands[i] for i in moving))
        if scalar:
            cotangents = [jnp.ones_like(outs[0])]
        return [*outs, *pull(list(cotangents))]

    extra = []
    if not scalar:
        for i in floats:
            aval = closed.jaxpr.outvars[i].aval
            ends = np.asarray(-1.0), np.asarray(1.0)
            extra.append(Box(*ends, tuple(aval.shape), aval.dtype))
    all_boxes = [*boxes, *extra]
    operands = [*question.program.values, *map(struct, extra)]
    try:
        joint = jaxpr.trace(grads, *operands).closed
    except (TypeError, NotImplementedError, ValueError):
        return None  # not differentiable: an integer path, a primitive without a rule
    n = len(floats)
    many = len(joint.jaxpr.outvars)
    forward, _ = needed(joint, [i < n for i in range(many)])
    own = {e.address for e in jaxpr.equations(joint)} - forward
    return side_of("gradient", joint, all_boxes, list(range(n, many)), own)


def struct(box: Box) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(box.shape, box.dtype)


def side_of(
    where: str, closed: Any, boxes: list[Box], outputs: list[int], own: set[Address]
) -> Side:
    return Side(where, closed, boxes, outputs, own, watch(closed))


def as_range(box: Box) -> Any:
    if box.fixed is not None:
        return range_of(box.fixed)
    return range_of(Interval(box.low, box.high, box.shape, box.dtype))


# -- Examining one of them ------------------------------------------------------------


def examine(
    side: Side,
    candidates: Sequence[Candidate],
    bounds: Any,  # results of the interval analysis
    question: Question,
    clock: _Clock,
    counts: dict[str, int],
    seed: int,
    wrong: bool,
) -> list[Fault]:
    """All findings of one program.

    `wrong` says that the value fails somewhere. Then the digits of the gradient are not
    asked for: most of what it has lost is the value's loss, spread over other lines.
    """
    tried = search(side, candidates, bounds, clock, counts, seed)
    truth = truth_of(side.closed)
    compiled = jax.jit(core.jaxpr_as_fun(side.closed))
    faults: list[Fault] = []
    blamed: set[int] = set()
    for number, failures in tried.failures.items():
        blamed.add(number)
        faults.append(
            confirmed(side, number, failures, tried, truth, compiled, question)
        )
    clock.lap("witnesses")
    if not wrong:
        faults += digits.lost(side, tried.fine, truth, compiled, question, clock)
        clock.lap("digits")
    kinds = {c.equation.address: c for c in candidates}
    told = {(f.operation, f.place) for f in faults}
    for number in sorted(tried.masked - blamed):
        equation = side.watch.equations[number]
        if equation.address in side.own and (equation.primitive, equation.place) not in told:
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


class Tried(NamedTuple):
    """What the search has seen."""

    failures: dict[int, list[Failure]]  # by equation: inputs that reach an output
    born: set[int]  # equations that made a NaN or an infinity, seen in an output or not
    masked: set[int]  # those that did so while all outputs were finite
    room: dict[int, float]  # least headroom at mild inputs, by equation
    fine: list[digits.Fine]  # runs of which all outputs are finite


def search(
    side: Side,
    candidates: Sequence[Candidate],
    bounds: Any,  # results of the interval analysis
    clock: _Clock,
    counts: dict[str, int],
    seed: int,
) -> Tried:
    """Stages 1 and 2 of `witness`."""
    tried = Tried({}, set(), set(), {}, [])
    free = any(box.free for box in side.boxes)
    source = points(side.boxes, seed)
    first = next(source)
    side.watch.run(*first)
    clock.lap("compilation")
    share = clock.left() * (0.5 if side.where == "gradient" else 0.3)
    end = clock.left() - share
    for n, point in enumerate(source):
        look(side, point, tried, mild=n < 4)
        counts["points"] += 1
        clock.lap("points", searching=True)
        clock.cut |= clock.left() < end
        if not free or n >= MOST_POINTS or clock.cut:
            break
    told = {side.watch.equations[i].address for i in tried.born}
    left = [
        c.equation.address
        for c in candidates
        if not c.derived and c.equation.address not in told
    ]
    left = [a for a in dict.fromkeys(left) if not in_loop(side.closed, a)]
    nearby = {e.address: i for i, e in enumerate(side.watch.equations)}
    left = [
        a
        for a in left
        if fails_locally(side.watch.plan, nearby[a], bounds, side.boxes, seed)
    ]
    clock.lap("neighbourhoods", searching=True)
    if left and free and clock.left() > 0:
        pursue(side, left, tried, clock, counts, seed)
    return tried


def pursue(
    side: Side,
    left: list[Address],
    tried: Tried,
    clock: _Clock,
    counts: dict[str, int],
    seed: int,
) -> None:
    """Gradient steps towards the danger of each operation in `left`."""
    dangers = danger(side.closed, left, side.boxes)
    starts = [p for _, p in zip(range(24), points(side.boxes, seed + 1))]
    try:
        heights = np.stack([np.asarray(dangers.distances(*p)) for p in starts])
        jax.block_until_ready(dangers.slope(0, *starts[0]))
    except (TypeError, NotImplementedError, ValueError):
        return  # a program that has no gradient
    clock.lap("compilation")
    end = clock.left() - 0.5 * clock.left()
    heights = np.where(np.isfinite(heights), heights, np.inf)
    for i, address in enumerate(left):
        for start in np.argsort(heights[:, i])[:2]:
            if any(side.watch.equations[n].address == address for n in tried.born):
                break
            way = descend(i, starts[start], dangers, side.boxes, seed=seed)
            for point in way[3::4]:
                look(side, point, tried)
                counts["points"] += 1
            clock.lap("gradient search", searching=True)
            if clock.left() < end:
                clock.cut = True
                return


def look(side: Side, point: Point, tried: Tried, mild: bool = False) -> Seen:
    """Run the program at a point and write down what is seen."""
    seen = side.watch.run(*point, room=mild)
    tried.born.update(seen.born)
    origins = {seen.origins[i] for i in side.outputs}
    for origin in origins - {0}:
        failures = tried.failures.setdefault(origin - 1, [])
        if len(failures) < 6:
            failures.append(Failure(origin - 1, point))
    if finite(seen, side):
        outputs = list(map(np.asarray, seen.outputs))
        tried.fine.append(digits.Fine(point, outputs))
        tried.masked.update(seen.born)
    for n, room in seen.room.items():
        tried.room[n] = min(tried.room.get(n, np.inf), room)
    return seen


def finite(seen: Seen, side: Side) -> bool:
    return all(bool(np.isfinite(floats(seen.outputs[i])).all()) for i in side.outputs)


def floats(x: Any) -> np.ndarray:
    return np.asarray(x).astype(np.float64)


def in_loop(closed: jaxpr.Closed, address: Address) -> bool:
    """Whether an equation is inside of a loop or a branch."""
    around = None
    program = closed
    for depth in range(0, len(address), 2):
        body, number = address[depth : depth + 2]
        if around is not None:
            program = jaxpr.bodies(around.control)[body]
        around = jaxpr.describe(program.jaxpr.eqns[number], around, (body, number))
        inner = depth + 2 < len(address)
        if inner and not isinstance(around.control, jaxpr.Call):
            return True
    return False


# -- Findings -------------------------------------------------------------------------


def confirmed(
    side: Side,
    number: int,
    failures: Sequence[Failure],
    tried: Tried,
    truth: Truth,
    compiled: Callable[..., Any],
    question: Question,
) -> Fault:
    """A finding with its mildest witness, and what the exact result would be."""
    equation = side.watch.equations[number]

    def fails(point: Point) -> bool:
        seen = side.watch.run(*point)
        return any(seen.origins[i] == number + 1 for i in side.outputs)

    best: tuple[Any, ...] | None = None
    for failure in failures[:4]:
        point = failure.point
        if tried.fine:
            point = milder(fails, tried.fine[0].point, point, side.boxes)
        seen = side.watch.run(*point)
        verdict, computed, exact = judge(side, seen, truth(point))
        if best is None or ORDER.index(verdict) < ORDER.index(best[0]):
            best = (verdict, point, computed, exact)
        if verdict == "defect":
            break
    assert best is not None
    verdict, point, computed, exact = best
    operands, outs = at(side.closed, equation.address, point)
    return Fault(
        operation=equation.primitive,
        place=equation.place,
        kind=kind_of(equation, operands, outs),
        where=side.where,
        mode=mode_of(side, point, compiled),
        verdict=verdict,
        reaches_output=True,
        operands=culprits(operands, outs),
        witness=question.arguments(point),
        given=question.given,
        cotangent=cotangents(side, question, point),
        computed=computed,
        exact=exact,
        address=equation.address,
        path=equation.path,
    )


def judge(side: Side, seen: Seen, exact: Sequence[Any]) -> tuple[str, float, float]:
    """Whether the exact result exists and fits; the worst element of both."""
    best: tuple[str, float, float] | None = None
    for i in side.outputs:
        got = np.asarray(seen.outputs[i])
        value, true = floats(got).ravel(), np.asarray(exact[i], np.float64).ravel()
        bad = ~np.isfinite(value)
        if not bad.any():
            continue
        end = float(jnp.finfo(got.dtype).max)
        fits = bad & np.isfinite(true) & (abs(true) <= end)
        large = bad & ~np.isnan(true) & (abs(true) > end)
        chosen, verdict = (
            (fits, "defect")
            if fits.any()
            else (large, "range")
            if large.any() and truth_is_finite(exact[i], large)
            else (bad, "domain")
        )
        k = int(np.flatnonzero(chosen)[0])
        if best is None or ORDER.index(verdict) < ORDER.index(best[0]):
            best = (verdict, float(value[k]), float(true[k]))
    return best or ("domain", float("nan"), float("nan"))


def truth_is_finite(exact: Any, where: np.ndarray) -> bool:
    """Whether an exact value beyond float64 is a number (mpmath knows, float64 not)."""
    values = np.asarray(exact, dtype=object).ravel()[where]
    return all(not str(v).endswith("inf") for v in values[:16])


def mode_of(side: Side, point: Point, compiled: Callable[..., Any]) -> str:
    """Whether a failure that was seen eagerly is there under `jit` too."""
    outs = compiled(*map(jnp.asarray, point))
    fine = all(np.isfinite(floats(outs[i])).all() for i in side.outputs)
    return "eager" if fine else "both"


def at(
    closed: jaxpr.Closed, address: Address, point: Point
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Operands and results of one equation; of the last turn that fails in a loop."""
    found: list[tuple[list[Any], list[Any]]] = []
    value_of = _Values(address, found)
    value_of.evaluate(closed, [jnp.asarray(x) for x in point], None, 0)
    bad = [f for f in found if not all(np.isfinite(floats(x)).all() for x in f[1])]
    operands, outs = (bad or found or [([], [])])[0]
    keep = lambda xs: [np.asarray(x) for x in xs if is_float(x)]
    return keep(operands), keep(outs)


class _Values:
    """An eager evaluation that keeps the operands of one equation."""

    def __init__(self, address: Address, found: list[Any]) -> None:
        self.address, self.found = address, found

    def evaluate(self, closed: Any, values: Any, around: Any, body: int) -> list[Any]:
        rules = {
            jaxpr.Scan: self.control,
            jaxpr.While: self.control,
            jaxpr.Cond: self.control,
            jaxpr.Call: self.control,
        }
        return jaxpr.evaluate(
            closed,
            values,
            lift=jnp.asarray,
            rules=rules,
            default=self.step,
            around=around,
            body=body,
        )

    def step(self, equation: jaxpr.Equation, *values: Any) -> list[Any]:
        outs = equation.bind(*values)
        if equation.address == self.address:
            self.found.append((list(values), outs))
        return outs

    def control(self, equation: jaxpr.Equation, *values: Any) -> Any:
        """Loops that hold the equation are unrolled; all others run as they are."""
        here = equation.address
        if self.address[: len(here)] != here:
            return equation.bind(*values)
        match equation.control:
            case jaxpr.Call():
                return self.evaluate(equation.control.body, values, equation, 0)
            case jaxpr.Cond():
                branches = equation.control.branches
                i = int(np.clip(int(values[0]), 0, len(branches) - 1))
                return self.evaluate(branches[i], values[1:], equation, i)
            case jaxpr.Scan():
                loop = equation.control
                consts, carry, xs = loop.split(values)
                order = range(loop.length)[:: -1 if loop.reverse else 1]
                for t in order:
                    row = [x[t] for x in xs]
                    outs = self.evaluate(
                        loop.body, [*consts, *carry, *row], equation, 0
                    )
                    carry = outs[: loop.num_carry]
                return equation.bind(*values)
            case jaxpr.While():
                loop = equation.control
                tests, consts, carry = loop.split(values)
                for _ in range(10_000):
                    (on,) = self.evaluate(loop.condition, [*tests, *carry], equation, 0)
                    if not bool(on):
                        break
                    carry = self.evaluate(loop.body, [*consts, *carry], equation, 1)
                return list(carry)
        return NotImplemented


def kind_of(
    equation: jaxpr.Equation, operands: Sequence[np.ndarray], outs: Sequence[np.ndarray]
) -> str:
    """What went wrong, in a word."""
    name = equation.primitive
    values = [floats(x) for x in operands]
    bad_in = any(not np.isfinite(v).all() for v in values)
    nan_out = any(np.isnan(floats(x)).any() for x in outs)
    if name == "convert_element_type":
        return "cast"
    if name in ("div", "rem") and len(values) == 2:
        top, bottom = np.broadcast_arrays(*values)
        if nan_out:
            return "0/0" if ((top == 0) & (bottom == 0)).any() else "inf/inf"
        return "pole" if (bottom == 0).any() else "overflow"
    if nan_out and bad_in:
        return {"mul": "0*inf", "add": "inf-inf", "sub": "inf-inf"}.get(name, "invalid")
    if nan_out:
        return "domain" if name not in SUMS else "inf-inf"
    poles = name in POLES and any((signless(v) == POLES[name]).any() for v in values)
    return "pole" if poles else "overflow"


def signless(v: np.ndarray) -> np.ndarray:
    """−1 is as much a pole of atanh as 1 is; log1p has its own at −1."""
    return np.where(v == -1, 1.0, v)


SUMS = ("dot_general", "reduce_sum", "conv_general_dilated", "cumsum")
POLES = {
    "log": 0.0,
    "log1p": 1.0,  # `signless`: at −1; there is no fault at 1
    "rsqrt": 0.0,
    "integer_pow": 0.0,
    "pow": 0.0,
    "atanh": 1.0,
    "lgamma": 0.0,
    "digamma": 0.0,
    "erf_inv": 1.0,
}


def culprits(
    operands: Sequence[np.ndarray], outs: Sequence[np.ndarray]
) -> tuple[tuple[float, float], ...]:
    """The operands where the result is not finite: least and greatest of each."""
    bad = ~np.isfinite(floats(outs[0])) if outs else np.zeros((), bool)
    ranges = []
    for x in operands:
        v = floats(x)
        v = v[bad] if v.shape == bad.shape and bad.any() else v.ravel()
        if v.size:
            ranges.append((float(v.min()), float(v.max())))
    return tuple(ranges)


def cotangents(side: Side, question: Question, point: Point) -> Any:
    extra = point[len(question.boxes) :]
    return [jnp.asarray(x) for x in extra] if extra else None


def noted(
    side: Side, number: int, candidates: dict[Address, Candidate], verdict: str
) -> Fault:
    equation = side.watch.equations[number]
    candidate = candidates.get(equation.address)
    latent = verdict == "latent"
    kind = "headroom" if latent else candidate.kind if candidate else "invalid"
    return Fault(
        operation=equation.primitive,
        place=equation.place,
        kind=kind,
        where=side.where,
        mode="eager",
        verdict=verdict,
        reaches_output=False,
        operands=(),
        address=equation.address,
        path=equation.path,
    )


def possible(side: Side, candidate: Candidate) -> Fault:
    equation = candidate.equation
    return Fault(
        operation=equation.primitive,
        place=equation.place,
        kind=candidate.kind,
        where=side.where,
        mode="eager",
        verdict="possible",
        reaches_output=False,
        operands=tuple(candidate.operands),
        address=equation.address,
        path=equation.path,
    )


def with_gradients(faults: Sequence[Fault]) -> list[Fault]:
    """A fault of the value that the gradient inherits is one finding, "both"."""
    values = {(f.operation, f.place): f for f in faults if in_value(f)}
    gradients = {(f.operation, f.place) for f in faults if f.where == "gradient" and f.confirmed}
    out = []
    for fault in faults:
        key = fault.operation, fault.place
        if fault.where == "gradient" and key in values:
            continue
        if in_value(fault) and key in gradients:
            fault = replace(fault, where="both")
        masked = fault.verdict == "masked" and fault.where == "value"
        if not (masked and key in gradients):
            out.append(fault)
    return out


def in_value(fault: Fault) -> bool:
    return fault.where == "value" and fault.confirmed


def without_echoes(faults: Sequence[Fault]) -> list[Fault]:
    """One finding for the equations that fail in the same way on the same line."""
    kept: dict[tuple[Any, ...], Fault] = {}
    for fault in faults:
        key = (fault.operation, fault.place, fault.kind, fault.where, fault.verdict)
        if key in kept:
            kept[key] = replace(kept[key], count=kept[key].count + 1)
        else:
            kept[key] = fault
    return list(kept.values())


def with_suggestions(faults: Sequence[Fault], question: Question) -> list[Fault]:
    """What `stabilize` would write on the line of a finding."""
    if all(f.witness is None for f in faults):
        return list(faults)
    from ._stabilize import stabilize

    specs = [
        shape_of(leaf) if hasattr(leaf, "shape") else leaf for leaf in question.leaves
    ]
    args = jax.tree.unflatten(question.tree, specs)
    stable = stabilize(question.fun)
    said: dict[Any, str] = {}
    known = set()  # lines of which a stable form is known
    for rewrite in stable.rewrites(*args):
        line = rewrite.place.file, rewrite.place.line
        said.setdefault(line, rewrite.after if rewrite.applied else rewrite.reason)
        if rewrite.applied:
            known.add(line)
    out = []
    for fault in faults:
        line = fault.place.file, fault.place.line
        if fault.witness is not None:
            fault = replace(fault, suggestion=said.get(line, ""))
        if fault.verdict == "imprecise" and line in known and mends(stable, fault):
            fault = replace(fault, verdict="defect")
        out.append(fault)
    return out


def mends(stable: Callable[..., Any], fault: Fault) -> bool:
    """Whether the rewritten function has the digits that were lost at the witness."""
    outs = jax.tree.leaves(stable(*fault.witness))
    near = [np.isclose(floats(y), fault.exact, rtol=1e-2, atol=0) for y in outs]
    return any(bool(n.any()) for n in near)


def gravity(fault: Fault) -> tuple[Any, ...]:
    return (
        ORDER.index(fault.verdict),
        fault.where == "gradient",
        -(fault.digits_lost or 0),
    )
