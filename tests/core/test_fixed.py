"""A function stands for the program that it is now, and no longer than that."""

import jax
import jax.numpy as jnp
import numpy as np

from steepest.core._fixed import fixed
from steepest.curvature import critical_point
from steepest.optimize import least_squares, minimize


def test_a_number_that_was_rebound_is_seen():
    c = [1.0]
    loss = lambda x: c[0] * jnp.sum(x**2)
    assert minimize(loss, jnp.ones(2)).success
    c[0] = -3.0
    assert critical_point(loss, jnp.zeros(2)).kind == "maximum"
    c[0] = 1.0
    assert critical_point(loss, jnp.zeros(2)).kind == "minimum"


def test_an_array_that_was_changed_in_place_is_seen():
    b = np.ones(2, np.float32)
    loss = lambda x: jnp.sum(jnp.asarray(b) * x**2)
    assert critical_point(loss, jnp.zeros(2)).kind == "minimum"
    b[:] = -1
    assert critical_point(loss, jnp.zeros(2)).kind == "maximum"


class Model:
    sign = 1.0

    def __call__(self, x):
        return self.sign * jnp.sum(x**2)


def test_an_object_that_was_changed_is_seen():
    model = Model()
    assert critical_point(model, jnp.zeros(2)).kind == "minimum"
    model.sign = -1.0
    assert critical_point(model, jnp.zeros(2)).kind == "maximum"


def test_residuals_that_were_changed_are_seen():
    target = [2.0]
    residuals = lambda x: x - target[0]
    np.testing.assert_allclose(least_squares(residuals, jnp.ones(1)).params, 2)
    target[0] = 5.0
    np.testing.assert_allclose(least_squares(residuals, jnp.ones(1)).params, 5)


def test_a_rule_of_differentiation_that_was_changed_is_seen():
    """No program of the value shows it."""
    c = [1.0]

    @jax.custom_vjp
    def square(x):
        return jnp.sum(x**2)

    square.defvjp(lambda x: (square(x), x), lambda x, g: (2 * c[0] * g * x,))
    one = fixed(square, jnp.ones(2))
    c[0] = 3.0
    assert one != fixed(square, jnp.ones(2))


def test_equal_programs_are_equal_and_constants_tell_others_apart():
    a = jnp.arange(3.0)
    inner = jax.jit(lambda x, y: jnp.sum(x * y))
    loss = lambda k: lambda x: inner(x, jax.nn.relu(k))
    one, same, other = (fixed(loss(k), a) for k in (a, a, a + 1))
    assert one == same and hash(one) == hash(same) and one != other
    np.testing.assert_allclose(other(a), 8)  # 0·1 + 1·2 + 2·3
