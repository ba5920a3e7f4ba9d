"""Values that no input has a part in, such as the mask of causal attention: computed."""

import math

import jax
import numpy as np
from jax.core import Tracer

from .compute import compute
from .expression import Node


SIZE = 1 << 20  # elements of a value that is computed
NODES = 64  # behind it


def constant(node: Node) -> np.ndarray | None:
    """The value of a node that depends on no input, None for any other."""
    if math.prod(node.shape) > SIZE or not _free(node):
        return None
    with jax.ensure_compile_time_eval():
        value = compute(node, {}, {})
    return None if isinstance(value, Tracer) else np.asarray(value)


def _free(node: Node) -> bool:
    seen: set[int] = set()
    pending = [node]
    while pending:
        here = pending.pop()
        if here.id in seen:
            continue
        seen.add(here.id)
        called = here.equation is not None and here.equation.control is not None
        if here.op == "input" or called or len(seen) > NODES:
            return False
        if here.op == "literal" and isinstance(here.array, Tracer):
            return False
        pending += here.args
    return True


def some_in_each_row(mask: Node, softmax: Node) -> bool:
    """Whether a mask is known to leave an entry wherever the softmax has a row."""
    value = constant(mask)
    if value is None:
        return False
    axis = softmax.params["axis"]
    full = np.broadcast_to(value, np.broadcast_shapes(value.shape, softmax.shape))
    return bool(full.any(axis=axis).all())
