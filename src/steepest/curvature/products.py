"""Products with the Hessian, which is never formed.

The Hessian of a loss L: Rⁿ → R enters only through its action on a direction v,

    Hv = d/dt ∇L(θ + tv) at t = 0,                                           (1)

the forward derivative of the gradient program: about two gradients of work, and no
tape beyond the gradient's own. Where the gradient contains a rule written by hand for
reverse mode alone (`jax.custom_vjp`), the same product is

    Hv = ∇ (vᵀ∇L)(θ),                                                        (2)

reverse over reverse, somewhat dearer.

References
    Pearlmutter (1994), Fast exact multiplication by the Hessian.
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3.1, 6.5.10.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


Params = PyTree[Float[Array, "..."]]
Loss = Callable[[Params], Float[Array, ""]]


def hvp(loss: Loss, params: Params, v: Params) -> Params:
    """The Hessian-vector product (1) of `loss` at `params`, in the structure of `v`.

    `v` has the structure, shapes and dtypes of `params`. Falls back to (2) where
    forward mode is refused. A loss with kinks (ReLU) has the Hessian of the smooth
    piece that `params` lies in.
    """
    gradient = jax.grad(loss)
    try:
        return jax.jvp(gradient, (params,), (v,))[1]
    except TypeError as error:
        if "custom_vjp" not in str(error):
            raise
    return jax.grad(lambda p: inner(gradient(p), v))(params)


def inner(a: Params, b: Params) -> Float[Array, ""]:
    """The inner product of two pytrees of one structure."""
    products = jax.tree.map(lambda x, y: jnp.vdot(x, y), a, b)
    return sum(jax.tree.leaves(products), start=jnp.zeros(()))
