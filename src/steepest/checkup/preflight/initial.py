"""The first state: the loss it gives, its weights, and how signals pass through it.

A model that knows nothing about K classes should lose log K, and one that predicts 0 the
mean square of the targets. Units that begin alike stay alike. Weights of variance 1/n
or 2/n keep the spread of what enters each non-linearity (`nn`).

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §8.4.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ...core import capture, jaxpr, pytree
from ...core.graph import MOVES, Value, graph
from ...training import Problem, Recipe, Record
from ...training.problem import evaluator, predictor, split, task_of
from ._note import note
from .reading import batch_of, objective


SAMPLE = 256


def measure(problem: Problem, recipe: Recipe, record: Record) -> None:
    """Write the facts `initial.*` into the record."""
    note(record, "initial.loss", lambda: first_loss(problem, record))
    note(record, "initial.constant_layers", lambda: constant_layers(problem))
    note(record, "initial.signal", lambda: signal(problem))


def first_loss(problem: Problem, record: Record) -> dict[str, Any] | None:
    """The loss before training, and what a model that knows nothing would get.

    For classes that is the entropy of the class shares, at most log K; for a regression
    by squared error the mean square of the targets, which predicting 0 would get. Any
    other loss, a likelihood or one with an offset, has a zero of its own: whether it is
    the squared error is read off the predictions.
    """
    taken = pytree.trainable(problem.model)
    batch = batch_of(problem, SAMPLE)
    evaluate = evaluator(problem)

    @jax.jit
    def run(params: PyTree, rest: PyTree, batch: PyTree) -> Any:
        return evaluate(taken.merge(params, rest), batch, problem.state)["loss"]

    loss = float(run(taken.params, taken.rest, batch))
    task = task_of(problem, batch)
    if task == "classification" and "data.class_counts" in record.facts:
        expected = math.log(max(record.facts["data.classes"], 2))
        return {"loss": loss, "expected": expected, "of": "log K"}
    if task == "regression":
        x, y = split(problem, batch)
        predict = predictor(problem)
        if predict is None:
            return None
        outputs = np.asarray(predict(problem.model, x, problem.state), np.float64)
        y = np.asarray(y, np.float64)
        if outputs.size != y.size:
            return None
        squares = (outputs.reshape(y.shape) - y) ** 2
        sums = (np.mean(squares), np.sum(squares) / len(y), np.sum(squares))
        if not any(np.isclose(loss, k * z, rtol=0.01) for z in sums for k in (0.5, 1)):
            return None
        expected = float(np.mean(y[np.isfinite(y)] ** 2))
        return {
            "loss": loss,
            "expected": expected,
            "of": "the mean square of the targets",
        }
    return None


def constant_layers(problem: Problem) -> dict[str, Any]:
    """Weight matrices all of whose units are the same.

    A scale or a shift of several axes, as in layer normalisation over time and features,
    is no matrix: it has no units.
    """
    params = pytree.trainable(problem.model).params
    same, zero, matrices = [], [], 0
    for path, leaf in zip(pytree.paths(params), jax.tree.leaves(params), strict=True):
        w = np.asarray(leaf, np.float64)
        if w.ndim < 2 or min(w.shape[-2:]) < 2:
            continue
        matrices += 1
        w = w.reshape(-1, w.shape[-1])
        alike = bool(np.ptp(w, axis=0).max() == 0 or np.ptp(w, axis=1).max() == 0)
        if alike and not w.any():
            zero.append(path)
        elif alike:
            same.append(path)
    scales = elementwise(problem).intersection(same + zero) if same or zero else set()
    return {
        "same": [path for path in same if path not in scales],
        "zero": [path for path in zero if path not in scales],
        "matrices": matrices - len(scales),
    }


def elementwise(problem: Problem) -> set[str]:
    """Paths of the parameters that are only added to something, or multiplied by it."""
    params, loss = objective(problem)
    batch = batch_of(problem, 8)
    program = graph(jaxpr.trace(lambda p: loss(p, batch), params).closed)

    def uses(value: Value) -> set[str]:
        found: set[str] = set()
        for node in program.users.get(value.id, ()):
            moved = node.primitive in MOVES and node.primitive != "gather"
            found |= uses(node.outputs[0]) if moved else {node.primitive}
        return found

    pairs = zip(pytree.paths(params), program.inputs, strict=True)
    return {p for p, v in pairs if uses(v) and uses(v) <= {"add", "sub", "mul", "div"}}


def signal(problem: Problem) -> dict[str, Any] | None:
    """Mean and deviation of what enters each non-linearity, in the order of the program."""
    params, loss = objective(problem)
    batch = batch_of(problem, SAMPLE)

    def spread(site: Any, z: Any) -> Any:
        z = z.astype(jnp.float32)
        return jnp.stack([jnp.mean(z), jnp.std(z)])

    _, sites = jax.jit(capture(loss, "nonlinearity.input", spread))(params, batch)
    if not sites:
        return None
    values = np.asarray([np.asarray(v).reshape(-1, 2)[-1] for v in sites.values()])
    return {
        "sites": list(sites),
        "mean": values[:, 0].tolist(),
        "std": values[:, 1].tolist(),
    }
