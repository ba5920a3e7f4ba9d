"""What the loss does, read from its program: facts `program.*`.

Each fact of `FACTS` is a list of places with numbers, empty where all is well. A fact
that cannot be read from this program is missing, with the reason; that never stops the
others.
"""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ...core import pytree
from ...core.errors import in_short
from ...core.graph import MOVES
from ...training import Problem, Recipe, Record
from ...training.problem import general_loss, split, task_of
from . import layers, softmax
from ._note import note
from .reading import SIZES, Fact, Reading, batch_of, read, read_predict, where


def measure(problem: Problem, recipe: Recipe, record: Record) -> None:
    """Write the facts `program.*` into the record."""
    names = {f"program.{name}": fact for name, fact in FACTS.items()}
    try:
        r = read(problem)
    except Exception as error:
        reason = f"the loss could not be read: {in_short(error)}"
        record.missing.update(dict.fromkeys([*names, "program.batch_growth"], reason))
        return
    for name, fact in names.items():
        note(record, name, lambda fact=fact: fact(problem, r))
    without = "the first loss is zero or not a number"
    note(record, "program.batch_growth", lambda: batch_growth(problem), without)
    without = "it takes a regression with `predict`"
    note(record, "program.output_range", lambda: output_range(problem), without)


def broadcast(problem: Problem, r: Reading) -> Fact:
    """Differences of size batch × batch between a prediction and a target."""
    found = []
    for node, twin in zip(r.graph.nodes, r.larger.nodes, strict=False):
        shape, other = node.outputs[0].shape, twin.outputs[0].shape
        small, large = r.sizes
        if node.primitive != "sub" or shape.count(small) < 2:
            continue
        if other.count(large) < 2 and len(r.graph.nodes) == len(r.larger.nodes):
            continue
        a, b = node.inputs
        for prediction, target in ((a, b), (b, a)):
            plain = target.id in r.targets and target.id not in r.params | r.inputs
            if prediction.id in r.params and plain and len(shape) == 2:
                found.append(
                    {"place": where(node), "shape": list(shape), "batch": small}
                )
                break
    return found


def class_numbers(problem: Problem, r: Reading) -> Fact:
    """Differences between outputs and the numbers of classes."""
    if task_of(problem) != "classification":
        return []
    _, y = split(problem, batch_of(problem, SIZES[0]))
    if y is None or np.asarray(y).dtype.kind not in "iu" or np.asarray(y).ndim != 1:
        return []
    found = []
    for node in r.graph.nodes:
        if node.primitive != "sub" or node.outputs[0].id not in r.params:
            continue
        for prediction, target in (node.inputs, node.inputs[::-1]):
            source = r.graph.origin(target, MOVES)
            raw = source.id in {v.id for v in r.graph.inputs} and source.id in r.targets
            if not raw or prediction.id not in r.params:
                continue
            classes = int(np.asarray(y).max()) + 1
            units = node.outputs[0].shape[-1] if len(node.outputs[0].shape) > 1 else 1
            if classes > 2 or units > 1:
                found.append({"place": where(node), "classes": classes, "units": units})
    return found


def batch_growth(problem: Problem) -> float | None:
    """loss(batch twice) / loss(batch): 1 for a mean, 2 for a sum."""
    taken = pytree.trainable(problem.model)
    loss = general_loss(problem)
    batch = batch_of(problem, SIZES[0])
    twice = jax.tree.map(lambda a: jax.numpy.concatenate([a, a]), batch)

    @jax.jit
    def run(params: Any, rest: Any, batch: Any, twice: Any) -> Any:
        model, key = taken.merge(params, rest), jax.random.key(0)
        losses = [loss(model, b, key, problem.state)[0] for b in (batch, twice)]
        return jax.numpy.stack(losses)

    once, both = np.asarray(run(taken.params, taken.rest, batch, twice), float)
    if not np.isfinite(once) or abs(once) < 1e-12:
        return None
    return float(both / once)


def output_range(problem: Problem) -> dict[str, Any] | None:
    """The range of the last operation of `predict`, and that of the targets."""
    if task_of(problem) != "regression":
        return None
    g = read_predict(problem)
    if g is None:
        return None
    value = g.origin(g.outputs[0], MOVES)
    node = g.maker.get(value.id)
    if node is None:
        return None
    _, y = split(problem, batch_of(problem, 512))
    y = np.asarray(y, np.float64)
    low, high = RANGES.get(node.primitive, (-np.inf, np.inf))
    if node.primitive == "max":
        constants = [i.constant for i in node.inputs if i.constant is not None]
        low = float(np.max(constants[0])) if constants else -np.inf
    outside = float(np.mean((y < low) | (y > high)))
    return {
        "operation": {"max": "ReLU", "logistic": "sigmoid"}.get(
            node.primitive, node.primitive
        ),
        "low": float(low) if np.isfinite(low) else None,
        "high": float(high) if np.isfinite(high) else None,
        "outside": outside,
        "target": [float(y.min()), float(y.max())],
        "place": where(node),
    }


RANGES = {
    "logistic": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
    "exp": (0.0, np.inf),
    "abs": (0.0, np.inf),
    "square": (0.0, np.inf),
    "sqrt": (0.0, np.inf),
}

FACTS: dict[str, Callable[[Problem, Reading], Fact]] = {
    "one_unit_softmax": softmax.one_unit_softmax,
    "softmax_twice": softmax.softmax_twice,
    "log_of_softmax": softmax.log_of_softmax,
    "missing_softmax": softmax.missing_softmax,
    "broadcast": broadcast,
    "class_numbers": class_numbers,
    "without_gradient": layers.without_gradient,
    "linear_stack": layers.linear_stack,
}
