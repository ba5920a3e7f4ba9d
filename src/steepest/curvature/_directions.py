"""Directions worth looking along: random ones to scale, downhill, those of a path.

A network may have large weights where another has small ones and be the same function.
So that pictures can be compared a random direction is scaled filter by filter, each of
its slices d_f, the weights into one unit, to the norm of the weights themselves,

    d_f ← d_f ‖W_f‖ / ‖d_f‖,                                                 (1)

with zero for biases and scales. A random unit vector has the expected curvature

    E[dᵀHd] = tr H / n,                                                      (2)

the mean over all eigenvalues, so a random slice says little of the sharpest direction:
slice along `sharpness(...).direction` as well. The path of a run is seen best in the
plane of its first two principal components. How much they explain proves little: of a
random walk in many dimensions component k explains about

    6 / (π² k²),                                                             (3)

61 and 15 per cent, and its path looks like a smooth curve.

References
    Li et al. (2018), Visualizing the loss landscape of neural nets.         -- (1)
    Hutchinson (1990), A stochastic estimator of the trace of the influence matrix. -- (2)
    Antognini & Sohl-Dickstein (2018), PCA of high dimensional random walks with
    comparison to neural network training.                                   -- (3)
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..core.errors import InputError
from ..core.vectors import inner
from .products import Loss, Params, check, check_direction, check_params
from .taylor import eps_of


PARALLEL = 64  # in units of eps: what is left of v beside u, below which they coincide


class Trajectory(NamedTuple):
    """The path of some iterates in the plane of their first two principal components."""

    origin: Params  # the last iterate, at coordinates (0, 0)
    directions: tuple[Params, Params]  # orthonormal
    coordinates: Float[np.ndarray, "iterates 2"]
    explained: tuple[float, float]  # shares of the variance of the iterates

    @property
    def reach(self) -> tuple[float, float]:
        """The `reach` of a plane around `origin` that has the whole path on it."""
        far = 1.1 * np.abs(self.coordinates).max(axis=0)
        return float(far[0]), float(far[1])

    def __str__(self) -> str:
        first, second = self.explained
        return (
            f"Two directions explain {first:.1%} and {second:.1%} of the path of "
            f"{len(self.coordinates)} iterates; a random walk would show about 61% and 15%."
        )


def random_direction(
    params: Params,
    *,
    key: PRNGKeyArray,
    normalize: Literal["filter", "layer"] | None = "filter",
    axis: int = -1,
) -> Params:
    """A Gaussian direction, scaled like the weights: (1), or array by array, or not.

    `axis` counts the units that an array leads to: the last for kernels of JAX and Flax,
    (in, out) and HWIO; 0 for Equinox and PyTorch, (out, in) and OIHW. With "filter" each
    slice gets the norm of its weights, with "layer" each array; both leave arrays of
    fewer than two axes alone, their direction is zero. Weights of zero stay there.

    Raises `InputError` where nothing is left that moves.
    """
    check_params(params)
    if normalize not in ("filter", "layer", None):
        raise InputError(
            f'`normalize` must be "filter", "layer" or None, not {normalize!r}.'
        )
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    drawn = [jax.random.normal(k, p.shape, p.dtype) for k, p in zip(keys, leaves)]
    if normalize is not None:
        drawn = [_scaled(p, d, normalize, axis) for p, d in zip(leaves, drawn)]
    if not any(bool(jnp.any(d != 0)) for d in drawn):
        raise InputError(
            "No array of `params` has two axes and weights other than zero, so the "
            "normalised direction has length zero; pass `normalize=None`."
        )
    return jax.tree.unflatten(structure, drawn)


def gradient_direction(loss: Loss, params: Params) -> Params:
    """The unit vector of steepest descent, −g / ‖g‖: downhill for t > 0.

    Raises `InputError` where the gradient is zero or not finite.
    """
    check(loss, params)
    gradient = jax.jit(jax.grad(loss))(params)
    g = jax.tree.map(lambda x: np.asarray(x, np.float64), gradient)
    scale = max(float(np.max(np.abs(x), initial=0.0)) for x in jax.tree.leaves(g))
    if not np.isfinite(scale) or scale == 0:
        raise InputError(
            f"The gradient {'is zero' if scale == 0 else 'is not finite'} here, so "
            "there is no steepest direction; pass another, `random_direction` for one."
        )
    g = jax.tree.map(lambda x: x / scale, g)
    length = np.sqrt(inner(g, g))
    return like(params, jax.tree.map(lambda x: -x / length, g))


def trajectory_plane(points: Sequence[Params]) -> Trajectory:
    """The plane that shows most of a path: principal components of its iterates.

    `plane(loss, path.origin, *path.directions, reach=path.reach)` is the loss around it,
    and `picture_of_plane(..., path=path.coordinates)` shows both.

    Raises `InputError` for fewer than three iterates, iterates of different structures,
    and where they lie on one line (`between` two of them shows it).
    """
    if len(points) < 3:
        raise InputError(
            f"A plane needs at least three iterates, not {len(points)}; `between` shows "
            "the line through two."
        )
    check_params(points[-1])
    for p in points:
        check_direction(points[-1], p)
        check_finite(p, "An iterate")
    leaves = zip(*(jax.tree.leaves(p) for p in points), strict=True)
    stacked = [
        np.stack([np.asarray(x, np.float64).ravel() for x in leaf]) for leaf in leaves
    ]
    centred = [X - X.mean(axis=0) for X in stacked]
    gram = sum(X @ X.T for X in centred)
    variances, W = np.linalg.eigh(gram)
    variances, W = variances[:-3:-1], W[:, :-3:-1]  # the two largest, largest first
    noise = len(points) * float(np.finfo(np.float64).eps) * variances[0]
    eps = eps_of(points[-1])
    noise += sum(float(np.sum(X**2)) for X in stacked) * eps**2
    if not variances[1] > noise:
        raise InputError(
            "The iterates lie on one line or in one point, which no plane shows best; "
            "use `between` with the first and the last."
        )
    # The sign is free: the first iterate lies where both coordinates are positive.
    W = W * np.where(W[0] - W[-1] < 0, -1.0, 1.0)
    axes = [W.T @ X / np.sqrt(variances)[:, None] for X in centred]
    coordinates = (W - W[-1]) * np.sqrt(variances)
    last, structure = jax.tree.flatten(points[-1])
    u, v = (
        jax.tree.unflatten(
            structure,
            [jnp.asarray(d[i].reshape(p.shape), p.dtype) for d, p in zip(axes, last)],
        )
        for i in range(2)
    )
    shares = variances / np.trace(gram)
    explained = (float(shares[0]), float(shares[1]))
    return Trajectory(points[-1], (u, v), coordinates, explained)


# -- What they share ------------------------------------------------------------------------


def _scaled(p: Array, d: Array, normalize: str, axis: int) -> Array:
    if p.ndim < 2:
        return jnp.zeros_like(d)
    if not -p.ndim <= axis < p.ndim:
        raise InputError(f"`axis` is {axis}, but an array has {p.ndim} axes.")
    others = [k for k in range(p.ndim) if k != axis % p.ndim or normalize == "layer"]

    def norm(x: Array) -> Array:
        return jnp.sqrt(jnp.sum(x**2, axis=tuple(others), keepdims=True))

    length = norm(d)
    return d * (norm(p) / jnp.where(length > 0, length, jnp.ones_like(length)))


def across(u: Params, v: Params) -> PyTree:
    """The part of v at right angles to u, as long as v."""
    eps = eps_of(u)
    p, q = jax.tree.map(lambda x: np.asarray(x, np.float64), (u, v))
    length, scale = np.sqrt(inner(q, q)), np.sqrt(inner(p, p))
    if length == 0 or scale == 0 or not np.isfinite([length, scale]).all():
        raise InputError("The directions are too long or too short for their squares.")
    p = jax.tree.map(lambda x: x / scale, p)
    for _ in range(2):  # twice is enough (Kahan)
        along = inner(p, q)
        q = jax.tree.map(lambda x, y, along=along: y - along * x, p, q)
    left = np.sqrt(inner(q, q))
    if not left > PARALLEL * eps * length:
        raise InputError(
            "The two directions are parallel, so they span no plane; pass another, or "
            "look along one of them with `line`."
        )
    return jax.tree.map(lambda x: x * (length / left), q)


def like(params: Params, v: PyTree) -> Params:
    """Arrays of JAX in the formats of the parameters."""
    return jax.tree.map(lambda p, d: jnp.asarray(d).astype(p.dtype), params, v)


def check_finite(tree: Params, what: str) -> None:
    if not all(
        bool(jnp.all(jnp.isfinite(jnp.asarray(x)))) for x in jax.tree.leaves(tree)
    ):
        raise InputError(
            f"{what} holds NaN or infinities, which lead nowhere; pass finite numbers."
        )


def check_length(direction: Params, what: str) -> None:
    if not any(bool(jnp.any(x != 0)) for x in jax.tree.leaves(direction)):
        raise InputError(f"{what} anywhere; pass another.")
