"""Can the program fit a handful of examples?

A model with more parameters than examples can nearly always memorise sixteen of them,
and an optimiser at a sane rate will find how. If it cannot, the fault is neither in the
data nor in the amount of training: the program itself is broken, or the signal does not
get through it. There is no cheaper test of a whole training program.

It runs Adam at several rates side by side (`vmap`) and reports the best of them, so
that a badly chosen step size of the recipe does not count here.

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §11.5 ("Fit a tiny
dataset").
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..core import pytree
from ..training.problem import (
    Batch,
    Problem,
    first_batch,
    general_loss,
    is_arrays,
    predictor,
    split,
    task_of,
)
from ..training.recipe import lenient
from ..training.step import Program, loss_of
from .baselines import score


RATES = (1e-3, 1e-2, 5e-2)
TAIL = 10  # losses averaged at the end


class OneBatch(NamedTuple):
    """How well a few examples were memorised."""

    loss_first: float  # before any update
    loss_last: float  # mean of the last ten, at the best rate; NaN where none is finite
    score: float | None  # accuracy, or R² of a regression; None without `predict`
    rate: float  # the best of the rates
    steps: int
    size: int  # examples
    curve: tuple[float, ...]  # the loss at the best rate, thinned


def fit_one_batch(
    problem: Problem,
    *,
    size: int = 16,
    steps: int = 200,
    key: PRNGKeyArray,
) -> OneBatch:
    """Train the problem's model on `size` examples with Adam for `steps` updates.

    The loss is the problem's own, in training mode; the score is taken in evaluation
    mode. The problem itself is left as it is.
    """
    batch = few(problem, size)
    taken = pytree.trainable(problem.model)
    adam = lenient(optax.scale_by_adam())
    program = Program(taken, general_loss(problem), adam, "float32")
    state = jax.tree.map(jnp.asarray, problem.state)

    def run(rate: Float[Array, ""], batch: Batch) -> tuple[PyTree, Any]:
        def update(carry: Any, step: Any) -> tuple[Any, Float[Array, ""]]:
            params, rest, state, moments = carry

            def objective(params: PyTree) -> Any:
                k = jax.random.fold_in(key, step)
                return loss_of(program, params, rest, state, batch, k)

            both = jax.value_and_grad(objective, has_aux=True)(params)
            (loss, (rest, state, _)), gradient = both
            moved, moments = adam.update(gradient, moments, params)
            params = jax.tree.map(
                lambda p, u: p - rate.astype(p.dtype) * u, params, moved
            )
            return (params, rest, state, moments), loss

        first = (taken.params, taken.rest, state, adam.init(taken.params))
        (params, rest, after, _), losses = jax.lax.scan(
            update, first, jnp.arange(steps)
        )
        return (params, rest, after), losses

    rates = jnp.asarray(RATES, jnp.float32)
    ends, losses = jax.jit(jax.vmap(run, in_axes=(0, None)))(rates, batch)
    losses = np.asarray(losses, np.float64)
    tails = losses[:, -TAIL:].mean(axis=1)
    best = int(np.argmin(np.where(np.isfinite(tails), tails, np.inf)))
    params, rest, after = jax.tree.map(lambda a: a[best], ends)
    thin = losses[best, :: max(1, steps // 40)]
    return OneBatch(
        loss_first=float(losses[best, 0]),
        loss_last=float(tails[best]),
        score=_score(problem, taken.merge(params, rest), after, batch),
        rate=RATES[best],
        steps=steps,
        size=len(jax.tree.leaves(batch)[0]),
        curve=tuple(float(v) for v in thin),
    )


def few(problem: Problem, size: int) -> Batch:
    """`size` examples: spread over the data, or the start of the first batch."""
    if not is_arrays(problem.data):
        return jax.tree.map(lambda a: a[:size], first_batch(problem, size))
    n = len(jax.tree.leaves(problem.data)[0])
    chosen = np.random.default_rng(0).permutation(n)[:size]  # sorted data are common
    return jax.tree.map(lambda a: jnp.asarray(np.asarray(a)[chosen]), problem.data)


def _score(
    problem: Problem, model: PyTree, state: PyTree, batch: Batch
) -> float | None:
    predict, task = predictor(problem), task_of(problem)
    if predict is None or task == "other":
        return None
    x, y = split(problem, batch)
    outputs = np.asarray(jax.jit(lambda x: predict(model, x, state))(x))
    return score(outputs, np.asarray(y), task).value
