"""The first state: its loss, its weights, its signals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from records import judge
from small import by_loss, classes, classifier, net, numbers, regression, weights

from steepest import Problem, Recipe, Record
from steepest.checkup.preflight import data, initial


def loss_of(problem):
    record = Record()
    data.measure(problem, Recipe(), record)
    return initial.first_loss(problem, record)


def test_a_head_at_zero_loses_log_k():
    params = weights((4, 8), (8, 3))
    fact = loss_of(classifier([params[0], jnp.zeros((8, 3))], net))
    assert fact["loss"] == pytest.approx(np.log(3), rel=1e-6)
    assert fact["expected"] == pytest.approx(np.log(3))


def test_an_output_of_zero_loses_the_mean_square_of_the_targets():
    params = weights((4, 8), (8, 1))
    problem = regression([params[0], jnp.zeros((8, 1))], net)
    fact = loss_of(problem)
    assert fact["loss"] == pytest.approx(fact["expected"], rel=1e-5)


def test_a_regression_by_another_loss_has_a_zero_of_its_own():
    x, y = numbers()
    y = y[:, None]
    for loss in (
        lambda p, b: jnp.mean((net(p, b[0]) - b[1]) ** 2) + 1000,
        lambda p, b: jnp.mean(jnp.exp(net(p, b[0])) - b[1] * net(p, b[0])),
    ):
        problem = Problem(weights((4, 8), (8, 1)), loss, (x, y), predict=net)
        assert loss_of(problem) is None


def test_a_loss_on_what_is_neither_has_no_expectation():
    x, _ = numbers()
    pictures = np.zeros((60, 2, 2, 1), np.float32)
    problem = by_loss(lambda p, b: jnp.mean(net(p, b[0])), data=(x, pictures))
    assert loss_of(problem) is None


def test_the_first_loss_is_that_of_evaluation_mode():
    problem = Problem(
        weights((4, 3)),
        lambda p, b: 100 * jnp.mean(net(p, b[0])),
        classes(),
        evaluate=lambda p, b: jnp.float32(1.25),
    )
    assert loss_of(problem)["loss"] == 1.25


# -- Symmetry ------------------------------------------------------------------------------


def layers_of(*leaves):
    fact = initial.constant_layers(by_loss(lambda p, b: 0.0, list(leaves)))
    return fact


def test_units_that_are_copies_are_found_whichever_axis_they_are_on():
    row = jnp.arange(8.0)
    same = layers_of(
        jnp.full((4, 8), 0.1),  # all of one value
        jnp.broadcast_to(row[:4, None], (4, 8)),  # every column the same unit
        jnp.broadcast_to(row[None, :4], (8, 4)),  # every row the same unit
        weights((8, 3))[0],
    )
    assert same == {"same": ["[0]", "[1]", "[2]"], "zero": [], "matrices": 4}


def test_kernels_of_a_convolution_are_compared_by_channel():
    kernel = jnp.broadcast_to(weights((3, 3, 2, 1))[0], (3, 3, 2, 8))
    assert layers_of(kernel)["same"] == ["[0]"]
    assert layers_of(weights((3, 3, 2, 8))[0])["same"] == []


def test_zeros_biases_scales_and_single_columns_are_no_copies():
    fact = layers_of(
        jnp.zeros((8, 8)), jnp.zeros(8), jnp.ones(8), jnp.ones((1, 8)), jnp.ones((8, 1))
    )
    assert fact == {"same": [], "zero": ["[0]"], "matrices": 1}


def test_a_scale_of_two_axes_is_no_matrix():
    """Layer normalisation over time and features has ones of both shapes."""
    x = np.random.default_rng(0).standard_normal((60, 5, 4)).astype(np.float32)
    params = {"scale": jnp.ones((5, 4)), "head": weights((20, 3))[0]}

    def apply(p, x):
        mean = x.mean(axis=(1, 2), keepdims=True)
        z = (x - mean) / jnp.sqrt(x.var(axis=(1, 2), keepdims=True) + 1e-5)
        return (z * p["scale"][None]).reshape(len(x), -1) @ p["head"]

    fact = initial.constant_layers(classifier(params, apply, (x, classes()[1])))
    assert fact == {"same": [], "zero": [], "matrices": 1}


def test_a_layer_of_a_library_is_read_like_bare_arrays():
    shapes = eqx.filter_eval_shape(eqx.nn.MLP, 4, 3, 8, 1, key=jax.random.key(0))
    constant = jax.tree.map(
        lambda a: jnp.full(a.shape, 0.1) if hasattr(a, "shape") else a, shapes
    )

    def loss(m, batch):
        return jnp.mean(jax.vmap(m)(batch[0]) ** 2)

    assert len(initial.constant_layers(by_loss(loss, constant))["same"]) == 2


# -- Signals --------------------------------------------------------------------------------


def signal_of(*scales):
    shapes = [(64, 64)] * len(scales)
    drawn = [s * w for s, w in zip(scales, weights(*shapes), strict=True)]
    x = np.random.default_rng(1).standard_normal((256, 64)).astype(np.float32)

    def apply(p, x):
        for w in p[:-1]:
            x = jax.nn.relu(x @ w)
        return x @ p[-1]

    problem = classifier([*drawn, weights((64, 3))[0]], apply, (x, classes(256)[1]))
    return initial.signal(problem)


def test_weights_of_variance_two_over_fan_in_keep_a_signal_through_relu():
    fact = signal_of(1.0, 1.0, 1.0)
    # He: std √2 on inputs of variance 1; 64 units scatter by a few per cent a layer
    np.testing.assert_allclose(fact["std"], np.sqrt(2), rtol=0.35)
    assert [s.split()[0] for s in fact["sites"]] == ["relu"] * 3


def test_each_factor_of_the_weights_is_a_factor_of_the_signal():
    usual, large = signal_of(1.0, 1.0, 1.0), signal_of(3.0, 3.0, 3.0)
    ratio = np.array(large["std"]) / np.array(usual["std"])
    np.testing.assert_allclose(ratio, [3, 9, 27], rtol=1e-4)  # ReLU is homogeneous


def test_a_mask_before_a_softmax_is_no_signal():
    """Scores of −10⁹ where attention must not look are no initial scale."""
    x = np.random.default_rng(0).standard_normal((60, 5, 4)).astype(np.float32)
    params = dict(zip("qkvo", weights((4, 8), (4, 8), (4, 8), (40, 3)), strict=True))

    def apply(p, x):
        scores = jnp.einsum("nid,njd->nij", x @ p["q"], x @ p["k"])
        scores = jnp.where(jnp.tril(jnp.ones((5, 5), bool))[None], scores, -1e9)
        h = jax.nn.softmax(scores) @ (x @ p["v"])
        return jax.nn.relu(h).reshape(len(x), -1) @ p["o"]

    record = Record()
    record.facts["initial.signal"] = initial.signal(
        classifier(params, apply, (x, classes()[1]))
    )
    assert judge("INI003", record) is None


def test_a_program_without_a_non_linearity_has_no_signal():
    record = Record()
    initial.measure(classifier([jnp.zeros((4, 3))], net), Recipe(), record)
    assert "nothing to measure" in record.missing["initial.signal"]
    record.facts["experiment.depth"] = {"paths": ["[0]"], "sizes": [12]}
    assert judge("INI002", record) is None  # a logistic regression may start at zero


def test_a_loss_that_cannot_be_run_is_said_fact_by_fact():
    def loss(p, batch):
        raise TypeError("no")

    record = Record()
    initial.measure(by_loss(loss), Recipe(), record)
    assert "TypeError: no" in record.missing["initial.signal"]
    assert record.facts["initial.constant_layers"]["matrices"] == 2
