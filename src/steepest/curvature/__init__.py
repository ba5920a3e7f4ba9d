"""Curvature of a loss: what second derivatives say about the next step."""

from . import (
    derivatives as derivatives,
    landscape as landscape,
    limits as limits,
    pictures as pictures,
    spectrum as spectrum,
    subspace as subspace,
    taylor as taylor,
    tracking as tracking,
)
from ._batch_interval import BatchInterval, batch_interval
from ._critical_point import CriticalPoint, critical_point
from ._eigenpairs import Eigenpairs, eigenpairs
from ._lanczos import Tridiagonal, lanczos
from ._sharpness import Sharpness, preconditioned, sharpness
from .operators import (
    Operator,
    blocks,
    fisher,
    from_matrix,
    gauss_newton,
    hessian,
    preconditioned_operator,
    restricted,
)
from .products import (
    curvature_along,
    directional_derivative,
    ggn_product,
    hvp,
    jacobian_product,
)


__all__ = [
    "BatchInterval",
    "CriticalPoint",
    "Eigenpairs",
    "Operator",
    "Sharpness",
    "Tridiagonal",
    "batch_interval",
    "blocks",
    "critical_point",
    "curvature_along",
    "directional_derivative",
    "eigenpairs",
    "fisher",
    "from_matrix",
    "gauss_newton",
    "ggn_product",
    "hessian",
    "hvp",
    "jacobian_product",
    "lanczos",
    "preconditioned",
    "preconditioned_operator",
    "restricted",
    "sharpness",
]
