"""Minimise a loss, and say what was found.

Every method here is the loop

    θ ← θ + p,     p from a local model of the loss at θ,                    (1)

and they differ in p (`newton_steps`) and in when they believe it. With the ratio of the
actual decrease to the one predicted, ρ, a trust region grows or shrinks (and σ of the
cubic model likewise):

    ρ < 1/4: Δ ← ‖p‖/4;     ρ > 3/4 and ‖p‖ = Δ: Δ ← 2Δ;     ρ ≤ 10⁻⁴: stay.   (2)

Damped and saddle-free steps are halved until they lower the loss in proportion to their
slope (Armijo); steepest descent goes by a strong Wolfe search; plain Newton takes its
step, wherever it leads.

Up to 200 parameters the Hessian is formed. Beyond, one Krylov space from the gradient
serves every method: its Ritz pairs take the place of the eigenpairs, and its size is
the number of products.

When the gradient has all but vanished the point is judged (`critical_point`). A saddle
is left along its direction of negative curvature, and the loop goes on; so that a saddle
is reported as a success by no method, and what cannot be told is called inconclusive.

References
    Nocedal & Wright (2006), Numerical Optimization, §§3-4, algorithm 4.1.     -- (2)
    Cartis, Gould & Toint (2011), Adaptive cubic regularisation methods, part I.
    Dauphin et al. (2014), Identifying and attacking the saddle point problem.
"""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from ..core.errors import InputError
from ..core.progress import hidden, progress
from ..core.vectors import working_dtype
from ..curvature import CriticalPoint, critical_point
from ..curvature._basis import product
from ..curvature._krylov import begin, grow, ritz, vectors
from ..curvature.products import Loss, Params, check, hvp
from .newton_steps import (
    ModelStep,
    cubic_step,
    damped_step,
    length_of,
    newton_step,
    saddle_free_step,
    trust_region_step,
)
from .wolfe import strong_wolfe


Method = Literal[
    "trust-region", "cubic", "saddle-free", "damped-newton", "newton", "steepest"
]
METHODS = (
    *("trust-region", "cubic", "saddle-free", "damped-newton", "newton", "steepest"),
)
DENSE = 200  # parameters up to which the Hessian is formed
SUBSPACE = 40  # products in a step with more
NOISE = 8.0  # in units of eps |L|
ESCAPES = 10  # saddles that are left before the search gives up


class Minimized(NamedTuple):
    """Where a search ended, what is there, and how it went."""

    params: Params
    value: float
    verdict: CriticalPoint  # minimum, saddle, ..., of the last point
    reason: str  # why the search ended
    values: Float[np.ndarray, " steps"]  # the loss, from the start
    gradient_norms: Float[np.ndarray, " steps"]
    step_lengths: Float[np.ndarray, " steps"]  # ‖p‖; 0 where a step was refused
    path: tuple[Params, ...]  # every iterate, of problems up to 200 parameters
    num_evaluations: int  # of loss or gradient
    num_products: int  # with the Hessian
    num_escapes: int  # saddles that were left

    @property
    def success(self) -> bool:
        """Whether the point was shown to be a minimum."""
        return self.verdict.kind == "minimum"

    def __str__(self) -> str:
        left = f", {self.num_escapes} saddles left" if self.num_escapes else ""
        return (
            f"{self.reason} after {len(self.values) - 1} steps ({self.num_evaluations} "
            f"evaluations, {self.num_products} products{left}): loss {self.value:.6g}, "
            f"gradient {self.gradient_norms[-1]:.2g}.\n{self.verdict}"
        )


