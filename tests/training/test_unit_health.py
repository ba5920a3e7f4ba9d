"""Dead and saturated units are counted per unit, wherever the weights put the units."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest.core import capture
from steepest.training.probes.activations import unit_health


x = jax.random.normal(jax.random.key(0), (64, 4))
W = jax.random.normal(jax.random.key(1), (4, 10))
shift = jnp.where(jnp.arange(10) < 3, -100.0, 0.0)  # three units of ten are shut


def health(fun, *args):
    (found,) = capture(fun, reduce=unit_health)(*args)[1].values()
    return found


LAYERS = {
    "rows": lambda W, x: jax.nn.relu(x @ W + shift[None]),
    "mapped": lambda W, x: jax.vmap(lambda r: jax.nn.relu(W.T @ r + shift))(x),
    "images": lambda W, x: jax.nn.relu(
        jax.lax.conv_general_dilated(
            x.reshape(4, 4, 4, 4),
            W[None, None],
            (1, 1),
            "SAME",
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )
        + shift[None, None, None]
    ),
    "channels first": lambda W, x: jax.nn.relu(
        jax.lax.conv_general_dilated(
            x.reshape(4, 4, 4, 4),
            W.T[:, :, None, None],
            (1, 1),
            "SAME",
        )
        + shift[None, :, None, None]
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_units_that_no_example_opens_are_dead(name):
    found = health(LAYERS[name], W, x)
    assert found["dead"] == pytest.approx(0.3)
    assert "saturated" not in found


def test_units_without_biases_under_vmap_are_told_from_examples():
    """A layer as Equinox has it: one example that opens no unit is not a dead unit."""
    layer = eqx.nn.Linear(4, 10, use_bias=False, key=jax.random.key(2))
    rows = jnp.concatenate([x, jnp.zeros((64, 4))])  # half of the examples are blank
    found = health(lambda m, x: jax.nn.relu(jax.vmap(m)(x)), layer, rows)
    assert found["dead"] == 0


def test_the_moments_are_those_of_numpy():
    z = np.asarray(x @ W + shift[None], np.float64)
    found = health(LAYERS["rows"], W, x)
    np.testing.assert_allclose(found["mean"], z.mean(), rtol=1e-5)
    np.testing.assert_allclose(found["std"], z.std(), rtol=1e-5)


@pytest.mark.parametrize(("phi", "bound"), [(jnp.tanh, 4.15), (jax.nn.sigmoid, 8.29)])
def test_units_are_saturated_where_the_slope_is_a_thousandth_almost_always(phi, bound):
    # unit i is beyond the bound for i tenths of a hundred examples
    beyond = np.arange(100)[:, None] < 10 * np.arange(11)[None]
    far = jnp.asarray(1.01 * bound * beyond, jnp.float32)
    found = health(lambda z: phi(z + 0.0), far)
    assert found["saturated"] == pytest.approx(1 / 11) and "dead" not in found
    slope = float(jax.grad(phi)(bound) / jax.grad(phi)(0.0))
    assert slope == pytest.approx(1e-3, rel=0.02)  # what the bound stands for
