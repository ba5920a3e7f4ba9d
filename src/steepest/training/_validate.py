"""Refuse, before anything is run, a program that cannot be trained.

The loss, `evaluate` and `predict` are traced on shapes alone (`jax.eval_shape`), so that
the refusal costs no computation, and every message names the fault and the cure. What
is merely wise or unwise is left to the check-up.
"""

import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, cast, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..core import pytree
from ..core.errors import InputError, in_short, type_name
from ._calls import deleted
from .fitted import is_key
from .problem import (
    Aux,
    Batch,
    Problem,
    Source,
    Task,
    evaluator,
    first_batch,
    general_loss,
    is_arrays,
    positional,
    predictor,
    split,
    task_of,
)
from .recipe import Recipe, check


#: What JAX raises where a program needs the value of something that is only traced.
TRACED = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


def validate(problem: Problem, recipe: Recipe) -> None:
    """Raise `InputError`, with the cure, for a program that cannot be trained."""
    for value, kind in ((problem, Problem), (recipe, Recipe)):
        if not isinstance(value, kind):
            raise InputError(
                f"A `steepest.{kind.__name__}` is needed where {type_name(value)} stands."
            )
    check(recipe)
    if problem.task not in (None, *get_args(Task)):
        raise InputError(
            f"`task` must be one of {', '.join(get_args(Task))}, not {problem.task!r}."
        )
    taken = pytree.trainable(problem.model)
    if deleted(problem.model):
        raise InputError(
            "An array of the model has been given away to an earlier call (donated); "
            "pass the arrays that the call returned."
        )
    _check_source(problem, problem.data, "training data")
    if problem.validation is not None:
        _check_source(problem, problem.validation, "validation data")
    _check_groups(problem)
    batch = first_batch(problem, recipe.batch_size)
    loss = general_loss(problem)

    def run(params: PyTree, rest: PyTree, batch: Batch, state: PyTree) -> Any:
        return loss(taken.merge(params, rest), batch, jax.random.key(0), state)

    try:
        out = jax.eval_shape(run, taken.params, taken.rest, batch, problem.state)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"The loss {_failure(error, batch)}") from error
    if not (isinstance(out, tuple) and len(out) == 2):
        raise InputError(
            "A loss of four arguments must return `(scalar, Aux(state, metrics))`."
        )
    value, aux = out
    if isinstance(value, tuple) and positional(problem.loss) < 4:
        raise InputError(
            "The loss returns a tuple; return the scalar alone, or write "
            "`loss(model, batch, key, state)` and return `(scalar, Aux(state, metrics))`."
        )
    if not hasattr(value, "shape"):
        raise InputError(
            f"The loss returns {type_name(value)}, not a scalar array: is there a `return`?"
            if value is None
            else f"The loss returns {type_name(value)}, not a scalar array."
        )
    value = cast(jax.ShapeDtypeStruct, value)
    if value.shape != ():
        raise InputError(
            f"The loss returns an array of shape {list(value.shape)}, not a scalar. "
            "Take its mean over the batch: `return per_example.mean()`."
        )
    if not jnp.issubdtype(value.dtype, jnp.floating):
        raise InputError(f"The loss is of type {value.dtype}; it must be a float.")
    if not isinstance(aux, Aux):
        raise InputError(
            "A loss of four arguments must return `(scalar, Aux(state, metrics))`; the "
            f"second result is a {type(aux).__name__}."
        )
    _check_aux(aux, problem.state)
    _check_evaluation(problem, taken, recipe.batch_size)


def _check_aux(aux: Aux, state: PyTree) -> None:
    """The state must keep its form from step to step, and metrics must be scalars."""

    def form(tree: PyTree) -> Any:
        shapes = [np.shape(leaf) for leaf in jax.tree.leaves(tree)]
        return jax.tree.structure(tree), shapes

    if form(aux.state) != form(state):
        raise InputError(
            "The loss returns a state of another form than it takes: "
            f"{_form(aux.state)} from {_form(state)}. Return the whole new state in "
            "`Aux(state, metrics)`, and give `Problem` the initial `state`."
        )
    for name, value in aux.metrics.items():
        if np.shape(value) != ():
            raise InputError(
                f"The metric `{name}` has shape {list(np.shape(value))}; it must be a "
                "scalar. Take its mean over the batch."
            )


