"""The two programs of an audit: a function's value, and its gradient.

The gradient program is that of Σ c·f(x) by every float operand, with c = 1 where f is a
scalar; otherwise the cotangents c are operands of their own, between −1 and 1. It
computes the value on the way; the equations that only the gradient needs are its own.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from ...core import jaxpr
from ..intervals import Interval, range_of
from .events import Address, Watch, is_float, watch
from .points import Box
from .slices import needed
from .specs import Question, refuse_effects


class Side(NamedTuple):
    """The value program or the gradient program, ready to be run."""

    where: str  # "value" or "gradient"
    closed: jaxpr.Closed
    boxes: list[Box]
    outputs: list[int]  # the outputs that count: all, or the gradients
    own: set[Address]  # equations that belong to this side
    watch: Watch


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
    refuse_effects(joint)
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
