"""Whether a Hessian that can be formed is positive definite, and stays so up to the minimum.

How many eigenvalues are negative, zero and positive does not change when parameters are
measured in other units (Sylvester), but how well rounding lets them be told does. So
each parameter is measured in units of its own curvature,

    S = D H D,     D = diag(|H_ii|^{-1/2}),                                  (1)

which brings the condition number to within a factor n of the best that any units can
(van der Sluis). σ = λ_min(S) counts as positive beyond

    τ = 32 eps ‖S‖ + ½‖S − Sᵀ‖ + ‖S(θ̃) − S(θ)‖,                               (2)

where θ̃ has every parameter moved by a unit in its last place: what that changes is noise.

A minimum lies near θ where the Hessian hardly changes on the way there (Kantorovich).
With the Newton step p = −H⁻¹g, whatever the units,

    H(θ ± p) ⪰ ¾ H(θ)                                                        (3)

must hold. Near a degenerate point it does not, however near: at x of xᵏ, k > 2, the
second derivative at x + p is (1 − 1/(k−1))^{k−2} times that at x, at most a half.

By the Newton step the loss can still fall by about

    ½ gᵀH⁻¹g.                                                                (4)

References
    van der Sluis (1969), Condition numbers and equilibration of matrices.    -- (1)
    Ortega & Rheinboldt (1970), Iterative Solution of Nonlinear Equations, §12.6. -- (3)
    Boyd & Vandenberghe (2004), Convex Optimization, §9.5.1.                 -- (4)
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


ROUNDING = 32.0  # in units of eps ‖S‖
KEPT = 0.75  # of (3)
Matrix = Float[np.ndarray, "n m"]


class Definite(NamedTuple):
    """What was found of S."""

    lowest: float  # σ
    highest: float
    tolerance: float  # (2)
    nearby: bool  # (3); False where σ is not positive
    decrease: float  # (4)
    natural: Matrix  # rows r with rᵀHr = 1: H^{-1/2} but for a rotation

    @property
    def shown(self) -> bool:
        """Whether the point is shown to be near a minimum."""
        return self.lowest > self.tolerance and self.nearby


def definite(
    hessian: Callable[[Float[np.ndarray, " n"]], Matrix],
    theta: Float[np.ndarray, " n"],
    H: Matrix,
    g: Float[np.ndarray, " n"],
    eps: float,
) -> Definite | None:
    """The tests (2) and (3); None where some Hᵢᵢ is not positive: then H is not definite."""
    diagonal = np.diag(H)
    if not (diagonal > 0).all():
        return None
    d = 1 / np.sqrt(diagonal)
    scaled = lambda A: d[:, None] * (A + A.T) / 2 * d
    S = scaled(H)
    values, V = np.linalg.eigh(S)
    skew = np.linalg.norm(d[:, None] * (H - H.T) / 2 * d, 2)
    signs = np.where(np.arange(theta.size) % 2, 1.0, -1.0)
    shaken = hessian(theta * (1 + 2 * eps * signs))
    if not np.isfinite(shaken).all():
        return None
    shake = np.linalg.norm(scaled(shaken) - S, 2)
    tau = float(ROUNDING * eps * np.abs(values).max() + skew + shake)
    low, high = float(values[0]), float(values[-1])
    if not low > tau:
        return Definite(low, high, tau, False, float("nan"), d[:0, None])
    c = V.T @ (d * g)
    step = -d * (V @ (c / values))
    root = V / np.sqrt(values)
    nearby = True
    for way in (step, -step):
        there = hessian(theta + way)
        kept = np.isfinite(there).all() and (
            np.linalg.eigvalsh(root.T @ scaled(there) @ root)[0] >= KEPT
        )
        nearby = nearby and bool(kept)
    decrease = float(0.5 * np.sum(c**2 / values))
    return Definite(low, high, tau, nearby, decrease, (d[:, None] * root).T)
