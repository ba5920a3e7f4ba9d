"""Every kind of batch source, and every kind of model."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import Problem, Recipe, fit
from steepest.core.errors import InputError
from steepest.training.batches import Order
from steepest.training.problem import labels_of, task_of

from .conftest import (
    apply,
    assert_bitwise_equal,
    assert_same_series,
    network,
    regression,
    squared,
)


RECIPE = Recipe(steps=30, batch_size=16, shuffle=False, learning_rate=1e-2)


def in_order():
    """The batches that arrays give without shuffling, for two epochs of 96."""
    x, y = regression()
    return [(x[i : i + 16], y[i : i + 16]) for i in range(0, 96, 16)]


class Loader:
    """What fit sees of a torch DataLoader: it can be iterated again and again."""

    def __len__(self):
        return 6

    def __iter__(self):
        for x, y in in_order():
            yield [Tensor(x), Tensor(y)]


class Tensor:
    """An array of another library: it knows how to become NumPy's."""

    def __init__(self, value):
        self.value = value

    def __array__(self, dtype=None, copy=None):
        return self.value


def generator():
    while True:
        yield from in_order()


SOURCES = {
    "list of batches": in_order,
    "generator function": lambda: generator,
    "generator": generator,
    "function that takes the model": lambda: lambda model: in_order(),
    "loader": Loader,
}


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_of_the_same_batches_trains_the_same(kind):
    arrays = fit(Problem(network(), squared, regression()), RECIPE, probes=())
    other = fit(Problem(network(), squared, SOURCES[kind]()), RECIPE, probes=())
    # The gather is part of one program and not of the other: rounding, over 30 steps.
    np.testing.assert_allclose(
        other.record["loss"].value, arrays.record["loss"].value, rtol=1e-4
    )


def test_looking_at_a_generator_loses_none_of_its_batches():
    """Checks, the probe batch and the evaluation look at it before training does."""
    seen = []

    def loss(model, batch):
        jax.debug.callback(lambda i: seen.append(int(i)), batch["i"][0])
        return squared(model, (batch["x"], batch["y"]))

    x, y = regression()
    batches = (
        {"x": x[:8], "y": y[:8], "i": np.full(8, k, np.int32)} for k in range(20)
    )
    problem = Problem(network(), loss, batches)
    _, record = fit(problem, Recipe(steps=12), probes=())
    jax.effects_barrier()
    assert seen == list(range(12))
    assert record.meta["ended"] == "completed"


def test_an_iterator_that_ends_ends_the_run():
    _, record = fit(
        Problem(network(), squared, iter(in_order())), Recipe(steps=50), probes=()
    )
    assert record.meta["ended"] == "completed" and record.meta["steps"] == 6


def test_a_function_is_given_the_model_as_it_is():
    weights = []

    def source(model):
        weights.append(float(np.asarray(model["first"]["W"])[0, 0]))
        return in_order()

    fit(
        Problem(network(), squared, source),
        Recipe(steps=18, learning_rate=1e-2),
        probes=(),
    )
    assert len(set(weights[-3:])) == 3  # three epochs, three models


def test_dict_batches_and_a_dict_of_arrays():
    x, y = regression()
    loss = lambda model, batch: squared(model, (batch["x"], batch["y"]))
    pair = fit(Problem(network(), squared, (x, y)), RECIPE, probes=())
    named = fit(Problem(network(), loss, {"x": x, "y": y}), RECIPE, probes=())
    assert_same_series(pair.record, named.record)


def test_a_resumed_iterable_goes_on_where_it_was(tmp_path):
    problem = Problem(network(), squared, in_order)
    unbroken = fit(problem, RECIPE, probes=())
    fit(
        problem,
        Recipe(**(vars(RECIPE) | {"steps": 13})),
        probes=(),
        checkpoint=tmp_path,
    )
    resumed = fit(problem, RECIPE, probes=(), checkpoint=tmp_path)
    assert_bitwise_equal(unbroken.fitted.model, resumed.fitted.model)
    assert_same_series(unbroken.record, resumed.record)


