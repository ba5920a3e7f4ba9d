"""Rules about gradients on their way back, on profiles whose law is known."""

import numpy as np
import pytest
from records import found, judge, layered, run, scored

from steepest.checkup.finding import Severity


FALLING = np.linspace(2.0, 1.5, 100)
RISING = np.linspace(2.0, 4.0, 100)


def stack(factor, layers=8, loss=FALLING, **more):
    """Gradients that every layer multiplies by `factor` on their way back."""
    gradient = factor ** np.arange(layers)[::-1]
    return layered(run(loss, 0.01), gradient, **more)


# -- SIG001: fading with the depth -------------------------------------------------------------


def test_a_gradient_that_shrinks_geometrically_is_found_with_its_factor():
    finding = found("SIG001", stack(0.2))
    assert finding.evidence[0].observed == pytest.approx(0.2**7)
    assert finding.evidence[1].observed == pytest.approx(0.2)
    assert finding.evidence[0].place == "weights[0]"


@pytest.mark.parametrize("factor", [0.7, 1.0, 1.3])
def test_a_gradient_that_keeps_its_size_is_silent(factor):
    assert judge("SIG001", stack(factor)) is None


def test_sizes_of_arrays_are_taken_out():
    record = stack(1.0, layers=3)  # a large array has a large norm and the same RMS
    record.facts["experiment.depth"]["sizes"] = [100, 100, 1_000_000]
    assert judge("SIG001", layered(run(FALLING), [1.0, 1.0, 100.0])) is not None
    assert judge("SIG001", record) is None


def test_exact_zeros_are_a_cut_and_no_power_of_the_depth():
    record = layered(run(FALLING), [0.0, 0.0, 0.0, 1.0])
    assert judge("SIG001", record) is None


def test_a_branch_that_starts_at_zero_has_no_gradient_at_first_only():
    gradient = np.ones((10, 5))
    gradient[0, :4] = 1e-9
    assert judge("SIG001", layered(run(FALLING), gradient)) is None


def test_a_run_that_learned_its_data_has_no_vanishing_gradient():
    assert judge("SIG001", scored(stack(0.2), 0.99)) is None


def test_neighbours_are_no_stack():
    assert judge("SIG001", layered(run(FALLING), [1.0, 1e-4, 1.0])) is None


def test_a_vanishing_gradient_of_a_run_that_failed_is_grave():
    assert found("SIG001", scored(stack(0.2), 0.2)).severity == Severity.HIGH


def test_the_limit_of_the_ratio_can_be_replaced():
    assert judge("SIG001", stack(0.2), ratio=1e-6) is None


# -- SIG002: growing ---------------------------------------------------------------------------


def test_a_gradient_that_grows_towards_the_input_is_found():
    finding = found("SIG002", stack(3.0))
    assert finding.evidence[0].observed == pytest.approx(3.0**7)
    assert finding.severity == Severity.HIGH
    assert found("SIG002", stack(3.0, loss=RISING)).severity == Severity.CRITICAL


def test_a_gradient_of_even_size_is_silent():
    assert judge("SIG002", stack(1.5)) is None
    assert judge("SIG002", scored(stack(3.0), 0.99)) is None


def grown(loss, most=1e4):
    record = layered(run(loss), [1.0, 1.0, 1.0])
    record.extend("gradient_norm", range(100), list(np.geomspace(1, most, 100)))
    return record


def test_a_gradient_that_grows_in_time_counts_if_the_loss_rises():
    finding = found("SIG002", grown(RISING))
    assert finding.prescription.recipe["clip_norm"] < 10
    assert judge("SIG002", grown(FALLING)) is None
    assert judge("SIG002", grown(RISING, most=5)) is None


def test_the_limit_of_the_growth_can_be_replaced():
    assert judge("SIG002", grown(RISING), growth=1e5) is None
