"""Which axis the units are on, and what is a site."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from steepest.core import capture


KEY = jax.random.key(0)
x = jnp.linspace(-2.0, 2.0, 20).reshape(5, 4)
W = jnp.sin(jnp.arange(28.0)).reshape(7, 4)  # as Equinox has it: units first
V = jnp.cos(jnp.arange(21.0)).reshape(3, 7)
image = jnp.ones((2, 8, 8, 3))
first = lambda model, image: jax.vmap(model)(jnp.moveaxis(image, -1, 1))


def sizes(fun, *args):
    """For every non-linearity the size of the axis that its units are on."""
    found = []
    keep = lambda site, value: found.append(value.shape[site.axis])
    capture(fun, reduce=keep)(*args)
    return found


def two_vmapped(params, x):
    W, V = params
    return jax.vmap(lambda row: jnp.tanh(V @ jax.nn.relu(W @ row)))(x)


def convolved(layout, kernel):
    def f(k, image):
        image = image if layout == "NHWC" else jnp.moveaxis(image, -1, 1)
        y = lax.conv_general_dilated(
            image, k, (1, 1), "SAME", dimension_numbers=(layout, "HWIO", layout)
        )
        return jax.nn.relu(2 * y + 1)

    return f, jnp.ones((3, 3, 3, kernel)), image


CASES = {
    "X W": ((lambda W, x: jnp.tanh(x @ W.T), W, x), [7]),
    "W x, mapped": ((two_vmapped, (W, V), x), [7, 3]),
    "W x + b, mapped": (
        (lambda W, x: jax.vmap(lambda r: jnp.tanh(W @ r + W[:, 0]))(x), W, x),
        [7],
    ),
    "as many examples as units": (
        (lambda W, x: jax.vmap(lambda r: jnp.tanh(W @ r))(x), W, jnp.ones((7, 4))),
        [7],
    ),
    "jitted inside": (
        (lambda W, x: jax.vmap(jax.jit(lambda r: jnp.tanh(W @ r)))(x), W, x),
        [7],
    ),
    "einsum": (
        (lambda W, x: jnp.tanh(jnp.einsum("ni,oi->no", x, W)), W, x),
        [7],
    ),
    "Equinox": (
        (lambda m, x: jax.vmap(m)(x), eqx.nn.MLP(4, 3, 7, 2, key=KEY), x),
        [7, 7],
    ),
    "Equinox without biases": (
        (
            lambda m, x: jax.vmap(m)(x),
            eqx.nn.MLP(4, 3, 7, 2, use_bias=False, use_final_bias=False, key=KEY),
            x,
        ),
        [7, 7],
    ),
    "NNX": (
        (lambda m, x: nnx.relu(m(x)), nnx.Linear(4, 7, rngs=nnx.Rngs(0)), x),
        [7],
    ),
    "channels last": (convolved("NHWC", 8), [8]),
    "channels first": (convolved("NCHW", 9), [9]),
    "Equinox convolution": (
        (
            lambda m, i: jax.nn.relu(first(m, i)),
            eqx.nn.Conv2d(3, 6, 3, key=KEY),
            image,
        ),
        [6],
    ),
    "in a scan, mapped": (
        (
            lambda U, x: jax.vmap(
                lambda r: lax.scan(
                    lambda h, a: (jnp.tanh(U @ h + a), None), r, jnp.ones(3)
                )[0]
            )(x),
            W[:4],
            x,
        ),
        [4],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_units_are_where_the_weights_put_them(name):
    (fun, *args), expected = CASES[name]
    assert sizes(fun, *args) == expected


def test_long_chains_of_operations_are_followed_in_linear_time():
    def f(x):
        for _ in range(300):
            x = jnp.sin(x) * jnp.cos(x)  # 2³⁰⁰ paths
        return jnp.tanh(x)

    assert sizes(f, x) == [4]


def test_half_precision_and_casts_keep_the_site():
    f = lambda W, x: jnp.tanh((x.astype(jnp.bfloat16) @ W.T.astype(jnp.bfloat16)).astype(jnp.float32))  # fmt: skip
    assert sizes(f, W, x) == [7]


def test_integers_are_no_sites_and_losses_are_not_looked_into():
    f = lambda n, x: (jnp.maximum(n, 0), jax.nn.log_softmax(x), jax.nn.logsumexp(x))
    assert sizes(f, jnp.arange(3), x) == []


def test_a_mean_and_deviation_of_a_unit_are_over_its_examples():
    from steepest.core import unit_statistics

    model = eqx.nn.MLP(4, 3, 7, 1, use_bias=False, use_final_bias=False, key=KEY)
    f = lambda m, x: jax.vmap(m)(x)
    (units,) = capture(f, reduce=unit_statistics)(model, x)[1].values()
    z = np.asarray(x @ model.layers[0].weight.T)
    np.testing.assert_allclose(units["mean"], z.mean(0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(units["max"], z.max(0), rtol=1e-5)