def minimize(
    loss: Loss,
    params: Params,
    method: Method = "trust-region",
    *,
    key: PRNGKeyArray | None = None,
    max_steps: int = 200,
    gradient_tolerance: float | None = None,
    escape: bool = True,
) -> Minimized:
    """Minimise `loss(params)` from `params`, with the verdict of the critical-point test.

    **Arguments**

    - `method`: see the module docstring. `"trust-region"` and `"cubic"` come to a local
      minimum from anywhere; `"newton"` goes to the nearest critical point of any kind.
    - `gradient_tolerance`: stop at this gradient norm; where None, at eps^{3/4} times the
      largest curvature times the length of θ (or 1), or when the loss cannot resolve a
      further decrease.
    - `escape`: whether to go on from a saddle along negative curvature.

    The loss should be deterministic; float64 (`jax.enable_x64`) gives the verdict more
    digits.

    Raises `InputError` for an unknown method, or a loss that is not one finite number
    at the start.
    """
    if method not in METHODS:
        raise InputError(
            f"There is no method {method!r}; there are {', '.join(METHODS)}."
        )
    if max_steps < 1:
        raise InputError(f"`max_steps` must be at least 1, not {max_steps}.")
    check(loss, params)
    key = jax.random.key(0) if key is None else key
    theta, unravel = ravel_pytree(params)
    gradient = jax.jit(jax.value_and_grad(lambda t: loss(unravel(t))))
    search = Search(lambda t: loss(unravel(t)), gradient, method, key)
    value, g = search.at(theta)
    if not (np.isfinite(value) and bool(jnp.isfinite(g).all())):
        raise InputError(
            f"The loss is {value:.4g} at the start, or its gradient is not finite; start "
            "from another point."
        )
    keep = theta.size <= DENSE
    values, norms, lengths = [value], [norm(g)], [0.0]
    path, escapes, still = [params], 0, 0
    verdict, reason = None, f"The {max_steps} steps were spent"
    with progress(f"minimize by {method}", max_steps) as update, hidden():
        for step in range(max_steps):
            model = search.model(theta, g, step)
            limit = gradient_tolerance
            if limit is None:
                size = float(np.abs(model.values).max())
                limit = search.eps**0.75 * size * max(norm(theta), 1.0)
            if norm(g) <= limit or still >= 3:
                verdict = critical_point(search.loss, theta, key=key)
                down = verdict.escape is not None and verdict.kind != "not critical"
                if not (down and escape and escapes < ESCAPES):
                    reason = (
                        "The gradient vanished"
                        if norm(g) <= limit
                        else "The loss no longer fell beyond its rounding"
                    )
                    break
                assert verdict.escape is not None
                new, escapes, still, verdict = (
                    theta + verdict.escape,
                    escapes + 1,
                    0,
                    None,
                )
                new_value, new_g = search.at(new)
            else:
                new, new_value, new_g = search.step(theta, value, g, model)
                if not (np.isfinite(new_value) and bool(jnp.isfinite(new_g).all())):
                    reason = "The step left the domain of the loss"
                    break
                moved = norm(new - theta) > 0
                noise = NOISE * search.eps * abs(value)
                better = abs(value - new_value) > noise or norm(new_g) < 0.9 * norm(g)
                settled = not better and (moved or search.stuck)
                still = still + 1 if settled else 0
            lengths.append(norm(new - theta))
            theta, value, g = new, new_value, new_g
            values.append(value)
            norms.append(norm(g))
            if keep:
                path.append(unravel(theta))
            update(step + 1, f"loss {value:.4g}")
    if verdict is None:
        verdict = critical_point(search.loss, theta, key=key)
    return Minimized(
        unravel(theta),
        value,
        verdict._replace(
            lowest=verdict.lowest._replace(direction=unravel(verdict.lowest.direction)),
            highest=verdict.highest._replace(
                direction=unravel(verdict.highest.direction)
            ),
            escape=None if verdict.escape is None else unravel(verdict.escape),
        ),
        reason,
        np.array(values),
        np.array(norms),
        np.array(lengths),
        tuple(path) if keep else (),
        search.evaluations,
        search.products,
        escapes,
    )


class Model(NamedTuple):
    """The quadratic model in eigencoordinates, and the way back to steps."""

    values: Float[np.ndarray, " j"]
    slopes: Float[np.ndarray, " j"]
    basis: Float[Array, "j n"]  # rows: the eigenvectors


