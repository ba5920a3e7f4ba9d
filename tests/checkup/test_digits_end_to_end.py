"""Whole programs that lose digits: found by the check-up, and cured by its treatment."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import Problem, Recipe, check
from steepest.checkup import treat


pytestmark = pytest.mark.slow

RNG = np.random.default_rng(0)
X = RNG.normal(size=(256, 4)).astype(np.float32)
Y = (X @ np.float32([1, -1, 0.5, 0]) > 0).astype(np.int32)
W = jnp.asarray(0.3 * RNG.normal(size=(4, 2)), jnp.float32)
RECIPE = Recipe(epochs=10, learning_rate=1e-3)


def logits(model, x):
    return x.astype(model["w"].dtype) @ model["w"]


def loss(model, batch):
    x, y = batch
    return -jax.nn.log_softmax(logits(model, x))[jnp.arange(len(y)), y].mean()


def problem(**changes):
    parts = {"model": {"w": W}, "loss": loss, "data": (X, Y)} | changes
    return Problem(**parts)


def findings(program, recipe=RECIPE):
    return {f.rule: f for f in check(program, recipe, budget=240).findings}


def test_the_healthy_program_loses_none():
    assert not [r for r in findings(problem()) if r.startswith("NUM")]


def test_weights_in_bfloat16_that_no_update_moves():
    narrow = problem(model={"w": W.astype(jnp.bfloat16)})
    recipe = Recipe(epochs=10, learning_rate=1e-5)
    finding = findings(narrow, recipe)["NUM004"]
    cured = treat(finding.prescription, narrow, recipe)
    assert "NUM004" not in findings(*cured)


def test_the_epsilon_of_adam_in_float16():
    narrow = problem(model={"w": W.astype(jnp.float16)})
    finding = findings(narrow)["NUM009"]
    cured = treat(finding.prescription, narrow, RECIPE)
    assert "NUM009" not in findings(*cured)


def test_a_loss_in_one_pass_has_no_digits():
    def spread(model, batch):
        z = logits(model, batch[0])[:, 0] + 1000
        return jnp.mean(z**2) - jnp.mean(z) ** 2

    given = problem(loss=spread)
    finding = findings(given)["NUM003"]
    assert "sub" in finding.claim
    cured = treat(finding.prescription, given, RECIPE)
    assert "NUM003" not in findings(*cured)


def test_clipped_probabilities():
    def clipped(model, batch):
        x, y = batch
        p = jnp.maximum(jax.nn.softmax(20 * logits(model, x)), 1e-3)
        return -jnp.log(p)[jnp.arange(len(y)), y].mean()

    assert "NUM006" in findings(problem(loss=clipped))


def test_batches_of_ever_new_lengths():
    def batches():
        for size in range(8, 48):
            yield X[:size], Y[:size]

    found = findings(problem(data=batches), Recipe(steps=40))
    assert found["NUM007"].evidence[0].observed == pytest.approx(100)


def test_pixels_divided_twice():
    pixels = RNG.integers(0, 256, (256, 4))
    twice = problem(data=((pixels / 255 / 255).astype(np.float32), Y))
    finding = findings(twice)["NUM008"]
    cured = treat(finding.prescription, twice, RECIPE)
    assert "NUM008" not in findings(*cured)


def test_a_gradient_that_fits_float16_at_no_scale_but_1():
    def steep(model, batch):
        return 40000 * model["w"][0, 0] + 0 * logits(model, batch[0]).sum()

    recipe = Recipe(epochs=40, precision="float16", learning_rate=1e-5)
    finding = findings(problem(loss=steep), recipe)["NUM005"]
    assert finding.prescription.recipe == {"precision": "bfloat16"}
