"""Reference networks against formulas by hand; first weights against their variance."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import InputError
from steepest.nn import ACTIVATIONS, CNN, MLP, initialise


KEY = jax.random.key(0)
RELU_LIKE = ("relu", "leaky_relu", "gelu", "silu", "elu")


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("shape", [(300, 200), (3, 3, 40, 50)])
def test_the_variance_is_the_one_that_keeps_the_signal(activation, shape):
    field = int(np.prod(shape[:-2]))
    fan_in, fan_out = field * shape[-2], field * shape[-1]
    expected = 1 / fan_in
    if activation in RELU_LIKE:  # He et al. 2015
        expected = 2 / fan_in
    if activation in ("tanh", "sigmoid"):  # Glorot & Bengio 2010
        expected = 2 / (fan_in + fan_out)
    weights = np.asarray(initialise(activation, shape, key=KEY), np.float64)
    n = weights.size
    # drawn from a truncated normal, whose square has a deviation below √2 σ²: five of
    # those, and five of the mean's
    assert abs(weights.var() / expected - 1) < 5 * np.sqrt(2 / n)
    assert abs(weights.mean()) < 5 * np.sqrt(expected / n)


def test_a_deep_relu_net_keeps_the_size_of_its_signal():
    width, depth = 256, 20
    x = jax.random.normal(KEY, (64, width))
    keys = jax.random.split(KEY, depth)
    h = x
    for key in keys:
        h = jax.nn.relu(h) @ initialise("relu", (width, width), key=key)
    # (1) is exact in expectation; layers of 256 units scatter by some 10 % each
    assert 0.1 < float(jnp.mean(h**2) / jnp.mean(x**2)) < 10


def test_an_unknown_activation_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match="relu, leaky_relu"):
        initialise("step", (3, 3), key=KEY)
    with pytest.raises(InputError, match="must be one of"):
        MLP.init([3, 4, 2], "step", key=KEY)


def test_the_mlp_is_its_formula():
    model = MLP.init([4, 7, 5, 3], "tanh", key=KEY)
    assert [w.shape for w in model.weights] == [(4, 7), (7, 5), (5, 3)]
    assert all(not b.any() for b in model.biases)
    model = jax.tree.map(lambda a: a + 0.1, model)
    x = np.random.default_rng(0).normal(size=(6, 4)).astype(np.float32)
    h = x.astype(np.float64)
    for i, (W, b) in enumerate(zip(model.weights, model.biases, strict=True)):
        h = h @ np.asarray(W, np.float64) + np.asarray(b, np.float64)
        h = np.tanh(h) if i < 2 else h
    np.testing.assert_allclose(model(x), h, rtol=1e-5, atol=1e-6)
    assert sum(a.size for a in jax.tree.leaves(model)) == 5 * 7 + 8 * 5 + 6 * 3


def test_without_hidden_layers_it_is_affine():
    model = MLP.init([4, 3], key=KEY)
    x = jnp.ones((2, 4))
    np.testing.assert_allclose(model(x), x @ model.weights[0], rtol=1e-6)


def correlate(x, F, stride):
    """A convolution as networks have it, with zeros around: one number at a time."""
    n, height, width, _ = x.shape
    rows, columns = -(-height // stride), -(-width // stride)
    pad = [max((o - 1) * stride + 3 - s, 0) for o, s in ((rows, height), (columns, width))]  # fmt: skip
    around = [(0, 0)] + [(p // 2, p - p // 2) for p in pad] + [(0, 0)]
    x = np.pad(x, around)
    out = np.zeros((n, rows, columns, F.shape[-1]))
    for i in range(rows):
        for j in range(columns):
            patch = x[:, i * stride : i * stride + 3, j * stride : j * stride + 3]
            out[:, i, j] = np.einsum("nhwi,hwio->no", patch, F)
    return out


@pytest.mark.parametrize("size", [(8, 8), (7, 5)])
def test_the_cnn_is_its_formula(size):
    model = CNN.init((*size, 2), (3, 4), 5, "relu", key=KEY)
    rows, columns = -(-size[0] // 2), -(-size[1] // 2)
    assert [F.shape for F in model.filters] == [(3, 3, 2, 3), (3, 3, 3, 4)]
    assert model.weight.shape == (rows * columns * 4, 5)
    model = jax.tree.map(lambda a: a + 0.05, model)
    x = np.random.default_rng(0).normal(size=(2, *size, 2)).astype(np.float32)
    h = x.astype(np.float64)
    for F, b, stride in zip(model.filters, model.offsets, (1, 2), strict=True):
        h = correlate(h, np.asarray(F, np.float64), stride) + np.asarray(b)
        h = np.maximum(h, 0)
    expected = h.reshape(2, -1) @ np.asarray(model.weight, np.float64) + np.asarray(model.bias)  # fmt: skip
    np.testing.assert_allclose(model(jnp.asarray(x)), expected, rtol=1e-4, atol=1e-4)


def test_networks_are_pytrees_of_arrays_alone():
    for model in (MLP.init([4, 7, 3], key=KEY), CNN.init((8, 8, 1), (2, 3), 4, key=KEY)):  # fmt: skip
        leaves = jax.tree.leaves(model)
        assert leaves and all(isinstance(leaf, jax.Array) for leaf in leaves)
