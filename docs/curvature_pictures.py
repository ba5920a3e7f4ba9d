"""The pictures of the pages on curvature and on the canyon, computed when they are built.

A small network on pictures of digits is trained, and everything drawn of it is measured:
spectrum, steps, landscape. Matplotlib draws, in colours that read on white and on black.
"""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from steepest import problems
from steepest.curvature import eigenpairs, hessian, landscape, spectrum, taylor
from steepest.curvature.pictures import (
    canyon,
    picture_of_curvature_weights,
    picture_of_descents,
    picture_of_plane,
    picture_of_spectrum,
    picture_of_step,
)
from steepest.training._objective import Objective, objective


UPDATES = 200  # of the network on digits
START = np.array([-1.2, 1.0])  # of Rosenbrock's valley


def pictures() -> dict[str, str]:
    """File name -> SVG."""
    case = problems.make("digits/mlp", seed=0)
    digits = objective(case.problem, case.recipe, steps=UPDATES, iterates=20)
    return {
        "canyon-ten.svg": canyon(np.diag([1.0, 10.0]), [10.0, 3.0]),
        "canyon-hundred.svg": canyon(np.diag([1.0, 100.0]), [10.0, 1.0]),
        "canyon-rosenbrock.svg": valley(),
        "canyon-losses.svg": race(),
        "curvature-weights.svg": weights(),
        "curvature-step.svg": step(digits),
        "curvature-spectrum.svg": bulk_and_outliers(digits),
        "curvature-landscape.svg": ground(digits),
    }


# -- A network -------------------------------------------------------------------------


def weights() -> str:
    """The gradient of a small network on irises, before training."""
    case = problems.make("iris/mlp", seed=0)
    made = objective(case.problem, case.recipe)
    lam, Q = np.linalg.eigh(np.asarray(hessian(made.loss, made.params).dense(), float))
    g = ravel_pytree(jax.jit(jax.grad(made.loss))(made.params))[0]
    g = np.asarray(g, float)
    cosines = Q.T @ g / np.linalg.norm(g)
    return picture_of_curvature_weights(cosines**2, lam)


def step(made: Objective) -> str:
    """Steps along the negative gradient, of lengths up to past the limit of stability."""
    g = jax.jit(jax.grad(made.loss))(made.params)
    down = jax.tree.map(jnp.negative, g)
    top = eigenpairs(hessian(made.loss, made.params), key=jax.random.key(0))
    limit = 2 / float(top.values[0])
    best = taylor.optimal_step(made.loss, made.params).size
    reach = 1.25 * max(limit, 2 * best)
    etas = np.linspace(0, reach, 49)
    line = landscape.line(made.loss, made.params, down, distances=etas)
    return picture_of_step(etas, line.losses, line.taylor, best, limit)


def bulk_and_outliers(made: Objective) -> str:
    operator = hessian(made.loss, made.params)
    key = jax.random.key(1)
    density = spectrum.spectral_density(operator, key=key, num_probes=6, num_steps=60)
    at, phi, error, _ = density.grid(500)
    top = eigenpairs(operator, 10, key=key)
    return picture_of_spectrum(at, phi, error, top.values)


def ground(made: Objective) -> str:
    """The plane that shows most of the path of training."""
    path = landscape.trajectory_plane(made.iterates)
    plane = landscape.plane(
        made.loss, path.origin, *path.directions, reach=path.reach, points=25
    )
    return picture_of_plane(plane, path.coordinates)


# -- Rosenbrock's valley ---------------------------------------------------------------


def rosenbrock(x: Any) -> Any:
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def gradient(x: np.ndarray) -> np.ndarray:
    a, b = x
    return np.array([-400 * a * (b - a**2) - 2 * (1 - a), 200 * (b - a**2)])


def curvature(x: np.ndarray) -> np.ndarray:
    a, b = x
    return np.array([[1200 * a**2 - 400 * b + 2, -400 * a], [-400 * a, 200.0]])


def exact_size(x: np.ndarray, d: np.ndarray) -> float:
    """The first minimum along d: the loss is a polynomial of degree 4 in t."""
    # b + t d₂ − (a + t d₁)², and 1 − a − t d₁
    u = np.poly1d([-(d[0] ** 2), d[1] - 2 * x[0] * d[0], x[1] - x[0] ** 2])
    v = np.poly1d([-d[0], 1 - x[0]])
    slope = (100 * u * u + v * v).deriv()
    roots = slope.roots
    real = np.sort(roots[np.abs(roots.imag) < 1e-6 * np.abs(roots)].real)
    return float(next((t for t in real if t > 0), 0.0))


def descend(update: Callable[[np.ndarray, np.ndarray], np.ndarray], steps: int) -> Any:
    """Iterates of x ← x + v, where `update` gives the new v from x and the old one."""
    points, v = [START], np.zeros(2)
    for _ in range(steps):
        v = update(points[-1], v)
        points.append(points[-1] + v)
    return np.stack(points)


def newton(x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Newton's step, halved until the loss is lower."""
    d = -np.linalg.solve(curvature(x), gradient(x))
    for _ in range(60):
        if rosenbrock(x + d) <= rosenbrock(x):
            return d
        d = d / 2
    return np.zeros(2)


def descents() -> dict[str, np.ndarray]:
    """Four descents from (−1.2, 1), 2000 steps of first order and 25 of Newton."""
    return {
        "constant step 0.001": descend(lambda x, v: -0.001 * gradient(x), 2000),
        "exact line search": descend(
            lambda x, v: -exact_size(x, -gradient(x)) * gradient(x), 2000
        ),
        "momentum 0.9, step 0.0005": descend(
            lambda x, v: 0.9 * v - 0.0005 * gradient(x), 2000
        ),
        "Newton, halved where it rises": descend(newton, 25),
    }


def valley() -> str:
    """Their first 100 steps, on a plane whose centre is the minimum (1, 1)."""
    x, y = np.linspace(-2.9, 0.9, 121), np.linspace(-1.6, 1.1, 121)
    losses = rosenbrock(np.stack(np.meshgrid(x + 1, y + 1, indexing="ij")))
    plane = SimpleNamespace(alphas=x, betas=y, losses=losses)
    return picture_of_plane(plane, {n: p[:101] - 1 for n, p in descents().items()})


def race() -> str:
    """The loss against the number of steps."""
    return picture_of_descents({n: rosenbrock(p.T) for n, p in descents().items()})
