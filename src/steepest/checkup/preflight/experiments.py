"""Experiments around the run: one batch before it, simple models beside it.

Facts that are written here:

- `experiment.one_batch`: can the program memorise sixteen examples?
- `experiment.baselines`: scores of a constant, a linear model, nearest neighbours;
- `experiment.depth`: the weight arrays in the order in which the program uses them,
  `{"paths": [...], "sizes": [...]}`, which is what "first layer" means to a program
  that has no layers;
- `experiment.final`: the trained model's scores on the examples of the baselines.

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §§11.2, 11.5.
"""

from typing import Any

import jax
import numpy as np

from ...core import jaxpr, pytree
from ...core.errors import InputError
from ...core.graph import MOVES, Graph, Value, graph
from ...learning import fit_one_batch, score, simple_models
from ...learning.baselines import examples
from ...training.problem import Problem, first_batch, task_of
from ...training.recipe import Recipe
from ...training.record import Record
from ._note import note
from .reading import objective


def measure(problem: Problem, recipe: Recipe, record: Record) -> None:
    """Make the experiments that come before the run."""
    note(record, "experiment.depth", lambda: depth(problem))
    note(record, "experiment.baselines", lambda: _plain(simple_models(problem)))
    key = jax.random.fold_in(jax.random.key(recipe.seed), 29)
    note(
        record,
        "experiment.one_batch",
        lambda: _plain(fit_one_batch(problem, key=key)),
    )


def measure_after(fitted: Any, problem: Problem, record: Record) -> None:
    """Score the trained model (a `Fitted`) on the examples of the baselines."""
    note(record, "experiment.final", lambda: final_scores(fitted, problem))


def final_scores(fitted: Any, problem: Problem) -> dict[str, Any]:
    """`{"metric", "train", "validation"}`; a score is a pair (value, sem).

    Raises `InputError` where there is nothing to score: its message is the reason.
    """
    if problem.predict is None:
        raise InputError("the problem has no `predict`")
    task = task_of(problem)
    if task == "other":
        raise InputError("the task is neither a classification nor a regression")
    scores: dict[str, Any] = {
        "metric": "accuracy" if task == "classification" else "R²"
    }
    for name, which in (("train", "data"), ("validation", "validation")):
        if which == "validation" and problem.validation is None:
            scores[name] = None
            continue
        x, y = examples(problem, which)
        scores[name] = list(score(np.asarray(fitted.predict(x)), y, task))
    return scores


def depth(problem: Problem) -> dict[str, list[Any]]:
    """Weight arrays (two axes or more) in the order of their first use in the loss."""
    params, loss = objective(problem)
    batch = first_batch(problem, 8)
    program = graph(jaxpr.trace(lambda p: loss(p, batch), params).closed)
    place = {id(node): i for i, node in enumerate(program.nodes)}
    leaves = jax.tree.leaves(params)
    uses = [first_use(program, value, place) for value in program.inputs]
    rows = [
        (use, path, leaf.size)
        for use, path, leaf in zip(uses, pytree.paths(params), leaves)
        if leaf.ndim >= 2 and use < len(place)
    ]
    rows.sort(key=lambda row: row[0])
    return {"paths": [r[1] for r in rows], "sizes": [int(r[2]) for r in rows]}


def first_use(program: Graph, value: Value, place: dict[int, int]) -> int:
    """The number of the first node that computes with `value`, else of all nodes."""
    found = [len(place)]
    for node in program.users.get(value.id, []):
        if node.primitive in MOVES:
            found += [first_use(program, out, place) for out in node.outputs]
        else:
            found.append(place[id(node)])
    return min(found)


def _plain(result: Any) -> dict[str, Any]:
    """A named tuple, and those inside of it, as JSON can say it."""

    def plain(value: Any) -> Any:
        if isinstance(value, tuple):
            return [plain(v) for v in value]
        return value

    return {name: plain(value) for name, value in result._asdict().items()}