def test_ragged_batches_train_but_cannot_be_accumulated():
    x, y = regression(20)
    ragged = [(x[:16], y[:16]), (x[16:], y[16:])]
    problem = Problem(network(), squared, ragged)
    _, record = fit(problem, Recipe(steps=6), probes=())
    assert record.meta["steps"] == 6
    with pytest.raises(InputError, match="different shapes cannot be accumulated"):
        fit(problem, Recipe(steps=6, accumulate=2), probes=())


@pytest.mark.slow
def test_a_real_torch_loader():
    torch = pytest.importorskip("torch")
    from torch.utils.data import DataLoader, TensorDataset

    x, y = regression()
    data = TensorDataset(torch.from_numpy(x), torch.from_numpy(y))
    theirs = fit(
        Problem(network(), squared, DataLoader(data, batch_size=16)), RECIPE, probes=()
    )
    ours = fit(Problem(network(), squared, in_order()), RECIPE, probes=())
    assert_same_series(theirs.record, ours.record)


# -- The order of arrays ----------------------------------------------------------------


@pytest.mark.parametrize("n, size, accumulate", [(10, 4, 1), (7, 7, 2), (5, 3, 3)])
def test_every_epoch_sees_every_example_once(n, size, accumulate):
    order = Order(n, Recipe(batch_size=size, accumulate=accumulate, seed=5))
    flat = np.concatenate([order.take(t).ravel() for t in range(4 * n)])
    for epoch in range(4):
        assert sorted(flat[epoch * n : (epoch + 1) * n]) == list(range(n))


def test_a_block_of_the_order_is_its_updates():
    order = Order(11, Recipe(batch_size=4, accumulate=2, seed=1))
    block = order.block(3, 9)
    fresh = Order(11, Recipe(batch_size=4, accumulate=2, seed=1))
    for i in (8, 0, 5):
        np.testing.assert_array_equal(block[i], fresh.take(3 + i))


# -- Models -----------------------------------------------------------------------------


def test_a_dataclass_pytree_trains():
    @jax.tree_util.register_dataclass
    @dataclass
    class Line:
        slope: jax.Array
        offset: jax.Array

    x = np.linspace(-1, 1, 64, dtype=np.float32)
    loss = lambda m, batch: ((m.slope * batch[0] + m.offset - batch[1]) ** 2).mean()
    line = Line(jnp.float32(0), jnp.float32(0))
    fitted, _ = fit(
        Problem(line, loss, (x, 3 * x - 1)),
        Recipe("sgd", 0.3, steps=300, batch_size=64),
        probes=(),
    )
    # Least squares without noise: gradient descent converges to the line itself.
    assert isinstance(fitted.model, Line)
    np.testing.assert_allclose([fitted.model.slope, fitted.model.offset], [3, -1], 1e-4)


