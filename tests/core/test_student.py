"""Student's quantiles, beside scipy's and the closed forms of few degrees of freedom."""

import numpy as np
import pytest
import scipy.stats

from steepest.core.student import MANY, student_quantile


@pytest.mark.parametrize("p", [0.6, 0.9, 0.975, 0.9995])
def test_quantiles_agree_with_scipy_on_both_sides_of_the_expansion(p):
    for freedom in (1, 2, 3, 4, 7, 10, 31, 100, MANY, MANY + 1, 50_000):
        np.testing.assert_allclose(
            student_quantile(p, freedom), scipy.stats.t.ppf(p, freedom), rtol=1e-9
        )


def test_one_and_two_degrees_have_their_closed_forms():
    p = 0.975
    a = 2 * p - 1
    assert student_quantile(p, 1) == pytest.approx(np.tan(np.pi * a / 2), rel=1e-12)
    exact = a * np.sqrt(2 / (1 - a**2))
    assert student_quantile(p, 2) == pytest.approx(exact, rel=1e-12)


def test_the_middle_is_at_zero():
    assert student_quantile(0.5, 3) == pytest.approx(0, abs=1e-15)
