"""A Krylov space that grows vector by vector, orthogonal to rounding error.

From b orthonormal start vectors, the rows of Q, each step multiplies the next row with
the symmetric operator A, takes out what lies in the rows that are there, and appends
what remains:

    A qⱼ = Σᵢ tᵢⱼ qᵢ + βⱼ q_new                                              (1)

For b = 1 this is the Lanczos iteration; for b > 1 it is its band form, which finds b
copies of a multiple eigenvalue. With T the j × j section of the steps done and B the
rows of coefficients below it, a Ritz pair T s = μ s has the vector v = Qᵀs and the residual

    ‖A v − μ v‖ = ‖B s‖,                                                     (2)

so that A has an eigenvalue within that distance of μ. A new vector is first projected
out of the rows that A couples it with, as T = Tᵀ tells (for b = 1 the last two), and then
out of all; once more where that left less than half of it (Kahan's "twice is enough").
So Q stays orthogonal to a few eps and T needs no three-term recurrence, and a restart
may replace the rows by Ritz vectors (thick restart):

    Q ← [Ritz vectors; rows not multiplied yet],   T ← diag(μ),  B ← B S,    (3)

S having the s that are kept for columns.

Where β is rounding error the space is exhausted. Then the remainder is dropped, its
coupling is 0 and a random row, orthogonal to all others, takes its place: the rule for
Hessians with dead units or constant inputs, whose Krylov spaces are small.

References
    Golub & Van Loan (2013), Matrix Computations, §§10.1-10.3.
    Parlett (1998), The Symmetric Eigenvalue Problem, §6.9.               -- twice
    Ruhe (1979), Implementation aspects of band Lanczos algorithms.          -- (1)
    Wu & Simon (2000), Thick-restart Lanczos method for large symmetric
    eigenvalue problems.                                                     -- (3)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PRNGKeyArray

from ..core.vectors import length
from ._basis import Tiles, appended, combined, row, take_out
from ._lanczos import BREAKDOWN


CANCELLED = 0.5  # what a projection must leave, or it is done again


class Krylov(NamedTuple):
    """The space after some steps."""

    rows: Tiles  # orthonormal
    T: Float[np.ndarray, "size size"]  # column j holds (1) for the steps done
    size: int  # n
    done: int  # rows that were multiplied
    count: int  # rows that there are
    scale: float  # the largest ‖A q‖, at most ‖A‖
    of_start: tuple[bool, ...]  # of rows not multiplied yet: of the starts' own space
    last_break: int  # rows multiplied when that space was exhausted; -1: not yet
    products: int


class Ritz(NamedTuple):
    """Eigenpairs of the section, ascending."""

    values: Float[np.ndarray, " j"]
    S: Float[np.ndarray, "j j"]  # columns: their coordinates in the rows of Q
    residuals: Float[np.ndarray, " j"]  # (2), and what the products lack in symmetry
    noise: float  # the most that rounding made of one product, by that lack


def begin(starts: Float[Array, "b n"], key: PRNGKeyArray) -> Krylov:
    """The space of some start vectors, of any length; dependent ones are replaced."""
    b, n = starts.shape
    rows: Tiles = ()
    for j in range(b):
        given, drawn = unit(starts[j]), jax.random.fold_in(key, j)
        rows = appended(rows, remainder(rows, given, 0, 1.0, drawn)[0], j)
    return Krylov(rows, np.zeros((0, 0)), n, 0, b, 0.0, (True,) * b, -1, 0)


def grow(
    matvec: Callable[[Float[Array, " n"]], Float[Array, " n"]],
    space: Krylov,
    key: PRNGKeyArray,
) -> Krylov:
    """One step of (1). The rows of the space that is given are used up."""
    rows, T, n, done, count, scale, of_start, last_break, products = space
    if count >= len(T):
        T = np.pad(T, (0, count + 1))
    coupled = np.flatnonzero(T[done, :done])
    first = int(coupled[0]) if len(coupled) else done
    w = matvec(row(rows, done)).astype(rows[0].dtype)
    scale = max(scale, float(length(w)))
    q, c, beta = remainder(rows, w, first, scale, jax.random.fold_in(key, products))
    T = T.copy()
    T[:count, done] = c[:count]
    if count < n:
        T[count, done] = beta
        rows, count = appended(rows, q, count), count + 1
        of_start = (*of_start, of_start[0] and beta > 0)
    if any(of_start) and not any(of_start[1:]):
        last_break = done + 1
    now = (done + 1, count, scale, of_start[1:], last_break, products + 1)
    return Krylov(rows, T, n, *now)


def remainder(
    rows: Tiles, w: Float[Array, " n"], first: int, scale: float, key: PRNGKeyArray
) -> tuple[Float[Array, " n"], Float[np.ndarray, " size"], float]:
    """The unit vector of what w has outside of the rows, coordinates, and β of (1).

    Where nothing but rounding is left, β is 0 and the unit vector a random one. Rows
    before `first` are known to have no part in w but for rounding.
    """
    if not rows:
        return w, np.zeros(0), 1.0
    least = BREAKDOWN * float(jnp.finfo(w.dtype).eps) * scale
    w, c = take_out(rows, w, first)
    total = coordinates(c)
    before, beta = length(w), 0.0
    while True:
        w, c = take_out(rows, w)
        total = total + coordinates(c)
        after = length(w)
        before, beta = float(before), float(after)
        if not CANCELLED * before > beta > least:
            break
        before = after
    if beta <= least:
        w = jax.random.normal(key, w.shape, w.dtype)
        for _ in range(2):
            w, _ = take_out(rows, w)
        beta = 0.0
    return unit(w), total, beta


def coordinates(parts: list[Float[Array, " height"]]) -> Float[np.ndarray, " size"]:
    return np.concatenate([np.asarray(c, np.float64) for c in parts])


@jax.jit
def unit(w: Any) -> Array:
    norm = length(w)
    return w / jnp.where(norm > 0, norm, 1)


def ritz(space: Krylov) -> Ritz:
    """The Ritz pairs of the steps done, with their residuals (2).

    What T lacks in symmetry is rounding of the products: it is part of A v − μ v.
    """
    T = space.T[: space.done, : space.done]
    below = space.T[space.done : space.count, : space.done]
    values, S = np.linalg.eigh((T + T.T) / 2)
    rest = np.concatenate([below, (T - T.T) / 2])
    most = np.abs(rest).max(initial=0.0) or 1.0  # squares of small numbers are zero
    noise = np.linalg.norm((T - T.T) / (2 * most), axis=0).max(initial=0.0)
    residuals = most * np.linalg.norm(rest / most @ S, axis=0)
    return Ritz(values, S, residuals, float(most * noise))


def restart(space: Krylov, keep: Int[np.ndarray, " p"]) -> Krylov:
    """The thick restart (3), which keeps these Ritz pairs."""
    found = ritz(space)
    S = found.S[:, keep]
    p, left = len(keep), space.count - space.done
    rows: Tiles = ()
    for i, q in enumerate(combined(S, space.rows)):
        rows = appended(rows, q, i)
    for i in range(left):
        rows = appended(rows, row(space.rows, space.done + i), p + i)
    T = np.zeros_like(space.T)
    T[:p, :p] = np.diag(found.values[keep])
    T[p : p + left, :p] = space.T[space.done : space.count, : space.done] @ S
    return space._replace(rows=rows, T=T, done=p, count=p + left, last_break=-1)


def joined(space: Krylov, more: Float[Array, "m n"], key: PRNGKeyArray) -> Krylov:
    """The space with further rows, which will be multiplied after those it has."""
    rows, T, count = space.rows, space.T, space.count
    for i, w in enumerate(more):
        if count >= space.size:
            break
        q, *_ = remainder(rows, w, 0, 1.0, jax.random.fold_in(key, space.size + i))
        rows, count = appended(rows, q, count), count + 1
    if count > len(T):
        T = np.pad(T, (0, count + 1 - len(T)))
    extra = (False,) * (count - space.count)
    return space._replace(rows=rows, T=T, count=count, of_start=space.of_start + extra)


def vectors(space: Krylov, S: Float[np.ndarray, "j k"]) -> Any:
    """Unit vectors (k, n) from their coordinates."""
    return combined(S, space.rows)
