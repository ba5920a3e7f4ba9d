"""Digits that a program loses without need: formula (1) of `_audit`.

At each input the program is run in its own format and in a wider one. An output that
differs by more than a few roundings is suspect, and then asked what rounding its
*inputs* would do: the wide program is run at neighbours, every float moved by one unit
in the last place at random. What moves as much as the error is the problem's condition
and no fault of the program.

Not every such loss matters. sigmoid′(20) is 2·10⁻⁹ and comes out as 0, in every library,
and no training run has suffered from it. So a loss is told apart by its size beside what
the output is like elsewhere (the upper decile of its largest element over all inputs):
where it is as small as that output's rounding, a gradient is passed over, and a value is
*imprecise*, a note, unless a stable form of the formula is known (`stabilize`).

Float64 can make the same mistake as float32: log(1 + exp(50)) − 50 is 0 in both. So the
value of a small program is found in extended precision too, at some of the inputs. (Not
its gradient: there exact arithmetic may decide a tie of two numbers that the program
finds equal, and both answers are subgradients.)
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ...core.compiled import op_by_op
from ..shadowing.blame import blame
from ..shadowing.operations import Operation, operations
from ..shadowing.program import in_float64, shadow_program
from .finding import Fault
from .points import Box, Point, inside
from .truth import Truth


#: An error of this many times what rounding the inputs costs is a finding (three
#: digits), or one of this relative size where the format has no three digits to lose.
NEEDLESS, COARSE = 1e3, 0.1
NEIGHBOURS = 6
WIDE_POINTS = 200
EXACT_POINTS = 48
BLAMED = 12  # losses that are traced to an operation, the worst first


class Loss(NamedTuple):
    """An output that lost digits at a point."""

    ratio: float  # formula (1)
    point: Point
    output: int
    element: int
    computed: float
    exact: float
    relative: float
    small: bool  # no more than the rounding of what the output is like elsewhere


class Fine(NamedTuple):
    """A run of which all outputs are finite."""

    point: Point
    outputs: list[np.ndarray]


def lost(
    side: Any,  # _audit.Side
    fine: Sequence[Fine],
    truth: Truth,
    compiled: Callable[..., Any],
    question: Any,  # specs.Question
    clock: Any,  # _audit._Clock
) -> list[Fault]:
    """One finding for each operation that is to blame for lost digits."""
    if not fine or not side.outputs:
        return []
    truth.wide(fine[0].point)
    clock.lap("compilation")
    table = operations(side.closed)
    rng = np.random.default_rng(0)
    losses: list[Loss] = []
    scales = {i: scale_of([ran.outputs[i] for ran in fine]) for i in side.outputs}
    in_full = truth.exact is not None and side.where == "value"
    exact_left = EXACT_POINTS if in_full else 0
    end = clock.left() / 2
    for ran in fine[:: 1 + len(fine) // WIDE_POINTS]:
        true: list[Any] = truth.wide(ran.point)
        suspects = suspicious(side, ran.outputs, true)
        if not suspects and exact_left and truth.exact is not None:
            exact_left -= 1
            true = truth.exact(ran.point)
            suspects = suspicious(side, ran.outputs, true)
        moved = sensitivity(side, truth, ran.point, suspects, question, rng)
        for output in suspects:
            y, scale = ran.outputs[output], scales[output]
            loss = measure(ran.point, output, y, true[output], moved[output], scale)
            if loss is not None and not (loss.small and side.where == "gradient"):
                losses.append(loss)
        clock.lap("digits", searching=True)
        if clock.left() < end:
            clock.cut = True
            break
    return blamed(side, losses, table, truth, compiled, question, clock)


def blamed(
    side: Any,
    losses: Sequence[Loss],
    table: Sequence[Operation],
    truth: Truth,
    compiled: Callable[..., Any],
    question: Any,
    clock: Any,
) -> list[Fault]:
    """The worst loss of each operation that is to blame for one."""
    end = clock.left() / 2
    worst: dict[Any, tuple[Loss, Operation, str]] = {}
    chosen = sorted(losses, key=lambda loss: gravity(side, loss))[: 4 * BLAMED]
    chosen.sort(key=lambda loss: (loss.small, not compiled_too(loss, compiled)))
    beside = op_by_op(lambda *values: shadow_program(side.closed, values)[2])
    for loss in chosen[:BLAMED]:
        with in_float64():  # some primitives are traced when they are compiled
            stats = np.asarray(beside(*loss.point))
        if not worst:
            clock.lap("compilation")
        operation, kind = blame(table, stats, loss.output)
        worst.setdefault(operation.address, (loss, operation, kind))
        clock.lap("blame", searching=True)
        if clock.left() < end:
            clock.cut = True
            break
    return [
        fault(side, refined(loss, truth), who, kind, compiled, question)
        for loss, who, kind in worst.values()
    ]


def gravity(side: Any, loss: Loss) -> tuple[Any, ...]:
    """The least comes first: the most digits lost, of all that there are the most in size."""
    digits = 1 / float(jnp.finfo(side.closed.jaxpr.outvars[loss.output].aval.dtype).eps)
    return loss.small, -min(loss.ratio, digits), -abs(loss.computed - loss.exact)


def compiled_too(loss: Loss, compiled: Callable[..., Any]) -> bool:
    """Whether the compiled program loses as much at this point."""
    out = compiled(*map(jnp.asarray, loss.point))[loss.output]
    jitted = as_float(out).ravel()[loss.element]
    error = abs(loss.computed - loss.exact)
    return bool(abs(jitted - loss.exact) > 0.1 * error or np.isnan(jitted))


def refined(loss: Loss, truth: Truth) -> Loss:
    """The exact value in extended precision, where float64 has lost digits as well."""
    if truth.exact is None:
        return loss
    true = float(as_float(truth.exact(loss.point)[loss.output]).ravel()[loss.element])
    if np.isnan(true):  # more than extended precision can decide
        return loss
    size = max(abs(true), 1e-300)
    return loss._replace(exact=true, relative=abs(loss.computed - true) / size)


def suspicious(side: Any, outs: Sequence[Any], wide: Sequence[Any]) -> list[int]:
    """Outputs with an element that is off by more than `limit` roundings."""
    found = []
    for i in side.outputs:
        y, true = as_float(outs[i]), as_float(wide[i])
        info = jnp.finfo(outs[i].dtype)
        with np.errstate(invalid="ignore", over="ignore"):
            off = abs(y - true) > limit(info) * float(info.eps) * abs(true)
            off &= abs(y - true) > float(info.tiny)
        if (off & np.isfinite(true)).any():
            found.append(i)
    return found


def limit(info: Any) -> float:
    """What ratio (1) has to exceed, in a format."""
    return min(NEEDLESS, max(COARSE / float(info.eps), 8.0))


def sensitivity(
    side: Any,
    truth: Truth,
    point: Point,
    outputs: Sequence[int],
    question: Any,
    rng: np.random.Generator,
) -> dict[int, np.ndarray]:
    """max_δ |y*(x + δ) − y*(x)| of these outputs, element by element."""
    moved: dict[int, Any] = dict.fromkeys(outputs, 0.0)
    for turn in range(NEIGHBOURS if outputs else 0):
        at = generic(point, question, rng) if turn % 2 else point
        beside, here = truth.wide(neighbour(side.boxes, at, rng)), truth.wide(at)
        with np.errstate(invalid="ignore", over="ignore"):
            for i in outputs:
                off = abs(as_float(beside[i]).ravel() - as_float(here[i]).ravel())
                moved[i] = np.fmax(moved[i], np.nan_to_num(off, nan=0.0))
    return moved


def measure(
    point: Point, output: int, computed: Any, exact: Any, moved: Any, scale: float
) -> Loss | None:
    """The worst element by (1), or None if all are within the condition."""
    y, true = as_float(computed).ravel(), as_float(exact).ravel()
    info = jnp.finfo(computed.dtype)
    with np.errstate(invalid="ignore", over="ignore"):
        cost = float(info.eps) * abs(true) + moved + float(info.tiny)
        ratio = np.nan_to_num(abs(y - true) / cost, nan=0.0, posinf=0.0)
    k = int(np.argmax(ratio))
    if ratio[k] <= limit(info):
        return None
    relative = abs(y[k] - true[k]) / max(abs(true[k]), float(info.tiny))
    error = abs(y[k] - true[k])
    small = error <= limit(info) * float(info.eps) * scale
    return Loss(
        float(ratio[k]),
        point,
        output,
        k,
        float(y[k]),
        float(true[k]),
        float(relative),
        bool(small),
    )


def generic(point: Point, question: Any, rng: np.random.Generator) -> Point:
    """The same input with other cotangents, of the same size.

    For special ones (all equal, say) a gradient can be 0 whatever the input is, which
    would hide how much it depends on the input.
    """
    n = len(question.boxes)
    other = [
        np.asarray(
            np.abs(as_float(c)).max(initial=0.0) * rng.uniform(-1, 1, np.shape(c))
        ).astype(np.asarray(c).dtype)
        for c in point[n:]
    ]
    return [*point[:n], *other]


def scale_of(outputs: Sequence[np.ndarray]) -> float:
    """What an output is like: over inputs, the upper decile of its largest element."""
    sizes = [np.abs(as_float(y)).max(initial=0.0) for y in outputs]
    return float(np.quantile(sizes, 0.9)) if sizes else 0.0


def neighbour(boxes: Sequence[Box], point: Point, rng: np.random.Generator) -> Point:
    """Every float moved up, down or not at all, by one unit in the last place.

    At least by the smallest normal number: hardware that flushes what is below it to
    zero knows no input better than that.
    """
    out: Point = []
    for box, value in zip(boxes, point, strict=True):
        if not box.real:
            out.append(value)
            continue
        x = np.asarray(value)
        to = rng.choice(np.asarray([-np.inf, np.inf]), x.shape).astype(x.dtype)
        least = np.sign(as_float(to)) * float(jnp.finfo(x.dtype).tiny)
        wide, next_ = as_float(x), as_float(np.nextafter(x, to))
        moved = np.where(abs(next_ - wide) < abs(least), wide + least, next_)
        moved = np.where((rng.random(x.shape) < 0.8) & (x != 0), moved, wide)
        moved = moved.astype(x.dtype)
        out.append(moved if box.fixed is not None else inside(box, as_float(moved)))
    return out


def fault(
    side: Any,
    loss: Loss,
    operation: Operation,
    kind: str,
    compiled: Callable[..., Any],
    question: Any,
) -> Fault:
    """The finding that a loss is."""
    dtype = side.closed.jaxpr.outvars[loss.output].aval.dtype
    eps = float(jnp.finfo(dtype).eps)
    most = -np.log10(eps)
    extra = loss.point[len(question.boxes) :]
    return Fault(
        operation=operation.primitive,
        place=operation.place,
        kind=kind,
        where=side.where,
        mode="both" if compiled_too(loss, compiled) else "eager",
        verdict="imprecise" if loss.small else "defect",
        reaches_output=True,
        operands=(),
        witness=question.arguments(loss.point),
        given=question.given,
        cotangent=[jnp.asarray(x) for x in extra] if extra else None,
        element=(loss.output, loss.element),
        computed=loss.computed,
        exact=loss.exact,
        digits_lost=float(np.clip(np.log10(loss.relative / eps), 0, most)),
        address=operation.address,
        path=operation.path,
    )


def as_float(x: Any) -> np.ndarray:
    x = np.asarray(x)
    if x.dtype == object:
        return np.array([float(v) for v in x.ravel()]).reshape(x.shape)
    return x.astype(np.float64)
