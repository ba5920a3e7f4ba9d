"""Gradient, weight and update of every parameter array, as L2 norms.

    ‖gₗ‖, ‖wₗ‖, ‖uₗ‖                                                          (1)

on the fixed probe batch, where u is the update that the optimiser would make of g. The
ratio ‖u‖/‖w‖ is how fast a layer changes; about 10⁻³ is usual. That gradients shrink or
grow from layer to layer is how vanishing and exploding gradients show (DL §8.2.5).

An entry of u below half the spacing of the numbers around its weight is lost when it is
added, w + u = w; `layer.lost_updates` is the share of such entries.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from ...core.pytree import paths
from ..step import Carry, loss_of
from ._probe import Context, Measure, Probe, Snapshot


def prepare(context: Context) -> Measure:
    """Compile the measurement once."""
    program, labels = context.program, paths(context.program.taken.params)

    @jax.jit
    def measure(carry: Carry, batch: PyTree, key: Any) -> dict[str, Array]:
        def objective(params: PyTree) -> Any:
            return loss_of(program, params, carry.rest, carry.state, batch, key)[0]

        loss, g = jax.value_and_grad(objective)(carry.params)
        u, _ = program.optimiser.update(g, carry.moments, carry.params)
        return {
            "probe.loss": loss,
            "layer.gradient_norm": norms(g),
            "layer.weight_norm": norms(carry.params),
            "layer.update_norm": norms(u),
            "layer.lost_updates": lost(carry.params, u),
        }

    def run(snapshot: Snapshot) -> dict[str, Any]:
        values = measure(snapshot.carry, context.batch, context.key)
        return {k: (v, labels) if v.ndim else v for k, v in values.items()}

    return run


def norms(tree: PyTree) -> Array:
    """The L2 norm of every leaf, in float32 and safe from overflow."""

    def norm(x: Array) -> Array:
        x = jnp.abs(x).astype(jnp.float32).ravel()
        top = jnp.max(x, initial=0.0)
        safe = jnp.where((top > 0) & jnp.isfinite(top), top, 1.0)
        return safe * jnp.sqrt(jnp.sum((x / safe) ** 2))

    return jnp.stack([norm(leaf) for leaf in jax.tree.leaves(tree)])


def lost(params: PyTree, updates: PyTree) -> Array:
    """For every array the share of entries that their update leaves as they are."""
    new = optax.apply_updates(params, updates)

    def share(w: Array, u: Array, v: Array) -> Array:
        return jnp.mean((u != 0) & (w == v), dtype=jnp.float32)

    return jnp.stack(jax.tree.leaves(jax.tree.map(share, params, updates, new)))


NORMS = Probe("norms", prepare)
