"""The loop that every method of the Newton family is, and when it believes its model.

    θ ← θ + p,     p from a quadratic model of the loss at θ                  (1)

With the ratio of the actual decrease to the one predicted, ρ, a trust region grows or
shrinks (and σ of the cubic model likewise), lengths measured in the units of the model:

    ρ < 1/4: Δ ← ‖p‖/4;     ρ > 3/4 and ‖p‖ = Δ: Δ ← 2Δ;     ρ ≤ 10⁻⁴: stay.   (2)

Damped, saddle-free and Gauss-Newton steps are halved until they lower the loss in
proportion to their slope (Armijo); steepest descent goes by a strong Wolfe search; plain
Newton takes its step, wherever it leads.

The loop ends where little is left to gain,

    ½ Σ cᵢ²/|λᵢ| ≤ max(8 eps |L|, eps^{3/2} min(|L₀|, 1))                      (3)

and the gradient is small beside the largest curvature; or where three steps changed
neither the loss beyond its rounding nor the gradient. A gradient alone says nothing in
a valley whose walls are 10¹² times as steep as its floor. The point is then judged; a
saddle is left along its negative curvature, and the loop goes on.

References
    Nocedal & Wright (2006), Numerical Optimization, §§3-4, algorithm 4.1.     -- (2)
    Boyd & Vandenberghe (2004), Convex Optimization, §9.5.1.                 -- (3)
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..core.errors import InputError
from ..core.progress import hidden, progress
from ..core.vectors import OnVector, length
from ..curvature import CriticalPoint, critical_point
from ..curvature.derivatives import value_and_gradient
from ._minimized import Minimized
from ._models import DENSE, Model, Modeller
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
ESCAPES = 10  # saddles that are left before the search gives up
STILL = 3  # steps without progress before it does
SLOW = 6  # steps over which a Gauss-Newton search must gain a tenth
BIG_STEP = {"trust-region", "cubic", "levenberg-marquardt", "dogleg"}


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
                p = saddle_free_step(values, slopes).coefficients
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
                predicted -= self.sigma * reach**3 / 3
            new = self.moved(here, step.coefficients @ model.basis)
            if predicted <= noise:  # the loss cannot tell: let the gradient
                falls = new.finite and model.length_of_gradient(new.g) < size
                self.stuck = not falls
                return new if falls and new.value <= here.value + noise else here
            ratio = (here.value - new.value) / predicted if new.finite else -1.0
            if ratio < 0.25:
                self.radius, self.sigma = reach / 4, self.sigma * 4
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


def run(
    search: Search,
    theta: Float[Array, " n"],
    modeller: Modeller,
    *,
    key: PRNGKeyArray,
    max_steps: int,
    gradient_tolerance: float | None = None,
    tolerance: float | None = None,
    escape: bool = True,
    fallback: Modeller | None = None,
) -> Minimized:
    """Go on until (3), or a gradient norm, and judge the last point.

    `fallback` is the model with which the search goes on where this one gains less than
    a tenth in six steps.
    """
    here = search.at(theta)
    if not here.finite:
        raise InputError(
            f"The loss is {here.value:.4g} at the start, or its gradient is not finite; "
            "start from another point."
        )
    trace, escapes, still, products, models = [(here, 0.0)], 0, 0, 0, 0
    keep = theta.size <= DENSE
    reason, model = f"The {max_steps} steps were spent", None
    verdict: CriticalPoint | None = None
    first = min(abs(here.value), 1.0)
    told = ""

    def judged(at: At) -> CriticalPoint:
        return critical_point(search.loss, at.theta, key=key)

    with progress(f"minimize by {search.method}", max_steps) as update, hidden():
        for step in range(max_steps):
            if model is None or trace[-1][1] > 0:
                drawn = key if keep else jax.random.fold_in(key, step)
                model = modeller(here.theta, here.g, drawn, model)
                products, models = products + model.num_products, models + 1
            small = _is_small(search, model, here, first, tolerance, gradient_tolerance)
            if (
                fallback is not None
                and not small
                and (still >= STILL or _is_slow(trace))
            ):
                modeller, fallback, model, still = fallback, None, None, 0
                search.method = "trust-region"
                search.radius = 0.0
                told = "Gauss-Newton gained little and the Hessian took over. "
                continue
            if small or still >= STILL:
                verdict = judged(here)
                down = verdict.escape is not None and verdict.kind != "not critical"
                if not (down and escape and escapes < ESCAPES):
                    reason = "Little is left to gain" if small else "No step is better"
                    break
                new = search.at(here.theta + jnp.asarray(verdict.escape))
                escapes, still, verdict = escapes + 1, 0, None
            else:
                new = search.step(here, model)
                if not new.finite:
                    reason = "The step left the domain of the loss"
                    break
                better = abs(here.value - new.value) > search.noise(here) or (
                    model.length_of_gradient(new.g)
                    < 0.9 * model.length_of_gradient(here.g)
                )
                still = 0 if better else STILL if search.stuck else still + 1
            trace.append((new, float(length(np.asarray(new.theta - here.theta)))))
            here = new
            update(step + 1, f"loss {here.value:.4g}")
    verdict = judged(here) if verdict is None else verdict
    left = verdict.newton_decrease
    if left is None:
        left = float("nan") if model is None else model.decrease
    unravel, values = search.loss.unravel, np.array([at.value for at, _ in trace])
    directions = {
        name: getattr(verdict, name)._replace(
            direction=unravel(getattr(verdict, name).direction)
        )
        for name in ("lowest", "highest")
    }
    out = None if verdict.escape is None else unravel(verdict.escape)
    settled = left <= max(search.eps**0.5 * abs(here.value), search.eps * first)
    if gradient_tolerance is not None:
        settled = float(length(here.g)) <= gradient_tolerance
    return Minimized(
        unravel(here.theta),
        here.value,
        verdict._replace(**directions, escape=out),
        told + reason,
        values,
        np.array([float(length(at.g)) for at, _ in trace]),
        np.array([moved for _, moved in trace]),
        tuple(unravel(at.theta) for at, _ in trace) if keep else (),
        search.evaluations,
        products,
        models,
        escapes,
        left,
        bool(settled),
    )


def _is_small(
    search: Search,
    model: Model,
    here: At,
    first: float,
    tolerance: float | None,
    gradient_tolerance: float | None,
) -> bool:
    """(3), or what takes its place."""
    norm = float(length(here.g))
    if gradient_tolerance is not None:
        return norm <= gradient_tolerance
    if tolerance is not None:
        return model.decrease <= max(
            tolerance * abs(here.value), search.eps**1.5 * first
        )
    if norm == 0:
        return True
    size = float(np.abs(model.values).max() / model.units.min() ** 2)
    limit = search.eps**0.75 * size * max(float(length(here.theta)), 1.0)
    gain = max(search.noise(here), search.eps**1.5 * first)
    return norm <= limit and model.decrease <= gain


def _is_slow(trace: list[tuple[At, float]]) -> bool:
    """Whether the last steps gained less than a tenth."""
    if len(trace) <= SLOW:
        return False
    return trace[-1][0].value > 0.9 * trace[-1 - SLOW][0].value
