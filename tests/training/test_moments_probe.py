"""What is read of the optimiser's state, against the state itself."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from steepest import Problem, Recipe, fit
from steepest.training.probes.keeping import keep_end
from steepest.training.probes.moments import MOMENTS


def problem(dead=0):
    """A linear regression, some of whose weights have no gradient."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 3)).astype(np.float32)
    y = x @ np.array([1.0, -2.0, 0.5], np.float32)

    def loss(params, batch):
        return jnp.mean((batch[0] @ params["w"] - batch[1]) ** 2)

    start = {"w": jnp.zeros(3), "unused": jnp.zeros(dead)} if dead else None
    return Problem(start or {"w": jnp.zeros(3)}, loss, (x, y))


def trained(recipe, **more):
    keeping, end = keep_end()
    record = fit(problem(**more), recipe, probes=(MOMENTS, keeping))[1]
    kept = end()
    assert kept is not None
    return record, kept.snapshot.carry


@pytest.mark.slow
def test_adam_counts_its_updates_and_its_small_roots_leave_out_what_has_no_gradient():
    recipe = Recipe(learning_rate=0.01, epsilon=0.3, batch_size=64, steps=50)
    record, carry = trained(recipe, dead=5)
    state = next(
        s
        for s in jax.tree.leaves(
            carry.moments, is_leaf=lambda x: isinstance(x, optax.ScaleByAdamState)
        )
        if isinstance(s, optax.ScaleByAdamState)
    )
    root = np.sqrt(np.asarray(state.nu["w"], np.float64) / (1 - 0.999**50))
    assert record["optimizer.count"].value[-1] == 50
    # float32
    share = record["optimizer.small_roots"].value[-1]
    assert share == pytest.approx(np.mean(root < 3.0), rel=1e-5)
    typical = np.exp(np.log(root).mean())
    assert record["optimizer.root"].value[-1] == pytest.approx(typical, rel=1e-4)
    size = np.linalg.norm(np.asarray(state.mu["w"])) / (1 - 0.9)
    assert record["optimizer.momentum_norm"].value[-1] == pytest.approx(size, rel=1e-5)


def test_momentum_is_in_the_units_of_a_gradient():
    recipe = Recipe(optimizer="momentum", learning_rate=1e-9, batch_size=64, steps=200)
    record, _ = trained(recipe)
    # the gradient stands still, so that the sum is g/(1 − β) after 200 updates
    g = record["gradient_norm"].value[-1]
    last = record["optimizer.momentum_norm"].value[-1]
    assert last == pytest.approx(10 * g, rel=1e-4)


def test_plain_descent_has_nothing_to_read():
    record, _ = trained(Recipe(optimizer="sgd", batch_size=64, steps=20))
    assert not [name for name in record.series if name.startswith("optimizer")]


def test_an_optimiser_of_ones_own_is_counted():
    recipe = Recipe(optimizer=optax.adam(1e-2), batch_size=64, steps=20)
    record, _ = trained(recipe)
    assert record["optimizer.count"].value[-1] == 20
    assert "optimizer.small_roots" not in record


def test_the_end_is_that_of_the_run():
    recipe = Recipe(optimizer="sgd", learning_rate=0.1, batch_size=64, steps=30)
    keeping, end = keep_end()
    fitted, _ = fit(problem(), recipe, probes=(keeping,))
    kept = end()
    assert kept is not None and kept.snapshot.step == 30
    np.testing.assert_array_equal(kept.snapshot.carry.params["w"], fitted.model["w"])
