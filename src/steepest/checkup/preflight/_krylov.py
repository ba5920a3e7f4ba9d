"""Krylov sections of a Hessian from random starts, on the host.

From k products with H each start gives the tridiagonal T = S diag(μ) Sᵀ, whose μᵢ and
wᵢ = S₁ᵢ² are the nodes and weights of a Gauss quadrature of the spectrum, and whose
outermost μ have an eigenvalue within

    βₖ |S_ki|.                                                               (1)

The iteration is that of `curvature.lanczos`; here it is NumPy's, in float64, around one
compiled program for the products, since a check-up has no time to compile more.

References
    Golub & Meurant (2010), Matrices, Moments and Quadrature, §6.2.
    Parlett (1998), The Symmetric Eigenvalue Problem, §13.2.                 -- (1)
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...core.errors import InputError


EXHAUSTED = 1e-6  # of ‖H‖: what rounding leaves of a product that adds nothing


class Section(NamedTuple):
    """Krylov sections of H from some starts: Gauss quadratures, and their ends."""

    nodes: Float[np.ndarray, "probes steps"]  # ascending
    weights: Float[np.ndarray, "probes steps"]
    low_residual: float
    high_residual: float


def krylov(
    product: Callable[[np.ndarray], np.ndarray], n: int, probes: int, steps: int
) -> Section:
    """Lanczos from random signs, every vector projected twice out of all before it.

    Where the space of a start is exhausted its section is complete and ends there; the
    nodes that it does not have get no weight.
    """
    rng = np.random.default_rng(17)
    steps = min(steps, n)
    nodes, weights = np.zeros((2, probes, steps))
    ends = []
    for i in range(probes):
        Q, T = np.zeros((steps, n)), np.zeros((steps, steps))
        q, beta, size, count = rng.choice([-1.0, 1.0], n) / n**0.5, 0.0, 0.0, steps
        for j in range(steps):
            Q[j] = q
            w = product(q)
            if not np.isfinite(w).all():
                raise InputError("a product with the Hessian is not finite")
            T[j, j] = q @ w
            size = max(size, float(np.linalg.norm(w)))
            for _ in range(2):
                w = w - (Q[: j + 1] @ w) @ Q[: j + 1]
            beta = float(np.linalg.norm(w))
            if beta <= EXHAUSTED * size:
                count, beta = j + 1, 0.0
                break
            if j + 1 < steps:
                T[j, j + 1] = T[j + 1, j] = beta
            q = w / beta
        values, S = np.linalg.eigh(T[:count, :count])
        nodes[i, :count], weights[i, :count] = values, S[0] ** 2
        nodes[i, count:] = values[-1]
        error = np.abs(beta * S[-1]) + EXHAUSTED * size
        ends.append((values[0], error[0], values[-1], error[-1]))
    low, high = min(ends), max(ends, key=lambda e: e[2])
    return Section(nodes, weights, float(low[1]), float(high[3]))
