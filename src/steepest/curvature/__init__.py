"""Curvature of a loss: products with its Hessian, and its largest eigenvalue."""

from ._lanczos import Tridiagonal, lanczos
from ._sharpness import Sharpness, preconditioned, sharpness
from .products import hvp


__all__ = [
    "Sharpness",
    "Tridiagonal",
    "hvp",
    "lanczos",
    "preconditioned",
    "sharpness",
]
