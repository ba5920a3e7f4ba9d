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
from jaxtyping import Array, Bool, Float, PRNGKeyArray


BREAKDOWN = 16.0  # in units of eps · ‖T‖: what the projections above leave of zero


class Tridiagonal(NamedTuple):
    """The section (2) of an operator, and whether its Krylov space ended early."""

    Q: Float[Array, "k n"]  # orthonormal rows
    alpha: Float[Array, " k"]  # the diagonal of T
    beta: Float[Array, " k"]  # beside it; the last entry is the norm of the remainder
    exhausted: Bool[Array, ""]  # an invariant subspace was found, and left


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
    n, dtype = start.size, start.dtype
    eps = float(jnp.finfo(dtype).eps)

    def project(Q: Float[Array, "k n"], w: Float[Array, " n"]) -> Float[Array, " n"]:
        # Rows of Q not reached yet are zero. Twice is enough (Kahan, Parlett §6.9).
        w = w - (Q @ w) @ Q
        return w - (Q @ w) @ Q

    def fresh(Q: Float[Array, "k n"], j: Array) -> Float[Array, " n"]:
        w = project(Q, jax.random.normal(jax.random.fold_in(key, j), (n,), dtype))
        return w / jnp.maximum(jnp.linalg.norm(w), jnp.finfo(dtype).tiny)

    def step(carry, j):
        Q, q, size = carry
        Q = Q.at[j].set(q)
        w = matvec(q)
        alpha = q @ w
        size = jnp.maximum(size, jnp.linalg.norm(w))  # ‖Aq‖ ≤ ‖A‖
        w = project(Q, w)
        beta = jnp.linalg.norm(w)
        broken = beta <= BREAKDOWN * eps * size
        q = jax.lax.cond(
            broken,
            lambda: fresh(Q, j),
            lambda: w / jnp.where(broken, jnp.ones((), dtype), beta),
        )
        beta = jnp.where(broken, jnp.zeros((), dtype), beta)
        return (Q, q, size), (alpha, beta, broken)

    Q = jnp.zeros((num_steps, n), dtype)
    first = (Q, start / jnp.linalg.norm(start), jnp.zeros((), dtype))
    (Q, _, _), (alpha, beta, broken) = jax.lax.scan(
        step, first, jnp.arange(num_steps), unroll=unroll
    )
    return Tridiagonal(Q, alpha, beta, jnp.any(broken))
