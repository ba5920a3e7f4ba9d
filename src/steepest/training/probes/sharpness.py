"""The sharpness λ_max of the loss on the probe batch, followed while training.

Each measurement starts Lanczos from the last one's eigenvector, which moves slowly, so
that few products suffice; the residual ‖Hv − λv‖ beside it says how good it is.

Adam and its kin divide the gradient by P = √v̂ + ε (RMSProp by √(v + ε)), so that it is
the eigenvalues of

    P^{-1/2} H P^{-1/2}                                                      (1)

that their step size meets. Where the optimiser's state holds second moments v, the
largest eigenvalue of (1) is followed too, as `sharpness.preconditioned`.

References
    Cohen et al. (2021), Gradient descent on neural networks typically occurs at the
    edge of stability.
    Cohen et al. (2022), Adaptive gradient methods at the edge of stability.   -- (1)
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from ...curvature import preconditioned, sharpness
from ..recipe import Recipe
from ..step import Carry, loss_of
from ._probe import Context, Measure, Probe, Snapshot


PRODUCTS = 8
ROUNDS = 3  # of them for the first measurement, from a random direction
SETTLED = 10  # updates before second moments mean anything


def prepare(context: Context) -> Measure:
    """Compile one Lanczos for all: with P = 1 the sharpness of (1) is that of H."""
    program, recipe = context.program, context.recipe

    @jax.jit
    def measure(
        carry: Carry, batch: PyTree, key: Any, start: PyTree, P: PyTree
    ) -> tuple[Array, Array, PyTree]:
        def objective(params: PyTree) -> Array:
            return loss_of(program, params, carry.rest, carry.state, batch, key)[0]

        scaled, at = preconditioned(objective, carry.params, P)
        # On a CPU a convolution inside a loop runs some fifteen times slower.
        unroll = "conv_general_dilated" in str(jax.make_jaxpr(objective)(carry.params))
        found = sharpness(
            scaled, at, key=key, num_products=PRODUCTS, start=start, unroll=unroll
        )
        return found.value, found.residual, found.direction

    params = program.taken.params
    ones = jax.tree.map(jnp.ones_like, params)
    directions: dict[str, PyTree] = {}

    def follow(name: str, snapshot: Snapshot, P: PyTree) -> tuple[float, float]:
        """λ_max and its residual, from the last direction of this name."""
        rounds = 1 if name in directions else ROUNDS
        direction = directions.pop(name, None)
        if direction is None:
            direction = random_like(params, context.key)
        value = residual = float("nan")
        for _ in range(rounds):
            found = measure(snapshot.carry, context.batch, context.key, direction, P)
            value, residual, direction = float(found[0]), float(found[1]), found[2]
        if jnp.isfinite(value):
            directions[name] = direction
        return value, residual

    def run(snapshot: Snapshot) -> dict[str, Any]:
        value, residual = follow("plain", snapshot, ones)
        result = {"sharpness": value, "sharpness.residual": residual}
        P = preconditioner(snapshot, recipe)
        if P is not None:
            result["sharpness.preconditioned"] = follow("scaled", snapshot, P)[0]
        return result

    return run


def preconditioner(snapshot: Snapshot, recipe: Recipe) -> PyTree | None:
    """P = √v̂ + ε of the optimisers that have one, once their moments have settled."""
    if snapshot.step < SETTLED or not isinstance(recipe.optimizer, str):
        return None
    is_state = lambda x: isinstance(x, optax.ScaleByAdamState | optax.ScaleByRmsState)
    states = jax.tree.leaves(snapshot.carry.moments, is_leaf=is_state)
    state = next(filter(is_state, states), None)
    if isinstance(state, optax.ScaleByAdamState):
        seen = 1 - recipe.beta2 ** int(np.asarray(state.count))
        return root(state.nu, np.float32(seen), np.float32(recipe.epsilon))
    if isinstance(state, optax.ScaleByRmsState):
        return root_of_sum(state.nu)
    return None


@jax.jit
def root(v: PyTree, seen: Any, epsilon: Any) -> PyTree:
    """√(v/seen) + ε for every array, in one program."""
    return jax.tree.map(lambda v: jnp.sqrt(v / seen) + epsilon, v)


@jax.jit
def root_of_sum(v: PyTree) -> PyTree:
    """√(v + ε) for every array: Optax's RMSProp has its ε inside of the root."""
    return jax.tree.map(lambda v: jnp.sqrt(v + jnp.asarray(1e-8, v.dtype)), v)


def random_like(params: PyTree, key: Any) -> PyTree:
    """A random direction in the structure of the parameters.

    NumPy draws it: one JAX call for each shape would be compiled for each shape.
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    draw = lambda x: jnp.asarray(rng.standard_normal(x.shape), x.dtype)
    return jax.tree.map(draw, params)


SHARPNESS = Probe("sharpness", prepare)
