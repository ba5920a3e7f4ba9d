"""Whether an operation fails for anything that its neighbourhood can feed it.

Before the whole program is searched for an input that makes an operation fail, the few
operations in front of it are: the *slice* of the last `DEPTH` of them, cut off from what
comes before. At the cut, numbers are free inside of the bounds that the interval
analysis has of them. That slice is small, so many inputs cost little; where even it
cannot be made to fail, as a square root of a mean of squares cannot, the whole program
is not worth the time.

A failure here proves nothing about the program: what is free at the cut may be bound
together. It says where to look first.
"""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...core import jaxpr
from ..intervals import Range, range_of
from .events import Plan, Step, is_finite
from .points import Box, Point, points
from .witness import Danger, compiled, descend, distance


DEPTH = 6
TRIES = 60


class Slice(NamedTuple):
    """Some steps of a plan, and what may stand in the slots that they read."""

    steps: list[Step]
    target: Step
    slots: list[int]
    boxes: list[Box]


def fails_locally(
    plan: Plan, number: int, bounds: Any, boxes: Sequence[Box], seed: int = 0
) -> bool:
    """Whether equation `number` can be made to fail in its neighbourhood.

    `bounds` are the `results` of the interval analysis, by address.
    """
    part = slice_of(plan, number, bounds, boxes)
    tried = list(itertools.islice(points(part.boxes, seed), TRIES))
    if any(failed(part, point) for point in tried):
        return True
    if not any(box.free and box.real for box in part.boxes):
        return False
    dangers = danger_of(part)
    heights = [float(dangers.distances(*point)[0]) for point in tried[:16]]
    start = tried[int(np.argmin(np.nan_to_num(heights, nan=np.inf)))]
    way = descend(0, start, dangers, part.boxes, steps=24, seed=seed)
    return any(failed(part, point) for point in way[3::4])


def slice_of(plan: Plan, number: int, bounds: Any, boxes: Sequence[Box]) -> Slice:
    """The steps up to `DEPTH` behind equation `number`, cut at loops."""
    maker = {slot: s for s in plan.steps for slot in s.writes}
    target = next(s for s in plan.steps if s.number == number)
    kept: dict[int, Step] = {id(target): target}
    front = [target]
    for _ in range(DEPTH):
        behind = [maker[i] for s in front for i in s.reads if i in maker]
        front = [s for s in behind if not s.bodies and id(s) not in kept]
        kept.update((id(s), s) for s in front)
    steps = [s for s in plan.steps if id(s) in kept]
    made = {slot for s in steps for slot in s.writes}
    slots = sorted({i for s in steps for i in s.reads} - made)
    known = {slot: fixed(value) for slot, value in plan.constants}
    known.update(zip(plan.inputs, boxes, strict=True))
    for slot in slots:
        if slot not in known:
            s = maker[slot]
            i = s.writes.index(slot)
            found = bounds.get(s.equation.address)
            known[slot] = bounded(found[i] if found else anything(s.equation, i))
    return Slice(steps, target, slots, [known[i] for i in slots])


def anything(equation: jaxpr.Equation, i: int) -> Range:
    """The range of a result that the analysis says nothing of."""
    aval = equation.outputs[i]
    return range_of(jax.ShapeDtypeStruct(aval.shape, aval.dtype))


def fixed(value: Any) -> Box:
    zero = np.asarray(0.0)
    return Box(zero, zero, np.shape(value), getattr(value, "dtype", None), fixed=value)


def bounded(bounds: Any) -> Box:
    """The box of a range; an infinite end stands for any number of the format."""
    low, high = np.asarray(bounds.low, float), np.asarray(bounds.high, float)
    low, high = (e.reshape(()) if e.size == 1 else e for e in (low, high))
    if jnp.issubdtype(bounds.dtype, jnp.floating):
        info = jnp.finfo(bounds.dtype)
        low = np.clip(low, float(info.min), float(info.max))
        high = np.clip(high, float(info.min), float(info.max))
    elif bounds.known is None and jnp.issubdtype(bounds.dtype, jnp.integer):
        low, high = low.astype(np.int64), high.astype(np.int64)
    return Box(low, high, tuple(bounds.shape), bounds.dtype, fixed=bounds.known)


def run(part: Slice, point: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Operands and results of the target."""
    env = dict(zip(part.slots, map(jnp.asarray, point), strict=True))
    for s in part.steps:
        env.update(zip(s.writes, s.bind(*(env[i] for i in s.reads)), strict=True))
    return [env[i] for i in part.target.reads], [env[i] for i in part.target.writes]


def failed(part: Slice, point: Point) -> bool:
    operands, outs = run(part, point)
    return all(map(is_finite, operands)) and not all(map(is_finite, outs))


def danger_of(part: Slice) -> Danger:
    def distances(*values: Any) -> Any:
        operands, outs = run(part, values)
        return jnp.stack([distance(part.target.equation, operands, outs)])

    return compiled(distances, part.boxes)
