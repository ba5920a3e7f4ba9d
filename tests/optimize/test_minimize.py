"""Searches from labelled starts: where they end, and that no saddle is a success."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import InputError
from steepest.curvature import critical_point
from steepest.optimize import minimize
from steepest.problems import functions
from steepest.problems.functions import mgh


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def camel(x):
    a, b = x
    return (4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + (-4 + 4 * b**2) * b**2


SECOND_ORDER = ("trust-region", "cubic", "saddle-free", "damped-newton")


@pytest.mark.parametrize("start", [(0.0, 0.0), (1.2, 0.15)])
@pytest.mark.parametrize("method", [*SECOND_ORDER, "newton"])
def test_a_start_at_a_saddle_or_a_maximum_ends_in_a_minimum(method, start):
    """Both starts are where BFGS and Newton-CG of other libraries report success."""
    found = minimize(camel, jnp.asarray(start), method)
    np.testing.assert_allclose(found.value, -1.0316284534899, rtol=1e-12)
    assert found.success


def test_plain_newton_stops_on_the_saddle_and_says_what_it_is():
    loss = lambda x: x[0] ** 2 - x[1] ** 2
    found = minimize(loss, jnp.ones(2), "newton", escape=False)
    np.testing.assert_allclose(found.params, [0, 0], atol=1e-15)
    assert len(found.values) == 2  # one step
    assert found.verdict.kind == "saddle" and not found.success


def test_one_newton_step_solves_a_quadratic():
    scale = jnp.asarray([1.0, 4.0, 10.0])
    found = minimize(lambda x: jnp.sum(scale * x**2 - x), jnp.ones(3), "newton")
    np.testing.assert_allclose(found.params, 0.5 / scale, rtol=1e-14)
    assert len(found.values) == 2 and found.success


@pytest.mark.parametrize("method", SECOND_ORDER)
def test_the_banana_valley_is_walked_to_its_end(method):
    function = functions.get("rosenbrock")
    found = minimize(function.fun, jnp.asarray(function.starts[0]), method)
    np.testing.assert_allclose(found.params, [1, 1], rtol=1e-8)
    assert found.success and (np.diff(found.values) <= 0).all()
    assert len(found.path) == len(found.values) == len(found.gradient_norms)


@pytest.mark.parametrize("method", SECOND_ORDER)
def test_units_far_apart_do_not_end_a_search_early(method):
    """Brown's badly scaled problem, whose gradient is small beside 10¹² long before."""
    problem = mgh.get("brown-badly-scaled")
    found = minimize(problem.loss, jnp.asarray(problem.starts[0]), method)
    np.testing.assert_allclose(found.params, [1e6, 2e-6], rtol=1e-10)
    assert found.success


def test_meyer_is_followed_to_its_minimum():
    problem = mgh.get("meyer")
    found = minimize(problem.loss, jnp.asarray(problem.starts[0]), max_steps=400)
    np.testing.assert_allclose(found.value, problem.minima[0], rtol=1e-9)
    assert found.success


def test_a_second_search_with_one_loss_compiles_nothing():
    count = 0

    def loss(x):
        nonlocal count
        count += 1  # runs when the program is traced
        return jnp.sum((x - 1) ** 4 + x**2)

    minimize(loss, jnp.zeros(2))
    before = count
    minimize(loss, jnp.ones(2))
    assert count - before <= 1  # the check of what it returns


def test_steepest_descent_zigzags_where_newton_does_not():
    loss = lambda x: 0.5 * jnp.sum(jnp.asarray([1.0, 30.0]) * x**2)
    slow = minimize(loss, jnp.asarray([30.0, 1.0]), "steepest")
    fast = minimize(loss, jnp.asarray([30.0, 1.0]), "newton")
    assert slow.success and len(slow.values) > 10 * len(fast.values)


def test_a_search_that_is_cut_short_is_no_success():
    function = functions.get("rosenbrock")
    found = minimize(function.fun, jnp.asarray(function.starts[0]), max_steps=3)
    assert found.verdict.kind == "not critical" and "spent" in found.reason


@pytest.mark.slow
@pytest.mark.parametrize("method", ["trust-region", "cubic"])
def test_large_problems_are_solved_in_a_krylov_space(method):
    scale = jnp.linspace(1, 50, 300)
    loss = lambda p: jnp.sum(scale * (p["x"] - 1) ** 2 + 0.1 * (p["x"] - 1) ** 4)
    found = minimize(loss, {"x": jnp.zeros(300)}, method)
    np.testing.assert_allclose(found.params["x"], 1, atol=1e-7)
    assert found.verdict.kind == "minimum" and found.path == ()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["trust-region", "cubic", "saddle-free"])
@pytest.mark.parametrize("name", functions.names())
def test_no_success_is_false_on_any_named_function(name, method):
    function = functions.get(name)
    rng = np.random.default_rng(0)
    starts = [*function.starts]
    starts += [p.x for p in function.points if p.kind in ("saddle", "maximum")][:6]
    starts += [rng.uniform(*np.asarray(function.domain, float)) for _ in range(2)]
    for start in starts:
        x = jnp.asarray(np.asarray(start, float))
        found = minimize(function.fun, x, method)
        if found.success:
            assert is_minimum(function.fun, found.params)


def is_minimum(loss, x):
    """By the dense Hessian of JAX, and by 64 points around."""
    if np.linalg.eigvalsh(np.asarray(jax.hessian(loss)(x)))[0] <= 0:
        return False
    draws = np.random.default_rng(0).normal(size=(64, x.size))
    around = x[None] + 1e-4 * jnp.asarray(draws)
    return bool(jax.vmap(loss)(around).min() >= loss(x))


@pytest.mark.slow
@pytest.mark.parametrize("name", functions.names())
def test_every_labelled_point_is_judged_rightly(name):
    function = functions.get(name)
    for point in function.points:
        kind = critical_point(function.fun, jnp.asarray(point.x, float)).kind
        if point.kind.startswith("degenerate"):
            assert kind == "inconclusive"
        else:
            assert kind == point.kind


@pytest.mark.slow
@pytest.mark.parametrize("name", mgh.names())
def test_no_success_is_false_on_any_least_squares_problem(name):
    problem = mgh.get(name)
    for start in problem.starts:
        found = minimize(problem.loss, jnp.asarray(start, float), max_steps=400)
        if found.success:
            assert is_minimum(problem.loss, found.params)
            # values at which solvers stop although no minimum is there
            assert not np.isclose(found.value, problem.traps, rtol=1e-6).any()


def test_bad_input_is_refused_in_one_sentence():
    with pytest.raises(InputError, match="no method"):
        minimize(camel, jnp.zeros(2), "adam")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="another point"):
        minimize(lambda x: jnp.sum(jnp.log(x)), -jnp.ones(2))
    with pytest.raises(InputError, match="max_steps"):
        minimize(camel, jnp.zeros(2), max_steps=0)
    with pytest.raises(InputError, match="one floating-point number"):
        minimize(lambda x: x, jnp.zeros(2))
    with pytest.raises(InputError, match="whole number"):
        minimize(camel, jnp.zeros(2), max_steps=1.5)  # type: ignore[arg-type]
    for wrong in (float("nan"), -1.0):
        with pytest.raises(InputError, match="gradient_tolerance"):
            minimize(camel, jnp.zeros(2), gradient_tolerance=wrong)
        with pytest.raises(InputError, match="gradient_tolerance"):
            critical_point(camel, jnp.zeros(2), gradient_tolerance=wrong)
