"""A Krylov space that grows vector by vector, orthogonal to rounding error.

From b orthonormal start vectors, the rows of Q, each step multiplies the next row with
the symmetric operator A, takes out what lies in the rows that are there, and appends
what remains:

    A qⱼ = Σᵢ tᵢⱼ qᵢ + βⱼ q_new                                              (1)

For b = 1 this is the Lanczos iteration; for b > 1 it is its band form, which finds b
copies of a multiple eigenvalue. With T the j × j section of the steps done and S its
rows below, a Ritz pair T s = μ s has the vector v = Qᵀs and the residual

    ‖A v − μ v‖ = ‖S s‖,                                                     (2)

so that A has an eigenvalue within that distance of μ. The projection is done twice,
against every row, which keeps Q orthogonal to a few eps; so T needs no three-term
recurrence, and a restart may replace the rows by Ritz vectors (thick restart):

    Q ← [ritz vectors; rows not multiplied yet],   T ← diag(μ),  S ← S s.    (3)

Where β is rounding error the space is exhausted. Then the remainder is dropped, its
coupling is 0 and a random row, orthogonal to all others, takes its place: the rule for
Hessians with dead units or constant inputs, whose Krylov spaces are small.

References
    Golub & Van Loan (2013), Matrix Computations, §§10.1-10.3.
    Ruhe (1979), Implementation aspects of band Lanczos algorithms.          -- (1)
    Wu & Simon (2000), Thick-restart Lanczos method for large symmetric
    eigenvalue problems.                                                     -- (3)
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from ._lanczos import BREAKDOWN


ROWS = 16  # of the first basis; it doubles as it fills


class Krylov(NamedTuple):
    """The space after some steps."""

    Q: Float[Array, "rows n"]  # orthonormal; rows from `count` on are zero
    T: Float[np.ndarray, "rows rows"]  # column j holds (1) for the steps done
    done: int  # rows that were multiplied
    count: int  # rows that there are
    scale: Float[Array, ""]  # the largest ‖A q‖, at most ‖A‖
    last_break: int  # rows multiplied when the space was last exhausted; -1: never
    products: int


class Ritz(NamedTuple):
    """Eigenpairs of the section, ascending."""

    values: Float[np.ndarray, " j"]
    S: Float[np.ndarray, "j j"]  # columns: their coordinates in the rows of Q
    residuals: Float[np.ndarray, " j"]  # (2)


def begin(starts: Float[Array, "b n"], key: PRNGKeyArray) -> Krylov:
    """The space of some start vectors, of any length; dependent ones are replaced."""
    b, n = starts.shape
    rows = min(n, max(ROWS, 2 * b))
    Q = jnp.zeros((rows, n), starts.dtype)
    for j in range(b):
        norm = length(starts[j])
        q = starts[j] / jnp.where(norm > 0, norm, 1)
        Q, *_ = absorb(
            Q, q, jnp.int32(j), jnp.ones((), q.dtype), jax.random.fold_in(key, j)
        )
    zero = jnp.zeros((), starts.dtype)
    return Krylov(Q, np.zeros((rows, rows)), 0, b, zero, -1, 0)


def grow(
    matvec: Callable[[Float[Array, " n"]], Float[Array, " n"]],
    space: Krylov,
    key: PRNGKeyArray,
) -> Krylov:
    """One step of (1)."""
    Q, T, done, count, scale, last_break, products = space
    n = Q.shape[1]
    if count == len(Q) and len(Q) < n:
        rows = min(2 * len(Q), n)
        Q = jnp.concatenate([Q, jnp.zeros((rows - len(Q), n), Q.dtype)])
        T = np.pad(T, (0, rows - len(T)))
    w = matvec(Q[done])
    Q, c, beta, broken, scale = absorb(
        Q, w, jnp.int32(count), scale, jax.random.fold_in(key, products)
    )
    T = T.copy()
    T[:, done] = np.asarray(c, np.float64)
    if count < n:
        T[count, done] = float(beta)
        count += 1
    if bool(broken):
        last_break = done + 1
    return Krylov(Q, T, done + 1, count, scale, last_break, products + 1)


@partial(jax.jit, donate_argnums=0)
def absorb(
    Q: Float[Array, "rows n"],
    w: Float[Array, " n"],
    count: Int[Array, ""],
    scale: Float[Array, ""],
    key: PRNGKeyArray,
) -> tuple[
    Float[Array, "rows n"],
    Float[Array, " rows"],
    Float[Array, ""],
    Bool[Array, ""],
    Float[Array, ""],
]:
    """Append what remains of w outside of the rows; its coordinates; the remainder."""
    w = w.astype(Q.dtype)
    eps = float(jnp.finfo(Q.dtype).eps)

    def project(w: Array) -> tuple[Array, Array]:
        first = product(Q, w)
        w = w - product(first, Q)
        second = product(Q, w)
        return w - product(second, Q), first + second

    def fresh() -> Array:
        draw, _ = project(jax.random.normal(key, w.shape, w.dtype))
        norm = length(draw)
        return draw / jnp.maximum(norm, jnp.finfo(w.dtype).tiny)

    scale = jnp.maximum(scale, length(w))
    rest, c = project(w)
    beta = length(rest)
    broken = beta <= BREAKDOWN * eps * scale
    q = jax.lax.cond(broken, fresh, lambda: rest / jnp.where(broken, 1, beta))
    full = count >= min(Q.shape)  # then there is no room, and none is needed
    at = jnp.minimum(count, len(Q) - 1)
    Q = Q.at[at].set(jnp.where(full, Q[at], q))
    return Q, c, jnp.where(broken, 0, beta), broken, scale


def length(w: Float[Array, " n"]) -> Float[Array, ""]:
    """‖w‖, whatever its size: the squares of small curvature would be zero."""
    most = jnp.max(jnp.abs(w))
    return most * jnp.linalg.norm(w / jnp.where(most > 0, most, 1))


product = partial(jnp.matmul, precision="highest")  # TF32 would cost half the digits


def ritz(space: Krylov) -> Ritz:
    """The Ritz pairs of the steps done, with their residuals (2)."""
    T = space.T[: space.done, : space.done]
    below = space.T[space.done : space.count, : space.done]
    values, S = np.linalg.eigh((T + T.T) / 2)
    most = np.abs(below).max(initial=0.0) or 1.0  # squares of small numbers are zero
    return Ritz(values, S, most * np.linalg.norm(below / most @ S, axis=0))


def restart(space: Krylov, keep: Int[np.ndarray, " p"]) -> Krylov:
    """The thick restart (3), which keeps these Ritz pairs."""
    found = ritz(space)
    S = found.S[:, keep]
    rows, p, left = len(space.Q), len(keep), space.count - space.done
    kept = product(jnp.asarray(S.T, space.Q.dtype), space.Q[: space.done])
    Q = jnp.zeros_like(space.Q).at[:p].set(kept)
    Q = Q.at[p : p + left].set(space.Q[space.done : space.count])
    T = np.zeros((rows, rows))
    T[:p, :p] = np.diag(found.values[keep])
    T[p : p + left, :p] = space.T[space.done : space.count, : space.done] @ S
    return space._replace(Q=Q, T=T, done=p, count=p + left, last_break=-1)


def vectors(space: Krylov, S: Float[np.ndarray, "j k"]) -> Any:
    """Unit vectors (k, n) from their coordinates."""
    return product(jnp.asarray(S.T, space.Q.dtype), space.Q[: S.shape[0]])


def working_dtype(dtype: Any) -> Any:
    """The format of the basis: float32, or float64 where the parameters have it."""
    return jnp.dtype(jnp.float64 if jnp.finfo(dtype).bits > 32 else jnp.float32)