def _form(tree: PyTree) -> str:
    return str(jax.tree.map(lambda leaf: list(np.shape(leaf)), tree))


def _failure(error: Exception, batch: Batch) -> str:
    """Why a user's function cannot be computed, where, and on what, in one sentence."""
    where = _line_of(error)
    if isinstance(error, TRACED):
        return (
            f"needs the value of an array while it is compiled{where}: use jax.numpy and "
            "jax.lax there instead of NumPy, `float()` and Python's `if`."
        )
    shapes = [f"{a.dtype}{list(a.shape)}" for a in jax.tree.leaves(batch)]
    return (
        f"cannot be computed on a batch of {', '.join(shapes)}{where}: "
        f"{in_short(error)}"
    )


def _line_of(error: Exception) -> str:
    """`" at train.py:31"`: the innermost line that is the user's."""
    ours = os.path.dirname(os.path.dirname(__file__)) + os.sep
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        name = frame.filename
        library = "site-packages" in name or name.startswith((sys.prefix, "<"))
        if not library and not name.startswith((ours, sys.base_prefix)):
            return f" at {os.path.basename(name)}:{frame.lineno}"
    return ""


def _check_source(problem: Problem, source: Source, what: str) -> None:
    if source is None:
        raise InputError(f"There are no {what}; give `(inputs, targets)` as arrays.")
    leaves: list[Any] = jax.tree.leaves(source)
    if isinstance(source, list | tuple | dict):
        if not leaves:
            raise InputError(f"The {what} are empty.")
        if any(isinstance(leaf, bool | int | float | str) for leaf in leaves):
            raise InputError(
                f"The {what} are Python lists; give arrays: `np.asarray(x, np.float32)`."
            )
    for leaf in leaves:
        if hasattr(leaf, "toarray"):
            raise InputError(f"The {what} hold a sparse array; give `.toarray()`.")
        if isinstance(leaf, np.ma.MaskedArray):
            raise InputError(
                f"The {what} hold a masked array; give `.filled(value)`, or leave out "
                "the examples with masked values."
            )
    if any(hasattr(leaf, "shape") and not hasattr(leaf, "dtype") for leaf in leaves):
        raise InputError(
            f"The {what} hold a {type(leaves[0]).__name__}; give arrays: `.to_numpy()`."
        )
    if not is_arrays(source):
        if callable(source) or hasattr(source, "__iter__"):
            return
        raise InputError(
            f"The {what} are {type_name(source)}. Give arrays with a common first axis, an "
            "iterable of batches, or a function that returns one."
        )
    if not all(leaf.shape for leaf in jax.tree.leaves(source)):
        raise InputError(
            f"The {what} hold a scalar; every array needs an example axis."
        )
    sizes = {leaf.shape[0] for leaf in jax.tree.leaves(source)}
    if len(sizes) > 1:
        raise InputError(
            f"The arrays of the {what} have different numbers of examples: "
            f"{sorted(sizes)}. Their first axes must agree."
        )
    if sizes == {0}:
        raise InputError(f"The {what} are empty: the first axis has length 0.")
    for leaf in jax.tree.leaves(source):
        key = isinstance(leaf, jax.Array) and is_key(leaf)
        if key or not _numeric(np.asarray(leaf[:1]).dtype):
            raise InputError(
                f"The {what} hold an array of type {leaf.dtype}; only numbers can be "
                "trained on. Encode it first."
            )


def _numeric(dtype: Any) -> bool:
    return dtype.kind in "biuf" or dtype == jnp.bfloat16


