"""What passes through a program, without changing the program."""

from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from steepest.core import InputError, Site, capture, statistics, unit_statistics


x = jnp.linspace(-2.0, 2.0, 12).reshape(3, 4)
W = jnp.sin(jnp.arange(16.0)).reshape(4, 4)


def line(fun, offset):
    return f"test_capture.py:{fun.__code__.co_firstlineno + offset}"


def two_layers(x):
    x = jax.nn.relu(x @ W)
    x = jax.nn.relu(x @ W) + jax.nn.relu(x)
    return jnp.tanh(x)


def test_inputs_of_non_linearities_are_named_after_their_lines():
    y, seen = capture(two_layers)(x)
    first, second, third = (line(two_layers, i) for i in (1, 2, 3))
    assert list(seen) == [
        f"relu {first}",
        f"relu {second}",
        f"relu {second}#2",
        f"tanh {third}",
    ]
    np.testing.assert_array_equal(y, two_layers(x))
    hidden = jax.nn.relu(x @ W)
    for value, expected in zip(
        seen.values(), [x @ W, hidden @ W, hidden], strict=False
    ):
        np.testing.assert_array_equal(value, expected)


def test_outputs_products_and_predicates_can_be_chosen():
    _, outputs = capture(two_layers, "nonlinearity.output")(x)
    np.testing.assert_array_equal(list(outputs.values())[-1], two_layers(x))
    _, products = capture(two_layers, "matmul")(x)
    assert list(products) == [f"dot_general {line(two_layers, i)}" for i in (1, 2)]
    _, both = capture(two_layers, ["nonlinearity.input", "nonlinearity.output"])(x)
    assert f"relu {line(two_layers, 1)} output" in both
    _, adds = capture(two_layers, lambda site: site.name == "add")(x)
    assert list(adds) == [f"add {line(two_layers, 2)}"]


def test_an_unknown_selector_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"'nonlinearity.input'.*'layers'"):
        capture(two_layers, "layers")


def activations(x):
    x = jax.nn.gelu(x) + jax.nn.gelu(2 * x)
    x = jax.nn.silu(x) * jax.nn.elu(x)
    x = jnp.maximum(x, 0) + jnp.maximum(0.0, x)
    x = jnp.where(x > 0, x, 0.0)
    x = jnp.where(x > 0, x, 0.1 * x)
    x = jax.nn.sigmoid(x) + jax.nn.softplus(x) + jax.nn.leaky_relu(x)
    return jax.nn.log_softmax(x) + jax.nn.log_sigmoid(x)


def test_non_linearities_are_known_by_name_or_shape_and_not_looked_into():
    _, seen = capture(activations)(x)
    names = [name.split()[0] for name in seen]
    assert names == [
        *("gelu", "gelu", "silu", "elu", "relu", "relu", "relu", "leaky_relu"),
        *("logistic", "softplus", "leaky_relu"),
    ]
    gelu, second, *_ = seen.values()
    np.testing.assert_array_equal(gelu, x)
    np.testing.assert_array_equal(second, 2 * x)
    _, outs = capture(activations, "nonlinearity.output")(x)
    np.testing.assert_allclose(next(iter(outs.values())), jax.nn.gelu(x), atol=1e-6)


# -- Derivatives ------------------------------------------------------------------------


@jax.custom_vjp
def clipped(x):
    return jnp.tanh(x @ W)


clipped.defvjp(lambda x: (clipped(x), x), lambda x, g: (jnp.clip(g, -0.1, 0.1) @ W.T,))


@jax.custom_jvp
def slanted(x):
    return jax.nn.relu(x @ W)


@slanted.defjvp
def _(primals, tangents):
    return slanted(primals[0]), 3 * tangents[0] @ W


def rnn(x):
    def step(h, x):
        h = jnp.tanh(W @ h + x)
        return h, h.sum()

    return lax.scan(step, jnp.zeros(4), x)[1]


def switching(x):
    return lax.cond(x[0, 0] > 0, two_layers, lambda x: jnp.tanh(3 * x), x)


