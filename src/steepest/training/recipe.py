"""How it is trained: optimiser, length, batch size, seed; all of it plain data.

A recipe is data so that a prescription can be a small change of it, shown as a diff,
applied, tested and undone: `dataclasses.replace(recipe, learning_rate=0.01)`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import PyTree

from ..core.errors import InputError


Schedule = optax.Schedule


@dataclass(frozen=True)
class Recipe:
    """The choices of a training run.

    **Fields**

    - `optimizer`: `"sgd"`, `"momentum"`, `"nesterov"`, `"adagrad"`, `"rmsprop"`,
      `"adam"`, `"adamw"`, `"lion"`, or an Optax transformation that already holds its
      learning rate.
    - `learning_rate`: the peak, or an Optax schedule. Ignored (and recorded as unknown)
      when `optimizer` is a transformation.
    - `schedule`: how the learning rate goes on after the warm-up.
    - `warmup`: steps of linear warm-up from 0.
    - `momentum`: β of (heavy-ball and Nesterov) momentum; `beta1`, `beta2`, `epsilon`
      are Adam's.
    - `weight_decay`: decoupled decay, for every optimiser.
    - `clip_norm`: the global gradient norm is clipped to this, if given.
    - `accumulate`: batches whose gradients are averaged before one update.
    - `batch_size`, `epochs`, `steps`: `steps` (updates) wins over `epochs` when given;
      with an iterable as data, `steps` or the iterable's end decides.
    - `shuffle`: a new order of the examples in every epoch.
    - `precision`: the dtype in which the loss is computed; parameters stay float32.
      float16 brings dynamic loss scaling.
    - `seed`: of everything random.
    """

    optimizer: str | optax.GradientTransformation = "adam"
    learning_rate: float | Schedule = 1e-3
    schedule: Literal["constant", "cosine", "linear"] = "constant"
    warmup: int = 0
    momentum: float = 0.9
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float | None = None
    accumulate: int = 1
    batch_size: int = 32
    epochs: float = 20
    steps: int | None = None
    shuffle: bool = True
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    seed: int = 0


OPTIMISERS = {
    "sgd": lambda r: optax.identity(),
    "momentum": lambda r: optax.trace(r.momentum),
    "nesterov": lambda r: optax.trace(r.momentum, nesterov=True),
    "adagrad": lambda r: optax.scale_by_rss(),
    "rmsprop": lambda r: optax.scale_by_rms(),
    "adam": lambda r: optax.scale_by_adam(r.beta1, r.beta2, r.epsilon),
    "adamw": lambda r: optax.scale_by_adam(r.beta1, r.beta2, r.epsilon),
    "lion": lambda r: optax.scale_by_lion(r.beta1, r.beta2),
}


def optimiser(recipe: Recipe, total: int) -> optax.GradientTransformation:
    """The Optax transformation that a recipe describes, for a run of `total` updates.

    Decay is decoupled and applies to arrays of two or more axes, so that biases and
    normalisation scales are left alone (Loshchilov & Hutter 2019).
    """
    clip = (
        []
        if recipe.clip_norm is None
        else [optax.clip_by_global_norm(recipe.clip_norm)]
    )
    if isinstance(recipe.optimizer, optax.GradientTransformation):
        return lenient(optax.chain(*clip, recipe.optimizer))
    decay = (
        [optax.add_decayed_weights(recipe.weight_decay, mask=_matrices)]
        if recipe.weight_decay
        else []
    )
    return lenient(
        optax.chain(
            *clip,
            OPTIMISERS[recipe.optimizer](recipe),
            *decay,
            optax.scale_by_learning_rate(
                recipe.learning_rate if constant(recipe) else rate(recipe, total)
            ),
        )
    )


def lenient(chain: optax.GradientTransformation) -> optax.GradientTransformation:
    """The same under any setting of type promotion: Optax mixes int32 with float."""

    def update(
        updates: PyTree, state: PyTree, params: PyTree = None
    ) -> tuple[PyTree, PyTree]:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return chain.update(updates, state, params)

    return optax.GradientTransformation(chain.init, update)


def rate(recipe: Recipe, total: int) -> Schedule:
    """The learning rate as a function of the number of updates done."""
    if callable(recipe.learning_rate):
        return recipe.learning_rate
    peak, after = recipe.learning_rate, max(total - recipe.warmup, 1)
    rest = {
        "constant": lambda: optax.constant_schedule(peak),
        "cosine": lambda: optax.cosine_decay_schedule(peak, after),
        "linear": lambda: optax.linear_schedule(peak, 0.0, after),
    }[recipe.schedule]()
    if recipe.warmup == 0:
        return rest
    rise = optax.linear_schedule(peak / recipe.warmup, peak, recipe.warmup)
    return optax.join_schedules([rise, rest], [recipe.warmup])


def constant(recipe: Recipe) -> bool:
    """Whether the learning rate is one number."""
    number = not callable(recipe.learning_rate)
    return number and recipe.schedule == "constant" and not recipe.warmup


def rates(recipe: Recipe, total: int, steps: Any, length: int) -> Any:
    """The learning rates of at most `length` updates; NaN where the recipe has none."""
    if not isinstance(recipe.optimizer, str):
        return np.full(len(steps), np.nan, np.float32)
    if constant(recipe):
        return np.full(len(steps), recipe.learning_rate, np.float32)
    padded = np.resize(np.asarray(steps, np.int32), length)  # one shape, one program
    return np.asarray(_rates(recipe, total)(padded), np.float32)[: len(steps)]


@lru_cache(maxsize=8)
def _rates(recipe: Recipe, total: int) -> Callable[[Any], Any]:
    schedule = rate(recipe, total)

    def all_of(steps: Any) -> Any:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            return jax.vmap(lambda s: jnp.asarray(schedule(s), jnp.float32))(steps)

    return jax.jit(all_of)


def _matrices(params: PyTree) -> PyTree:
    return jax.tree.map(lambda p: p.ndim >= 2, params)


def length(recipe: Recipe, examples: int | None) -> int | None:
    """How many updates a run has; None when only the data's end will tell."""
    if recipe.steps is not None:
        return recipe.steps
    if examples is None:
        return None
    size = min(recipe.batch_size, examples) * recipe.accumulate
    return max(1, math.ceil(recipe.epochs * examples / size))


