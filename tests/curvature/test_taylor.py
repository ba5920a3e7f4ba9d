"""Predicted and optimal steps against closed forms; Rosenbrock's to fourteen digits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import InputError
from steepest.curvature import limits
from steepest.curvature.taylor import critical_sharpness, forecast, optimal_step


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def quadratic(spectrum):
    lam = jnp.asarray(spectrum, float)
    return lambda x: 0.5 * jnp.sum(lam * x**2)


START = (-1.2, 1.0)


def test_the_optimal_step_on_rosenbrock_is_known():
    x = jnp.asarray(START)
    best = optimal_step(rosenbrock, x)
    np.testing.assert_allclose(best.size, 6.646686267390896e-4, rtol=1e-13)
    np.testing.assert_allclose(best.decrease, 18.02161245144312, rtol=1e-13)
    np.testing.assert_allclose(best.rayleigh, 1504.5091038914675, rtol=1e-13)
    step = forecast(rosenbrock, x, -best.size * jax.grad(rosenbrock)(x))
    np.testing.assert_allclose(step.predicted, best.decrease, rtol=1e-13)
    np.testing.assert_allclose(step.value - step.actual, 4.567782114503026, rtol=1e-13)
    np.testing.assert_allclose(step.ratio, (24.2 - 4.567782114503026) / best.decrease)
    assert "downhill" in str(step)


def test_a_forecast_is_exact_on_quadratics_and_says_when_the_step_goes_uphill():
    loss, x = quadratic([1, 4, 10]), jnp.asarray([1.0, -2.0, 0.5])
    g = jax.grad(loss)(x)
    for size in (0.05, 0.19, 0.5):
        step = forecast(loss, x, -size * g)
        np.testing.assert_allclose(step.ratio, 1, rtol=1e-12)
        assert ("UPHILL" in str(step)) == (step.predicted < 0)
    assert forecast(loss, x, -0.5 * g).predicted < 0  # the curvature term wins


def test_a_decrease_that_rounding_hides_has_no_ratio():
    x = jnp.asarray([1.0])
    step = forecast(lambda x: 1e6 + jnp.sum(x**2), x, jnp.asarray([-1e-13]))
    assert np.isnan(step.ratio) and "resolve" in str(step)


def test_the_optimal_step_lies_between_the_inverse_eigenvalues():
    loss = quadratic([1, 10])
    for x in ([1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [10.0, 1.0]):
        best = optimal_step(loss, jnp.asarray(x))
        assert 0.1 - 1e-15 <= best.size <= 1 + 1e-15  # 1/λ_max in the worst case
    np.testing.assert_allclose(optimal_step(loss, jnp.asarray([0.0, 1.0])).size, 0.1)


def test_exact_line_searches_zigzag_at_the_known_rate():
    loss, x = quadratic([1, 10]), jnp.asarray([10.0, 1.0])
    values = [float(loss(x))]
    for _ in range(3):
        best = optimal_step(loss, x)
        x = x - best.size * jax.grad(loss)(x)
        values.append(float(loss(x)))
    expected = 55 * 0.669421487603306 ** np.arange(4)  # ((κ − 1)/(κ + 1))²
    np.testing.assert_allclose(values, expected, rtol=1e-12)


@pytest.mark.parametrize(
    ("spectrum", "word"), [([-1.0, -2.0], "negative"), ([0.0, 0.0], "zero")]
)
def test_without_positive_curvature_no_step_is_named(spectrum, word):
    linear = quadratic(spectrum)
    best = optimal_step(
        lambda x: linear(x) + x[0], jnp.asarray([1.0, 1.0]), jnp.ones(2)
    )
    assert not best.finite and best.decrease == np.inf and word in best.reason


def test_a_direction_uphill_has_a_negative_step():
    best = optimal_step(quadratic([2.0]), jnp.ones(1), jnp.ones(1))
    np.testing.assert_allclose(best.size, -1)


@pytest.mark.parametrize("x", [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
@pytest.mark.parametrize("initial", [1e-6, 1e-3, 10.0])
def test_critical_sharpness_of_a_quadratic_is_the_curvature_along_the_gradient(
    x, initial
):
    loss, x = quadratic([1, 10]), jnp.asarray(x)
    g = jax.grad(loss)(x)
    found = critical_sharpness(loss, x, -g, initial=initial)
    exact = float(jnp.sum(jnp.asarray([1.0, 10]) * g**2) / jnp.sum(g**2))
    np.testing.assert_allclose(found.value, exact, rtol=0.02)  # `accuracy`
    assert found.bracket[0] <= 2 / exact <= found.bracket[1]


def test_a_loss_that_only_falls_has_no_critical_sharpness():
    found = critical_sharpness(lambda x: -jnp.sum(x), jnp.ones(2), jnp.ones(2))
    assert found.value == 0 and found.bracket[1] == np.inf


def test_a_direction_without_length_is_refused():
    zero = jnp.zeros(2)
    for ask in (optimal_step, critical_sharpness):
        with pytest.raises(InputError, match="length zero"):
            ask(rosenbrock, jnp.ones(2), zero)
    with pytest.raises(InputError, match="gradient is zero"):
        optimal_step(rosenbrock, jnp.ones(2))
    with pytest.raises(InputError, match="structure"):
        forecast(rosenbrock, jnp.ones(2), {"x": jnp.ones(2)})
    with pytest.raises(InputError, match="shape"):
        forecast(rosenbrock, jnp.ones(2), jnp.ones(3))
    with pytest.raises(InputError, match="finite"):
        forecast(rosenbrock, jnp.full(2, jnp.nan), jnp.ones(2))


def kinked(x):
    return jnp.sum(jnp.abs(x) ** 1.5)  # curvature without bound at 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: optimal_step(rosenbrock, x * jnp.nan), "NaN or infinities"),
        (lambda x: optimal_step(rosenbrock, x * jnp.nan, x), "finite numbers"),
        (lambda x: optimal_step(kinked, 0 * x, x), "finite numbers"),
        (lambda x: critical_sharpness(quadratic([1, 2]), x, -x, initial=jnp.inf), "`initial`"),
        (lambda x: critical_sharpness(quadratic([1, 2]), x, -x, accuracy=0.0), "`accuracy`"),
        (lambda x: critical_sharpness(quadratic([1, 2]), x, -x, max_evaluations=0), "`max_evaluations`"),
        (lambda x: critical_sharpness(quadratic([1, 2]), x, x), "uphill"),
        (lambda x: forecast(rosenbrock, x, x.astype(jnp.float32)), "convert it"),
    ],
)  # fmt: skip
def test_what_has_no_step_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(jnp.ones(2))


@pytest.mark.parametrize("size", [1e-30, 1e-200, 1e100])
def test_the_length_of_the_direction_does_not_matter(size):
    x = jnp.ones(2)
    best = optimal_step(quadratic([1, 3]), x, -size * x)
    np.testing.assert_allclose(best.size * size, 1, rtol=1e-12)
    np.testing.assert_allclose([best.decrease, best.rayleigh], 2, rtol=1e-12)
    found = critical_sharpness(quadratic([1, 3]), x, -size * x, max_evaluations=200)
    np.testing.assert_allclose(found.step * size, 2, rtol=0.02)  # `accuracy`


def test_a_step_of_zero_is_said_to_lead_nowhere():
    assert "leads nowhere" in str(forecast(rosenbrock, jnp.ones(2), jnp.zeros(2)))


# -- Limits ----------------------------------------------------------------------------


def radius(method, beta, product):
    """The spectral radius of one step of the method on ½x² with η λ = product."""
    match method:
        case "gd":
            step = [[1 - product]]
        case "momentum":  # (x, v)
            step = [[1 - product, beta], [-product, beta]]
        case "ema":
            step = [[1 - product * (1 - beta), -product * beta], [1 - beta, beta]]
        case "nesterov":
            step = [
                [1 - product, beta * (1 - product)],
                [-product, beta * (1 - product)],
            ]
        case _:
            raise AssertionError
    return np.abs(np.linalg.eigvals(np.array(step))).max()


@pytest.mark.parametrize("beta", [0.0, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("method", ["gd", "momentum", "ema", "nesterov"])
def test_the_limit_is_where_the_recurrence_stops_converging(method, beta):
    low, high = 0.0, 1000.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if radius(method, beta, middle) < 1 else (low, middle)
        )
    expected = limits.stability_limit(method, beta)
    np.testing.assert_allclose(low, expected, rtol=1e-6)  # a double root at the limit


def test_the_limits_at_step_size_a_tenth_are_those_in_use():
    steps = {("momentum", 0.5): 30, ("nesterov", 0.5): 15, ("ema", 0.5): 60}
    steps |= {("momentum", 0.9): 38, ("nesterov", 0.9): 13.571428571, ("ema", 0.9): 380}
    for (method, beta), sharpness in steps.items():
        np.testing.assert_allclose(
            limits.largest_step(sharpness, method, beta), 0.1, rtol=1e-9
        )
    np.testing.assert_allclose(limits.stability_limit("adam", 0.9), 38)
    assert limits.largest_step(-1.0) == np.inf
    for bad in (("sgdm", 0.9), ("gd", 1.0), ("gd", -0.1)):
        with pytest.raises(InputError):
            limits.stability_limit(*bad)


def test_a_loss_that_has_changed_since_is_forecast_anew():
    weights = [1.0]

    def loss(x):
        return weights[0] * jnp.sum(x**2)

    x, step = jnp.ones(2), -0.25 * jnp.ones(2)
    before = forecast(loss, x, step)
    weights[0] = 3.0
    after = forecast(loss, x, step)
    assert after.slope == pytest.approx(3 * before.slope)
