"""Quadratic models of a loss: where their curvature comes from, and in which units.

    m(p) = gᵀp + ½ pᵀAp,     A = V diag(λ) Vᵀ                                (1)

with A one of

    the Hessian                       formed, up to 200 parameters, or
    its section in the Krylov space of g  beyond;                            (2)
    JᵀJ of residuals r                by the singular values s of J, λ = s²,
    or its section as well.                                                  (3)

(3) leaves Σ rᵢ∇²rᵢ out, which is small where the residuals are. From J itself half of the
digits that JᵀJ would lose are kept. Where the matrix is formed every parameter is
measured in units of its curvature, D = diag(|Aᵢᵢ|^{-1/2}): eigenvectors and lengths are
those of DAD, as in MINPACK, so that problems in unsuitable units are none.

References
    Nocedal & Wright (2006), Numerical Optimization, §10.3.                  -- (3)
    Moré (1978), The Levenberg-Marquardt algorithm: implementation and theory. -- D
    Ruiz (2001), A scaling algorithm to equilibrate both rows and columns norms. -- D
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..core.errors import InputError
from ..core.vectors import OnVector, length
from ..curvature.derivatives import (
    dense_hessian,
    dense_jacobian,
    hessian_product,
    normal_product,
    residual_vector,
)
from ..curvature.subspace import krylov_section


DENSE = 200  # parameters up to which the matrix is formed
SUBSPACE = 40  # products in a step with more
FLOOR = 1e-8  # of the largest unit: what is curved less is measured by this
KEEP, HALF = 1.0, 0.5  # of the last curvatures: of JᵀJ none is forgotten, as in MINPACK
FLAT = 1e-13  # of the largest |λ| of a Hessian: zero
Vector = Float[Array, " n"]


class Model(NamedTuple):
    """The model (1) in eigencoordinates, and the way back to steps."""

    values: Float[np.ndarray, " j"]  # λ
    slopes: Float[np.ndarray, " j"]  # c
    basis: Float[np.ndarray, "j n"]  # p = coefficients @ basis
    units: Float[np.ndarray, " n"]  # D
    flat: float  # the share of the largest |λ| that counts as zero
    size: float  # of the largest curvature, in the units of the parameters
    num_products: int

    @property
    def decrease(self) -> float:
        """½ Σ cᵢ²/|λᵢ|: by how much the loss might fall to the bottom of the model."""
        size = np.abs(self.values)
        floor = max(self.flat * float(size.max()), 1e-300)
        return float(0.5 * np.sum(self.slopes**2 / np.maximum(size, floor)))

    def length_of_gradient(self, g: Float[np.ndarray, " n"]) -> float:
        """‖Dg‖."""
        return float(length(self.units * g))


#: A model at θ with gradient g, after another one or none; the key is for Krylov spaces
#: that are exhausted.
Modeller = Callable[
    [Vector, Float[np.ndarray, " n"], PRNGKeyArray, Model | None], Model
]


def hessian_model(loss: OnVector, n: int) -> Modeller:
    """(2)."""
    section = partial(_by_section, hessian_product)
    return partial(_by_hessian if n <= DENSE else section, loss)


def gauss_newton_model(residuals: OnVector, n: int) -> Modeller:
    """(3)."""
    section = partial(_by_section, normal_product)
    return partial(_by_jacobian if n <= DENSE else section, residuals)


def slope_model(loss: OnVector) -> Modeller:
    """The curvature along the gradient alone, which says what a small gradient is."""
    return partial(_by_slope, loss)


def units_of(
    matrix: Float[np.ndarray, "n n"], last: Model | None, memory: float
) -> Float[np.ndarray, " n"]:
    """D of a matrix, of which the last one is forgotten by steps only.

    Where Aᵢᵢ is zero and its row is not, A is indefinite, and the row sets the unit: all
    rows of DAD have entries up to 1 (Ruiz), as they do for a definite A by its diagonal.
    Where a parameter loses its curvature its unit would grow without bound, and so would
    the next step along it, out onto a plateau: hence the memory.
    """
    S = np.abs(matrix)
    root = np.sqrt(np.diag(S))
    root[root == 0] = 1.0
    for _ in range(4):
        rows = np.sqrt((S / root[:, None] / root).max(axis=1))
        root *= np.where(rows > 0, rows, 1.0)
    empty = S.max(axis=1) == 0
    most = float(root[~empty].max(initial=0.0))
    if most == 0:
        return np.ones_like(root)
    root[empty] = most
    if last is not None:
        root = np.maximum(root, memory / last.units)
    return 1 / np.maximum(root, FLOOR * most)


def _by_hessian(
    loss: OnVector,
    theta: Vector,
    g: Float[np.ndarray, " n"],
    key: PRNGKeyArray,
    last: Model | None,
) -> Model:
    H = np.asarray(dense_hessian(loss, theta), np.float64)
    _require_finite(H)
    H = (H + H.T) / 2
    units = units_of(H, last, HALF)
    values, V = np.linalg.eigh(units[:, None] * H * units)
    basis = V.T * units
    size = float(np.linalg.norm(H, 2))
    return Model(values, basis @ g, basis, units, FLAT, size, theta.size)


def _by_jacobian(
    residuals: OnVector,
    theta: Vector,
    g: Float[np.ndarray, " n"],
    key: PRNGKeyArray,
    last: Model | None,
) -> Model:
    J = np.asarray(dense_jacobian(residuals, theta), np.float64)
    _require_finite(J)
    r = np.asarray(residual_vector(residuals, theta), np.float64)
    units = units_of(np.diag(np.sum(J**2, axis=0)), last, KEEP)
    U, s, Vt = np.linalg.svd(J * units, full_matrices=False)
    eps = float(jnp.finfo(theta.dtype).eps)
    flat = (max(J.shape) * eps) ** 2
    size = float(np.linalg.norm(J, 2)) ** 2
    return Model(s**2, s * (U.T @ r), Vt * units, units, flat, size, theta.size)


def _by_section(
    product: Callable[[OnVector, Vector, Vector], Vector],
    fun: OnVector,
    theta: Vector,
    g: Float[np.ndarray, " n"],
    key: PRNGKeyArray,
    last: Model | None,
) -> Model:
    """Of a matrix that is multiplied by `product(fun, theta, v)`."""
    start = jnp.asarray(g, theta.dtype)
    found = krylov_section(partial(product, fun, theta), start, SUBSPACE, key=key)
    basis = np.asarray(found.vectors, np.float64)
    units = np.ones(theta.size)
    size = float(np.abs(found.values).max())
    count = found.num_products
    return Model(found.values, basis @ g, basis, units, FLAT, size, count)


def _by_slope(
    loss: OnVector,
    theta: Vector,
    g: Float[np.ndarray, " n"],
    key: PRNGKeyArray,
    last: Model | None,
) -> Model:
    size = float(np.linalg.norm(g))
    unit = g / max(size, 1e-300)
    product = hessian_product(loss, theta, jnp.asarray(unit, theta.dtype))
    curvature = unit @ np.asarray(product, np.float64)
    values = np.array([curvature])
    ones = np.ones(theta.size)
    most = float(abs(curvature))
    return Model(values, np.array([size]), unit[None], ones, FLAT, most, 1)


def _require_finite(A: np.ndarray) -> None:
    if not np.isfinite(A).all():
        raise InputError(
            "The second derivatives are not finite at an iterate, although the gradient "
            "is; a square root or a norm at zero does that."
        )
