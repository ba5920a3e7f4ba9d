"""Running a program at many inputs, and writing down what is seen.

Stages 1 and 2 of `witness`: points of all kinds first, then gradient steps towards the
danger of each operation that the ranges do not acquit, that has not failed yet, and
that its neighbourhood can make fail.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ...core import jaxpr
from ..intervals import Candidate
from . import digits
from .events import Address, Seen
from .neighbourhood import fails_locally
from .points import Point, points
from .sides import Side
from .witness import danger, descend


MOST_POINTS = 400


class Clock:
    """The time that a search has left; compilation does not count."""

    def __init__(
        self, budget: float, tell: Callable[[int, str], None] | None = None
    ) -> None:
        self.budget = budget
        self.tell = tell  # the seconds that were spent, and on what
        self.spent = 0.0
        self.laps: dict[str, float] = {}
        self.last = time.perf_counter()
        self.cut = False  # whether a search ended for want of time

    def lap(self, name: str, searching: bool = False) -> None:
        now = time.perf_counter()
        self.laps[name] = self.laps.get(name, 0.0) + now - self.last
        self.spent += (now - self.last) * searching
        self.last = now
        if self.tell is not None:
            self.tell(int(self.spent), name)

    def left(self) -> float:
        return self.budget - self.spent


class Failure(NamedTuple):
    """An output that is not finite at a point, and the equation to blame."""

    number: int  # of the equation in the side's watch
    point: Point


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
    clock: Clock,
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
    clock: Clock,
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
