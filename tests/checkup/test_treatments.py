"""Prescriptions as functions of the program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import Problem, Recipe
from steepest.checkup import Prescription, treat
from steepest.core.errors import InputError


X = np.linspace(-1, 1, 12, dtype=np.float32).reshape(6, 2)
Y = np.array([0, 1, 0, 1, 1, 0], np.int32)


def naive(model, batch):
    x, y = batch
    p = jax.nn.softmax(x @ model["w"])
    return -jnp.log(p)[jnp.arange(len(y)), y].mean()


PROBLEM = Problem({"w": jnp.eye(2)}, naive, (X, Y))
BATCH = (jnp.asarray(X), jnp.asarray(Y))


def test_advice_in_words_cannot_be_applied():
    with pytest.raises(InputError, match="Look again"):
        treat(Prescription("Look again."), PROBLEM, Recipe())


def test_fields_of_the_recipe_are_replaced():
    _, recipe = treat(Prescription("", {"epochs": 3}), PROBLEM, Recipe())
    assert recipe == Recipe(epochs=3)


@pytest.mark.slow
def test_a_stable_loss_is_finite_where_the_naive_one_is_not():
    problem, _ = treat(Prescription("", treatment="stable loss"), PROBLEM, Recipe())
    far = {"w": 1000 * jnp.eye(2)}
    assert not np.isfinite(naive(far, BATCH))
    value, slope = jax.value_and_grad(problem.loss)(far, BATCH)
    assert np.isfinite(value) and np.isfinite(slope["w"]).all()


@pytest.mark.parametrize("count", [2, 3, 4])
def test_a_stable_loss_keeps_its_signature(count):
    losses = {
        2: naive,
        3: lambda model, batch, key: naive(model, batch),
        4: lambda model, batch, key, state: (naive(model, batch), state),
    }
    given = Problem({"w": jnp.eye(2)}, losses[count], (X, Y))
    problem, _ = treat(Prescription("", treatment="stable loss"), given, Recipe())
    arguments = (given.model, BATCH, jax.random.key(0), (None, {}))[:count]
    value = problem.loss(*arguments)
    value = value[0] if count == 4 else value
    np.testing.assert_allclose(value, naive(given.model, BATCH), rtol=1e-6)


def test_wide_parameters_and_the_loss_in_the_old_format():
    narrow = Problem({"w": jnp.eye(2, dtype=jnp.bfloat16)}, naive, (X, Y))
    cure = Prescription("", treatment="wide parameters")
    problem, recipe = treat(cure, narrow, Recipe())
    assert problem.model["w"].dtype == jnp.float32
    assert recipe.precision == "bfloat16"


def test_inputs_normalised_once():
    twice = Problem(PROBLEM.model, naive, (X / 255, Y), validation=(X / 255, Y))
    cure = Prescription("", treatment="normalised once")
    problem, _ = treat(cure, twice, Recipe())
    np.testing.assert_allclose(problem.data[0], X, rtol=1e-6)
    np.testing.assert_array_equal(problem.data[1], Y)
    np.testing.assert_allclose(problem.validation[0], X, rtol=1e-6)


def test_whitened_inputs_have_the_covariance_of_noise_and_held_out_data_go_along():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 3)) @ rng.standard_normal((3, 3)) + 4.0
    x = x.astype(np.float32)
    y = np.zeros(500, np.int32)
    given = Problem({"w": jnp.ones((3, 2))}, naive, (x, y), (x[:7], y[:7]))
    problem, _ = treat(Prescription("", treatment="whitened inputs"), given, Recipe())
    white = problem.data[0]
    # float32 inputs
    np.testing.assert_allclose(np.cov(white.T), np.eye(3), atol=1e-4)
    np.testing.assert_allclose(white.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_array_equal(problem.validation[0], white[:7])
    assert white.dtype == np.float32


def test_pictures_are_not_whitened():
    x = np.zeros((6, 2, 2), np.float32)
    given = Problem({"w": jnp.ones((2, 2))}, naive, (x, Y))
    with pytest.raises(InputError, match="more than one axis"):
        treat(Prescription("", treatment="whitened inputs"), given, Recipe())
