"""One step of a search: of which length, and when its model is believed.

    θ ← θ + p,     p from a quadratic model of the loss at θ                  (1)

With the ratio of the actual decrease to the one predicted, ρ, a trust region grows or
shrinks (and σ of the cubic model likewise), lengths measured in the units of the model:

    ρ < 1/4: Δ ← ‖p‖/4;     ρ > 3/4 and ‖p‖ = Δ: Δ ← 2Δ;     ρ ≤ 10⁻⁴: stay.   (2)

Damped, saddle-free and Gauss-Newton steps are halved until they lower the loss in
proportion to their slope (Armijo); steepest descent goes by a strong Wolfe search; plain
Newton takes its step, wherever it leads.

References
    Nocedal & Wright (2006), Numerical Optimization, §§3-4, algorithm 4.1.     -- (2)
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.vectors import OnVector, length
from ..curvature.derivatives import value_and_gradient
from ._models import Model
from .newton_steps import (
    cubic_step,
    damped_step,
    dogleg_step,
    newton_step,
    saddle_free_step,
    trust_region_step,
)
from .wolfe import strong_wolfe


NOISE = 8.0  # in units of eps |L|


class At(NamedTuple):
    """A point, its loss and its gradient."""

    theta: Float[Array, " n"]
    value: float
    g: Float[np.ndarray, " n"]

    @property
    def finite(self) -> bool:
        return bool(np.isfinite(self.value) and np.isfinite(self.g).all())


class Search:
    """A search's loss, its counters and its radius.

    A class because the radius and the counters change from step to step.
    """

    def __init__(self, loss: OnVector, method: str) -> None:
        self.loss, self.method = loss, method
        self.evaluations = 0
        self.radius = self.sigma = 0.0  # 0: not chosen yet
        self.stuck = False  # no step is better
        self.eps = 0.0

    def at(self, theta: Any) -> At:
        """The loss and its gradient."""
        self.evaluations += 1
        self.eps = float(jnp.finfo(theta.dtype).eps)
        value, g = value_and_gradient(self.loss, theta)
        return At(theta, float(value), np.asarray(g, np.float64))

    def moved(self, here: At, p: Float[np.ndarray, " n"]) -> At:
        """The point a step away."""
        return self.at(here.theta + jnp.asarray(p, here.theta.dtype))

    def noise(self, here: At) -> float:
        return NOISE * self.eps * abs(here.value)

    def step(self, here: At, model: Model) -> At:
        """The next point; the same one if none is better."""
        values, slopes = model.values, model.slopes
        match self.method:
            case "steepest":
                return self.by_wolfe(here)
            case "newton":
                p = newton_step(values, slopes, flat=model.flat).coefficients
                return self.moved(here, p @ model.basis)
            case "gauss-newton":
                p = newton_step(values, slopes, flat=model.flat).coefficients
                return self.by_halving(here, p @ model.basis)
            case "damped-newton":
                size = float(np.abs(values).max())
                damping = max(0.0, -float(values[0]) * 2, 1e-10 * size)
                if values[0] > 1e-10 * size:
                    damping = 0.0
                p = damped_step(values, slopes, damping or 1e-300).coefficients
                return self.by_halving(here, p @ model.basis)
            case "saddle-free":
                floor = model.flat * float(np.abs(values).max())
                p = saddle_free_step(values, slopes, floor or None).coefficients
                return self.by_halving(here, p @ model.basis)
            case _:
                return self.by_trust(here, model)

    def by_wolfe(self, here: At) -> At:
        """Along −g, from the last accepted length."""
        first = self.radius or 1.0 / max(length(here.g), 1e-300)
        dtype = here.theta.dtype
        g = jnp.asarray(here.g, dtype)
        found = _wolfe(self.loss, here.theta, g, jnp.asarray(first, dtype))
        self.evaluations += int(found.num_evaluations)
        size = float(found.size)
        self.stuck = size == 0
        if self.stuck:
            return here
        self.radius = size
        return self.moved(here, -size * here.g)

    def by_halving(self, here: At, p: Float[np.ndarray, " n"]) -> At:
        """Armijo's rule: halve until the decrease is a share of the slope."""
        slope, t = float(here.g @ p), 1.0
        for _ in range(60):
            new = self.moved(here, t * p)
            limit = here.value + 1e-4 * t * slope + self.noise(here)
            if new.finite and new.value <= limit:
                self.stuck = False
                return new
            t /= 2
        self.stuck = True
        return here

    def by_trust(self, here: At, model: Model) -> At:
        """The trust region or the cubic model, with (2)."""
        self.begin(here, model)
        noise, size = self.noise(here), model.length_of_gradient(here.g)
        least = self.eps * float(np.linalg.norm(np.asarray(here.theta) / model.units))
        for _ in range(60):
            step = self.bounded(model)
            reach = length(step.coefficients)
            predicted = step.decrease
            if self.method == "cubic":
                predicted -= self.sigma * min(reach, 1e100) ** 3 / 3
            new = self.moved(here, step.coefficients @ model.basis)
            if predicted <= noise:  # the loss cannot tell: let the gradient
                falls = new.finite and model.length_of_gradient(new.g) < size
                self.stuck = not falls
                return new if falls and new.value <= here.value + noise else here
            ratio = (here.value - new.value) / predicted if new.finite else -1.0
            if ratio < 0.25:
                self.radius, self.sigma = reach / 4, self.sigma * 4
                if ratio <= 1e-4:  # a σ near zero must not take hundreds of steps back
                    most = float(np.abs(model.values).max())
                    self.sigma = max(self.sigma, most / max(4 * reach, 1e-300))
            elif ratio > 0.75:
                if reach > 0.99 * self.radius:
                    self.radius *= 2
                self.sigma = max(self.sigma / 3, 1e-150)
            if ratio > 1e-4:
                self.stuck = False
                return new
            if reach <= max(least, 1e-300):
                break
        self.stuck = True
        return here

    def begin(self, here: At, model: Model) -> None:
        """The first radius, and the σ whose step is as long."""
        if not self.radius:
            scaled = length(np.asarray(here.theta, np.float64) / model.units)
            self.radius = max(scaled, 1.0)
            size = float(np.abs(model.values).max())
            self.sigma = max(size / self.radius, 1e-150)

    def bounded(self, model: Model) -> Any:
        """The step of the method within its bound."""
        values, slopes = model.values, model.slopes
        if self.method == "cubic":
            return cubic_step(values, slopes, self.sigma)
        bounded = dogleg_step if self.method == "dogleg" else trust_region_step
        return bounded(values, slopes, self.radius, flat=model.flat)


@partial(jax.jit, static_argnums=0)
def _wolfe(loss: OnVector, theta: Any, g: Any, first: Any) -> Any:
    return strong_wolfe(loss, theta, -g, initial=first)
