"""Products with derivatives, none of which is ever formed.

Along a direction v the loss L: Rⁿ → R has the slope and the curvature

    vᵀ∇L(θ) = d/dt L(θ + tv),      vᵀHv = d²/dt² L(θ + tv)      at t = 0,     (1)

which forward mode computes without a tape: one and a half gradients of work for the
curvature. The Hessian enters through its action

    Hv = d/dt ∇L(θ + tv) at t = 0,                                           (2)

the forward derivative of the gradient program: about two gradients of work, and no
tape beyond the gradient's own. Where a program contains a rule written by hand for
reverse mode alone (`jax.custom_vjp`), forward mode may be refused. Then

    Hv = ∇ (vᵀ∇L)(θ)                                                         (3)

is the same product, reverse over reverse and somewhat dearer, and (1) is vᵀ∇L and
vᵀ(Hv). Every function here takes the cheapest way that the program admits.

For a loss ℓ(z) of a model's outputs z = f(θ) with Jacobian J the generalised
Gauss-Newton matrix leaves out the curvature of the model and is positive semidefinite
where ℓ is convex:

    G = Jᵀ ∇²ℓ(z) J.                                                         (4)

References
    Pearlmutter (1994), Fast exact multiplication by the Hessian.
    Schraudolph (2002), Fast curvature matrix-vector products.               -- (4)
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3.1, 6.5.10.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from ..core.jaxpr import as_function, trace, uses
from ..core.vectors import inner as inner
from ._refusals import (
    Loss as Loss,
    Params as Params,
    check as check,
    check_direction as check_direction,
    check_params as check_params,
    check_tangent,
    no_while_loop,
    scalar,
)


def directional_derivative(loss: Loss, params: Params, v: Params) -> Float[Array, ""]:
    """The slope vᵀ∇L of (1) along `v`, in the structure of `params`, by forward mode.

    In units of the loss for each unit of t; divide by ‖v‖ for the slope along the unit
    vector. Costs about two evaluations of the loss and no memory for a tape.

    Raises `InputError` as `hvp` does.
    """
    check_tangent(params, v)
    loss = scalar(loss)
    return forward_or(
        lambda: jax.jvp(loss, (params,), (v,))[1],
        lambda: inner(jax.grad(loss)(params), v),
    )


def curvature_along(loss: Loss, params: Params, v: Params) -> Float[Array, ""]:
    """The curvature vᵀHv of (1): forward over forward, or v times the product (2).

    Divide by ‖v‖² for the Rayleigh quotient, an average of the eigenvalues of H with
    the weights cos² of the angles between v and the eigenvectors (DL §4.3.1).

    Raises `InputError` as `hvp` does.
    """
    check_tangent(params, v)
    loss = scalar(loss)

    def slope(p: Params) -> Float[Array, ""]:
        return jax.jvp(loss, (p,), (v,))[1]

    return forward_or(
        lambda: jax.jvp(slope, (params,), (v,))[1],
        lambda: inner(v, hvp(loss, params, v)),
    )


def hvp(loss: Loss, params: Params, v: Params) -> Params:
    """The Hessian-vector product (2) of `loss` at `params`, in the structure of `v`.

    `v` has the structure, shapes and dtypes of `params`. Falls back to (3) where
    forward mode is refused. A loss with kinks (ReLU) has the Hessian of the smooth
    piece that `params` lies in.

    Raises `InputError` for a loss that is not one floating-point number or has a
    `while_loop` on its way, for parameters that are not floating-point arrays, and for
    a `v` of another structure, shapes or dtypes. What is looked at is known to a trace,
    so that nothing of it is left in a compiled program.
    """
    check_tangent(params, v)
    gradient = jax.grad(scalar(loss))
    with no_while_loop(loss):
        return forward_or(
            lambda: jax.jvp(gradient, (params,), (v,))[1],
            lambda: jax.grad(lambda p: inner(gradient(p), v))(params),
        )


def ggn_product(
    outputs: Callable[[Params], PyTree],
    output_loss: Callable[[PyTree], Float[Array, ""]],
    params: Params,
    v: Params,
) -> Params:
    """The product Gv of (4): `outputs(params)` are z, `output_loss(z)` is ℓ.

    Raises `InputError` as `hvp` does.
    """
    check_tangent(params, v)
    with no_while_loop(outputs):
        z, pull = jax.vjp(outputs, params)
    u = jacobian_product(outputs, params, v)
    return pull(hvp(output_loss, z, u))[0]


def jacobian_product(
    fun: Callable[[Params], PyTree], params: Params, v: Params
) -> PyTree:
    """Jv for a function with any outputs, by forward mode, or by reverse mode twice.

    The transpose u ↦ Jᵀu is linear, so that its own transpose, at any u, is J.
    """

    def twice() -> PyTree:
        z, pull = jax.vjp(fun, params)
        zeros = jax.tree.map(jnp.zeros_like, z)
        return jax.vjp(lambda u: pull(u)[0], zeros)[1](v)[0]

    return forward_or(lambda: jax.jvp(fun, (params,), (v,))[1], twice)


def forward_or(forward: Callable[[], Any], reverse: Callable[[], Any]) -> Any:
    """The first of two ways, or the second where a program refuses forward mode.

    A derivative that a `custom_vjp` refuses can be traced, but neither run nor compiled
    (`custom_lin` stands for it); so it is looked for before.
    """
    try:
        program = trace(forward)
    except (TypeError, NotImplementedError) as error:
        if not refused(error):
            raise
        return reverse()
    if uses(program.closed, "custom_lin"):
        return reverse()
    return program.result(as_function(program.closed)(*program.values))


def refused(error: BaseException) -> bool:
    """Whether a `custom_vjp` was differentiated forwards, once or twice."""
    return "custom_vjp" in str(error) or "custom_lin" in str(error)
