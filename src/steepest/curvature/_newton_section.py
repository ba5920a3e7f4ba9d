"""The Newton step of a Hessian that is not formed, and whether its curvature is kept.

In the Krylov space of the gradient, with Ritz pairs (μᵢ, vᵢ) and cᵢ = vᵢᵀg, the step and
the decrease that it promises are

    p = −Σ (cᵢ/μᵢ) vᵢ,     ½ Σ cᵢ²/μᵢ,                                       (1)

those of conjugate gradients. The directions that matter on the way to the minimum are in
this space, stiff and flat ones, and on all of it

    V H(θ ± p) Vᵀ ⪰ ¾ diag(μ)                                                (2)

must hold, as `_definite` asks of a Hessian that is formed.

References
    Conn, Gould & Toint (2000), Trust-Region Methods, §5.2.                  -- (1)
    Ortega & Rheinboldt (1970), Iterative Solution of Nonlinear Equations, §12.6. -- (2)
"""

from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..core.vectors import OnVector
from ._definite import KEPT
from .derivatives import hessian_product, hessian_products
from .subspace import krylov_section


SIZE = 24  # products


class NewtonSection(NamedTuple):
    """The step (1) in the Krylov space of a gradient."""

    values: Float[np.ndarray, " j"]  # μ, of H or of −H
    rows: Float[np.ndarray, "j n"]  # vᵢ
    step: Float[np.ndarray, " n"]  # p; NaN where a μ is not positive
    decrease: float  # of (1); NaN where a μ is not positive
    num_products: int


def newton_section(
    loss: OnVector,
    theta: Float[Array, " n"],
    g: Float[Array, " n"],
    sign: float,
    key: PRNGKeyArray,
) -> NewtonSection:
    """The section of `sign` H in the space of g; empty where g is 0."""
    if not np.asarray(g).any():
        nothing = np.zeros((0, theta.size))
        return NewtonSection(np.zeros(0), nothing, np.zeros(theta.size), 0.0, 0)
    found = krylov_section(partial(hessian_product, loss, theta), g, SIZE, key=key)
    values = sign * found.values
    rows = np.asarray(found.vectors, np.float64)
    if not (values > 0).all():
        nothing = np.full(theta.size, np.nan)
        return NewtonSection(values, rows, nothing, float("nan"), found.num_products)
    c = rows @ (sign * np.asarray(g, np.float64))
    decrease = float(0.5 * np.sum(c**2 / values))
    step = -(c / values) @ rows
    return NewtonSection(values, rows, step, decrease, found.num_products)


def keeps(
    loss: OnVector, theta: Float[Array, " n"], section: NewtonSection, sign: float
) -> bool:
    """(2)."""
    if not section.step.any():
        return True
    rows = jnp.asarray(section.rows, theta.dtype)
    root = np.sqrt(section.values)
    for way in (section.step, -section.step):
        there = theta + jnp.asarray(way, theta.dtype)
        products = np.asarray(hessian_products(loss, there, rows), np.float64)
        W = sign * products @ section.rows.T / root / root[:, None]
        if not (np.isfinite(W).all() and np.linalg.eigvalsh((W + W.T) / 2)[0] >= KEPT):
            return False
    return True
