"""The facts `numerics.*` of small programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import Problem
from steepest.checkup.preflight.numerics import (
    clipped,
    headroom,
    narrow,
    scaled_twice,
)


X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
Y = (X[:, 0] > 0).astype(np.int32)
MODEL = {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}


def logits(model, x):
    return x @ model["w"] + model["b"][None, :]


def loss(model, batch):
    x, y = batch
    return -jax.nn.log_softmax(logits(model, x))[jnp.arange(len(y)), y].mean()


class TestHeadroom:
    def test_an_exponential_that_nearly_overflows_is_named(self):
        def risky(model, x):
            return jnp.log(jnp.exp(model * x).sum())

        fact = headroom(risky, jnp.float32(1), jnp.float32([88.0, 1.0]))
        assert fact["bits.primitive"] == "exp"
        # exp(88) = 2^126.96 of 2^128
        assert fact["bits"] == pytest.approx(128 - 88 / np.log(2), abs=1e-3)

    def test_a_mask_near_the_end_of_the_format_makes_nothing_larger(self):
        def masked(model, x):
            low = jnp.finfo(jnp.float32).min / 2
            return jax.nn.softmax(jnp.where(x > 0, model * x, low)).sum()

        fact = headroom(masked, jnp.float32(1), jnp.float32([1.0, -1.0]))
        assert fact["bits"] is None or fact["bits"] > 100


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
