"""How it is trained: optimiser, length, batch size, seed; all of it plain data.

A recipe is data so that a prescription can be a small change of it, shown as a diff,
applied, tested and undone: `dataclasses.replace(recipe, learning_rate=0.01)`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import optax
from jaxtyping import Array, Float


Schedule = Callable[[Float[Array, ""] | int], Float[Array, ""] | float]


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
