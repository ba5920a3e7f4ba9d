"""Least squares against SciPy and closed forms, and what is said where it is hard."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from steepest import InputError
from steepest.optimize import least_squares
from steepest.problems.functions import mgh


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


METHODS = ("levenberg-marquardt", "gauss-newton", "dogleg")


@pytest.mark.parametrize("method", METHODS)
def test_a_linear_problem_takes_one_step(method):
    rng = np.random.default_rng(0)
    A, b = rng.normal(size=(8, 3)), rng.normal(size=8)
    J, y = jnp.asarray(A), jnp.asarray(b)
    found = least_squares(lambda x: J @ x - y, jnp.ones(3), method)
    expected = np.linalg.lstsq(A, b)[0]
    np.testing.assert_allclose(found.params, expected, rtol=1e-12)
    value = 0.5 * np.sum((A @ expected - b) ** 2)
    np.testing.assert_allclose(found.value, value, rtol=1e-13)
    assert found.success and len(found.values) <= 3


@pytest.mark.parametrize("name", ["bard", "kowalik-osborne", "brown-dennis"])
def test_the_minimum_is_that_of_scipy(name):
    problem = mgh.get(name)
    start = np.asarray(problem.starts[0])
    residuals = jax.jit(problem.residuals)
    jacobian = jax.jit(jax.jacfwd(problem.residuals))
    theirs = scipy.optimize.least_squares(
        lambda x: np.asarray(residuals(jnp.asarray(x))),
        start,
        lambda x: np.asarray(jacobian(jnp.asarray(x))),
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    found = least_squares(problem.residuals, jnp.asarray(start))
    np.testing.assert_allclose(found.value, theirs.cost, rtol=1e-12)
    # where the cost is flat SciPy's own point is good to half of the digits
    np.testing.assert_allclose(found.params, theirs.x, rtol=2e-6)
    assert found.success


def test_units_far_apart_are_no_obstacle():
    """Brown's badly scaled problem: 10⁶ and 2·10⁻⁶, and 0 at the minimum."""
    problem = mgh.get("brown-badly-scaled")
    found = least_squares(problem.residuals, jnp.asarray(problem.starts[0]))
    np.testing.assert_allclose(found.params, [1e6, 2e-6], rtol=1e-12)
    assert found.success


def test_residuals_may_be_any_pytree_of_any_parameters():
    t = jnp.linspace(0, 1, 6)
    y = 2 * jnp.exp(-3 * t)

    def residuals(p):
        return {"fit": p["a"] * jnp.exp(-p["b"] * t) - y, "prior": 0 * p["a"]}

    start = {"a": jnp.asarray(1.0), "b": jnp.asarray(1.0)}
    found = least_squares(residuals, start)
    np.testing.assert_allclose([found.params["a"], found.params["b"]], [2, 3])
    assert found.success and found.value < 1e-25


def test_gauss_newton_that_gains_little_hands_over_and_says_so():
    """Residuals x + 1 and λx² + x − 1 with λ = −1.5: the rate at 0 is |λ| > 1."""
    residuals = lambda x: jnp.stack([x[0] + 1, -1.5 * x[0] ** 2 + x[0] - 1])
    alone = least_squares(residuals, jnp.asarray([0.1]), "gauss-newton", fallback=False)
    found = least_squares(residuals, jnp.asarray([0.1]), "gauss-newton")
    np.testing.assert_allclose(found.value, 1.0, rtol=1e-12)
    assert found.success and "Hessian took over" in found.reason
    assert abs(found.params[0]) < 1e-12 < abs(alone.params[0])


def test_fewer_residuals_than_parameters_are_solved_but_no_minimum_is_shown():
    found = least_squares(lambda x: x[:1] * x[1:] - 1, jnp.asarray([2.0, 3.0]))
    np.testing.assert_allclose(found.params[0] * found.params[1], 1)
    assert found.verdict.kind == "inconclusive" and not found.success


def test_a_saddle_of_the_squares_is_left():
    """x = 0 is critical for (x² − 1)²/2, and the Jacobian vanishes there."""
    found = least_squares(lambda x: x**2 - 1, jnp.zeros(1))
    np.testing.assert_allclose(jnp.abs(found.params), 1)
    assert found.success and found.num_escapes == 1


@pytest.mark.slow
def test_many_parameters_go_by_products():
    scale = jnp.linspace(1, 3, 300)
    found = least_squares(lambda x: scale * (x + 0.1 * x**2) - 1, jnp.zeros(300))
    root = (-1 + np.sqrt(1 + 0.4 / np.asarray(scale))) / 0.2
    np.testing.assert_allclose(found.params, root, rtol=1e-8)
    assert found.path == ()


@pytest.mark.slow
@pytest.mark.parametrize("name", mgh.names())
def test_no_success_is_false_on_any_problem(name):
    problem = mgh.get(name)
    for start in problem.starts:
        found = least_squares(problem.residuals, jnp.asarray(start, float))
        if found.success:
            value = 2 * found.value
            assert not np.isclose(value, problem.traps, rtol=1e-6).any()
            H = jax.hessian(problem.loss)(found.params)
            d = np.sqrt(np.diag(H))
            assert np.linalg.eigvalsh(np.asarray(H) / d / d[:, None])[0] > 0


def test_bad_input_is_refused_in_one_sentence():
    x = jnp.ones(2)
    with pytest.raises(InputError, match="no method"):
        least_squares(lambda x: x, x, "lm")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="floating-point arrays only"):
        least_squares(lambda x: x.astype(int), x)
    with pytest.raises(InputError, match="no numbers"):
        least_squares(lambda x: x[:0], x)
    with pytest.raises(InputError, match="another point"):
        least_squares(lambda x: jnp.log(x), -x)
    with pytest.raises(InputError, match="max_steps"):
        least_squares(lambda x: x, x, max_steps=0)
    with pytest.raises(InputError, match="tolerance"):
        least_squares(lambda x: x, x, tolerance=-1.0)
    with pytest.raises(InputError, match="number of Python's"):
        least_squares(lambda x: [1.0, x[0]], x)
