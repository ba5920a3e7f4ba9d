"""Rules about the way of the loss, on curves whose course and noise are known."""

import numpy as np
import pytest
from records import found, judge, noisy, probe, quadratic, run, scored

from steepest.checkup.finding import Severity


STEEP = (1.0, 10.0, 100.0)


# -- OPT003: to and fro ------------------------------------------------------------------------


def swinging(swing, floor=0.5, sem=0.0):
    record = run(np.linspace(2, floor, 200), 0.1)
    fall = np.linspace(2, floor, 10)
    late = floor + swing * (-1.0) ** np.arange(12) / 2
    probe(record, "probe.loss", [*fall, *late])
    probe(record, "train.loss", [*fall, *late])
    return probe(record, "train.loss.sem", [sem] * 22)


def test_swings_of_a_share_of_the_gain_are_found():
    finding = found("OPT003", swinging(0.6))
    assert finding.evidence[0].observed == pytest.approx(0.6 / 1.8, rel=0.02)


def test_small_swings_are_silent():
    assert judge("OPT003", swinging(0.05)) is None


def test_swings_below_the_noise_of_the_measurement_are_silent():
    assert judge("OPT003", swinging(0.3, sem=0.2)) is None
    assert judge("OPT003", swinging(0.3, sem=0.01)) is not None


def test_swings_of_a_run_that_succeeded_are_a_note():
    assert found("OPT003", scored(swinging(0.6), 0.97)).severity == Severity.NOTE


def test_batch_noise_is_not_an_oscillation():
    record = run(noisy(np.linspace(2, 0.5, 300), 0.5), 0.1)
    assert judge("OPT003", probe(record, "probe.loss", np.linspace(2, 0.5, 20))) is None


def test_the_limit_of_the_swing_can_be_replaced():
    assert judge("OPT003", swinging(0.6), swing=0.5) is None


# -- OPT004: up --------------------------------------------------------------------------------


def test_a_loss_that_ends_above_its_start_diverges():
    finding = found("OPT004", quadratic(STEEP, 0.021))
    assert finding.severity == Severity.CRITICAL


def test_a_loss_that_comes_down_and_goes_up_again_diverges():
    losses = [*np.linspace(3, 0.5, 100), *np.linspace(0.5, 2.5, 100)]
    assert found("OPT004", run(losses, 0.1)).severity == Severity.HIGH


def test_a_falling_loss_does_not_diverge():
    assert judge("OPT004", quadratic(STEEP, 0.019)) is None


def test_a_loss_near_zero_that_doubles_is_silent():
    losses = [*np.geomspace(2, 0.001, 150), *np.full(50, 0.002)]
    assert judge("OPT004", run(losses, 0.1)) is None


def test_the_noise_of_small_batches_is_no_divergence():
    assert judge("OPT004", run(noisy(np.full(400, 2.0), 0.4), 0.1)) is None


def test_a_run_that_blows_up_between_two_probes_diverges():
    losses = [*np.full(97, 1.0), 50.0, 1e4, 1e9]
    record = probe(run(losses, 0.1), "train.loss", [1.0, 1.0], [0, 90])
    record.meta["ended"] = "non-finite"
    assert found("OPT004", record).evidence[0].observed == pytest.approx(1e9)


def test_the_limits_of_divergence_can_be_replaced():
    losses = [*np.linspace(3, 0.5, 100), *np.linspace(0.5, 2.5, 100)]
    assert judge("OPT004", run(losses, 0.1), rise=2.0) is None


# -- OPT005: nowhere ---------------------------------------------------------------------------


def test_a_plateau_above_what_a_linear_model_reaches_is_found():
    assert (
        judge("OPT005", scored(run(noisy(np.full(300, 2.3), 0.05)), 0.11)) is not None
    )


def test_a_plateau_at_what_can_be_reached_is_silent():
    smoothed = run(noisy(np.maximum(2.3 * np.exp(-np.arange(300) / 20), 0.5), 0.01))
    assert judge("OPT005", scored(smoothed, 0.93)) is None


def test_a_loss_that_still_falls_is_no_plateau():
    falling = run(noisy(np.linspace(2.3, 2.0, 300), 0.01))
    assert judge("OPT005", scored(falling, 0.3)) is None


def test_the_floor_of_noisy_targets_is_no_plateau():
    noise = scored(run(np.full(300, 2.3)), 0.1, linear=0.12)  # nothing can be learned
    assert judge("OPT005", noise) is None
