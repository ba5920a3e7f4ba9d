"""What is trained: a model, a loss, and data.

A `Problem` holds everything about a training program that is not a choice of how to
train it (that is the `Recipe`). The empirical risk it defines is

    J(θ) = (1/m) Σᵢ L(f(xᵢ; θ), yᵢ),                                         (1)

of which `loss` returns an estimate on one batch (DL §8.1.1-8.1.3).

The loss has one of three signatures, told apart by the number of its positional
parameters:

    loss(model, batch) -> scalar
    loss(model, batch, key) -> scalar
    loss(model, batch, key, state) -> (scalar, Aux(state, metrics))

The last carries what changes beside the parameters: normalisation statistics, the state
of a recurrence, an adversary, an environment.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§5.1, 8.1.
"""

import inspect
import os
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..core import pytree
from ..core.errors import InputError
from .recipe import Recipe, check
from .stream import Stream


Batch = PyTree  # arrays whose first axis is the example: (x, y), {"x": x, "y": y}, ...
Task = Literal["classification", "regression", "other"]

#: Arrays (first axis: the example), an iterable of batches, or a function that makes
#: one. A function may take the model, so that the data can depend on it.
Source = PyTree | Iterable[Batch] | Callable[..., Iterable[Batch]]


class Aux(NamedTuple):
    """What a general loss returns beside the scalar."""

    state: PyTree = None  # the state for the next step
    metrics: Mapping[str, Float[Array, ""]] = {}  # recorded under their names


@dataclass(frozen=True)
class Problem:
    """A model, a loss and data: what is trained and judged.

    **Fields**

    - `model`: any pytree. Its floating-point arrays are trained; for Flax NNX modules,
      its `Param` variables (see `steepest.core.pytree.trainable`).
    - `loss`: see the module docstring for its three signatures.
    - `data`: training data. Arrays with a common first axis, usually `(x, y)`, or an
      iterable of batches, or a function that returns one.
    - `validation`: held-out data of the same structure as a batch, or None.
    - `predict`: `predict(model, x)` or `predict(model, x, state)`, the model's outputs
      in evaluation mode: logits or class scores `(n, classes)` for classification.
      Needed for accuracy and for the worst mistakes.
    - `evaluate`: `evaluate(model, batch)` or `evaluate(model, batch, state)`, a scalar
      loss or a dict of scalar metrics with the key `"loss"`, in evaluation mode. Where
      it is None, the loss itself is evaluated with the model in evaluation mode.
    - `state`: the initial state of a general loss.
    - `task`: inferred from the targets where it is None.
    - `inputs`, `targets`: functions that take a batch apart. Where they are None, a
      pair is `(inputs, targets)`, and a dict is searched for the usual names.
    - `groups`: for each training and each validation example the group (patient,
      writer, day) it came from, if the split is meant to keep groups apart.
    - `name`: what reports call it.
    """

    model: PyTree
    loss: Callable[..., Any]  # scalar, or (scalar, Aux)
    data: Source
    validation: Source | None = None
    predict: Callable[..., PyTree] | None = None
    evaluate: Callable[..., Any] | None = None  # scalar or dict of scalars
    state: PyTree = None
    task: Task | None = None
    inputs: Callable[[Batch], PyTree] | None = None
    targets: Callable[[Batch], PyTree] | None = None
    groups: tuple[Any, Any] | None = None  # arrays of any hashable labels
    name: str = "program"
    notes: Mapping[str, Any] = field(
        default_factory=dict
    )  # JSON-able, goes into the record

    def __post_init__(self) -> None:
        for name in ("data", "validation"):
            source = getattr(self, name)
            if isinstance(source, Iterator):  # it can be read only once
                object.__setattr__(self, name, Stream(source))


# -- Reading a problem ------------------------------------------------------------------


Loss = Callable[[PyTree, Batch, Any, PyTree], tuple[Float[Array, ""], Aux]]
INPUTS = ("x", "inputs", "input", "image", "images", "features")
TARGETS = ("y", "targets", "target", "label", "labels")


def general_loss(problem: Problem) -> Loss:
    """The loss in its most general signature, whatever the user wrote."""
    if not callable(problem.loss):
        raise InputError(f"The loss is {_a(problem.loss)}; it must be a function.")
    loss, count = problem.loss, positional(problem.loss)
    if count == 2:
        return lambda model, batch, key, state: (loss(model, batch), Aux(state))
    if count == 3:
        return lambda model, batch, key, state: (loss(model, batch, key), Aux(state))
    if count == 4:
        return loss
    raise InputError(
        f"The loss takes {count} positional arguments; write `loss(model, batch)`, "
        "`loss(model, batch, key)` or `loss(model, batch, key, state)`."
    )


def positional(fun: Callable[..., Any]) -> int:
    """How many positional arguments a function needs."""
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(fun).parameters.values()
    return sum(p.kind in kinds and p.default is p.empty for p in parameters)


def evaluator(problem: Problem) -> Callable[[PyTree, Batch, PyTree], dict[str, Any]]:
    """A function `(model, batch, state) -> {"loss": ..., ...}` in evaluation mode."""
    if problem.evaluate is None:
        loss = general_loss(problem)

        def by_loss(model: PyTree, batch: Batch, state: PyTree) -> dict[str, Any]:
            # One key for all: what is random in evaluation mode is at least the same.
            model = pytree.evaluation_mode(model)
            return {"loss": loss(model, batch, jax.random.key(0), state)[0]}

        return by_loss
    evaluate, count = problem.evaluate, positional(problem.evaluate)

    def by_user(model: PyTree, batch: Batch, state: PyTree) -> dict[str, Any]:
        model = pytree.evaluation_mode(model)
        result = evaluate(model, batch, state) if count == 3 else evaluate(model, batch)
        return dict(result) if isinstance(result, Mapping) else {"loss": result}

    return by_user