def _check_groups(problem: Problem) -> None:
    """A group for every example, in training and held out."""
    if problem.groups is None:
        return
    groups: Any = problem.groups
    if not isinstance(groups, tuple | list) or len(groups) != 2:
        raise InputError(
            "`groups` must be a pair: the groups of the training examples, and those of "
            "the validation examples."
        )
    for mine, source in zip(groups, (problem.data, problem.validation), strict=True):
        if source is None or not is_arrays(source):
            continue
        examples = jax.tree.leaves(source)[0].shape[0]
        if np.shape(mine) != (examples,):
            raise InputError(
                f"`groups` has an array of shape {list(np.shape(mine))} for {examples} "
                "examples; give one group for each."
            )


def _check_evaluation(problem: Problem, taken: pytree.Trainable, size: int) -> None:
    """`predict`, `evaluate` and the held-out data must go together, as the labels must.

    Data that are not arrays are left alone: to look at them would be to use them up.
    """
    sources = {"training data": problem.data, "validation data": problem.validation}
    predict, evaluate = predictor(problem), evaluator(problem)
    for what, source in sources.items():
        if source is None or not is_arrays(source):
            continue
        batch = first_batch(problem, size, source)
        judged = f"{_judge(problem)} {what}"
        scores = _shape(taken, evaluate, batch, problem.state, batch, judged)
        _check_scores(scores)
        x, _ = split(problem, batch)
        if predict is None or x is None:
            continue
        out = _shape(
            taken, predict, x, problem.state, batch, f"`predict` on the {what}"
        )
        _check_outputs(out, jax.tree.leaves(batch)[0].shape[0], what)
        _check_labels(problem, source, out, what)


def _check_scores(scores: dict[str, Any]) -> None:
    """`evaluate` must give scalars, and the loss among them."""
    if "loss" not in scores:
        raise InputError(
            f"`evaluate` returns {', '.join(map(str, scores)) or 'nothing'}, and no "
            '`"loss"`; return the scalar loss, or a dict that holds it.'
        )
    for name, value in scores.items():
        if np.shape(value) != ():
            raise InputError(
                f"`evaluate` returns `{name}` of shape {list(np.shape(value))}; it must "
                "be a scalar. Take its mean over the batch."
            )


def _judge(problem: Problem) -> str:
    return "The loss on the" if problem.evaluate is None else "`evaluate` on the"


def _shape(
    taken: pytree.Trainable,
    function: Callable[..., Any],
    argument: PyTree,
    state: PyTree,
    batch: Batch,
    what: str,
) -> PyTree:
    """The shapes of what a function of the model makes, or `InputError`."""

    def run(params: PyTree, rest: PyTree, argument: PyTree, state: PyTree) -> PyTree:
        return function(taken.merge(params, rest), argument, state)

    try:
        return jax.eval_shape(run, taken.params, taken.rest, argument, state)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"{what} {_failure(error, batch)}") from error


def _check_outputs(outputs: Any, examples: int, what: str) -> None:
    """`predict` must answer for every example it is asked about."""
    if outputs is None:
        raise InputError("`predict` returns None: is there a `return`?")
    shape = getattr(outputs, "shape", None)
    if shape is not None and shape[:1] != (examples,):
        raise InputError(
            f"`predict` on the {what} returns an array of shape {list(shape)} for "
            f"{examples} examples; its first axis must be the example."
        )


def _check_labels(problem: Problem, source: Source, outputs: Any, what: str) -> None:
    """Integer labels must be in the range of the classes that the model scores."""
    _, targets = split(problem, source)
    if not hasattr(targets, "dtype") or np.asarray(targets[:1]).dtype.kind not in "iu":
        return
    shape = getattr(outputs, "shape", ())
    if targets.ndim != 1 or len(shape) != 2 or task_of(problem) != "classification":
        return
    classes, y = max(shape[1], 2), np.asarray(targets)
    if y.min() < 0 or y.max() >= classes:
        raise InputError(
            f"The labels of the {what} run from {y.min()} to {y.max()}, but the model "
            f"has {shape[1]} outputs, for classes 0 to {classes - 1}. Renumber the "
            "labels or widen the output layer."
        )