@pytest.mark.slow
def test_an_equinox_model_drops_out_in_training_only():
    class Net(eqx.Module):
        linear: eqx.nn.Linear
        dropout: eqx.nn.Dropout
        steps: jax.Array  # an integer: travels along, is not trained

        def __call__(self, x, key):
            return self.linear(self.dropout(x, key=key))

    net = Net(
        eqx.nn.Linear(3, 1, key=jax.random.key(0)), eqx.nn.Dropout(0.5), jnp.int32(7)
    )

    def loss(model, batch, key):
        x, y = batch
        keys = jax.random.split(key, len(x))
        return ((jax.vmap(model)(x, keys) - y) ** 2).mean()

    predict = lambda model, x: jax.vmap(lambda r: model(r, None))(x)
    fitted, record = fit(Problem(net, loss, regression(), predict=predict), RECIPE)
    x, y = regression()
    # Without dropout the model is its linear part; rounding of a sum of three.
    W, b = np.asarray(fitted.model.linear.weight), np.asarray(fitted.model.linear.bias)
    np.testing.assert_allclose(fitted.predict(x), x @ W.T + b, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(
        record["train.loss"].value[-1], ((x @ W.T + b - y) ** 2).mean(), rtol=1e-4
    )
    assert int(fitted.model.steps) == 7 and not fitted.model.dropout.inference


@pytest.mark.slow
def test_flax_batch_norm_and_dropout(tmp_path):
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(3, 8, rngs=rngs)
            self.norm = nnx.BatchNorm(8, momentum=0.9, rngs=rngs)
            self.dropout = nnx.Dropout(0.2, rngs=rngs)
            self.last = nnx.Linear(8, 1, rngs=rngs)

        def __call__(self, x):
            return self.last(self.dropout(nnx.relu(self.norm(self.first(x)))))

    # Flax promotes types implicitly.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        net = Net(nnx.Rngs(0))
        x, y = regression()
        loss = lambda model, batch: ((model(batch[0]) - batch[1]) ** 2).mean()
        problem = Problem(net, loss, (x, y), predict=lambda m, x: m(x))
        recipe = Recipe(steps=60, batch_size=32, learning_rate=1e-2)
        fitted, record = fit(problem, recipe, probes=())
        assert not np.allclose(np.asarray(fitted.model.norm.mean[...]), 0)
        np.testing.assert_array_equal(np.asarray(net.norm.mean[...]), 0)

        # In evaluation the running statistics normalise, and nothing is dropped.
        m = fitted.model
        h = x @ np.asarray(m.first.kernel[...]) + np.asarray(m.first.bias[...])
        mean, var = np.asarray(m.norm.mean[...]), np.asarray(m.norm.var[...])
        h = (h - mean) / np.sqrt(var + m.norm.epsilon)
        h = h * np.asarray(m.norm.scale[...]) + np.asarray(m.norm.bias[...])
        out = np.maximum(h, 0) @ np.asarray(m.last.kernel[...])
        out = out + np.asarray(m.last.bias[...])
        np.testing.assert_allclose(fitted.predict(x), out, rtol=1e-4, atol=1e-5)

        again, _ = fit(problem, recipe, probes=(), steps_per_call=60)
        np.testing.assert_array_equal(fitted.predict(x), again.predict(x))

        # Counters of random numbers and statistics are saved too.
        half = Recipe(**(vars(recipe) | {"steps": 31}))
        fit(problem, half, probes=(), checkpoint=tmp_path)
        resumed, both = fit(problem, recipe, probes=(), checkpoint=tmp_path)
        np.testing.assert_array_equal(fitted.predict(x), resumed.predict(x))
        assert_same_series(record, both)

        fitted.save(tmp_path / "model.npz")
        loaded = type(fitted).load(tmp_path / "model.npz", problem)
        np.testing.assert_array_equal(fitted.predict(x), loaded.predict(x))


def test_a_shared_flax_variable_stays_shared():
    nnx = pytest.importorskip("flax.nnx")

    class Tied(nnx.Module):
        def __init__(self, rngs):
            self.down = nnx.Linear(3, 3, rngs=rngs)
            self.up = nnx.Linear(3, 3, rngs=rngs)
            self.up.kernel = self.down.kernel

        def __call__(self, x):
            return self.up(nnx.tanh(self.down(x)))

    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        x, _ = regression()
        loss = lambda model, batch: ((model(batch) - batch) ** 2).mean()
        fitted, record = fit(
            Problem(Tied(nnx.Rngs(0)), loss, x), Recipe(steps=20), probes=()
        )
        assert record.meta["parameters"] == 9 + 3 + 3
        assert fitted.model.up.kernel is fitted.model.down.kernel
        assert record["loss"].value[-1] < record["loss"].value[0]


def test_a_bare_array_and_its_prediction():
    x, y = regression()
    loss = lambda w, batch: ((batch[0] @ w - batch[1]) ** 2).mean()
    w = jnp.zeros((3, 1))
    fitted, record = fit(
        Problem(w, loss, (x, y)), Recipe("sgd", 0.1, steps=5), probes=()
    )
    assert fitted.model.shape == (3, 1) and record.meta["parameter_paths"]
    with pytest.raises(InputError, match="no `predict`"):
        fitted.predict(x)
    assert apply(network(), x).shape == (96, 1)


@pytest.mark.parametrize("shape", [(96,), (96, 1)])
def test_targets_of_zero_and_one_are_classes_whatever_their_type(shape):
    x, _ = regression()
    y = np.resize(np.float32([0, 1]), shape)
    problem = Problem(network(), squared, (x, y))
    assert task_of(problem) == "classification"
    assert labels_of(y).dtype.kind == "i" and labels_of(y).tolist() == [0, 1] * 48
    assert task_of(Problem(network(), squared, (x, y / 2))) == "regression"
