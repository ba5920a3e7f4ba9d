"""Verdicts at points whose kind is known; never a minimum where there is none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import InputError
from steepest.curvature import critical_point


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


LABELLED = {
    "bowl": (lambda x: x[0] ** 2 + 3 * x[1] ** 2, (0, 0), "minimum"),
    "cap": (lambda x: -(x[0] ** 2) - 3 * x[1] ** 2, (0, 0), "maximum"),
    "saddle": (lambda x: x[0] ** 2 - x[1] ** 2, (0, 0), "saddle"),
    "cubic": (lambda x: x[0] ** 3, (0,), "inconclusive"),
    "near a cubic": (lambda x: x[0] ** 3, (1e-9,), "inconclusive"),
    "monkey saddle": (
        lambda x: x[0] ** 3 - 3 * x[0] * x[1] ** 2,
        (0, 0),
        "inconclusive",
    ),
    "quartic": (lambda x: x[0] ** 4 + x[1] ** 4, (0, 0), "inconclusive"),
    "hidden saddle": (lambda x: x[0] ** 2 - x[1] ** 4, (0, 0), "inconclusive"),
    "hidden minimum": (lambda x: x[0] ** 2 + x[1] ** 4, (0, 0), "inconclusive"),
    "constant": (lambda x: 0 * x[0] + 3, (0, 0), "inconclusive"),
    "slope": (lambda x: x[0] ** 2 + x[1] ** 2, (1, 0), "not critical"),
    "tail": (lambda x: jnp.exp(-x[0]), (30.0,), "not critical"),
}


@pytest.mark.parametrize("name", LABELLED)
def test_the_verdict_is_right(name):
    loss, x, kind = LABELLED[name]
    assert critical_point(loss, jnp.asarray(x, float)).kind == kind


@pytest.mark.parametrize("name", ["saddle", "cubic", "monkey saddle", "hidden saddle"])
def test_a_step_of_the_escape_lowers_the_loss(name):
    loss, x, _ = LABELLED[name]
    x = jnp.asarray(x, float)
    found = critical_point(loss, x)
    np.testing.assert_allclose(
        loss(x) - loss(x + found.escape), found.escape_decrease, rtol=1e-10
    )
    assert found.escape_decrease > 0


@pytest.mark.parametrize("name", ["bowl", "cap", "quartic", "hidden minimum"])
def test_there_is_no_escape_from_where_the_loss_falls_nowhere(name):
    loss, x, kind = LABELLED[name]
    found = critical_point(loss, jnp.asarray(x, float))
    assert (found.escape is None) == (kind != "maximum")


def test_eigenvalues_and_their_signs_are_counted():
    lam = jnp.asarray([-3.0, -1.0, 0.0, 2.0, 5.0])
    found = critical_point(lambda x: 0.5 * jnp.sum(lam * x**2), jnp.zeros(5))
    assert (found.num_negative, found.num_zero) == (2, 1)
    np.testing.assert_allclose([found.lowest.value, found.highest.value], [-3, 5])


@pytest.mark.slow
def test_large_problems_are_judged_by_products_alone():
    """800 parameters: beyond the dense limit."""
    n = 800
    ramp = jnp.linspace(1, 10, n)
    bowl = critical_point(lambda x: jnp.sum(ramp * x**2), jnp.zeros(n))
    assert bowl.kind == "minimum" and bowl.num_negative is None
    assert bowl.num_products < n
    saddle = ramp.at[3].set(-0.01)
    assert (
        critical_point(lambda x: jnp.sum(saddle * x**2), jnp.zeros(n)).kind == "saddle"
    )
    hidden = jnp.geomspace(1e-6, 10, n).at[0].set(-1e-6)
    found = critical_point(
        lambda x: jnp.sum(hidden * x**2), jnp.zeros(n), max_products=40
    )
    assert found.kind == "inconclusive"  # too short a search to find it, and it says so
    same = critical_point(
        lambda x: jnp.sum(x**2 - 10 * jnp.cos(2 * jnp.pi * x)), jnp.zeros(n)
    )
    assert same.kind == "minimum"  # one eigenvalue, n times


def test_float32_calls_small_curvature_zero():
    with jax.enable_x64(False):
        loss = lambda x: (x[0] + x[1]) ** 2 + jnp.float32(1e-8) * (x[0] - x[1]) ** 2
        assert critical_point(loss, jnp.zeros(2)).kind == "inconclusive"
    loss = lambda x: (x[0] + x[1]) ** 2 + 1e-8 * (x[0] - x[1]) ** 2
    assert critical_point(loss, jnp.zeros(2)).kind == "minimum"


@pytest.mark.parametrize("k", [3, 4, 5, 6])
@pytest.mark.parametrize("at", [1e-2, 1e-4, 1e-6])
def test_no_nearness_to_a_degenerate_point_makes_it_a_minimum(k, at):
    """x² + yᵏ has a positive definite Hessian for all y > 0, and for odd k no minimum."""
    found = critical_point(lambda x: x[0] ** 2 + x[1] ** k, jnp.asarray([0.0, at]))
    assert found.kind in ("inconclusive", "not critical")


def test_units_of_the_parameters_do_not_matter():
    """λ_max/λ_min is 10²⁴, beyond what float64 tells of H as it is."""
    loss = lambda x: (1e6 * x[0] - 1) ** 2 + (1e-6 * x[1] - 1) ** 2
    at = jnp.asarray([1e-6, 1e6])
    assert critical_point(loss, at).kind == "minimum"
    assert critical_point(lambda x: -loss(x), at).kind == "maximum"


def test_a_gradient_that_is_small_beside_the_stiff_direction_is_not_vanishing():
    loss = lambda x: 1e12 * x[0] ** 2 + (x[1] - 1) ** 2
    found = critical_point(loss, jnp.asarray([0.0, 1.1]))
    assert found.kind == "not critical"
    np.testing.assert_allclose(found.newton_decrease, 0.01)


def test_what_is_not_finite_is_refused():
    with pytest.raises(InputError, match="finite"):
        critical_point(lambda x: jnp.sum(jnp.log(x)), jnp.zeros(2))
    with pytest.raises(InputError, match="Hessian is not finite"):
        # a slope of zero at zero, and a second derivative that is infinite
        critical_point(lambda x: jnp.sum(jnp.abs(x) ** 1.5), jnp.zeros(2))
