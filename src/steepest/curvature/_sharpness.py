"""The sharpness of a loss surface, without ever forming its Hessian.

Near a point θ a twice-differentiable loss is the quadratic

    L(θ + δ) ≈ L(θ) + gᵀδ + ½ δᵀHδ,                                          (1)

so gradient descent with step size η multiplies the error along an eigenvector of H by
1 − ηλ in every step: it is locally stable only while η < 2/λ_max(H). The algebraically
largest eigenvalue λ_max is the *sharpness*. A k-step Lanczos section of H gives

    μ_k ≤ λ_max,   λ_min ≤ μ_1,   some eigenvalue λ with |λ − μ_k| ≤ ‖Hv − μ_k v‖. (2)

So a negative `lowest` proves a direction of negative curvature. The residual bounds the
distance to *an* eigenvalue; that it is the largest follows only with probability, from
the random part of the start.

An optimiser that divides the gradient by a positive diagonal P (Adam: P = √v̂ + ε) is
gradient descent in the variable z = P^{1/2}θ, where the Hessian is

    P^{-1/2} H P^{-1/2},                                                     (3)

the sharpness of z ↦ L(θ + P^{-1/2}z) at z = 0 (`preconditioned`).

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3.1, 8.2.1.
    Cohen et al. (2021), Gradient descent on neural networks typically occurs at the
    edge of stability.
    Cohen et al. (2022), Adaptive gradient methods at the edge of stability.  -- (3)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from ..core.errors import InputError
from ..core.vectors import working_dtype
from ._lanczos import lanczos
from ._refusals import check_diagonal, check_direction, check_params
from .products import Loss, Params, hvp


NOISE = 0.1  # length of the random part of a warm start, of the given part


class Sharpness(NamedTuple):
    """An estimate of λ_max, and what is known of its error."""

    value: Float[Array, ""]  # the Ritz value μ_k: at most λ_max
    direction: Params  # its unit vector v, in the structure of the parameters
    residual: Float[Array, ""]  # ‖Hv − value·v‖, with the rounding of the iteration
    lowest: Float[Array, ""]  # the smallest Ritz value: at least λ_min
    num_products: int  # Hessian-vector products that were spent
    exhausted: Bool[Array, ""]  # the Krylov space of the start was exhausted


def sharpness(
    loss: Loss,
    params: Params,
    *,
    key: PRNGKeyArray,
    num_products: int = 16,
    start: Params | None = None,
    unroll: bool = False,
) -> Sharpness:
    """Estimate the largest Hessian eigenvalue of `loss` at `params`.

    The cost is `num_products` Hessian-vector products (at most one a parameter) and as
    many copies of `params` in memory. Read `residual` before trusting the digits of
    `value`. `start`, the `direction` of an earlier estimate nearby, saves products; a
    random part is added to it, so that a new largest direction can be found. `unroll`
    is for programs with convolutions on a CPU: see `lanczos`.

    Raises `InputError` when there is nothing to differentiate, as `hvp` does, and
    outside of `jit` for a Hessian that is not finite; inside, the value is then NaN.
    """
    if num_products < 1:
        raise InputError(f"`num_products` must be at least 1, not {num_products}.")
    check_params(params)
    if start is not None:
        check_direction(params, start)
    theta, unravel = ravel_pytree(params)
    num_products = min(num_products, theta.size)
    working = working_dtype(theta.dtype)

    def matvec(q: Float[Array, " n"]) -> Float[Array, " n"]:
        v = unravel(q.astype(theta.dtype))
        return ravel_pytree(hvp(loss, params, v))[0].astype(working)

    start_key, restart_key = jax.random.split(key)
    q = unit(jax.random.normal(start_key, theta.shape, working))
    if start is not None:
        q = unit(ravel_pytree(start)[0].astype(working)) + NOISE * q
    with jax.default_matmul_precision("highest"):  # TF32 would cost half the digits
        Q, alpha, beta, exhausted = lanczos(
            matvec, q, num_products, key=restart_key, unroll=unroll
        )
        T = jnp.diag(alpha) + jnp.diag(beta[:-1], 1) + jnp.diag(beta[:-1], -1)
        ritz_values, S = jnp.linalg.eigh(T)  # ascending
        v = S[:, -1] @ Q
    known = not isinstance(ritz_values, Tracer)
    if known and not bool(jnp.all(jnp.isfinite(ritz_values))):
        raise InputError(
            "The Hessian is not finite here, so the loss has no curvature at these "
            "parameters. `steepest.locate_nonfinite` on its gradient names the operation."
        )
    rounding = float(jnp.finfo(working).eps) * jnp.max(jnp.abs(ritz_values))
    return Sharpness(
        value=ritz_values[-1],
        direction=unravel(v.astype(theta.dtype)),
        residual=beta[-1] * jnp.abs(S[-1, -1]) + rounding,
        lowest=ritz_values[0],
        num_products=num_products,
        exhausted=exhausted,
    )


def preconditioned(
    loss: Loss, params: Params, preconditioner: Params
) -> tuple[Loss, Params]:
    """The loss in the variable z of (3), and its point z = 0.

    `preconditioner` is the positive diagonal P, in the structure of `params`:
    `sharpness(*preconditioned(loss, params, P), key=key)`.

    Raises `InputError` for a P of another structure or shapes, and outside of `jit` for
    one that is not positive and finite.
    """
    check_diagonal(params, preconditioner)

    def moved(z: Params) -> Float[Array, ""]:
        shifted = jax.tree.map(
            lambda p, d, P: p + d * jax.lax.rsqrt(P), params, z, preconditioner
        )
        return loss(shifted)

    return moved, jax.tree.map(jnp.zeros_like, params)


def unit(q: Float[Array, " n"]) -> Float[Array, " n"]:
    """The vector at length one; zero stays zero."""
    norm = jnp.linalg.norm(q)
    return q / jnp.where(norm > 0, norm, jnp.ones_like(norm))
