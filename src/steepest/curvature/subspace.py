"""What a symmetric matrix does in the Krylov space of a vector.

After j products the rows of Q span {g, Ag, …, A^{j-1}g}, and A is seen through its section

    T = Q A Qᵀ = S diag(μ) Sᵀ,     vᵢ = Qᵀsᵢ.                                 (1)

Replacing A by Σ μᵢ vᵢvᵢᵀ leaves a quadratic model gᵀp + ½ pᵀAp unchanged on the space,
and g lies in it: so minima of the model over the space, with any bound or penalty on
‖p‖, are found from the few pairs (μᵢ, vᵢ).

References
    Gould, Lucidi, Roma & Toint (1999), Solving the trust-region subproblem using the
    Lanczos method.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..core.errors import InputError
from ..core.vectors import working_dtype
from ._krylov import begin, grow, ritz, vectors


class Section(NamedTuple):
    """The pairs of (1)."""

    values: Float[np.ndarray, " j"]  # μ, ascending
    vectors: Float[Array, "j n"]  # rows: vᵢ, orthonormal
    residuals: Float[np.ndarray, " j"]  # ‖Avᵢ − μᵢvᵢ‖
    num_products: int


def krylov_section(
    matvec: Callable[[Float[Array, " n"]], Float[Array, " n"]],
    start: Float[Array, " n"],
    size: int,
    *,
    key: PRNGKeyArray,
) -> Section:
    """The section (1) of a symmetric matrix in the space of `start`, up to `size` products.

    It ends early where the space is exhausted. `matvec` works in the dtype of `start`,
    orthogonalisation in float32 at least; `key` is drawn from where `start` is zero.

    Raises `InputError` where a product is not finite, or `size` is not positive.
    """
    if size < 1:
        raise InputError(f"`size` must be at least 1, not {size}.")
    working = working_dtype(start.dtype)
    space = begin(start[None].astype(working), key)
    with jax.default_matmul_precision("highest"):
        while space.done < min(size, start.size) and space.last_break < 0:
            space = grow(
                lambda q: matvec(q.astype(start.dtype)).astype(working), space, key
            )
        if not np.isfinite(space.T[: space.done, : space.done]).all():
            raise InputError(
                "A product with the matrix is not finite, although the gradient is; a "
                "square root or a norm at zero does that."
            )
        found = ritz(space)
        rows = vectors(space, found.S).astype(start.dtype)
    return Section(found.values, rows, found.residuals, space.products)
