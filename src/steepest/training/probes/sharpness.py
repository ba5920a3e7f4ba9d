"""The sharpness λ_max of the loss on the probe batch, followed while training.

Each measurement starts Lanczos from the last one's eigenvector, which moves slowly, and
spends products until the residual ‖Hv − λv‖ is below 5 % of λ, or there have been
`PRODUCTS`; `sharpness.reliable` says which (`curvature.tracking` follows foreign loops
in the same way).

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

from ...curvature._following import Followed, course, follow
from ..recipe import Recipe
from ..step import loss_of
from ._probe import Context, Measure, Probe, Snapshot


PRODUCTS = 12
FIRST = 24  # from a random direction
SETTLED = 10  # updates before second moments mean anything


def sharpness_probe(*, lowest: bool = False, trace: bool = False) -> Probe:
    """A probe of λ_max, and if asked for of λ_min and the trace of the Hessian.

    Their series are `sharpness.lowest`, with `sharpness.lowest_residual`, and
    `sharpness.trace`, with its standard error `sharpness.trace_error`.
    """

    def prepare(context: Context) -> Measure:
        return _prepare(context, lowest, trace)

    return Probe("sharpness", prepare)


def _prepare(context: Context, lowest: bool, trace: bool) -> Measure:
    """Compile one program for both: with P = 1 the matrix (1) is H."""
    program, recipe = context.program, context.recipe
    taken = program.taken

    def objective(params: PyTree, rest: Any, state: Any, batch: Any, key: Any) -> Array:
        return loss_of(program, params, rest, state, batch, key)[0]

    ones = jax.tree.map(jnp.ones_like, taken.params)
    directions: dict[str, tuple[Array, ...]] = {}
    ready: list[Any] = []

    def look(name: str, snapshot: Snapshot, P: PyTree) -> Followed:
        """The spectrum, from the last directions of this name."""
        carry = snapshot.carry
        args = (carry.rest, carry.state, context.batch, context.key)
        if not ready:
            ends = {"lowest": lowest, "trace": trace}
            ready.append(course(objective, carry.params, args, **ends))
        start = directions.get(name, ())
        found = follow(
            ready[0],
            carry.params,
            args,
            start,
            key=context.key,
            turn=snapshot.step,
            most=PRODUCTS if start else FIRST,
            preconditioner=P,
        )
        directions[name] = found.directions
        return found

    def run(snapshot: Snapshot) -> dict[str, Any]:
        seen = look("plain", snapshot, ones)
        result = {
            "sharpness": seen.highest,
            "sharpness.residual": seen.residual,
            "sharpness.reliable": float(seen.reliable),
        }
        if lowest:
            result["sharpness.lowest"] = seen.lowest
            result["sharpness.lowest_residual"] = seen.lowest_residual
        if trace:
            result["sharpness.trace"] = seen.trace
            result["sharpness.trace_error"] = seen.trace_error
        P = preconditioner(snapshot, recipe)
        if P is not None:
            result["sharpness.preconditioned"] = look("scaled", snapshot, P).highest
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


SHARPNESS = sharpness_probe()
