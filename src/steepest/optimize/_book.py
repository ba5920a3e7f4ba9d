"""The optimisers of the book, with its constants.

Goodfellow et al. write them in ways that differ from Optax's defaults in where constants
stand:

    8.2, 8.3  v ← αv − ηg, θ ← θ + v: η inside the velocity, so a schedule acts late
    8.3, 8.6  gradients at the look-ahead θ̃ = θ + αv. The parameters kept are θ̃, and
              v ← αv − ηg(θ̃), θ̃ ← θ̃ + αv − ηg(θ̃) is the same in them              (1)
    8.4       AdaGrad from r = 0, by δ + √r with δ = 10⁻⁷ (Optax: r = 0.1, √(r + ε))
    8.5       RMSProp by √(δ + r), δ = 10⁻⁶ (Optax: 10⁻⁸);   8.6 by √r
    8.7       Adam, δ = 10⁻⁸ outside the root, as Optax

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§8.3-8.5, algorithms 8.1-8.7.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from ..core.errors import InputError
from ..curvature.products import Params
from ._ray import is_false


Algorithm = Literal[
    "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "rmsprop-nesterov", "adam"
]
Schedule = Callable[[Any], Any]  # what Optax calls one: count -> step size


class AdaGradState(NamedTuple):
    """The sum of squares r of the book's AdaGrad, and its δ."""

    sum_of_squares: Params
    delta: Float[Array, ""]


def book(
    name: Algorithm,
    step_size: float | Schedule,
    *,
    momentum: float = 0.9,
    decay: float = 0.9,
) -> optax.GradientTransformation:
    """An optimiser of Goodfellow et al., algorithms 8.1 to 8.7, with the book's constants.

    `step_size` is ε of the book, or a schedule of it; `momentum` is α of 8.2, 8.3 and
    8.6, `decay` is ρ of RMSProp, for which the book names no value. Adam has ρ₁ = 0.9 and
    ρ₂ = 0.999. Nesterov's keep the look-ahead parameters, (1).

    Raises `InputError` for an unknown name, for ε that is negative or not finite, and for
    α or ρ outside of [0, 1).
    """
    if not callable(step_size):
        usable = jnp.isfinite(jnp.asarray(step_size)) & (jnp.asarray(step_size) >= 0)
        if is_false(usable):
            raise InputError(
                f"`step_size` must be a positive number, not {step_size}; the minus sign "
                "of descent is in the algorithm."
            )
    for what, number in {"momentum": momentum, "decay": decay}.items():
        if not 0 <= number < 1:
            raise InputError(f"`{what}` must be at least 0 and below 1, not {number}.")
    rate = optax.scale_by_learning_rate(step_size)
    tiny = float(np.finfo(np.float32).tiny)  # 8.6 has no δ: for gradients of 0 alone
    made: dict[str, Callable[[], optax.GradientTransformation]] = {
        "sgd": lambda: rate,
        "momentum": lambda: optax.chain(rate, optax.trace(momentum)),
        "nesterov": lambda: optax.chain(rate, optax.trace(momentum, nesterov=True)),
        "adagrad": lambda: optax.chain(_adagrad(1e-7), rate),
        "rmsprop": lambda: optax.chain(optax.scale_by_rms(decay, 1e-6), rate),
        "rmsprop-nesterov": lambda: optax.chain(
            optax.scale_by_rms(decay, tiny), rate, optax.trace(momentum, nesterov=True)
        ),
        "adam": lambda: optax.chain(optax.scale_by_adam(0.9, 0.999, 1e-8), rate),
    }
    if name not in made:
        raise InputError(f"The book has no {name!r}; there are {', '.join(made)}.")
    return made[name]()


def _adagrad(delta: float) -> optax.GradientTransformation:
    """Algorithm 8.4, with δ beside the root."""

    def init(params: Params) -> AdaGradState:
        return AdaGradState(jax.tree.map(jnp.zeros_like, params), jnp.float32(delta))

    def update(
        updates: Params, state: AdaGradState, params: Params | None = None
    ) -> tuple[Params, AdaGradState]:
        r = jax.tree.map(lambda r, g: r + g * g, state.sum_of_squares, updates)
        scaled = jax.tree.map(lambda r, g: g / (delta + jnp.sqrt(r)), r, updates)
        return scaled, AdaGradState(r, state.delta)

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]
