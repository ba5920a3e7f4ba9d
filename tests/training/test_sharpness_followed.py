"""The probe against a full search on the same batch at the same parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from steepest import Problem, Recipe, fit
from steepest.training.probes import Probe
from steepest.training.probes.sharpness import preconditioner, sharpness_probe


rng = np.random.default_rng(0)
X = rng.normal(size=(96, 5)).astype(np.float32)
Y = np.sin(X[:, :2]).astype(np.float32)


def loss(model, batch):
    x, y = batch
    h = jnp.tanh(x @ model["W"] + model["b"][None])
    return jnp.mean(jnp.square(h @ model["V"] - y))


MODEL = {
    "W": jnp.asarray(rng.normal(size=(5, 12)) / 2, jnp.float32),
    "b": jnp.zeros(12),
    "V": jnp.asarray(rng.normal(size=(12, 2)) / 3, jnp.float32),
}


def kept(store):
    """A probe that keeps the parameters (and P) of every step measured."""

    def prepare(context):
        def run(snapshot):
            P = preconditioner(snapshot, context.recipe)
            store.append(
                jax.tree.map(jnp.copy, (snapshot.carry.params, P, context.batch))
            )
            return {}

        return run

    return Probe("kept", prepare, every=40)


@pytest.fixture(scope="module")
def run():
    store = []
    probe = sharpness_probe(lowest=True, trace=True)._replace(every=40)
    problem = Problem(MODEL, loss, (X, Y))
    recipe = Recipe(steps=200, learning_rate=1e-2, batch_size=16)
    record = fit(problem, recipe, probes=[kept(store), probe]).record
    assert not record.missing
    return record, store


@jax.jit
def dense(params, batch):
    theta, unravel = ravel_pytree(params)
    return jax.hessian(lambda t: loss(unravel(t), batch))(theta)


def exact(params, batch, P=None):
    """The spectrum by a dense Hessian, scaled on both sides."""
    H = np.asarray(dense(params, batch), np.float64)
    p = 1.0 if P is None else np.asarray(ravel_pytree(P)[0], np.float64) ** -0.5
    return np.linalg.eigvalsh((H * p).T * p)


def test_reliable_values_are_those_of_the_dense_hessian(run):
    record, store = run
    at = record["sharpness"].step
    assert list(at) == [0, 40, 80, 120, 160, 200]
    for i, (params, _, batch) in enumerate(store):
        values = exact(params, batch)
        found = {
            name: float(record[name].value[i])
            for name in record.series
            if name.startswith("sharpness") and len(record[name].step) == len(at)
        }
        top, slack = values[-1], 1e-5 * values[-1]  # of a float32 product
        assert found["sharpness"] <= top + slack
        if found["sharpness.reliable"]:
            assert found["sharpness.residual"] <= 0.05 * found["sharpness"]
            assert found["sharpness"] >= 0.95 * top
        assert values[0] - slack <= found["sharpness.lowest"] <= top
        error = abs(found["sharpness.trace"] - values.sum())
        # of 4 probes the standard error is itself known to within a factor of some 3
        assert error <= 6 * found["sharpness.trace_error"] + 0.02 * top
    assert record["sharpness.reliable"].value.mean() > 0.5


def test_the_preconditioned_series_is_that_of_the_scaled_hessian(run):
    record, store = run
    series = record["sharpness.preconditioned"]
    assert list(series.step) == [40, 80, 120, 160, 200]
    for value, (params, P, batch) in zip(series.value, store[1:], strict=True):
        np.testing.assert_allclose(value, exact(params, batch, P)[-1], rtol=0.05)


def test_what_is_not_asked_for_is_not_written():
    problem = Problem(MODEL, loss, (X, Y))
    record = fit(
        problem, Recipe(steps=20, batch_size=16), probes=[sharpness_probe()]
    ).record
    names = {name for name in record.series if name.startswith("sharpness")}
    plain = {"sharpness", "sharpness.residual", "sharpness.reliable"}
    assert names == plain | {"sharpness.preconditioned"}


def test_a_hessian_that_is_not_finite_costs_its_value_alone():
    """|w|^1.5 has an infinite second derivative at 0, but a value and a slope."""

    def kinked(model, batch):
        return loss(model, batch) + jnp.sum(jnp.abs(model["c"]) ** 1.5)

    model = MODEL | {"c": jnp.zeros(2)}
    problem = Problem(model, kinked, (X, Y))
    recipe = Recipe(optimizer="sgd", steps=5, batch_size=16)
    record = fit(problem, recipe, probes=[sharpness_probe()]).record
    assert not any("sharpness" in name for name in record.missing)
    assert not record["sharpness.reliable"].value.any()
    assert np.isnan(record["sharpness"].value).all()
    assert record.meta["steps"] == 5
