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
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from ..core import pytree
from ..core.errors import InputError, type_name
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
    - `notes`: what a check-up cannot see for itself, as JSON-able values; they stand in
      its record as the facts `problem.NAME`. Known are `frozen` (paths of parameters
      that do not train on purpose), `class_weights` (True where the loss weighs its
      classes), `image_shape` (of one example, if it is a picture) and `classes` (names).
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
    notes: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        loss = getattr(self.loss, "__name__", "loss")
        return f"<Problem {self.name}: {type(self.model).__name__}, {loss}>"

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
    loss, count = problem.loss, positional(problem.loss, "The loss")
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


def positional(fun: Callable[..., Any], what: str = "The function") -> int:
    """How many positional arguments a function needs."""
    if not callable(fun):
        raise InputError(f"{what} is {type_name(fun)}; it must be a function.")
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    try:
        parameters = inspect.signature(fun).parameters.values()
    except ValueError:  # some functions written in C have none
        raise InputError(
            f"{what} is `{fun!r}`, whose arguments cannot be told; call it in a function "
            "of your own."
        ) from None
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
    evaluate, count = problem.evaluate, positional(problem.evaluate, "`evaluate`")

    def by_user(model: PyTree, batch: Batch, state: PyTree) -> dict[str, Any]:
        model = pytree.evaluation_mode(model)
        result = evaluate(model, batch, state) if count == 3 else evaluate(model, batch)
        return dict(result) if isinstance(result, Mapping) else {"loss": result}

    return by_user


def predictor(problem: Problem) -> Callable[[PyTree, PyTree, PyTree], PyTree] | None:
    """A function `(model, x, state) -> outputs` in evaluation mode, if there is one."""
    if problem.predict is None:
        return None
    predict, count = problem.predict, positional(problem.predict, "`predict`")

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


def labels_of(targets: Any) -> Any:  # an array of NumPy or JAX
    """Class numbers `(n,)` from the targets of a classification, one-hot or not."""
    if targets.ndim == 2 and targets.shape[1] > 1:
        return targets.argmax(-1)
    labels = targets.reshape(len(targets))
    return labels.astype("int32") if labels.dtype.kind == "f" else labels


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
    zero_one = y.dtype.kind == "f" and y.ndim <= 2 and y.size == len(y)
    if zero_one and set(np.unique(y).tolist()) == {0.0, 1.0}:  # for a sigmoid
        return "classification"
    one_hot = y.ndim == 2 and y.shape[1] > 1 and np.isin(y, (0, 1)).all()
    if one_hot and (y.sum(-1) == 1).all():
        return "classification"
    return "regression" if y.dtype.kind == "f" and y.ndim <= 2 else "other"
