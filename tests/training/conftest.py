"""Small programs to train, and how two runs are compared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import Problem


def regression(n=96, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, 3)).astype(np.float32)
    y = np.tanh(x @ np.array([1.0, -2.0, 0.5], np.float32))[:, None]
    return x, y.astype(np.float32)


def network(seed=0):
    generator = np.random.default_rng(seed)
    draw = lambda *shape: generator.normal(size=shape).astype(np.float32) / 2
    return {
        "first": {"W": draw(3, 8), "b": np.zeros(8, np.float32)},
        "last": {"W": draw(8, 1), "b": np.zeros(1, np.float32)},
    }


def apply(model, x):
    h = jnp.tanh(x @ model["first"]["W"] + model["first"]["b"][None])
    return h @ model["last"]["W"] + model["last"]["b"][None]


def squared(model, batch):
    x, y = batch
    return ((apply(model, x) - y) ** 2).mean()


def noisy(model, batch, key):
    """A loss that depends on its key."""
    x, y = batch
    x = x + 0.1 * jax.random.normal(key, x.shape)
    return ((apply(model, x) - y) ** 2).mean()


@pytest.fixture
def problem():
    return Problem(
        network(), noisy, regression(), regression(32, seed=1), predict=apply
    )


def assert_bitwise_equal(a, b):
    """Two pytrees of arrays, bit for bit."""
    assert jax.tree.structure(a) == jax.tree.structure(b)
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(np.asarray(x), np.asarray(y))
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def assert_same_series(a, b, names=None):
    """The series of two records, bit for bit."""
    assert set(a.series) == set(b.series)
    for name in names or a.series:
        np.testing.assert_array_equal(a[name].step, b[name].step, err_msg=name)
        assert a[name].value.tobytes() == b[name].value.tobytes(), name
        assert a[name].labels == b[name].labels
