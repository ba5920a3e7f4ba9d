"""Every optimiser and schedule is Optax's, composed as the recipe says."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from steepest import Problem, Recipe, fit
from steepest.core.errors import InputError
from steepest.training.recipe import describe, length, optimiser, rate, rates

from .conftest import network, regression, squared


RATE, STEPS = 1e-2, 6

# Written out as a user of Optax would: its own alias where there is one.
PEERS = {
    "sgd": optax.sgd(RATE),
    "momentum": optax.sgd(RATE, momentum=0.8),
    "nesterov": optax.sgd(RATE, momentum=0.8, nesterov=True),
    "adagrad": optax.adagrad(RATE),
    "rmsprop": optax.rmsprop(RATE),
    "adam": optax.adam(RATE, b1=0.8, b2=0.95, eps=1e-6),
    "adamw": optax.adamw(
        RATE,
        b1=0.8,
        b2=0.95,
        eps=1e-6,
        weight_decay=0.1,
        mask=lambda params: jax.tree.map(lambda p: p.ndim > 1, params),
    ),
    "lion": optax.lion(RATE, b1=0.8, b2=0.95, weight_decay=0.0),
}


def walk(transformation, steps=STEPS, scale=1.0):
    """Parameters after some updates on a fixed sequence of gradients."""
    params = jax.tree.map(jnp.asarray, network())
    state = transformation.init(params)
    for step in range(steps):
        leaves, tree = jax.tree.flatten(params)
        keys = jax.random.split(jax.random.key(step), len(leaves))
        g = [scale * jax.random.normal(k, p.shape) for k, p in zip(keys, leaves)]
        with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
            updates, state = transformation.update(
                jax.tree.unflatten(tree, g), state, params
            )
        params = optax.apply_updates(params, updates)
    return params


def assert_close(a, b):
    # The same arithmetic in another grouping: a few ulp an update.
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", PEERS)
def test_every_optimiser_is_that_of_optax(name):
    recipe = Recipe(name, RATE, momentum=0.8, beta1=0.8, beta2=0.95, epsilon=1e-6)
    if name == "adamw":
        recipe = replace(recipe, weight_decay=0.1)
    assert_close(walk(optimiser(recipe, STEPS)), walk(PEERS[name]))


@pytest.mark.slow
def test_clipping_is_by_the_global_norm():
    recipe = Recipe("sgd", RATE, clip_norm=0.5)
    peer = optax.chain(optax.clip_by_global_norm(0.5), optax.sgd(RATE))
    assert_close(walk(optimiser(recipe, STEPS), scale=9.0), walk(peer, scale=9.0))


@pytest.mark.slow
def test_the_recorded_norm_is_that_before_clipping():
    problem = Problem(network(), squared, regression())
    free, clipped = (
        fit(problem, Recipe("sgd", 1e-9, steps=3, clip_norm=norm), probes=()).record
        for norm in (None, 1e-3)
    )
    np.testing.assert_allclose(
        free["gradient_norm"].value, clipped["gradient_norm"].value, rtol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sgd", "adam", "momentum"])
def test_decay_is_decoupled_and_leaves_biases_alone(name):
    """With zero gradients what is left is W ← (1 − ηλ) W, and b ← b."""
    recipe = Recipe(name, 0.1, weight_decay=0.5)
    params = jax.tree.map(lambda p: jnp.ones_like(p), network())
    transformation = optimiser(recipe, 3)
    state = transformation.init(params)
    for _ in range(3):
        zero = jax.tree.map(jnp.zeros_like, params)
        updates, state = transformation.update(zero, state, params)
        params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(params["first"]["W"], 0.95**3, rtol=1e-6)
    np.testing.assert_array_equal(params["first"]["b"], 1.0)


def test_warm_up_and_cosine_are_optax_s():
    """Ours rises from peak/warm-up in the first update, so that none is lost."""
    recipe = Recipe(learning_rate=0.2, warmup=10, schedule="cosine")
    mine = rate(recipe, 100)
    peer = optax.warmup_cosine_decay_schedule(0.02, 0.2, 10, 100)
    for step in (0, 1, 5, 9, 10, 11, 50, 99, 100):
        np.testing.assert_allclose(mine(step), peer(step), rtol=1e-6, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("schedule", ["constant", "cosine", "linear"])
@pytest.mark.parametrize("warmup", [0, 7])
def test_the_recorded_rates_are_those_of_the_schedule(schedule, warmup):
    recipe = Recipe(
        "sgd", 0.1, schedule=schedule, warmup=warmup, steps=40, batch_size=32
    )
    _, record = fit(Problem(network(), squared, regression()), recipe, probes=())
    expected = [float(np.asarray(rate(recipe, 40)(step))) for step in range(40)]
    # 1 + cos cancels near the end of the run: an absolute error of peak × 2ε of float32.
    np.testing.assert_allclose(
        record["learning_rate"].value, expected, rtol=1e-6, atol=0.1 * 2.4e-7
    )


def test_the_rate_of_an_update_is_the_one_recorded():
    """Under SGD on a slope of 1 the parameter falls by the rate, update by update."""
    problem = Problem(
        {"w": jnp.float32(0)}, lambda m, b: m["w"] + 0 * b.sum(), np.zeros((4, 1))
    )
    recipe = Recipe("sgd", 0.5, schedule="cosine", warmup=5, steps=30)
    _, record = fit(problem, recipe, probes=())
    fallen = -np.diff(record["loss"].value)
    # Differences of numbers up to 10: their rounding is 10 · 2⁻²⁴.
    np.testing.assert_allclose(fallen, record["learning_rate"].value[:-1], atol=2e-6)


def test_a_schedule_of_optax_and_a_transformation_are_taken_as_they_are():
    problem = Problem(network(), squared, regression())
    schedule = optax.exponential_decay(0.1, 10, 0.5)
    _, record = fit(problem, Recipe("sgd", schedule, steps=12), probes=())
    assert record["learning_rate"].value[10] == pytest.approx(0.05)
    mine, record = fit(problem, Recipe(optax.sgd(0.1), steps=12), probes=())
    named, _ = fit(problem, Recipe("sgd", 0.1, steps=12), probes=())
    assert np.isnan(record["learning_rate"].value).all()
    assert_close(mine.model, named.model)


def test_accumulation_equals_the_large_batch():
    """The mean of 4 means of 16 is the mean of 64, but for rounding in a sum."""
    problem = Problem(network(), squared, regression())
    recipe = Recipe("sgd", 0.05, steps=30, batch_size=64, shuffle=False)
    whole = fit(problem, recipe, probes=())
    parts = fit(problem, replace(recipe, batch_size=16, accumulate=4), probes=())
    # 30 updates, each with a few ulp (6e-8) of rounding; the rate damps them.
    np.testing.assert_allclose(
        parts.record["loss"].value, whole.record["loss"].value, rtol=1e-5
    )
    for a, b in zip(
        jax.tree.leaves(parts.fitted.model), jax.tree.leaves(whole.fitted.model)
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_rates_of_a_recipe_without_any_are_unknown():
    assert np.isnan(rates(Recipe(optax.sgd(1.0)), 10, np.arange(3), 8)).all()


def test_how_long_a_run_is():
    assert length(Recipe(epochs=3, batch_size=10), 95) == 29  # ⌈3 · 95 / 10⌉
    assert length(Recipe(epochs=3, batch_size=10, accumulate=2), 95) == 15
    assert length(Recipe(epochs=1, batch_size=1000), 95) == 1
    assert length(Recipe(steps=7, epochs=3), 95) == 7
    assert length(Recipe(epochs=3), None) is None


def test_a_recipe_is_plain_data():
    said = describe(Recipe("adam", optax.constant_schedule(0.1)))
    assert said["optimizer"] == "adam" and said["learning_rate"] == "<function>"


@pytest.mark.parametrize(
    "change, message",
    [
        ({"optimizer": "adma"}, "no optimiser 'adma'; choose one of sgd"),
        ({"precision": "float8"}, "`precision` must be"),
        ({"schedule": "step"}, "`schedule` must be"),
        ({"batch_size": 0}, "`batch_size` must be a positive number, not 0"),
        ({"accumulate": 0}, "`accumulate` must be"),
        ({"steps": 0}, "`steps` must be"),
        ({"epochs": float("inf")}, "`epochs` must be"),
        ({"learning_rate": -1.0}, "`learning_rate` must be"),
        ({"learning_rate": float("nan")}, "`learning_rate` must be"),
        ({"clip_norm": 0.0}, "`clip_norm` must be"),
        ({"warmup": -1}, "`warmup` must be a number, 0 or more, not -1"),
        ({"momentum": "a lot"}, "`momentum` must be a number"),
        ({"batch_size": 16.0}, "`batch_size` must be a whole number, not 16.0"),
        ({"seed": -1}, "`seed` must lie between 0"),
        ({"seed": 2**40}, "`seed` must lie between 0"),
        ({"seed": None}, "`seed` must be a whole number"),
        ({"optimizer": optax.adam}, "is a function; give a name, or .* called"),
        ({"learning_rate": lambda step: None}, "must return a number"),
        ({"learning_rate": lambda: 0.1}, "schedule .* cannot be computed: TypeError"),
    ],
)
def test_a_recipe_that_no_run_could_follow_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        fit(Problem(network(), squared, regression()), Recipe(**change))
