"""The sharpness λ_max of the loss on the probe batch, followed while training.

Each measurement starts Lanczos from the last one's eigenvector, which moves slowly, so
that few products suffice; the residual ‖Hv − λv‖ that comes with it says how good it is.

Reference: Cohen et al. (2021), Gradient descent on neural networks typically occurs at
the edge of stability.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ...curvature import sharpness
from ..step import Carry, loss_of
from ._probe import Context, Measure, Probe, Snapshot


PRODUCTS = 8
FIRST = 24  # from a random direction it takes more


def prepare(context: Context) -> Measure:
    """Compile Lanczos once for the first measurement and once for the others."""
    program = context.program

    def measure(
        carry: Carry, batch: PyTree, key: Any, start: PyTree, products: int
    ) -> tuple[Array, Array, PyTree]:
        def objective(params: PyTree) -> Array:
            return loss_of(program, params, carry.rest, carry.state, batch, key)[0]

        found = sharpness(
            objective, carry.params, key=key, num_products=products, start=start
        )
        return found.value, found.residual, found.direction

    run_once = jax.jit(measure, static_argnames="products")
    direction: PyTree = None

    def run(snapshot: Snapshot) -> dict[str, Any]:
        nonlocal direction
        first = direction is None
        value, residual, direction = run_once(
            snapshot.carry,
            context.batch,
            context.key,
            direction,
            products=FIRST if first else PRODUCTS,
        )
        if not jnp.isfinite(value):
            direction = None
        return {"sharpness": value, "sharpness.residual": residual}

    return run


SHARPNESS = Probe("sharpness", prepare)
