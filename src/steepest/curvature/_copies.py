"""Is anything missing among the eigenpairs that were found?

A Krylov space sees one vector of each eigenspace of its start. An eigenvalue that occurs
m times is found once, and again only when rounding, or the end of the space, brings in
something new. So from the k pairs found, V, a second space is grown from a fresh random
vector, orthogonal to V: it is that of

    P A P,    P = 1 − V Vᵀ.                                                  (1)

A Ritz value of (1) that lies further out than the innermost of the k proves, by Cauchy's
interlacing, that an eigenpair is missing, and its vector shows where. If the outermost,
with its residual, lies further in, nothing is missing, but for the chance that the
random vector had no part in it.

References
    Parlett (1998), The Symmetric Eigenvalue Problem, §§10.1, 13.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ._basis import Tiles, appended, combined
from ._krylov import Krylov, grow, remainder


class Missing(NamedTuple):
    """What a second space says."""

    vectors: Float[Array, "m n"] | None  # towards eigenpairs that are missing
    complete: bool  # nothing is missing, as far as a random vector can tell
    products: int


def missing(
    matvec: Callable[[Float[Array, " n"]], Float[Array, " n"]],
    V: Float[Array, "k n"],
    values: Float[np.ndarray, " k"],
    margin: Callable[[Float[np.ndarray, " m"]], Float[np.ndarray, " m"]],
    *,
    slack: float,
    least: int,
    most: int,
    key: PRNGKeyArray,
) -> Missing:
    """Grow the space of (1) until it is decided, or `most` products are spent.

    Less than `least` products decide nothing: the first Ritz value is a mean over the
    whole spectrum.

    `margin` says how far outside of the innermost pair a value lies; up to `slack` it is
    the same.
    """
    k, n = V.shape
    rows: Tiles = ()
    for i in range(k):
        rows = appended(rows, V[i], i)
    draw = jax.random.normal(key, (n,), V.dtype)
    q, *_ = remainder(rows, draw, 0, 1.0, key)
    space = Krylov(
        rows=appended(rows, q, k),
        T=np.diag(values),
        size=n,
        done=k,
        count=k + 1,
        scale=0.0,
        of_start=(True,),
        last_break=-1,
        products=0,
    )
    looked = 0
    while True:
        space = grow(matvec, space, key)
        spent = space.products >= most or space.done == n
        due = space.products - looked >= 1 + space.products // 8
        ended = space.last_break >= 0
        if not spent and not (ended or (due and space.products >= least)):
            continue
        looked = space.products
        T = space.T[k : space.done, k : space.done]
        below = space.T[space.done : space.count, k : space.done]
        found, S = np.linalg.eigh((T + T.T) / 2)
        residuals = np.linalg.norm(below @ S, axis=0)
        outside = margin(found)
        if (outside > slack).any() and (spent or settled(outside, residuals, slack)):
            S = np.concatenate([np.zeros((k, len(found))), S])[:, outside > slack]
            return Missing(combined(S, space.rows), False, space.products)
        certain = settled(outside, residuals, slack)
        if certain or spent:
            return Missing(None, certain or space.done == n, space.products)


def settled(outside: Any, residuals: Any, slack: float) -> bool:
    """Whether the ends of the spectrum are known, or known to lie further in."""
    ends = [0, -1]
    small = residuals[ends] <= np.maximum(slack, 0.1 * np.abs(outside[ends]))
    return bool((small | (outside[ends] + residuals[ends] <= slack)).all())
