"""Both ends of a Hessian's spectrum, with what rounding and haste leave open.

Of a Hessian that can be formed all eigenvalues are known, each to within

    32 eps ‖H‖,     ½ ‖H − Hᵀ‖,                                              (1)

the rounding of the decomposition and of the products, which its asymmetry shows. Of a
larger one there is a Ritz pair at each end, with its residual and what may hide beyond
it (`eigenpairs`); the rounding of products is then |uᵀHw − wᵀHu| of two random vectors.

References
    Parlett (1998), The Symmetric Eigenvalue Problem, §§10-13.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..core.errors import InputError
from ..core.vectors import OnVector
from ._certificates import FLOOR
from ._definite import Definite, definite
from ._eigenpairs import eigenpairs
from .derivatives import dense_hessian
from .operators import Operator


class Extreme(NamedTuple):
    """An extreme eigenvalue."""

    value: float
    error: float  # its rounding and residual
    beyond: float  # how far out another may hide (0: none can)
    direction: Any  # the unit eigenvector: a vector, or in the structure of params


class Ends(NamedTuple):
    """Both ends of a spectrum, and all of it where it was computed."""

    lowest: Extreme  # directions are vectors here
    highest: Extreme
    noise: float  # the rounding of the products
    values: Float[np.ndarray, " n"] | None
    definite: Definite | None  # of H
    negative: Definite | None  # of −H
    num_products: int
    matrix: Float[np.ndarray, "n n"] | None = None  # H, where it was formed


def dense_ends(
    loss: OnVector, theta: Float[Array, " n"], g: Float[Array, " n"], eps: float
) -> Ends:
    """From the matrix itself; its asymmetry is its rounding."""
    products = 0

    def at(x: Float[np.ndarray, " n"], sign: float = 1.0) -> Float[np.ndarray, "n n"]:
        nonlocal products
        products += theta.size
        there = jnp.asarray(x, theta.dtype)
        return sign * np.asarray(dense_hessian(loss, there), np.float64)

    x, slope = np.asarray(theta, np.float64), np.asarray(g, np.float64)
    H = at(x)
    refuse_nonfinite(H)
    values, vectors = np.linalg.eigh((H + H.T) / 2)
    error = FLOOR * eps * float(np.abs(values).max())

    def extreme(i: int) -> Extreme:
        return Extreme(
            float(values[i]), error, 0.0, jnp.asarray(vectors[:, i], theta.dtype)
        )

    skew = float(np.linalg.norm(H - H.T, 2)) / 2
    above = definite(at, x, H, slope, eps)
    below = definite(partial(at, sign=-1.0), x, -H, -slope, eps)
    return Ends(extreme(0), extreme(-1), skew, values, above, below, products, H)


def krylov_ends(operator: Operator, key: PRNGKeyArray, max_products: int) -> Ends:
    """From a Krylov space at each end, and a symmetry check of the products."""
    k1, k2, k3 = jax.random.split(key, 3)
    shape, dtype = operator.theta.shape, operator.theta.dtype
    flat = Operator(operator.matvec, operator.theta, lambda v: v)
    extremes, spent = [], 2
    for which in ("smallest", "largest"):
        found = eigenpairs(flat, which=which, key=k1, max_products=max_products)
        error = float(found.residuals[0]) + found.floor
        value, one = float(found.values[0]), found.vectors[0]
        extremes.append(Extreme(value, error, found.beyond, one))
        spent += found.num_products
    low, high = extremes
    u = jax.random.normal(k2, shape, dtype) / shape[0] ** 0.5
    w = jax.random.normal(k3, shape, dtype) / shape[0] ** 0.5
    skew = float(abs(u @ operator.matvec(w) - w @ operator.matvec(u)))
    return Ends(low, high, skew, None, None, None, spent)


def refuse_nonfinite(H: Float[np.ndarray, "n n"]) -> None:
    """Say what a Hessian with NaN means."""
    if not np.isfinite(H).all():
        raise InputError(
            "The Hessian is not finite here, although the gradient is (a square root or "
            "a norm at zero does that); `steepest.locate_nonfinite` on the gradient's "
            "derivative names the operation."
        )
