"""Random inputs inside of ranges, with the corners that networks reach in training."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from steepest.numerics.intervals import Interval


def draw(specs: Any, rng: np.random.Generator, corner: str = "inside") -> Any:
    """Arrays inside of the ranges of a pytree of specs.

    `corner` is "inside" (uniform), "corners" (every entry at one end of its range) X
    """

    def one(spec: Any) -> jax.Array:
        if not isinstance(spec, Interval):
            return jnp.asarray(spec)
        low, high = float(spec.low), float(spec.high)
        shape = tuple(spec.shape)
        if jnp.issubdtype(spec.dtype, jnp.integer):
            values = rng.integers(int(low), int(high) + 1, shape)
        elif corner == "low":
            values = np.full(shape, low)
        elif corner == "columns":
            ends = rng.choice([low, high], shape[-1:])
            values = np.broadcast_to(ends, shape)
        elif corner == "corners":
            values = rng.choice([low, high], shape)
        else:
            values = rng.uniform(low, high, shape)
        return jnp.asarray(values, spec.dtype)

    return jax.tree.map(one, specs, is_leaf=lambda s: isinstance(s, Interval))


CORNERS = ("inside", "corners", "columns", "low")
