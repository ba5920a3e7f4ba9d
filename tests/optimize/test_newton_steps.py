"""Steps of the Newton family: closed forms, optimality conditions, brute force."""

import numpy as np
import pytest
import scipy.optimize

from steepest import InputError
from steepest.optimize.newton_steps import (
    cubic_step,
    damped_step,
    dogleg_step,
    newton_step,
    saddle_free_step,
    trust_region_step,
)


def arrays(*rows):
    return tuple(np.asarray(row, float) for row in rows)


def test_newton_goes_to_the_saddle_and_the_saddle_free_step_leaves_it():
    values, slopes = arrays([2, -2], [2, -2])  # x² − y² at (1, 1)
    np.testing.assert_allclose(newton_step(values, slopes).coefficients, [-1, -1])
    np.testing.assert_allclose(saddle_free_step(values, slopes).coefficients, [-1, 1])


def test_one_newton_step_solves_a_positive_definite_quadratic():
    values, slopes = arrays([1, 4, 10], [3, -2, 5])
    step = newton_step(values, slopes)
    np.testing.assert_allclose(slopes + values * step.coefficients, 0, atol=1e-15)
    np.testing.assert_allclose(step.decrease, 0.5 * np.sum(slopes**2 / values))


def test_flat_directions_are_left_alone():
    values, slopes = arrays([1, 0], [1, 1])
    np.testing.assert_array_equal(newton_step(values, slopes).coefficients, [-1, 0])


def test_the_trust_region_step_of_the_nearly_hard_case_is_known():
    values, slopes = arrays([-2, 1], [0, 1])
    step = trust_region_step(values, slopes, 1.0)
    np.testing.assert_allclose(step.multiplier, 2, rtol=1e-12)
    np.testing.assert_allclose(np.abs(step.coefficients), [0.9428090415820635, 1 / 3])
    np.testing.assert_allclose(-step.decrease, -7 / 6, rtol=1e-12)


def test_the_cubic_step_on_a_maximum_is_known():
    step = cubic_step(*arrays([-2], [0]), 1.0)
    np.testing.assert_allclose(np.abs(step.coefficients), [2])
    # the model with its cubic term: −4 + 8/3
    np.testing.assert_allclose(-step.decrease + 8 / 3, -4 / 3)


def problems(count):
    """Random models: definite, indefinite, singular, hard, of all sizes."""
    rng = np.random.default_rng(0)
    for i in range(count):
        n = int(rng.integers(1, 7))
        values = rng.normal(size=n) * 10.0 ** rng.integers(-3, 4)
        slopes = rng.normal(size=n) * 10.0 ** rng.integers(-3, 4)
        match i % 5:
            case 1:
                values = np.abs(values)
            case 2:
                slopes[values.argmin()] = 0  # the hard case, often
            case 3:
                values[0] = 0
            case 4:
                slopes[:] = 0
        yield values, slopes, 10.0 ** rng.uniform(-2, 2)


def test_trust_region_steps_meet_the_conditions_of_a_global_minimum():
    """Moré & Sorensen: (H + ν)p = −g, H + ν ⪰ 0, ν ≥ 0, ν(Δ − ‖p‖) = 0."""
    for values, slopes, radius in problems(400):
        step = trust_region_step(values, slopes, radius)
        p, nu = step.coefficients, step.multiplier
        size = np.abs(values).max() + nu
        error = np.linalg.norm((values + nu) * p + slopes)
        assert error <= 1e-9 * (size * radius + np.linalg.norm(slopes))
        assert nu >= 0 and values.min() + nu >= -1e-12 * size
        assert np.linalg.norm(p) <= radius * (1 + 1e-9)
        if nu > 1e-12 * size:
            np.testing.assert_allclose(np.linalg.norm(p), radius, rtol=1e-6)
        assert step.decrease >= 0


def test_cubic_steps_meet_the_conditions_of_a_global_minimum():
    """Nesterov & Polyak: (H + σ‖p‖)p = −g and H + σ‖p‖ ⪰ 0."""
    for values, slopes, sigma in problems(400):
        p = cubic_step(values, slopes, sigma).coefficients
        nu = sigma * np.linalg.norm(p)
        size = np.abs(values).max() + nu
        error = np.linalg.norm((values + nu) * p + slopes)
        assert error <= 1e-6 * (size * np.linalg.norm(p) + np.linalg.norm(slopes))
        assert values.min() + nu >= -1e-6 * size


@pytest.mark.parametrize("seed", range(6))
def test_no_point_of_the_region_lies_lower(seed):
    rng = np.random.default_rng(seed)
    values, slopes = rng.normal(size=2), rng.normal(size=2)
    step = trust_region_step(values, slopes, 1.0)
    model = lambda p: p @ slopes + 0.5 * values @ p**2
    angle = np.linspace(0, 2 * np.pi, 2001)
    r = np.linspace(0, 1, 201)
    grid = r[:, None, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    lowest = (grid @ slopes + 0.5 * (grid**2) @ values).min()
    assert model(step.coefficients) <= lowest + 1e-12
    cubic = cubic_step(values, slopes, 0.7).coefficients
    total = lambda p: model(p) + 0.7 * np.linalg.norm(p) ** 3 / 3
    for start in rng.normal(size=(20, 2)) * 3:
        assert total(cubic) <= scipy.optimize.minimize(total, start).fun + 1e-8


def test_a_dogleg_has_its_two_legs():
    """H = diag(1, 4), g = (1, 4): the Cauchy point is −(17/65) g, Newton's (−1, −1)."""
    values, slopes = arrays([1, 4], [1, 4])
    cauchy = -17 / 65 * slopes
    short, long = np.linalg.norm(cauchy) / 2, np.linalg.norm(cauchy) * 1.1
    np.testing.assert_allclose(
        dogleg_step(values, slopes, short).coefficients, cauchy / 2
    )
    p = dogleg_step(values, slopes, long).coefficients
    np.testing.assert_allclose(np.linalg.norm(p), long)
    leg = np.array([-1, -1]) - cauchy
    share = (p - cauchy) / leg  # one share of the way on the second leg
    np.testing.assert_allclose(share[0], share[1])
    assert 0 < share[0] < 1
    np.testing.assert_allclose(dogleg_step(values, slopes, 2).coefficients, [-1, -1])


def test_a_dogleg_lowers_the_model_no_more_than_the_best_step():
    for values, slopes, radius in problems(200):
        values = np.abs(values)
        step = dogleg_step(values, slopes, radius)
        best = trust_region_step(values, slopes, radius)
        assert np.linalg.norm(step.coefficients) <= radius * (1 + 1e-12)
        assert -1e-12 <= step.decrease <= best.decrease * (1 + 1e-9) + 1e-300
    with pytest.raises(InputError, match="nowhere negative"):
        dogleg_step(*arrays([-1, 1], [1, 1]), 1.0)


def test_damping_that_is_too_small_is_refused():
    with pytest.raises(InputError, match="more than 2"):
        damped_step(*arrays([-2, 1], [1, 1]), 1.0)
    step = damped_step(*arrays([-2, 1], [1, 1]), 3.0)
    np.testing.assert_allclose(step.coefficients, [-1, -0.25])


def test_bad_numbers_are_refused():
    with pytest.raises(InputError, match="finite"):
        newton_step(*arrays([np.nan], [1]))
    with pytest.raises(InputError, match="one slope"):
        newton_step(*arrays([1, 2], [1]))
    for call in (trust_region_step, cubic_step, dogleg_step):
        with pytest.raises(InputError, match="positive"):
            call(*arrays([1], [1]), 0.0)
