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

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from jaxtyping import Array, Float, PyTree


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
    notes: Mapping[str, Any] = field(default_factory=dict)  # JSON-able, goes into the record
