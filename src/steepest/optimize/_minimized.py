"""What a search returns: where it ended, what is there, and how it went.

A search is a *success* where its last point is shown to be near a minimum
(`critical_point`) and little is left to gain, by the Newton step

    ½ gᵀH⁻¹g ≤ what loss and gradient resolve, (4) of `critical_point`,       (1)

or where the gradient is as small as was asked. That its steps or its losses stopped
changing, by which searches commonly call themselves successful, is the `reason` for which
it ended.

References
    Nocedal & Wright (2006), Numerical Optimization, §2.1.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..curvature import CriticalPoint
from ..curvature.products import Params


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
    num_evaluations: int  # of the loss with its gradient
    num_products: int  # with the Hessian, or columns of the Jacobian
    num_models: int  # quadratic models that were made
    num_escapes: int  # points without slope, saddles mostly, that were left
    decrease: float  # by how much the loss may still fall
    settled: bool  # (1)

    @property
    def success(self) -> bool:
        """Whether the point was shown to be a minimum, and (1) holds."""
        return self.verdict.kind == "minimum" and self.settled

    def __str__(self) -> str:
        many = "escape" if self.num_escapes == 1 else "escapes"
        left = f", {self.num_escapes} {many}" if self.num_escapes else ""
        return (
            f"{self.reason} after {len(self.values) - 1} steps ({self.num_evaluations} "
            f"evaluations, {self.num_products} products{left}): loss {self.value:.6g}, "
            f"gradient {self.gradient_norms[-1]:.2g}.\n{self.verdict}"
        )
