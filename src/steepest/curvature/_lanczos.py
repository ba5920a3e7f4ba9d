"""The Lanczos iteration: a symmetric operator, seen from a Krylov space.

From a start q₁ the recurrence

    A qⱼ = βⱼ₋₁ qⱼ₋₁ + αⱼ qⱼ + βⱼ qⱼ₊₁                                        (1)

builds an orthonormal basis, the rows of Q, in which A is the tridiagonal

    T = Q A Qᵀ = tridiag(β, α, β).                                           (2)

The eigenvalues of T (Ritz values) lie between those of A and reach its extremes first.
For a Ritz pair T s = μ s the vector v = Qᵀs satisfies

    ‖A v − μ v‖ = β_k |s_k|,                                                 (3)

so that A has an eigenvalue within that distance of μ.

In floating point three things go wrong, and each is dealt with here. The qⱼ lose their
orthogonality and eigenvalues are found twice: every new vector is projected out of all
the earlier ones, twice, which is enough. The Krylov space may be exhausted, βⱼ = 0: the
rule, not the exception, for Hessians with dead units or constant inputs. Dividing by
that βⱼ would make a basis of rounding noise; instead β is set to 0 and the iteration
goes on with a fresh random vector orthogonal to Q, so that T falls into blocks, each a
true section of A. And β is called zero only where it is rounding error, at a small
multiple of eps · ‖T‖: at √eps · ‖T‖, in float32, true couplings would be cut.

References
    Golub & Van Loan (2013), Matrix Computations, §§10.1-10.3.
    Parlett (1998), The Symmetric Eigenvalue Problem, §§6.9, 13.3.     -- twice, (3)
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray


BREAKDOWN = 16.0  # in units of eps · ‖T‖: what the projections above leave of zero


class Tridiagonal(NamedTuple):
    """The section (2) of an operator, and whether its Krylov space ended early."""

    Q: Float[Array, "k n"]  # orthonormal rows
    alpha: Float[Array, " k"]  # the diagonal of T
    beta: Float[Array, " k"]  # beside it; the last entry is the norm of the remainder
    exhausted: Bool[Array, ""]  # an invariant subspace was found, and left


class Iteration(NamedTuple):
    """The recurrence (1) on its way, with room for a fixed number of rows."""

    Q: Float[Array, "rows n"]  # rows not reached yet are zero
    alpha: Float[Array, " rows"]
    beta: Float[Array, " rows"]
    q: Float[Array, " n"]  # the next row
    size: Float[Array, ""]  # the largest ‖A q‖ so far, at most ‖A‖
    done: Int[Array, ""]  # rows that there are
    exhausted: Bool[Array, ""]


def lanczos(
    matvec: Callable[[Float[Array, " n"]], Float[Array, " n"]],
    start: Float[Array, " n"],
    num_steps: int,
    *,
    key: PRNGKeyArray,
    unroll: bool = False,
) -> Tridiagonal:
    """Run `num_steps` ≤ n steps of (1) from `start` (any length but zero).

    `key` draws the vectors with which an exhausted iteration goes on. `unroll` writes
    the steps out one by one: longer to compile, and on a CPU many times faster where
    `matvec` has convolutions, which lose their threads inside a loop.
    """
    begun = begin(start, num_steps)
    end = proceed(matvec, begun, num_steps, key=key, unroll=unroll)
    return Tridiagonal(end.Q, end.alpha, end.beta, end.exhausted)


def begin(start: Float[Array, " n"], rows: int) -> Iteration:
    """An iteration from `start` before its first step, with room for `rows` steps."""
    zero, zeros = jnp.zeros((), start.dtype), jnp.zeros(rows, start.dtype)
    return Iteration(
        Q=jnp.zeros((rows, start.size), start.dtype),
        alpha=zeros,
        beta=zeros,
        q=start / jnp.linalg.norm(start),
        size=zero,
        done=jnp.int32(0),
        exhausted=jnp.asarray(False),
    )


def proceed(
    matvec: Callable[[Float[Array, " n"]], Float[Array, " n"]],
    iteration: Iteration,
    num_steps: int,
    *,
    key: PRNGKeyArray,
    unroll: bool = False,
) -> Iteration:
    """`num_steps` further steps, for which there must be room: see `lanczos`."""
    dtype = iteration.Q.dtype
    eps = float(jnp.finfo(dtype).eps)

    def project(Q: Float[Array, "k n"], w: Float[Array, " n"]) -> Float[Array, " n"]:
        # Twice is enough (Kahan, Parlett §6.9).
        w = w - (Q @ w) @ Q
        return w - (Q @ w) @ Q

    def fresh(Q: Float[Array, "k n"], j: Array) -> Float[Array, " n"]:
        draw = jax.random.normal(jax.random.fold_in(key, j), Q.shape[1:], dtype)
        w = project(Q, draw)
        return w / jnp.maximum(jnp.linalg.norm(w), jnp.finfo(dtype).tiny)

    def step(now: Iteration, _: None) -> tuple[Iteration, None]:
        j = now.done
        Q = now.Q.at[j].set(now.q)
        w = matvec(now.q)
        alpha = now.q @ w
        size = jnp.maximum(now.size, jnp.linalg.norm(w))  # ‖Aq‖ ≤ ‖A‖
        w = project(Q, w)
        beta = jnp.linalg.norm(w)
        broken = beta <= BREAKDOWN * eps * size
        q = jax.lax.cond(
            broken,
            lambda: fresh(Q, j),
            lambda: w / jnp.where(broken, jnp.ones((), dtype), beta),
        )
        beta = jnp.where(broken, jnp.zeros((), dtype), beta)
        return Iteration(
            Q,
            now.alpha.at[j].set(alpha),
            now.beta.at[j].set(beta),
            q,
            size,
            j + 1,
            now.exhausted | broken,
        ), None

    return jax.lax.scan(step, iteration, None, length=num_steps, unroll=unroll)[0]