def predictor(problem: Problem) -> Callable[[PyTree, PyTree, PyTree], PyTree] | None:
    """A function `(model, x, state) -> outputs` in evaluation mode, if there is one."""
    if problem.predict is None:
        return None
    predict, count = problem.predict, positional(problem.predict)

    def run(model: PyTree, x: PyTree, state: PyTree) -> PyTree:
        model = pytree.evaluation_mode(model)
        return predict(model, x, state) if count == 3 else predict(model, x)

    return run


def split(problem: Problem, batch: Batch) -> tuple[PyTree, PyTree]:
    """The inputs and the targets of a batch; None for what cannot be told."""
    inputs = problem.inputs(batch) if problem.inputs else None
    targets = problem.targets(batch) if problem.targets else None
    if isinstance(batch, Mapping):
        inputs = _first(batch, INPUTS) if inputs is None else inputs
        targets = _first(batch, TARGETS) if targets is None else targets
    elif isinstance(batch, tuple | list) and len(batch) >= 2:
        inputs = batch[0] if inputs is None else inputs
        targets = batch[1] if targets is None else targets
    elif hasattr(batch, "shape"):
        inputs = batch if inputs is None else inputs
    return inputs, targets


def _first(batch: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    return next((batch[name] for name in names if name in batch), None)


def is_arrays(source: Source) -> bool:
    """Whether a source is a pytree of arrays rather than an iterable of batches."""
    if isinstance(source, list) and all(isinstance(b, tuple | dict) for b in source):
        return False  # a list of batches
    leaves = jax.tree.leaves(source)
    return bool(leaves) and all(hasattr(leaf, "shape") for leaf in leaves)


def first_batch(problem: Problem, size: int, source: Source | None = None) -> Batch:
    """The first `size` examples, or the first batch of an iterable."""
    source = problem.data if source is None else source
    if is_arrays(source):
        return jax.tree.map(lambda a: jnp.asarray(a[:size]), source)
    for batch in batches_of(source, problem.model):
        return jax.tree.map(jnp.asarray, batch)
    raise InputError("The training data are an iterable without a single batch.")


def batches_of(source: Source, model: PyTree) -> Iterable[Batch]:
    """The batches of an iterable, or of a function that makes one."""
    if callable(source):
        make = cast(Callable[..., Iterable[Batch]], source)
        return make(model) if positional(make) else make()
    return cast(Iterable[Batch], source)


def task_of(problem: Problem, batch: Batch | None = None) -> Task:
    """What kind of task it is: as declared, or as the targets look."""
    if problem.task is not None:
        return problem.task
    batch = first_batch(problem, 512) if batch is None else batch
    _, targets = split(problem, batch)
    if not hasattr(targets, "dtype"):
        return "other"
    y = np.asarray(targets)
    if y.dtype.kind in "iub" and y.ndim <= 2 and y.size == len(y):
        return "classification"
    one_hot = y.ndim == 2 and y.shape[1] > 1 and np.isin(y, (0, 1)).all()
    if one_hot and (y.sum(-1) == 1).all():
        return "classification"
    return "regression" if y.dtype.kind == "f" and y.ndim <= 2 else "other"


# -- Refusing what cannot be used ------------------------------------------------------


def validate(problem: Problem, recipe: Recipe) -> None:
    """Raise `InputError`, with the cure, for a program that cannot be trained.

    What is merely wise or unwise is left to the check-up.
    """
    check(recipe)
    taken = pytree.trainable(problem.model)
    _check_source(problem, problem.data, "training data")
    if problem.validation is not None:
        _check_source(problem, problem.validation, "validation data")
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
            f"The loss returns {_a(value)}, not a scalar array: is there a `return`?"
            if value is None
            else f"The loss returns {_a(value)}, not a scalar array."
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
    line = (str(error).strip().splitlines() or [""])[0]
    return (
        f"cannot be computed on a batch of {', '.join(shapes)}{where}: "
        f"{type(error).__name__}{': ' if line else ''}{line}"
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


TRACED = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
    jax.errors.NonConcreteBooleanIndexError,
)


def _a(value: Any) -> str:
    kind = "None" if value is None else type(value).__name__
    article = "an" if kind[0] in "aeiouAEIOU" else "a"
    return kind if value is None else f"{article} {kind}"


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
    if any(hasattr(leaf, "shape") and not hasattr(leaf, "dtype") for leaf in leaves):
        raise InputError(
            f"The {what} hold a {type(leaves[0]).__name__}; give arrays: `.to_numpy()`."
        )
    if not is_arrays(source):
        if callable(source) or hasattr(source, "__iter__"):
            return
        raise InputError(
            f"The {what} are {_a(source)}. Give arrays with a common first axis, an "
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
        if np.asarray(leaf[:1]).dtype.kind not in "biuf" and leaf.dtype != jnp.bfloat16:
            raise InputError(
                f"The {what} hold an array of type {leaf.dtype}; only numbers can be "
                "trained on. Encode it first."
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
        _shape(
            taken, evaluate, batch, problem.state, batch, f"{_judge(problem)} {what}"
        )
        x, _ = split(problem, batch)
        if predict is None or x is None:
            continue
        out = _shape(
            taken, predict, x, problem.state, batch, f"`predict` on the {what}"
        )
        _check_labels(problem, source, out, what)


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
