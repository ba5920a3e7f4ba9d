"""A loss as a graph: which axis is the batch, what depends on what, what a softmax is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import by_loss, classes, classifier, cross_entropy, net, weights

from steepest.checkup.preflight import reading
from steepest.core.graph import MOVES


def outputs(r, primitive):
    return [n.outputs[0] for n in r.graph.nodes if n.primitive == primitive]


def test_the_two_batches_have_sizes_that_no_layer_has_by_chance():
    small, large = reading.SIZES
    assert small != large
    for n in reading.SIZES:
        assert all(n % d for d in range(2, n))  # prime


def test_sorted_data_are_sampled_over_all_their_classes():
    y = np.repeat(np.arange(5), 40).astype(np.int32)
    x = np.zeros((200, 4), np.float32)
    problem = classifier(weights((4, 8), (8, 5)), net, (x, y))
    batch = reading.batch_of(problem, 23)
    assert set(np.asarray(batch[1]).tolist()) == {0, 1, 2, 3, 4}


def test_few_examples_are_repeated():
    x, y = classes(5)
    problem = classifier(weights((4, 8), (8, 3)), net, (x, y))
    assert reading.batch_of(problem, 29)[0].shape == (29, 4)
    assert reading.read(problem).sizes == reading.SIZES


@pytest.mark.parametrize("size", [1, 2, 16, 64])
def test_the_batches_of_an_iterable_are_cut_to_two_sizes(size):
    x, y = classes(size)
    problem = classifier(weights((4, 8), (8, 3)), net, [(x, y)])
    small, large = reading.read(problem).sizes
    assert small < large <= size or size == 1


def test_values_are_what_the_program_computes():
    params = weights((4, 8), (8, 3))
    problem = classifier(params, net)
    r = reading.read(problem)
    x, y = reading.batch_of(problem, reading.SIZES[0])
    logits = r.values[outputs(r, "dot_general")[1].id]
    # float32 rounding of two small products
    np.testing.assert_allclose(
        logits, np.maximum(x @ params[0], 0) @ params[1], rtol=1e-5, atol=1e-6
    )
    loss = r.values[r.graph.outputs[0].id]
    np.testing.assert_allclose(loss, cross_entropy(net(params, x), y), rtol=1e-5)


def test_what_depends_on_parameters_inputs_and_targets_is_told_apart():
    r = reading.read(classifier(weights((4, 8), (8, 3)), net))
    assert r.paths == ("[0]", "[1]") and len(r.leaves) == 2
    logits = outputs(r, "dot_general")[1].id
    assert logits in r.params & r.inputs and logits not in r.targets
    assert r.graph.outputs[0].id in r.params & r.inputs & r.targets


def test_reach_stops_where_it_is_told_to():
    r = reading.read(classifier(weights((4, 8), (8, 3)), net))
    first, second = (v.id for v in outputs(r, "dot_general"))
    reached = reading.reach(r.graph, r.leaves[:1], lambda n: n.primitive != "max")
    assert first in reached and second not in reached


def by_hand(z):
    e = jnp.exp(z)
    return e / e.sum(axis=-1, keepdims=True)


def shifted(z):
    e = jnp.exp(z - z.max(axis=-1)[:, None])
    return e / jnp.sum(e, 1)[:, None]


def along_the_batch(z):
    return jax.nn.softmax(z, axis=0)


@pytest.mark.parametrize(
    ("softmax", "terms"),
    [(jax.nn.softmax, 3), (by_hand, 3), (shifted, 3), (along_the_batch, 23)],
)
def test_a_softmax_is_known_whoever_wrote_it(softmax, terms):
    problem = by_loss(lambda p, b: jnp.mean(softmax(net(p, b[0])) ** 2))
    r = reading.read(problem)
    known = [n for v in outputs(r, "div") if (n := reading.softmax_of(r, v))]
    assert [reading.softmax_axis(r, n) for n in known] == [terms]


@pytest.mark.parametrize(
    "shares",
    [
        lambda z: z / z.sum(axis=-1, keepdims=True),
        lambda z: jnp.exp(z) / jnp.sum(z**2, axis=-1, keepdims=True),
        lambda z: jnp.exp(z) / 3.0,
        lambda z: z / jnp.linalg.norm(z, axis=-1, keepdims=True),
    ],
    ids=["shares", "another sum", "a constant", "unit length"],
)
def test_other_divisions_are_none(shares):
    r = reading.read(by_loss(lambda p, b: jnp.mean(shares(net(p, b[0])) ** 2)))
    assert [v for v in outputs(r, "div") if reading.softmax_of(r, v)] == []


def test_what_only_moves_a_value_is_looked_through():
    problem = by_loss(
        lambda p, b: jnp.mean(jnp.exp(net(p, b[0])).T.reshape(-1)[None] * 2)
    )
    r = reading.read(problem)
    product = next(n for n in r.graph.nodes if n.primitive == "mul")
    behind = r.back(product.inputs[0])
    assert behind is not None and behind.primitive == "exp"
    assert "reshape" in MOVES and "transpose" in MOVES


def test_a_program_without_predict_has_no_graph_of_it():
    assert reading.read_predict(by_loss(lambda p, b: jnp.mean(net(p, b[0])))) is None
