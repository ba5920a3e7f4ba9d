"""Steepest directions against their closed forms, and against every other unit step."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import InputError
from steepest.optimize.steepest import dual_norm, steepest_direction


RNG = np.random.default_rng(0)
G = {
    "W": jnp.asarray(RNG.normal(size=(3, 4)), jnp.float32),
    "b": jnp.asarray(RNG.normal(size=5), jnp.float32),
    "nothing": jnp.zeros((0, 2)),
}
P = jax.tree.map(lambda x: jnp.asarray(RNG.uniform(0.1, 9.0, x.shape), jnp.float32), G)
FLAT = np.asarray(jax.flatten_util.ravel_pytree(G)[0], np.float64)
FLAT_P = np.asarray(jax.flatten_util.ravel_pytree(P)[0], np.float64)
DUAL = {
    "l2": np.sqrt(np.sum(FLAT**2)),
    "l1": np.max(np.abs(FLAT)),
    "linf": np.sum(np.abs(FLAT)),
    "diagonal": np.sqrt(np.sum(FLAT**2 / FLAT_P)),
    "function": np.sqrt(np.sum(FLAT**2 / FLAT_P)),
}
NORM = {
    "l2": lambda d: np.sqrt(np.sum(d**2, -1)),
    "l1": lambda d: np.sum(np.abs(d), -1),
    "linf": lambda d: np.max(np.abs(d), -1),
    "diagonal": lambda d: np.sqrt(np.sum(FLAT_P * d**2, -1)),
    "function": lambda d: np.sqrt(np.sum(FLAT_P * d**2, -1)),
}
ARGUMENT = {
    "l2": "l2",
    "l1": "l1",
    "linf": "linf",
    "diagonal": P,
    "function": lambda g: jax.tree.map(jnp.divide, g, P),
}


def flat(tree):
    return np.asarray(jax.flatten_util.ravel_pytree(tree)[0], np.float64)


@pytest.mark.parametrize("name", DUAL)
def test_the_direction_has_unit_norm_and_falls_by_the_dual_norm(name):
    def both(g):
        return steepest_direction(g, ARGUMENT[name]), dual_norm(g, ARGUMENT[name])

    found, dual = jax.jit(both)(G)
    d = flat(found.direction)
    # 17 entries, a division and a root each: 10 eps
    np.testing.assert_allclose(NORM[name](d), 1, rtol=1.2e-6)
    np.testing.assert_allclose(found.slope, -DUAL[name], rtol=1.2e-6)
    np.testing.assert_allclose(dual, DUAL[name], rtol=1.2e-6)
    np.testing.assert_allclose(FLAT @ d, found.slope, rtol=1.2e-6)


@pytest.mark.parametrize("name", DUAL)
def test_no_other_unit_step_is_steeper(name):
    slope = -DUAL[name]  # which is that of the direction, by the test above
    others = np.random.default_rng(1).normal(size=(5000, FLAT.size))
    others[:2500] -= 3 * FLAT  # some that come close
    others /= NORM[name](others)[:, None]
    assert (others @ FLAT).min() >= slope * (1 + 1e-6)


def test_in_l2_the_angle_to_the_gradient_is_pi():
    d = flat(steepest_direction(G).direction)
    np.testing.assert_allclose(d, -FLAT / DUAL["l2"], atol=3e-7)


def test_in_linf_every_parameter_moves_by_one_against_its_sign():
    d = steepest_direction({"a": jnp.array([3e-9, -2.0, 0.0])}, "linf").direction
    np.testing.assert_array_equal(d["a"], [-1.0, 1.0, 0.0])


def test_in_l1_the_first_of_the_largest_entries_moves_alone():
    g = {"a": jnp.array([1.0, -2.0]), "b": jnp.array([[2.0], [0.5]])}
    d = steepest_direction(g, "l1").direction
    np.testing.assert_array_equal(d["a"], [0.0, 1.0])
    np.testing.assert_array_equal(d["b"], [[0.0], [0.0]])


def test_newtons_direction_is_the_steepest_in_the_norm_of_the_hessian():
    A = jnp.array([[3.0, 1.0], [1.0, 2.0]])
    g = jnp.array([1.0, -4.0])
    found = steepest_direction(g, lambda v: jnp.linalg.solve(A, v))
    newton = -np.linalg.solve(np.asarray(A), np.asarray(g))
    length = np.sqrt(newton @ np.asarray(A) @ newton)
    np.testing.assert_allclose(found.direction, newton / length, rtol=1e-5)
    np.testing.assert_allclose(found.slope, -length, rtol=1e-5)


@pytest.mark.parametrize("name", DUAL)
def test_extreme_gradients_neither_overflow_nor_vanish(name):
    scales = np.array([1.0, 1e-36, 1e-20, 1e20, 1e37], np.float32)
    g = jax.tree.map(lambda x: np.multiply.outer(scales, np.asarray(x)), G)
    found = jax.jit(jax.vmap(lambda g: steepest_direction(g, ARGUMENT[name])))(g)
    for d in jax.tree.leaves(found.direction):
        np.testing.assert_allclose(d, np.broadcast_to(d[:1], d.shape), rtol=3e-6)
    np.testing.assert_allclose(
        np.asarray(found.slope, np.float64) / scales, -DUAL[name], rtol=3e-6
    )


@pytest.mark.parametrize("name", DUAL)
def test_a_zero_gradient_has_no_direction(name):
    found = jax.jit(lambda g: steepest_direction(g, ARGUMENT[name]))(
        jax.tree.map(jnp.zeros_like, G)
    )
    np.testing.assert_array_equal(flat(found.direction), 0)
    assert found.slope == 0


@pytest.mark.slow
def test_dtypes_are_kept_and_may_differ_between_leaves():
    g = {"a": jnp.ones(3, jnp.bfloat16), "b": jnp.full((1,), 2.0, jnp.float32)}
    for norm in ("l2", "l1", "linf", jax.tree.map(jnp.ones_like, g)):
        d, slope = steepest_direction(g, norm)
        assert (d["a"].dtype, d["b"].dtype) == (jnp.bfloat16, jnp.float32)
        assert slope.dtype == jnp.float32
    with jax.enable_x64(True):
        d, slope = steepest_direction(jnp.array([3.0, 4.0], jnp.float64))
        assert slope == -5.0 and slope.dtype == d.dtype == jnp.float64


def test_directions_are_mapped_over_a_batch():
    gradients = jnp.array([[3.0, 4.0], [0.0, 0.0], [-1.0, 0.0]])
    found = jax.vmap(steepest_direction)(gradients)
    np.testing.assert_allclose(found.slope, [-5.0, 0.0, -1.0], rtol=1e-6)


@pytest.mark.parametrize(
    ("gradient", "norm", "message"),
    [
        ({}, "l2", "no numbers"),
        (jnp.zeros((0,)), "l2", "no numbers"),
        (jnp.arange(3), "l2", "floating-point"),
        (jnp.zeros(2), "l2", "critical point"),
        (jnp.zeros(2), "l1", "critical point"),
        (jnp.zeros(2), "linf", "critical point"),
        (jnp.zeros(2), jnp.ones(2), "critical point"),
        (jnp.array([1.0, jnp.nan]), "l1", "NaN or infinity"),
        (jnp.array([1.0, jnp.inf]), "l2", "NaN or infinity"),
        (jnp.ones(2), "l3", '"l2", "l1", "linf", not "l3"'),
        (jnp.ones(2), jnp.ones(3), "structure and the shapes"),
        (jnp.ones(2), jnp.array([1.0, 0.0]), "positive in every entry"),
        (jnp.ones(2), lambda g: jax.tree.map(jnp.negative, g), "positive definite"),
    ],
)
def test_what_has_no_steepest_direction_is_refused(gradient, norm, message):
    with pytest.raises(InputError, match=message):
        steepest_direction(gradient, norm)


def test_inside_jit_a_gradient_that_is_not_finite_makes_nan():
    norms = ("l2", "l1", "linf", jnp.ones(2))
    slopes = jax.jit(lambda g: [dual_norm(g, norm) for norm in norms])
    assert np.all(np.isnan(slopes(jnp.array([1.0, jnp.nan]))))
