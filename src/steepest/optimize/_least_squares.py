"""Least squares: Levenberg-Marquardt, Gauss-Newton and Powell's dogleg.

For residuals r: Rⁿ → Rᵐ with Jacobian J

    f(θ) = ½ ‖r(θ)‖²,     ∇f = Jᵀr,     H = JᵀJ + Σᵢ rᵢ ∇²rᵢ,                 (1)

and each method takes JᵀJ for H:

    gauss-newton          p = −J⁺r, halved until f falls                     (2)
    levenberg-marquardt   (JᵀJ + ν D⁻²) p = −Jᵀr with ‖D⁻¹p‖ ≤ Δ               (3)
    dogleg                (3) on two legs

with every parameter in units of its column of J, D = diag(1/‖Jᵢ‖). ν follows from the
trust region, not the other way round, so that a step is damped only when it must be.

How fast that is depends on what JᵀJ leaves out. Near a minimum the error falls by

    ρ = ‖(JᵀJ)⁻¹ Σ rᵢ∇²rᵢ‖                                                    (4)

a step: quadratic convergence for residuals of zero, none for ρ ≥ 1. Where six steps gain
less than a tenth the search goes on with the whole H (`fallback`), as a hybrid method.

The loop is that of `minimize`, the model comes from the singular values of J, and
beyond 200 parameters from a Krylov space of products JᵀJv. That is why it is ours and
not Optimistix's: one loop, the verdict on H at the end, saddles of f left, and J of any
rank without a choice of linear solver. Each step costs one decomposition on the host,
about a millisecond; to solve thousands of small problems inside of one compiled program
(`vmap`), take Optimistix and then `judge`.

References
    Levenberg (1944); Marquardt (1963).                                      -- (3)
    Moré (1978), The Levenberg-Marquardt algorithm: implementation and theory. -- D
    Dennis, Gay & Welsch (1981), An adaptive nonlinear least-squares algorithm.
    Nocedal & Wright (2006), Numerical Optimization, §10.3.                  -- (4)
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..core._fixed import fixed
from ..core.errors import InputError, type_name
from ..core.vectors import OnVector, on_vector
from ..curvature.products import Params, check_params
from ._loop import check_steps, run
from ._minimized import Minimized
from ._models import gauss_newton_model, hessian_model
from ._search import Search


LeastSquaresMethod = Literal["levenberg-marquardt", "gauss-newton", "dogleg"]
METHODS = get_args(LeastSquaresMethod)


@dataclass(frozen=True)
class HalfSquares:
    """½‖r‖² of some residuals; equal for equal residuals, as compiled programs need."""

    residuals: Callable[[Params], PyTree]

    def __call__(self, params: Params) -> Float[Array, ""]:
        leaves = jax.tree.leaves(self.residuals(params))
        squares = [jnp.sum(jnp.square(x)) for x in leaves]
        return sum(squares[1:], squares[0]) / 2


def least_squares(
    residuals: Callable[[Params], PyTree],
    params: Params,
    method: LeastSquaresMethod = "levenberg-marquardt",
    *,
    key: PRNGKeyArray | None = None,
    max_steps: int = 400,
    tolerance: float | None = None,
    fallback: bool = True,
    escape: bool = True,
) -> Minimized:
    """Minimise ½‖residuals(params)‖², with the verdict of the critical-point test on it.

    **Arguments**

    - `residuals`: returns any pytree of floating-point arrays, as many numbers as it
      likes; fewer than parameters leave a valley of minima, which no second derivative
      can show to be one.
    - `tolerance`: stop when the model promises less than this share of the value; where
      None, when it promises nothing that the value could resolve.
    - `fallback`: whether to go on with the whole Hessian where Gauss-Newton gains
      little; the `reason` says so.
    - `escape`: whether to go on from a saddle along negative curvature.

    Values, gradients and the verdict of the result are those of ½‖r‖².

    Raises `InputError` for an unknown method, residuals that are not floating-point
    arrays, none, or not finite at the start.
    """
    if method not in METHODS:
        raise InputError(
            f"There is no method {method!r}; there are {', '.join(METHODS)}."
        )
    check_steps(max_steps)
    if tolerance is not None and not tolerance > 0:
        raise InputError(f"`tolerance` must be positive, not {tolerance}.")
    check_residuals(residuals, params)
    flat, theta = on_vector(fixed(residuals, params), params)
    loss = OnVector(HalfSquares(flat.fun), flat.structure, flat.leaves)
    return run(
        Search(loss, method),
        theta,
        gauss_newton_model(flat, theta.size),
        key=jax.random.key(0) if key is None else key,
        max_steps=max_steps,
        tolerance=tolerance,
        escape=escape,
        fallback=hessian_model(loss, theta.size) if fallback else None,
    )


def check_residuals(residuals: Callable[[Params], PyTree], params: Params) -> None:
    """Refuse what has no squares to sum."""
    check_params(params)
    leaves: list[Any] = []

    def seen(params: Params) -> None:  # outputs as they are, before JAX takes them over
        leaves.extend(jax.tree.leaves(residuals(params)))

    jax.eval_shape(seen, params)
    for leaf in leaves:
        if not hasattr(leaf, "dtype"):
            raise InputError(
                f"The residuals hold {type_name(leaf)}; they must be arrays: write "
                "`jnp.asarray(...)` around a number of Python's."
            )
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            raise InputError(
                f"The residuals hold {leaf.dtype}; they must be floating-point arrays "
                "only: return no metrics, counts or states."
            )
    if not sum(leaf.size for leaf in leaves):
        raise InputError(
            "`residuals` returns no numbers; it must return what is to be made small."
        )
