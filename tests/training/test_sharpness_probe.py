"""The diagonal that the probe reads is the one that the update divided by."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from steepest import Recipe
from steepest.training.probes import Snapshot
from steepest.training.probes.sharpness import preconditioner
from steepest.training.step import Carry


@pytest.mark.parametrize("name", ["adam", "rmsprop"])
def test_the_preconditioner_is_the_gradient_over_its_update(name):
    """Gradients from far above to far below the square root of ε."""
    g = {"w": jnp.asarray([10.0, 1e-2, 1e-5, 1e-8])}
    optimisers = {
        # Without averaging of the gradient the update of Adam is g / P, too.
        "adam": optax.scale_by_adam(0.0, 0.999, 1e-8),
        "rmsprop": optax.scale_by_rms(),
    }
    recipe = Recipe(optimizer=name, beta1=0.0)
    optimiser = optimisers[name]
    state = optimiser.init(g)
    with jax.numpy_dtype_promotion("standard"):  # Optax's own arithmetic
        for _ in range(20):
            update, state = optimiser.update(g, state)
    P = preconditioner(Snapshot(20, Carry(g, None, None, state, None, None)), recipe)
    # a square root, a division and a bias correction in float32
    np.testing.assert_allclose(P["w"], g["w"] / update["w"], rtol=1e-5)
