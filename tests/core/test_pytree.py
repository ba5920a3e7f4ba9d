"""A model taken apart and put together is the model, whatever made it."""

from dataclasses import dataclass

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from steepest import InputError
from steepest.core import evaluation_mode, paths, trainable


KEY = jax.random.key(0)
x = jnp.linspace(-1.0, 1.0, 12).reshape(3, 4)


class Net(nnx.Module):
    def __init__(self, rngs):
        self.layers = nnx.List(
            [nnx.List([nnx.Linear(4, 4, rngs=rngs)]), nnx.Linear(4, 4, rngs=rngs)]
        )
        self.norm = nnx.BatchNorm(4, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.tied = self.layers[1]  # one module under two names

    def __call__(self, x):
        x = self.norm(self.layers[0][0](x))
        return self.tied(self.layers[1](self.dropout(x)))


class Tied(eqx.Module):
    shared: eqx.nn.Shared

    def __init__(self):
        embedding = eqx.nn.Embedding(4, 4, key=KEY)
        linear = eqx.nn.Linear(4, 4, use_bias=False, key=KEY)
        self.shared = eqx.nn.Shared(
            (embedding, linear),
            lambda pair: pair[1].weight,
            lambda pair: pair[0].weight,
        )

    def __call__(self, token):
        embedding, linear = self.shared()
        return linear(embedding(token))


@jax.tree_util.register_dataclass
@dataclass
class Plain:
    w: jax.Array
    table: jax.Array
    scale: float = 2.0

    def __call__(self, x):
        return self.scale * x @ self.w[: self.table.size]


def dictionary(model, x):
    return jnp.tanh(x @ model["w"]) * model["scale"]


DICT = {
    "w": np.ones((4, 4), np.float32),
    "n": np.arange(3),
    "scale": 2.0,
    "f": jnp.tanh,
}
PLAIN = Plain(jnp.ones((4, 2)), jnp.arange(4))
MODELS = {
    "dict": (lambda: DICT, dictionary),
    "dataclass": (lambda: PLAIN, lambda m, x: m(x)),
    "list": (lambda: [jnp.ones((4, 2)), (jnp.zeros(2),)], lambda m, x: x @ m[0] + m[1][0][None]),
    "one array": (lambda: jnp.ones((4, 4)), lambda m, x: x @ m),
    "Equinox": (lambda: eqx.nn.MLP(4, 2, 8, 2, key=KEY), lambda m, x: jax.vmap(m)(x)),
    "Equinox, tied": (Tied, lambda m, x: jax.vmap(m)(jnp.arange(3))),
    "NNX": (lambda: Net(nnx.Rngs(0)), lambda m, x: m(x)),
}  # fmt: skip


def assert_same(a, b):
    assert jax.tree.structure(a) == jax.tree.structure(b)
    jax.tree.map(np.testing.assert_array_equal, a, b)


def plain(leaf):
    if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return np.array(leaf)


@pytest.mark.parametrize("name", MODELS)
def test_parts_put_together_are_the_model_and_come_apart_as_the_same_parts(name):
    make, apply = MODELS[name]
    taken = trainable(make())
    together = taken.merge(taken.params, taken.rest)
    np.testing.assert_array_equal(apply(together, x), apply(make(), x))
    params, rest = taken.split(taken.merge(taken.params, taken.rest))
    assert_same(params, taken.params)
    jax.tree.map(lambda a, b: None, rest, taken.rest)


@pytest.mark.parametrize("name", MODELS)
def test_the_parts_travel_through_jit_and_grad_and_a_step_changes_what_trains(name):
    make, apply = MODELS[name]
    taken = trainable(make())
    before = jax.tree.map(plain, taken.rest)

    @jax.jit
    def step(params, rest):
        loss = lambda p: jnp.mean((apply(taken.merge(p, rest), x) - 1) ** 2)
        gradient = jax.grad(loss)(params)
        return jax.tree.map(lambda p, g: p - 0.1 * g, params, gradient), loss(params)

    params, first = step(taken.params, taken.rest)
    _, second = step(params, taken.rest)
    assert second < first
    leaves = jax.tree.leaves(params)
    assert all(jnp.issubdtype(leaf.dtype, jnp.inexact) for leaf in leaves)
    assert len(paths(params)) == len(set(paths(params))) == len(leaves)
    assert_same(jax.tree.map(plain, taken.rest), before)  # what was given stays


def test_what_trains_and_what_does_not():
    taken = trainable(DICT)
    assert [a.shape for a in jax.tree.leaves(taken.params)] == [(4, 4)]
    assert [a.dtype.kind for a in jax.tree.leaves(taken.rest)] == ["i"]
    taken = trainable(Net(nnx.Rngs(0)))
    names = paths(taken.params)
    # 2 Linear layers, the second of them once for both of its names, and the affine
    # part of the normalisation
    assert len(names) == 6 and not any("mean" in n or "rngs" in n for n in names)
    assert any("mean" in n for n in paths(taken.rest))


def test_statistics_that_a_forward_pass_changed_are_read_back_and_the_model_is_left():
    model = Net(nnx.Rngs(0))
    taken = trainable(model)
    before = np.array(model.norm.mean[...])

    @jax.jit
    def run(params, rest):
        model = taken.merge(params, rest)
        model(x)
        return taken.split(model)[1]

    rest = run(taken.params, taken.rest)
    new = taken.merge(taken.params, rest)
    assert np.abs(np.asarray(new.norm.mean[...]) - before).max() > 1e-4
    np.testing.assert_array_equal(model.norm.mean[...], before)


def test_tied_weights_stay_tied_after_a_step():
    for make, apply, pair in [
        (Tied, MODELS["Equinox, tied"][1], lambda m: [part.weight for part in m.shared()]),
        (
            lambda: Net(nnx.Rngs(0)),
            MODELS["NNX"][1],
            lambda m: [m.tied.kernel[...], m.layers[1].kernel[...]],
        ),
    ]:  # fmt: skip
        taken = trainable(make())
        loss = lambda p, t=taken, f=apply: jnp.mean(f(t.merge(p, t.rest), x) ** 2)
        moved = jax.tree.map(
            lambda p, g: p - g, taken.params, jax.grad(loss)(taken.params)
        )
        one, other = pair(taken.merge(moved, taken.rest))
        assert np.abs(one - pair(make())[0]).max() > 1e-4
        np.testing.assert_array_equal(one, other)


def test_in_evaluation_mode_dropout_is_off_and_statistics_are_the_running_ones():
    model = Net(nnx.Rngs(0))
    calm = evaluation_mode(model)
    np.testing.assert_array_equal(calm(x), calm(x))
    # running statistics: the output of an example does not depend on the others
    np.testing.assert_allclose(calm(x)[:1], calm(x[:1]), rtol=1e-5, atol=1e-6)
    assert not np.array_equal(model(x), model(x)) and not model.dropout.deterministic
    dropout = eqx.nn.Dropout(0.5)
    assert evaluation_mode(dropout).inference and not dropout.inference
    assert evaluation_mode(DICT) == DICT


@pytest.mark.parametrize("model", [{"n": np.arange(3)}, {}, None, "model", jnp.tanh])
def test_a_model_without_anything_to_train_is_refused(model):
    with pytest.raises(InputError, match="nothing to train"):
        trainable(model)


def test_paths_read_as_one_would_write_them():
    tree = {"layers": [{"w": 1.0}, (2.0,)], 3: 4.0}
    assert set(paths({"layers": tree["layers"]})) == {"layers[0].w", "layers[1][0]"}
    assert paths({3: 4.0}) == ("[3]",) and paths(1.0) == ("parameters",)
    names = paths(trainable(eqx.nn.MLP(4, 2, 8, 1, key=KEY)).params)
    assert names[0] == "layers[0].weight"
    assert "layers[1].kernel" in paths(trainable(Net(nnx.Rngs(0))).params)
