"""The loss as a function of the parameters alone, at the start or after some updates.

Training looks at a loss with five arguments: model, batch, random key, state, and what
of the model does not train. Curvature and landscapes belong to

    θ ↦ J(θ) = L(θ; batch),   key, state and the rest of the model held fixed,    (1)

so dropout keeps one mask and normalisation its statistics. It is computed in float32,
whatever the precision of training: products with H in bfloat16 have two digits. A loss
that is a sum over its batch instead of a mean is multiplied by B/m, so that (1) has the
size that an update on B examples sees.

What an update does depends on the optimiser too: its learning rate η, the diagonal P by
which it divides the gradient, and the limit c of stability,

    η λ_max(P^{-1/2} H P^{-1/2}) < c,                                             (2)

which are read from the recipe and the optimiser's state.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3.1, 8.1.
    Cohen et al. (2022), Adaptive gradient methods at the edge of stability.   -- (2)
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PyTree

from ..core import pytree
from ..core.errors import InputError
from ..curvature.limits import stability_limit
from ..optimize.adaptive import preconditioner
from ._calls import copy
from ._fit import fit
from ._validate import validate
from .batches import examples_in
from .probes import Probe, Snapshot
from .problem import Problem, first_batch, general_loss, is_arrays
from .recipe import Recipe, constant, length, optimiser, rate
from .step import Carry, Program, loss_of, start


EXAMPLES = 2048  # of the training data, unless more are asked for
CLIPPED = (
    "clipping by norm shortens the updates, and what an adaptive optimiser divides by, "
    "so that η λ does not tell whether they are stable."
)
SOME = 32  # examples on which a sum is told from a mean


class Objective(NamedTuple):
    """A loss of the parameters alone, and how the next update will use it."""

    loss: Callable[[PyTree], Float[Array, ""]]  # (1), on all of `batch`
    batch_loss: Callable[[PyTree, PyTree], Float[Array, ""]]  # the same on any batch
    params: PyTree
    batch: PyTree
    examples: int  # of `batch`
    total_examples: int | None  # of the training data, where they can be counted
    is_sum: bool  # the problem's loss is a sum over its batch, and was scaled
    step: int  # updates done
    ended: str  # why they ended: "completed", "non-finite", "interrupted", ...
    learning_rate: float  # of the next update; NaN where the recipe does not say
    limit: float | None  # c of (2); None where theory has none
    preconditioner: PyTree | None  # P of (2); None where it is 1, or not known
    missing: str  # why P is not known, if it should be
    iterates: tuple[PyTree, ...]  # parameters on the way, if they were asked for
    optimiser: optax.GradientTransformation
    moments: PyTree  # its state


def objective(
    problem: Problem,
    recipe: Recipe | None = None,
    *,
    steps: int = 0,
    examples: int = EXAMPLES,
    iterates: int = 0,
    progress: bool | None = None,
) -> Objective:
    """The loss (1) of a problem, before training or after `steps` updates by the recipe.

    The schedule of the learning rate is that of the whole run. The loss is taken on
    `examples` of the training data, drawn by the recipe's seed, or on all of them where
    there are fewer; of an iterable on its first batch. With `iterates` about as many
    parameters on the way are kept.

    Raises `InputError` for what cannot be trained, and for numbers that make no sense.
    """
    recipe = Recipe() if recipe is None else recipe
    if steps < 0:
        raise InputError(f"`steps` must be 0 or more, not {steps}.")
    if examples < 1:
        raise InputError(f"`examples` must be at least 1, not {examples}.")
    validate(problem, recipe)
    counted = examples_in(problem.data) if is_arrays(problem.data) else None
    total = length(recipe, counted) or steps or 1
    after = recipe if constant(recipe) else _whole_run(recipe, total)
    program = Program(
        pytree.trainable(problem.model),
        general_loss(problem),
        optimiser(after, total),
        "float32",
    )
    done, ended, path = 0, "completed", ()
    if steps:
        done, carry, ended, path = _trained(problem, after, steps, iterates, progress)
    else:
        carry = start(program, problem.state)
    batch = _batch(problem, recipe, counted, examples)
    key = jax.random.fold_in(jax.random.key(recipe.seed), np.uint32(2**32 - 1))

    def raw(params: PyTree, batch: PyTree) -> Float[Array, ""]:
        return loss_of(program, params, carry.rest, carry.state, batch, key)[0]

    is_sum = _is_sum(raw, carry.params, batch)
    size = min(recipe.batch_size, counted or recipe.batch_size)

    def batch_loss(params: PyTree, batch: PyTree) -> Float[Array, ""]:
        value = raw(params, batch)
        return value * jnp.float32(size / examples_in(batch)) if is_sum else value

    P, missing = _preconditioner(carry, recipe)
    missing = CLIPPED if recipe.clip_norm is not None else missing
    return Objective(
        loss=lambda params: batch_loss(params, batch),
        batch_loss=batch_loss,
        params=carry.params,
        batch=batch,
        examples=examples_in(batch),
        total_examples=counted,
        is_sum=is_sum,
        step=done,
        ended=ended,
        learning_rate=_rate(recipe, total, done),
        limit=limit_of(
            recipe.optimizer, recipe.momentum, recipe.beta1, recipe.clip_norm
        ),
        preconditioner=P,
        missing=missing,
        iterates=path,
        optimiser=program.optimiser,
        moments=carry.moments,
    )


def next_update(objective: Objective) -> PyTree:
    """The step that the optimiser would take now, by the gradient on the whole batch."""
    g = jax.jit(jax.grad(objective.loss))(objective.params)
    update, _ = jax.jit(objective.optimiser.update)(
        g, objective.moments, objective.params
    )
    return update


def limit_of(
    optimizer: Any, momentum: float, beta1: float, clip_norm: float | None = None
) -> float | None:
    """c of (2) for an optimiser of a recipe; None where no limit is known.

    There is none for clipped gradients: their steps are shorter than η says, and P is
    made of them while H is not.
    """
    if clip_norm is not None:
        return None
    match optimizer:
        case "sgd":
            return stability_limit("gd")
        case "momentum" | "nesterov":
            return stability_limit(optimizer, momentum)
        case "rmsprop" | "adagrad":
            return stability_limit(optimizer)
        case "adam" | "adamw":
            return stability_limit("adam", beta1)
    return None


# -- Pieces ----------------------------------------------------------------------------


def _whole_run(recipe: Recipe, total: int) -> Recipe:
    """The recipe with the schedule of its whole run, wherever it is stopped."""
    if not isinstance(recipe.optimizer, str):
        return recipe  # its learning rate is its own
    return replace(
        recipe, learning_rate=rate(recipe, total), schedule="constant", warmup=0
    )


def _trained(
    problem: Problem,
    recipe: Recipe,
    steps: int,
    iterates: int,
    progress: bool | None,
) -> tuple[int, Carry, str, tuple[PyTree, ...]]:
    last: list[tuple[int, Carry]] = []
    path: list[PyTree] = []

    def measure(snapshot: Snapshot) -> dict[str, Any]:
        kept = copy(snapshot.carry)  # an update gives the memory of its input away
        last[:] = [(snapshot.step, kept)]
        if iterates:
            path.append(kept.params)
        return {}

    every = max(1, steps // iterates) if iterates else steps
    keep = Probe("parameters", lambda context: measure, every)
    run = fit(problem, replace(recipe, steps=steps), probes=(keep,), progress=progress)
    ended = str(run.record.meta.get("ended", "completed"))
    if ended == "interrupted":
        raise KeyboardInterrupt
    return *last[-1], ended, tuple(path)


def _batch(
    problem: Problem, recipe: Recipe, counted: int | None, examples: int
) -> PyTree:
    if counted is None or examples >= counted:
        return first_batch(problem, examples)
    rng = np.random.default_rng((recipe.seed, 11))
    chosen = np.sort(rng.permutation(counted)[:examples])
    return jax.tree.map(lambda a: jnp.asarray(np.asarray(a)[chosen]), problem.data)


def _is_sum(loss: Callable[..., Any], params: PyTree, batch: PyTree) -> bool:
    """Whether the same examples once more double the loss."""
    once = jax.tree.map(lambda a: a[:SOME], batch)
    twice = jax.tree.map(lambda a: jnp.concatenate([a, a]), once)
    try:
        a, b = (float(jax.jit(loss)(params, part)) for part in (once, twice))
    except (TypeError, ValueError):  # a state that belongs to one length of batch
        return False
    return a != 0 and 1.8 < b / a < 2.2


def _rate(recipe: Recipe, total: int, step: int) -> float:
    if not isinstance(recipe.optimizer, str):
        return float("nan")
    if constant(recipe):
        return float(np.asarray(recipe.learning_rate))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        return float(np.asarray(rate(recipe, total)(jnp.int32(step))))


def _preconditioner(carry: Carry, recipe: Recipe) -> tuple[PyTree | None, str]:
    known = {}
    if recipe.optimizer in ("adam", "adamw"):
        known = {"decay": recipe.beta2, "epsilon": recipe.epsilon}
    try:
        return preconditioner(carry.moments, params=carry.params, **known), ""
    except InputError as error:
        return None, str(error)