def describe(recipe: Recipe) -> dict[str, Any]:
    """The recipe as JSON can say it."""
    result = {}
    for field in fields(recipe):
        value = getattr(recipe, field.name)
        plain = value is None or isinstance(value, str | int | float | bool)
        result[field.name] = value if plain else f"<{type(value).__name__}>"
    return result


def check(recipe: Recipe) -> None:
    """Raise `InputError` for a recipe that no run could follow."""
    if isinstance(recipe.optimizer, str) and recipe.optimizer not in OPTIMISERS:
        raise InputError(
            f"There is no optimiser {recipe.optimizer!r}; choose one of "
            f"{', '.join(OPTIMISERS)}, or give an Optax transformation."
        )
    if recipe.precision not in ("float32", "bfloat16", "float16"):
        raise InputError(
            f"`precision` must be float32, bfloat16 or float16, not {recipe.precision!r}."
        )
    if recipe.schedule not in ("constant", "cosine", "linear"):
        raise InputError(
            f"`schedule` must be constant, cosine or linear, not {recipe.schedule!r}."
        )
    positive = {"batch_size": 1, "accumulate": 1, "epochs": 0, "steps": 1}
    for name, least in positive.items():
        value = getattr(recipe, name)
        bad = value is not None and not (value >= least and value > 0)
        if bad or (isinstance(value, float) and not math.isfinite(value)):
            raise InputError(f"`{name}` must be a positive number, not {value}.")
    for name in ("learning_rate", "clip_norm"):
        value = getattr(recipe, name)
        if value is None or callable(value):
            continue
        if not (isinstance(value, int | float) and 0 < value < math.inf):
            raise InputError(f"`{name}` must be a positive number, not {value}.")
    if recipe.warmup < 0 or recipe.weight_decay < 0:
        raise InputError("`warmup` and `weight_decay` cannot be negative.")
