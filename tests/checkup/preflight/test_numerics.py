"""The facts `numerics.*` of small programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import Problem
from steepest.checkup.preflight.numerics import (
    clipped,
    looker,
    narrow,
    scaled_twice,
    watched,
)
from steepest.core import jaxpr


X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)
MODEL = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}


def logits(model, x):
    return x @ model["w"] + model["b"][None, :]


def loss(model, batch):
    x, y = batch
    return -jax.nn.log_softmax(logits(model, x))[jnp.arange(len(y)), y].mean()


def look(fun, *args):
    program = jaxpr.trace(fun, *args)
    return watched(program.closed)(list(program.values))


class TestHeadroom:
    def test_an_exponential_that_nearly_overflows_is_named(self):
        fact = look(lambda x: jnp.log(jnp.exp(x).sum()), jnp.float32([88.0, 1.0]))
        assert fact["bits.primitive"] == "exp"
        # exp(88) = 2^126.96 of 2^128
        assert fact["bits"] == pytest.approx(128 - 88 / np.log(2), abs=1e-3)

    def test_a_mask_near_the_end_of_the_format_makes_nothing_larger(self):
        def masked(x):
            low = jnp.finfo(jnp.float32).min / 2
            return jax.nn.softmax(jnp.where(x > 0, x, low)).sum()

        fact = look(masked, jnp.float32([1.0, -1.0]))
        assert fact["bits"] is None or fact["bits"] > 100


class TestDigits:
    def test_a_difference_that_cancels_is_blamed(self):
        def one_pass(x):
            return jnp.mean(x**2) - jnp.mean(x) ** 2

        fact = look(one_pass, jnp.float32(1000 + 0.1 * np.sin(np.arange(32))))
        assert fact["error"] > 0.01
        assert fact["error.primitive"] == "sub"

    def test_a_stable_form_has_its_digits(self):
        fact = look(jnp.var, jnp.float32(1000 + 0.1 * np.sin(np.arange(32))))
        assert fact["error"] < 1e-5 and fact["error.primitive"] == ""

    def test_an_error_that_the_inputs_have_already_is_theirs(self):
        def squares(x, y):
            return jnp.mean((x - y) ** 2)

        x = jnp.float32(np.linspace(1, 2, 50))
        fact = look(squares, x, x * (1 + 3e-7))
        assert fact["error"] <= 16 * fact["error.of_inputs"]

    def test_the_first_and_the_trained_parameters_are_looked_at_by_one_program(self):
        at = looker(Problem(MODEL, loss, (X, Y)))
        first = at(Problem(MODEL, loss, (X, Y)))
        large = {"w": 50 * MODEL["w"], "b": MODEL["b"]}
        later = at(Problem(large, loss, (X, Y)))
        assert later["bits"] < first["bits"]
        assert first["error"] < 1e-5


class TestClipped:
    def bounded(self, bound, scale=1.0):
        def program(model, batch):
            x, y = batch
            p = jnp.maximum(jax.nn.softmax(scale * logits(model, x)), bound)
            return -jnp.log(p)[jnp.arange(len(y)), y].mean()

        return Problem({"w": jnp.eye(3, 2), "b": jnp.zeros(2)}, program, (X, Y))

    def test_the_share_of_entries_below_the_bound(self):
        (fact,) = clipped(self.bounded(0.25)) or ()
        # p < 1/4 where a logit is log 3 below the other: for one of two entries
        gap = np.abs(X[:, 0] - X[:, 1])
        assert fact["share"] == pytest.approx(np.mean(gap > np.log(3)) / 2, abs=0.05)

    def test_a_bound_that_is_not_reached(self):
        (fact,) = clipped(self.bounded(1e-10)) or ()
        assert fact["share"] == 0

    def test_clip_is_two_bounds(self):
        def program(model, batch):
            x, y = batch
            p = jnp.clip(jax.nn.sigmoid(logits(model, x)[:, 0]), 0.4, 0.6)
            t = y.astype(p.dtype)
            return -(t * jnp.log(p) + (1 - t) * jnp.log(1 - p)).mean()

        found = clipped(Problem(MODEL, program, (X, Y)))
        assert found and found[0]["share"] > 0.3

    def test_without_a_bound_there_is_nothing_to_measure(self):
        assert clipped(Problem(MODEL, loss, (X, Y))) is None


class TestFormats:
    def test_narrow_arrays_are_listed(self):
        model = {"w": jnp.ones((3, 2), jnp.bfloat16), "b": jnp.zeros(2)}
        (entry,) = narrow(Problem(model, loss, (X, Y)))
        assert entry == {"path": "w", "dtype": "bfloat16", "size": 6}

    def test_float32_is_not_narrow(self):
        assert narrow(Problem(MODEL, loss, (X, Y))) == []


class TestScaledTwice:
    def of(self, x):
        return scaled_twice(Problem(MODEL, loss, (x.astype(np.float32), Y)))

    def test_pixels_divided_twice(self):
        pixels = np.random.default_rng(0).integers(0, 256, (40, 3))
        fact = self.of(pixels / 255 / 255)
        assert fact and fact["share"] == 1 and fact["levels"] > 8

    def test_pixels_divided_once_are_larger(self):
        pixels = np.random.default_rng(0).integers(0, 256, (40, 3))
        assert self.of(pixels / 255)["largest"] > 0.5

    def test_small_measurements_are_no_multiples(self):
        assert self.of(0.001 * np.abs(X))["share"] < 0.3
