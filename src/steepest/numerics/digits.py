"""Digits that a program loses without need: formula (1) of `_audit`.

At each input the program is run in its own format and in a wider one. An output that
differs by more than a few roundings is suspect, and then asked what rounding its
*inputs* would do: the wide program is run at neighbours, every float moved by one unit
in the last place at random. What moves as much as the error is the problem's condition
and no fault of the program.

Float64 can make the same mistake as float32: log(1 + exp(50)) − 50 is 0 in both. So a
small program is evaluated in extended precision too, at as many inputs as there is time
for.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from .finding import Fault
from .points import Box, Point, inside
from .shadowing.blame import blame
from .shadowing.operations import Operation, operations
from .shadowing.program import shadow_program
from .truth import Truth


#: An error of this many times what rounding the inputs costs is a finding (three
#: digits), or one of this relative size where the format has no three digits to lose.
NEEDLESS, COARSE = 1e3, 0.1
NEIGHBOURS = 6
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


class Fine(NamedTuple):
    """A run of which all outputs are finite."""

    point: Point
    outputs: list[np.ndarray]
    born: set[int]  # equations that made an infinity all the same


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
    losses: list[tuple[Loss, Fine]] = []
    exact_left = EXACT_POINTS if truth.exact is not None else 0
    end = clock.left() / 2
    for ran in fine:
        true: list[Any] = truth.wide(ran.point)
        suspects = suspicious(side, ran.outputs, true)
        if not suspects and exact_left and truth.exact is not None:
            exact_left -= 1
            true = truth.exact(ran.point)
            suspects = suspicious(side, ran.outputs, true)
        for output in suspects:
            loss = measure(
                side, truth, ran.point, output, ran.outputs[output], true[output], rng
            )
            if loss is not None:
                losses.append((loss, ran))
        clock.lap("digits", searching=True)
        if clock.left() < end:
            break
    return blamed(side, losses, table, compiled, question)


def blamed(
    side: Any,
    losses: Sequence[tuple[Loss, Fine]],
    table: Sequence[Operation],
    compiled: Callable[..., Any],
    question: Any,
) -> list[Fault]:
    """The worst loss of each operation that is to blame for one."""
    worst: dict[Any, tuple[Loss, Any, str]] = {}
    for loss, ran in sorted(losses, key=lambda found: -found[0].ratio)[:BLAMED]:
        if ran.born:
            operation = side.watch.equations[min(ran.born)]
            kind = "overflow"
        else:
            stats = np.asarray(shadow_program(side.closed, ran.point)[2])
            operation, kind = blame(table, stats, loss.output)
        worst.setdefault(operation.address, (loss, operation, kind))
    return [
        fault(side, *found, compiled=compiled, question=question)
        for found in worst.values()
    ]


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


def measure(
    side: Any,
    truth: Truth,
    point: Point,
    output: int,
    computed: Any,
    exact: Any,
    rng: np.random.Generator,
) -> Loss | None:
    """The worst element by (1), or None if all are within the condition."""
    y, true = as_float(computed).ravel(), as_float(exact).ravel()
    info = jnp.finfo(computed.dtype)
    moved = np.zeros_like(true)
    centre = as_float(truth.wide(point)[output]).ravel()
    for _ in range(NEIGHBOURS):
        near = as_float(truth.wide(neighbour(side.boxes, point, rng))[output]).ravel()
        with np.errstate(invalid="ignore", over="ignore"):
            moved = np.fmax(moved, np.nan_to_num(abs(near - centre), nan=0.0))
    with np.errstate(invalid="ignore", over="ignore"):
        cost = float(info.eps) * abs(true) + moved + float(info.tiny)
        ratio = np.nan_to_num(abs(y - true) / cost, nan=0.0, posinf=0.0)
    k = int(np.argmax(ratio))
    if ratio[k] <= limit(info):
        return None
    relative = abs(y[k] - true[k]) / max(abs(true[k]), float(info.tiny))
    return Loss(
        float(ratio[k]), point, output, k, float(y[k]), float(true[k]), float(relative)
    )


def neighbour(boxes: Sequence[Box], point: Point, rng: np.random.Generator) -> Point:
    """Every float moved up, down or not at all, by one unit in the last place."""
    out: Point = []
    for box, value in zip(boxes, point, strict=True):
        if not box.real:
            out.append(value)
            continue
        x = np.asarray(value)
        to = rng.choice(np.asarray([-np.inf, np.inf]), x.shape).astype(x.dtype)
        moved = np.where(rng.random(x.shape) < 0.8, np.nextafter(x, to), x)
        moved = np.where(x == 0, x, moved).astype(x.dtype)
        out.append(moved if box.fixed is not None else inside(box, as_float(moved)))
    return out


def fault(
    side: Any,
    loss: Loss,
    operation: Any,  # Operation or Equation
    kind: str,
    *,
    compiled: Callable[..., Any],
    question: Any,
) -> Fault:
    """The finding that a loss is."""
    outs = compiled(*map(jnp.asarray, loss.point))
    jitted = as_float(outs[loss.output]).ravel()[loss.element]
    size = max(abs(loss.exact), float(jnp.finfo(outs[loss.output].dtype).tiny))
    there = abs(jitted - loss.exact) > 0.1 * loss.relative * size or np.isnan(jitted)
    eps = float(jnp.finfo(outs[loss.output].dtype).eps)
    most = -np.log10(eps)
    extra = loss.point[len(question.boxes) :]
    return Fault(
        operation=operation.primitive,
        place=operation.place,
        kind=kind,
        where=side.where,
        mode="both" if there else "eager",
        verdict="defect",
        reaches_output=True,
        operands=(),
        witness=question.arguments(loss.point),
        cotangent=[jnp.asarray(x) for x in extra] if extra else None,
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