FUNCTIONS = {
    "plain": two_layers,
    "jit": jax.jit(two_layers),
    "custom_vjp": lambda x: clipped(two_layers(x)),
    "custom_jvp": lambda x: two_layers(slanted(x)),
    "remat": jax.checkpoint(two_layers),
    "remat with a policy": jax.checkpoint(
        two_layers, policy=jax.checkpoint_policies.dots_saveable
    ),
    "scan": rnn,
    "remat in scan": lambda x: lax.scan(
        jax.checkpoint(lambda h, x: (jnp.tanh(W @ h + x), None)), jnp.zeros(4), x
    )[0],
    "cond": switching,
    "vmap": jax.vmap(lambda row: jnp.tanh(W @ row)),
    "fori": lambda x: lax.fori_loop(0, 4, lambda i, x: jnp.tanh(x @ W), x),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("what", ["nonlinearity.input", "matmul"])
def test_result_and_gradient_are_those_of_the_function(name, what):
    f = FUNCTIONS[name]
    loss = lambda x: f(x).sum()
    seeing = jax.jit(jax.value_and_grad(capture(loss, what), has_aux=True))
    (value, seen), gradient = seeing(x)
    expected_value, expected = jax.jit(jax.value_and_grad(loss))(x)
    assert seen or (name, what) == ("cond", "matmul")
    np.testing.assert_array_equal(value, expected_value)
    np.testing.assert_array_equal(gradient, expected)


def test_captured_values_may_be_differentiated():
    penalty = lambda x: sum(jnp.sum(v**2) for v in capture(two_layers)(x)[1].values())
    by_hand = lambda x: sum(
        jnp.sum(v**2)
        for h in [jax.nn.relu(x @ W)]
        for v in (x @ W, h @ W, h, jax.nn.relu(h @ W) + jax.nn.relu(h))
    )
    np.testing.assert_allclose(jax.grad(penalty)(x), jax.grad(by_hand)(x), rtol=1e-6)


def units_last(site, value):
    return jnp.moveaxis(value, site.axis, -1)


@pytest.mark.parametrize(
    "single",
    [
        lambda row: jnp.tanh(W @ row),  # examples end up behind the units
        lambda row: jnp.tanh(W @ row + W[0]),
        lambda row: jnp.tanh(row @ W),
        lambda row: jnp.tanh(W @ jnp.tanh(W @ row)),
    ],
)
def test_it_composes_with_vmap(single):
    _, inside = capture(jax.vmap(single), reduce=units_last)(x)
    _, outside = jax.vmap(capture(single))(x)
    for a, b in zip(inside.values(), outside.values(), strict=True):
        # another order of the sums of a product of four terms of size ≤ 2
        np.testing.assert_allclose(a, b, atol=8 * 2 * 1.2e-7)


# -- Control flow -----------------------------------------------------------------------


def test_in_a_scan_there_is_a_value_for_every_step():
    _, seen = capture(rnn)(x)
    (values,) = seen.values()
    h, expected = jnp.zeros(4), []
    for row in x:
        expected.append(W @ h + row)
        h = jnp.tanh(expected[-1])
    np.testing.assert_allclose(values, jnp.stack(expected), rtol=1e-5, atol=1e-6)


def test_in_a_while_loop_the_last_turn_counts():
    def halving(x, turns):
        body = lambda s: (s[0] + 1, jnp.tanh(s[1]) / 2)
        return lax.while_loop(lambda s: s[0] < turns, body, (jnp.int32(0), x))

    (_, seen), expected = capture(halving)(x, jnp.int32(2)), jnp.tanh(x) / 2
    np.testing.assert_allclose(next(iter(seen.values())), expected, rtol=1e-6)
    _, never = capture(halving)(x, jnp.int32(0))
    assert np.isnan(next(iter(never.values()))).all()


def test_a_branch_that_was_not_taken_is_nan():
    _, seen = capture(switching)(x)
    taken = {name: not np.isnan(v).any() for name, v in seen.items()}
    assert len(taken) == 5 and sum(taken.values()) == 1
    _, seen = capture(switching)(-x)
    assert sum(not np.isnan(v).any() for v in seen.values()) == 4


# -- Models -----------------------------------------------------------------------------


def test_an_equinox_model_is_taken_as_it_is():
    model = eqx.nn.MLP(4, 2, 8, 2, activation=jax.nn.silu, key=jax.random.key(0))
    y, seen = capture(lambda model, x: jax.vmap(model)(x))(model, x)
    assert [v.shape for v in seen.values()] == [(3, 8), (3, 8)]
    np.testing.assert_array_equal(y, jax.vmap(model)(x))


class Normalised(nnx.Module):
    def __init__(self, rngs):
        self.conv = nnx.Conv(1, 5, (3, 3), rngs=rngs)
        self.batch, self.layer = (
            nnx.BatchNorm(5, rngs=rngs),
            nnx.LayerNorm(5, rngs=rngs),
        )

    def __call__(self, x):
        return nnx.relu(self.layer(self.batch(self.conv(x))))


@pytest.mark.slow
def test_an_nnx_model_shows_its_normalised_values_and_one_relu():
    image = jax.random.normal(jax.random.key(0), (2, 6, 6, 1))
    model = Normalised(nnx.Rngs(0))
    what = ("normalization", "nonlinearity.input", "matmul")
    _, seen = capture(lambda m, x: m(x), what)(model, image)
    assert [name.split()[0] for name in seen] == [
        *("conv_general_dilated", "normalization", "normalization", "relu")
    ]
    batch, layer = (v for n, v in seen.items() if n.startswith("normal"))
    np.testing.assert_allclose(batch.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(batch.std((0, 1, 2)), 1, atol=1e-2)
    np.testing.assert_allclose(layer.mean(-1), 0, atol=1e-5)


@pytest.mark.parametrize(
    "normalise",
    [
        lambda x: (x - x.mean(0)[None]) / jnp.sqrt(x.var(0)[None] + 1e-5),
        lambda x: (x - x.mean(0)[None]) / (x.std(0)[None] + 1e-5),
        lambda x: x * lax.rsqrt(jnp.mean(x * x, -1, keepdims=True)),
        jax.nn.standardize,
        lambda x: jax.vmap(eqx.nn.LayerNorm(4))(x),
    ],
)
def test_normalisation_is_read_from_the_formula(normalise):
    _, seen = capture(lambda x: jnp.tanh(normalise(x)), "normalization")(x)
    (value,) = seen.values()
    np.testing.assert_allclose(value, normalise(x), atol=1e-6)


def test_a_clamp_under_a_root_is_no_relu():
    spread = lambda x: x / jnp.sqrt(jnp.maximum(x.var(), 0.0) + 1e-5)
    assert capture(spread)(x)[1] == {}


# -- Statistics -------------------------------------------------------------------------


def dense(x):
    return jnp.tanh(x @ W + 1)


def test_statistics_are_those_of_numpy():
    z = np.asarray(x @ W + 1, np.float64)
    (found,) = capture(dense, reduce=statistics)(x)[1].values()
    (units,) = capture(dense, reduce=unit_statistics)(x)[1].values()
    for name in ("mean", "std", "min", "max"):
        expected = getattr(z, name)()
        np.testing.assert_allclose(found[name], expected, rtol=1e-5, atol=1e-6)
        expected = getattr(z, name)(axis=0)
        np.testing.assert_allclose(units[name], expected, rtol=1e-5, atol=1e-6)


def test_the_units_of_a_convolution_are_its_channels_whatever_the_layout():
    key = jax.random.key(0)
    last = lambda m, x: nnx.relu(m(x))
    sizes = []
    keep = lambda site, value: sizes.append(value.shape[site.axis])
    capture(last, reduce=keep)(
        nnx.Conv(1, 5, (3, 3), rngs=nnx.Rngs(0)), x[None, ..., None]
    )
    first = lambda m, x: jax.nn.relu(jax.vmap(m)(x))
    capture(first, reduce=keep)(eqx.nn.Conv2d(1, 7, 3, key=key), jnp.ones((2, 1, 8, 8)))
    assert sizes == [5, 7]


def test_statistics_are_taken_step_by_step_in_a_scan():
    _, seen = capture(rnn, reduce=lambda site, value: statistics(site, value)["max"])(x)
    (_, values) = capture(rnn)(x)
    (found,), (value,) = seen.values(), values.values()
    np.testing.assert_array_equal(found, value.max(-1))


def test_a_site_reads_as_name_and_line():
    sites = []
    capture(dense, reduce=lambda site, value: sites.append(site))(x)
    (site,) = sites
    assert isinstance(site, Site) and str(site) == f"tanh {line(dense, 1)}"


def test_the_function_is_traced_once_under_jit():
    counted = []

    def f(x):
        counted.append(1)
        return jnp.tanh(x)

    g = jax.jit(partial(capture(f)))
    g(x), g(x)
    assert len(counted) == 1
