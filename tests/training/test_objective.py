"""The loss of the parameters alone, and what the next update makes of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from steepest import InputError, Problem, Recipe
from steepest.training import fit
from steepest.training._objective import limit_of, next_update, objective


RNG = np.random.default_rng(5)
X = RNG.normal(size=(48, 3)).astype(np.float32)
Y = (X @ np.array([1.0, -2.0, 0.5]) + 0.1).astype(np.float32)
A = X.T @ X / len(X)  # the Hessian of ½ mean (xw − y)²


def squared(model, batch):
    x, y = batch
    return 0.5 * jnp.mean((x @ model["w"] - y) ** 2)


def summed(model, batch):
    x, y = batch
    return 0.5 * jnp.sum((x @ model["w"] - y) ** 2)


def problem(loss=squared, **changes):
    parts = {"model": {"w": jnp.zeros(3)}, "data": (X, Y)} | changes
    return Problem(loss=loss, **parts)


SGD = Recipe(optimizer="sgd", learning_rate=0.1, batch_size=48, shuffle=False)


@pytest.mark.slow
def test_before_training_the_loss_is_that_of_the_whole_data():
    made = objective(problem(), SGD)
    H = jax.hessian(lambda w: made.loss({"w": w}))(made.params["w"])
    np.testing.assert_allclose(H, A, rtol=1e-5)  # float32
    assert (made.step, made.examples, made.limit) == (0, 48, 2.0)
    assert made.learning_rate == pytest.approx(0.1)
    assert made.preconditioner is None and not made.missing


def test_after_steps_it_stands_where_training_by_the_recipe_stands():
    made = objective(problem(), SGD, steps=7)
    run = fit(
        problem(),
        Recipe(
            optimizer="sgd", learning_rate=0.1, batch_size=48, shuffle=False, steps=7
        ),
        probes=(),
    )
    assert made.step == 7
    np.testing.assert_array_equal(made.params["w"], run.fitted.model["w"])


def test_the_next_update_of_gradient_descent_is_minus_rate_times_gradient():
    made = objective(problem(), SGD)
    expected = 0.1 * (X.T @ Y) / len(X)
    np.testing.assert_allclose(next_update(made)["w"], expected, rtol=1e-5)


def test_a_sum_is_brought_to_the_size_of_one_update():
    recipe = Recipe(optimizer="sgd", learning_rate=1e-3, batch_size=16)
    made = objective(problem(summed), recipe)
    assert made.is_sum and not objective(problem(), recipe).is_sum
    H = jax.hessian(lambda w: made.loss({"w": w}))(made.params["w"])
    np.testing.assert_allclose(H, 16 * A, rtol=1e-5)
    part = jax.hessian(lambda w: made.batch_loss({"w": w}, (X[:8], Y[:8])))(
        made.params["w"]
    )
    np.testing.assert_allclose(part, 16 * X[:8].T @ X[:8] / 8, rtol=1e-5)


def test_adam_divides_by_something_only_after_an_update():
    recipe = Recipe(batch_size=48)
    before, after = (objective(problem(), recipe, steps=n) for n in (0, 1))
    assert before.preconditioner is None and "no update" in before.missing
    # One update: v̂ is the square of the gradient, so P is its size.
    g = np.abs(X.T @ Y) / len(X)
    np.testing.assert_allclose(after.preconditioner["w"], g, rtol=1e-4)
    assert after.limit == pytest.approx(38.0)


def test_the_schedule_is_that_of_the_whole_run():
    recipe = Recipe(
        optimizer="sgd", learning_rate=1.0, schedule="cosine", batch_size=48, epochs=10
    )
    made = objective(problem(), recipe, steps=5)
    assert made.learning_rate == pytest.approx(0.5)  # half of ten updates are done


def test_iterates_lead_from_the_first_parameters_to_the_last():
    made = objective(problem(), SGD, steps=10, iterates=5)
    assert len(made.iterates) >= 5
    np.testing.assert_array_equal(made.iterates[0]["w"], 0)
    np.testing.assert_array_equal(made.iterates[-1]["w"], made.params["w"])


def test_a_part_of_the_data_is_the_same_at_every_call():
    first, second = (objective(problem(), SGD, examples=20) for _ in range(2))
    assert first.examples == 20 and first.total_examples == 48
    np.testing.assert_array_equal(first.batch[0], second.batch[0])


def test_no_limit_is_made_up_for_an_unknown_optimiser():
    made = objective(problem(), Recipe(optimizer=optax.sgd(0.1), batch_size=48))
    assert made.limit is None and np.isnan(made.learning_rate)
    assert limit_of("lion", 0.9, 0.9) is None
    assert limit_of("momentum", 0.5, 0.9) == 3.0


@pytest.mark.parametrize("wrong", [{"steps": -1}, {"examples": 0}])
def test_numbers_without_sense_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        objective(problem(), SGD, **wrong)


@pytest.mark.slow
def test_what_normalises_drops_out_and_draws_is_held_fixed():
    """A module of Flax that writes into itself, trained in half precision."""
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(3, 4, rngs=rngs)
            self.norm = nnx.BatchNorm(4, rngs=rngs)
            self.drop = nnx.Dropout(0.5, rngs=rngs)
            self.last = nnx.Linear(4, 1, rngs=rngs)

        def __call__(self, x):
            return self.last(self.drop(self.norm(self.first(x))))[:, 0]

    def loss(model, batch):
        return jnp.mean((model(batch[0]) - batch[1]) ** 2)

    with jax.numpy_dtype_promotion("standard"):  # Flax mixes formats of its own
        recipe = Recipe(batch_size=16, precision="bfloat16")
        made = objective(problem(loss, model=Net(nnx.Rngs(0))), recipe, steps=3)
        first, second = (jax.jit(made.loss)(made.params) for _ in range(2))
        assert first == second and first.dtype == jnp.float32
        g = jax.jit(jax.grad(made.loss))(made.params)
        assert all(bool(jnp.isfinite(x).all()) for x in jax.tree.leaves(g))
