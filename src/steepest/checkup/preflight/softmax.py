"""Softmaxes and logarithms of the loss: which are there twice, missing, or unstable.

A softmax is exp(z) ÷ Σ exp(z), whoever wrote it (`reading.softmax_of`). Its logarithm
must be taken of the scores, z − log Σ exp(z): the probability itself may round to 0.

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.1, 6.2.2.
"""

import numpy as np

from ...core.graph import MOVES, Node
from ...training import Problem
from .reading import AFFINE, BOUNDS, Fact, Reading, softmax_axis, softmax_of, where


def one_unit_softmax(problem: Problem, r: Reading) -> Fact:
    """Softmaxes over an axis of length 1: constantly 1, without a gradient."""
    return [
        {"place": where(node)}
        for node in r.graph.nodes
        if node.primitive == "div"
        and node.outputs[0].id in r.params
        and softmax_of(r, node.outputs[0]) is not None
        and softmax_axis(r, node) == 1
    ]


def softmax_twice(problem: Problem, r: Reading) -> Fact:
    """Exponentials (of a softmax or log-softmax) whose operand is a softmax already."""
    found = []
    for node in r.graph.nodes:
        if node.primitive != "exp" or node.outputs[0].id not in r.params:
            continue
        behind = r.back(node.inputs[0])
        if behind is not None and behind.primitive == "sub":  # the maximum, taken out
            behind = r.back(behind.inputs[0])
        inner = None if behind is None else softmax_of(r, behind.outputs[0])
        if inner is not None and summed_up(r, node):
            classes = softmax_axis(r, inner)
            found.append(
                {"place": where(node), "inner": where(inner), "classes": classes}
            )
    return found


def summed_up(r: Reading, node: Node) -> bool:
    """Whether an exponential feeds a sum, as in a softmax, through moves alone."""
    queue = [node.outputs[0]]
    while queue:
        for user in r.graph.users.get(queue.pop().id, ()):
            if user.primitive == "reduce_sum":
                return True
            if user.primitive in MOVES:
                queue.append(user.outputs[0])
    return False


def log_of_softmax(problem: Problem, r: Reading) -> Fact:
    """Logarithms of what a softmax or a sigmoid made: its zero becomes −∞."""
    found = []
    for node in r.graph.nodes:
        if node.primitive not in ("log", "log1p") or node.outputs[0].id not in r.params:
            continue
        value, guarded = node.inputs[0], False
        for _ in range(6):
            value = r.graph.origin(value, MOVES)
            behind = r.graph.maker.get(value.id)
            if behind is None:
                break
            softmax = softmax_of(r, value) is not None
            if softmax or behind.primitive == "logistic" or sigmoid(r, behind):
                kind = "softmax" if softmax else "sigmoid"
                operand = r.value(node.inputs[0])
                least = _least(operand)
                found.append(
                    {
                        "place": where(node),
                        "of": kind,
                        "guarded": guarded,
                        "least": least,
                    }
                )
                break
            if behind.primitive in (*BOUNDS, "add", "sub", "neg"):
                # max(p, tiny) and p + tiny guard; 1 − p and −p do not.
                guarded |= behind.primitive in BOUNDS
                guarded |= behind.primitive == "add" and small_constant(r, behind)
                value = next((i for i in behind.inputs if i.id in r.params), value)
            else:
                break
    return found


def sigmoid(r: Reading, node: Node) -> bool:
    """Whether a division is a sigmoid written out: 1 ÷ (1 + exp(−z))."""
    below = r.back(node.inputs[1]) if node.primitive == "div" else None
    if below is None or below.primitive != "add":
        return False
    moving = [i for i in below.inputs if i.id in r.params]
    behind = r.back(moving[0]) if len(moving) == 1 else None
    return behind is not None and behind.primitive == "exp"


def _least(value: np.ndarray | None) -> float:
    """The least number among the values; 0 where there is none, as after an overflow."""
    numbers = np.zeros(0) if value is None else value[~np.isnan(value)]
    return float(numbers.min()) if numbers.size else 0.0


def small_constant(r: Reading, node: Node) -> bool:
    """Whether one operand of an addition is a small positive constant."""
    sides = [r.value(i) for i in node.inputs if i.id not in r.params]
    return any(s is not None and s.size and 0 < float(np.max(s)) < 0.1 for s in sides)


def missing_softmax(problem: Problem, r: Reading) -> Fact:
    """Logarithms of an affine output, clipped or not: scores taken for probabilities."""
    found = []
    for node in r.graph.nodes:
        if node.primitive != "log" or node.outputs[0].id not in r.inputs & r.params:
            continue
        value = node.inputs[0]
        for _ in range(8):
            value = r.graph.origin(value, MOVES)
            behind = r.graph.maker.get(value.id)
            if behind is None:
                break
            if behind.primitive in AFFINE:
                raw = r.value(behind.outputs[0])
                outside = (
                    float(np.mean((raw <= 0) | (raw > 1))) if raw is not None else 1.0
                )
                found.append({"place": where(node), "outside": outside})
                break
            side = [i for i in behind.inputs if i.id in r.params]
            if behind.primitive not in (*BOUNDS, "add", "sub", "neg") or not side:
                break
            value = next((i for i in side if i.id in r.inputs), side[0])
    return found
