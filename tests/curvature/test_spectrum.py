"""Density, trace, diagonal and condition numbers against spectra that are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import InputError
from steepest.curvature import Operator, from_matrix
from steepest.curvature.spectrum import (
    condition_number,
    diagonal,
    spectral_density,
    trace,
)


KEY = jax.random.key(1)
SPECTRUM = np.r_[np.linspace(0.01, 1, 290), np.linspace(10, 50, 10)]


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def dense(spectrum, seed=0):
    n = len(spectrum)
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]
    return (Q * spectrum) @ Q.T


def operator(spectrum):
    return from_matrix(jnp.asarray(dense(spectrum)))


@pytest.fixture(scope="module")
def density():
    with jax.enable_x64(True):
        return spectral_density(operator(SPECTRUM), key=KEY, num_steps=48)


def test_moments_of_the_density_are_traces_within_their_errors(density):
    for power in (1, 2, 3):
        found, truth = density.total(lambda x, p=power: x**p), np.sum(SPECTRUM**power)
        assert abs(found.value - truth) < 3 * found.sem  # eight probes: 99 %
    np.testing.assert_allclose(density.mean(np.ones_like).value, 1, rtol=1e-12)


def test_effective_dimension_counts_the_directions_above_alpha(density):
    for alpha in (0.01, 0.1, 5.0):
        found = density.effective_dimension(alpha)
        truth = np.sum(SPECTRUM / (SPECTRUM + alpha))
        assert abs(found.value - truth) < 3 * found.sem
    with pytest.raises(InputError, match="alpha"):
        density.effective_dimension(0.0)


def test_the_curve_has_mass_one_and_shows_bulk_and_outliers(density):
    at, curve, error, width = density.grid(points=2000)
    mass = np.sum(curve) * (at[1] - at[0])
    np.testing.assert_allclose(mass, 1, rtol=1e-3)  # a Riemann sum
    bulk = (at > -4 * width) & (at < 1 + 4 * width)
    share = np.sum(curve[bulk]) * (at[1] - at[0])
    np.testing.assert_allclose(share, 290 / 300, atol=0.03)  # of eight probes
    assert (error >= 0).all()


def test_a_density_of_few_distinct_eigenvalues_is_exact_in_place():
    found = spectral_density(
        operator(np.r_[np.full(60, 2.0), np.full(40, -1.0)]), key=KEY
    )
    seen = found.nodes[found.weights > 1e-12]
    np.testing.assert_allclose(np.abs(seen - np.where(seen > 0, 2, -1)), 0, atol=1e-12)
    assert found.num_products < 40  # each space ends after two or three


def test_trace_and_diagonal_have_errors_that_hold():
    A = dense(SPECTRUM)
    found = trace(from_matrix(jnp.asarray(A)), key=KEY, num_probes=60)
    assert abs(found.value - np.trace(A)) < 3 * found.sem
    # Hutchinson's variance is twice the sum of the squares beside the diagonal
    beside = np.sum(A**2) - np.sum(np.diag(A) ** 2)
    np.testing.assert_allclose(found.sem, np.sqrt(2 * beside / 60), rtol=0.4)
    each = diagonal(from_matrix(jnp.asarray(A)), key=KEY, num_probes=60)
    z = (np.asarray(each.value) - np.diag(A)) / np.asarray(each.sem)
    assert 0.9 < np.mean(np.abs(z) < 2) <= 1  # 95 %, of 300 that depend on each other


def test_as_many_probes_as_parameters_are_exact():
    A = dense(SPECTRUM[:20])
    found = trace(from_matrix(jnp.asarray(A)), key=KEY, num_probes=20)
    np.testing.assert_allclose(found.value, np.trace(A), rtol=1e-12)
    assert found.sem == 0
    each = diagonal(from_matrix(jnp.asarray(A)), key=KEY, num_probes=20)
    np.testing.assert_allclose(each.value, np.diag(A), rtol=1e-12)


@pytest.mark.slow
def test_a_condition_number_says_what_kind_of_matrix_it_is_of():
    found = condition_number(operator(SPECTRUM), key=KEY)
    np.testing.assert_allclose(found.value, 5000, rtol=1e-10)
    assert found.exact and not found.singular and not found.indefinite
    flat = condition_number(operator(np.r_[np.zeros(5), 1.0, 4.0]), key=KEY)
    np.testing.assert_allclose(flat.value, 4, rtol=1e-10)
    assert flat.singular and flat.num_zero == 5 and "count as zero" in str(flat)
    both = condition_number(operator(np.r_[-2.0, 1.0, 4.0]), key=KEY)
    np.testing.assert_allclose(both.value, 4, rtol=1e-10)
    assert both.indefinite and "indefinite" in str(both)


@pytest.mark.slow
def test_a_short_search_gives_a_lower_bound_of_the_condition_number():
    for sign in (1, -1):
        spectrum = np.r_[sign * 0.05, SPECTRUM[20:]]
        found = condition_number(operator(spectrum), key=KEY, max_products=120)
        assert not found.exact
        assert 100 < found.value <= 50 / 0.05 * (1 + 1e-9)


def test_numbers_below_one_are_refused():
    with pytest.raises(InputError, match="num_probes"):
        trace(operator(np.ones(3)), key=KEY, num_probes=0)
    with pytest.raises(InputError, match="num_steps"):
        spectral_density(operator(np.ones(3)), key=KEY, num_steps=0)


# -- What is not known is said ---------------------------------------------------------


@pytest.mark.parametrize("alpha, steps", [(0.01, 12), (0.01, 24), (0.1, 6)])
def test_the_error_of_a_density_holds_what_its_steps_have_not_resolved(alpha, steps):
    """Of a diagonal matrix every probe of signs is exact but for the quadrature."""
    values = np.linspace(0, 1, 500)
    operator = from_matrix(jnp.diag(jnp.asarray(values)))
    truth = float(np.sum(values / (values + alpha)))
    found = spectral_density(operator, key=KEY, num_probes=4, num_steps=steps)
    dimension = found.effective_dimension(alpha)
    assert abs(dimension.value - truth) <= dimension.sem
    total = found.total(lambda x: x)  # exact from the first step on
    assert total.value == pytest.approx(250, rel=1e-9) and total.sem < 1e-6


def test_a_trace_of_narrow_parameters_is_summed_in_a_wider_format():
    d = jnp.linspace(0.3, 1.7, 200).astype(jnp.bfloat16)
    found = trace(from_matrix(jnp.diag(d)), key=KEY, num_probes=20)
    assert found.value == pytest.approx(float(np.sum(np.asarray(d, float))), rel=1e-6)


def test_a_hessian_that_is_not_finite_has_no_trace_and_no_condition():
    d = jnp.full(300, jnp.inf)
    operator = Operator(lambda v: d * v, jnp.zeros(300), lambda v: v, "d")
    for number in (trace, condition_number):
        with pytest.raises(InputError, match="not finite"):
            number(operator, key=KEY)


@pytest.mark.parametrize("n", [6, 600])
def test_the_condition_of_zero_is_undefined(n):
    zero = Operator(lambda v: 0 * v, jnp.zeros(n), lambda v: v, "zero")
    found = condition_number(zero, key=KEY)
    assert np.isnan(found.value) and "undefined" in str(found)


def test_a_large_definite_matrix_has_its_condition_from_both_ends():
    values = np.r_[1.0, np.linspace(5, 100, 600)]
    d = jnp.asarray(values)
    found = condition_number(
        Operator(lambda v: d * v, jnp.zeros(601), lambda v: v, "d"), key=KEY
    )
    assert found.value == pytest.approx(100, rel=1e-5) and found.resolved


def test_what_is_below_the_reach_of_products_is_not_given_as_a_number():
    with jax.enable_x64(False):
        d = jnp.linspace(-1, 1, 1001)  # a zero inside
        found = condition_number(
            Operator(lambda v: d * v, jnp.zeros(1001), lambda v: v, "d"), key=KEY
        )
    assert not found.resolved and "not resolved" in str(found)
