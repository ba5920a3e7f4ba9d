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

from ..core.errors import InputError, in_short, type_name


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
    - `momentum`: β of `"momentum"` (heavy ball) and `"nesterov"`; `"sgd"` has none;
      `beta1`, `beta2`, `epsilon` are Adam's.
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
    named = isinstance(recipe.optimizer, str)
    if named and recipe.optimizer not in OPTIMISERS:
        raise InputError(
            f"There is no optimiser {recipe.optimizer!r}; choose one of "
            f"{', '.join(OPTIMISERS)}, or give an Optax transformation."
        )
    if not named and not isinstance(recipe.optimizer, optax.GradientTransformation):
        raise InputError(
            f"The optimiser is {type_name(recipe.optimizer)}; give a name, or an Optax "
            "transformation such as `optax.adam(1e-3)`, called."
        )
    if recipe.precision not in ("float32", "bfloat16", "float16"):
        raise InputError(
            f"`precision` must be float32, bfloat16 or float16, not {recipe.precision!r}."
        )
    if recipe.schedule not in ("constant", "cosine", "linear"):
        raise InputError(
            f"`schedule` must be constant, cosine or linear, not {recipe.schedule!r}."
        )
    for name in ("batch_size", "accumulate", "steps", "warmup", "seed"):
        value = getattr(recipe, name)
        if not (
            isinstance(value, int | np.integer) or (name == "steps" and value is None)
        ):
            raise InputError(f"`{name}` must be a whole number, not {value!r}.")
    for name in ("batch_size", "accumulate", "steps", "epochs"):
        value = getattr(recipe, name)
        if not ((name == "steps" and value is None) or (_number(value) and value > 0)):
            raise InputError(f"`{name}` must be a positive number, not {value!r}.")
    for name in ("learning_rate", "clip_norm"):
        value = getattr(recipe, name)
        unused = value is None and (name == "clip_norm" or not named)
        if unused or callable(value):
            continue
        if value is None or not (_number(value) and value > 0):
            raise InputError(f"`{name}` must be a positive number, not {value!r}.")
    for name in ("warmup", "weight_decay", "momentum", "beta1", "beta2", "epsilon"):
        value = getattr(recipe, name)
        if not (_number(value) and value >= 0):
            raise InputError(f"`{name}` must be a number, 0 or more, not {value!r}.")
    if not 0 <= recipe.seed < 2**32:
        raise InputError(f"`seed` must lie between 0 and 2³² − 1, not {recipe.seed}.")
    if callable(recipe.learning_rate):
        _check_schedule(recipe.learning_rate)


def _number(value: Any) -> bool:
    return isinstance(value, int | float | np.number) and math.isfinite(value)


def _check_schedule(schedule: Schedule) -> None:
    """A schedule of the user's must give a number for the number of updates done."""
    try:
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            at = jax.eval_shape(schedule, jax.ShapeDtypeStruct((), jnp.int32))
    except Exception as error:
        raise InputError(
            f"The schedule of the learning rate cannot be computed: {in_short(error)}"
        ) from error
    if getattr(at, "shape", None) != ():
        raise InputError(
            "The schedule of the learning rate must return a number for the number of "
            f"updates done, not {at!r}."
        )
