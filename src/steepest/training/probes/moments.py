"""What the optimiser remembers: how many updates, how long a momentum, how small a √v̂.

An optimiser that is built anew for every update forgets. Its count of updates stays at
one, and its first moment m is the last gradient and nothing else,

    mₜ = β mₜ₋₁ + (1 − β) gₜ   with mₜ₋₁ = 0   ⇒   ‖mₜ‖/(1 − β) = ‖gₜ‖           (1)

to the last digit, at every look (without the factor 1 − β for heavy ball). So the count
and ‖m‖ in the units of a gradient are written down; gₜ is in the record of the run.

Adam divides by √v̂ + ε. Where √v̂ is not far above ε the update is no longer of the size
of the step but ε decides, entry by entry:

    m̂/(√v̂ + ε) ≈ m̂/ε   for √v̂ ≪ ε.                                            (2)

`optimizer.small_roots` is the share of entries with √v̂ < 10 ε, those without a gradient
(v = 0) left out: dead units and rows of an embedding that are never looked up are not
the optimiser's doing. `optimizer.root` is the geometric mean of the other √v̂.

References
    Kingma & Ba (2015), Adam: a method for stochastic optimization.          -- (2)
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§8.3.2, 8.5.3.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, PyTree

from ..recipe import Recipe
from ..step import global_norm
from ._probe import Context, Measure, Probe, Snapshot


STATES = optax.ScaleByAdamState | optax.TraceState


def prepare(context: Context) -> Measure:
    """Compile the reading of the optimiser's state, if it has one that can be read."""
    recipe = context.recipe

    @jax.jit
    def read(state: Any) -> dict[str, Array]:
        if isinstance(state, optax.TraceState):
            return {"optimizer.momentum_norm": global_norm(state.trace)}
        # Of an optimiser of one's own the constants are not known: no units for ‖m‖.
        known = isinstance(recipe.optimizer, str)
        size = global_norm(state.mu) / (1 - recipe.beta1 if recipe.beta1 < 1 else 1)
        found = {"optimizer.momentum_norm": size} if known else {}
        if known:
            small, typical = roots(state.nu, state.count, recipe)
            found |= {"optimizer.small_roots": small, "optimizer.root": typical}
        return found | {"optimizer.count": state.count}

    def run(snapshot: Snapshot) -> dict[str, Any]:
        if snapshot.step == 0:
            return {}
        state = remembered(snapshot.carry.moments)
        return {} if state is None else read(state)

    return run


def remembered(moments: PyTree) -> Any:
    """The part of an Optax state that holds moments, or None."""
    is_state = lambda x: isinstance(x, STATES)
    leaves = jax.tree.leaves(moments, is_leaf=is_state)
    return next(filter(is_state, leaves), None)


def roots(v: PyTree, count: Array, recipe: Recipe) -> tuple[Array, Array]:
    """The share of √v̂ below 10 ε, and their geometric mean, where v > 0."""
    beta, ten = np.float32(recipe.beta2), np.float32(10 * recipe.epsilon)
    seen = 1 - beta ** count.astype(jnp.float32)
    flat = jnp.concatenate([x.astype(jnp.float32).ravel() for x in jax.tree.leaves(v)])
    having = flat > 0
    root = jnp.sqrt(jnp.where(having, flat, 1) / jnp.maximum(seen, 1e-12))
    number = jnp.maximum(jnp.sum(having), 1)
    small = jnp.sum((root < ten) & having) / number
    logs = jnp.where(having, jnp.log(root), 0)
    middle = jnp.exp(jnp.sum(logs) / number.astype(logs.dtype))
    return small.astype(jnp.float32), middle


MOMENTS = Probe("moments", prepare)