class Search:
    """A search's loss, its counters and its radius.

    A class because the radius and the counters change from step to step.
    """

    def __init__(self, loss: Any, gradient: Any, method: str, key: Any) -> None:
        self.loss, self.gradient, self.method, self.key = loss, gradient, method, key
        self.product = jax.jit(lambda t, v: hvp(loss, t, v))
        self.hessian = jax.jit(
            lambda t: jax.vmap(lambda v: hvp(loss, t, v))(
                jnp.eye(t.size, dtype=t.dtype)
            )
        )
        self.wolfe = jax.jit(lambda t, g, h: strong_wolfe(loss, t, -g, initial=h))
        self.evaluations = self.products = 0
        self.radius: float | None = None
        self.sigma = 1.0
        self.stuck = False  # the radius is too small to move by
        self.eps = 0.0

    def at(self, theta: Any) -> tuple[float, Any]:
        """The loss and its gradient."""
        self.evaluations += 1
        self.eps = float(jnp.finfo(theta.dtype).eps)
        value, g = self.gradient(theta)
        return float(value), g

    def model(self, theta: Any, g: Any, step: int) -> Model:
        """Eigenpairs of the Hessian, or Ritz pairs from the gradient.

        Steepest descent needs no more than the curvature along the gradient, which says
        what a small gradient is.
        """
        if self.method == "steepest":
            unit = g / jnp.maximum(jnp.linalg.norm(g), jnp.finfo(g.dtype).tiny)
            self.products += 1
            curvature = np.asarray(unit @ self.product(theta, unit), np.float64)
            return Model(curvature[None], np.array([norm(g)]), unit[None])
        if theta.size <= DENSE:
            H = np.asarray(self.hessian(theta), np.float64)
            self.products += theta.size
            require_finite(H)
            values, V = np.linalg.eigh((H + H.T) / 2)
            basis = jnp.asarray(V.T, theta.dtype)
        else:
            dtype = working_dtype(theta.dtype)
            key = jax.random.fold_in(self.key, step)
            space = begin(g[None].astype(dtype), key)
            size = min(SUBSPACE, theta.size)
            matvec = lambda q: self.product(theta, q.astype(theta.dtype)).astype(dtype)
            while space.done < size and space.last_break < 0:
                space = grow(matvec, space, key)
            require_finite(space.T[: space.done, : space.done])
            self.products += space.products
            found = ritz(space)
            values = found.values
            basis = vectors(space, found.S).astype(theta.dtype)
        return Model(values, np.asarray(product(basis, g), np.float64), basis)

    def step(self, theta: Any, value: float, g: Any, model: Model) -> Any:
        """The next point, its loss and its gradient; the same point if none is better."""
        match self.method:
            case "steepest":
                return self.by_wolfe(theta, value, g)
            case "newton":
                new = theta + along(model, newton_step(model.values, model.slopes))
                return new, *self.at(new)
            case "damped-newton":
                size = float(np.abs(model.values).max())
                damping = max(0.0, -float(model.values[0]) * 2, 1e-10 * size)
                if model.values[0] > 1e-10 * size:
                    damping = 0.0
                p = damped_step(model.values, model.slopes, damping or 1e-300)
                return self.by_halving(theta, value, g, along(model, p))
            case "saddle-free":
                p = saddle_free_step(model.values, model.slopes)
                return self.by_halving(theta, value, g, along(model, p))
            case _:
                return self.by_trust(theta, value, g, model)

    def by_wolfe(self, theta: Any, value: float, g: Any) -> Any:
        """Along −g, from the last accepted length."""
        first = self.radius or 1.0 / max(norm(g), 1e-300)
        found = self.wolfe(theta, g, jnp.asarray(first, theta.dtype))
        self.evaluations += int(found.num_evaluations)
        size = float(found.size)
        self.stuck = size == 0
        if size:
            self.radius = size
        new = theta - found.size.astype(theta.dtype) * g
        return new, *self.at(new)

    def by_halving(self, theta: Any, value: float, g: Any, p: Any) -> Any:
        """Armijo's rule: halve until the decrease is a share of the slope."""
        slope, t = float(g @ p), 1.0
        noise = NOISE * self.eps * abs(value)
        for _ in range(60):
            new = theta + jnp.asarray(t, theta.dtype) * p
            new_value, new_g = self.at(new)
            if new_value <= value + 1e-4 * t * slope + noise:
                self.stuck = False
                return new, new_value, new_g
            t /= 2
        self.stuck = True
        return theta, value, g

    def by_trust(self, theta: Any, value: float, g: Any, model: Model) -> Any:
        """The trust region or the cubic model, with (2)."""
        if self.radius is None:
            self.radius = max(0.1 * norm(theta), 1.0)
        cubic = self.method == "cubic"
        noise = NOISE * self.eps * abs(value)
        for _ in range(60):
            if cubic:
                step = cubic_step(model.values, model.slopes, self.sigma)
                length = length_of(step.coefficients)
                predicted = step.decrease - self.sigma * length**3 / 3
            else:
                step = trust_region_step(model.values, model.slopes, self.radius)
                length = length_of(step.coefficients)
                predicted = step.decrease
            new = theta + along(model, step)
            new_value, new_g = self.at(new)
            actual = value - new_value
            finite = np.isfinite(new_value) and bool(jnp.isfinite(new_g).all())
            if predicted <= noise:  # the loss cannot tell: let the gradient
                ratio = 1.0 if finite and norm(new_g) < norm(g) else 0.0
            else:
                ratio = actual / predicted if finite else -1.0
            if ratio < 0.25:
                self.radius, self.sigma = length / 4, self.sigma * 4
            elif ratio > 0.75:
                if length > 0.99 * self.radius:
                    self.radius *= 2
                self.sigma = max(self.sigma / 3, 1e-12)
            if ratio > 1e-4:
                self.stuck = False
                return new, new_value, new_g
            if length <= self.eps * max(norm(theta), 1e-3):
                break
        self.stuck = True
        return theta, value, g


def along(model: Model, step: ModelStep) -> Any:
    """A step in eigencoordinates as one in the parameters."""
    p = jnp.asarray(step.coefficients, model.basis.dtype)
    return product(p, model.basis)


def norm(x: Any) -> float:
    return float(jnp.linalg.norm(x))


def require_finite(H: np.ndarray) -> None:
    if not np.isfinite(H).all():
        raise InputError(
            "The Hessian is not finite at an iterate, although the gradient is; a square "
            "root or a norm at zero does that."
        )
