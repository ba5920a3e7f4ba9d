"""Rules about held-out data, on scores whose errors are known."""

import numpy as np
import pytest
from records import found, judge, probe, reason, run, scored

from steepest.checkup.finding import Severity


def trained(train, validation, **more):
    record = run(np.linspace(2.0, 0.1, 200), 1e-3)
    probe(record, "validation.loss", [2.0, 1.0, 0.8, 0.9, 1.0])
    return scored(record, train, validation, **more)


def binomial(share, n):
    return float(np.sqrt(share * (1 - share) / n))


# -- GEN001: fitted too well ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("validation", "severity"),
    [(0.75, Severity.HIGH), (0.86, Severity.MEDIUM), (0.93, Severity.NOTE)],
)
def test_the_gap_sets_the_severity(validation, severity):
    assert found("GEN001", trained(1.0, validation, sem=0.002)).severity == severity


def test_a_small_gap_is_silent():
    assert judge("GEN001", trained(0.99, 0.96)) is None
    assert judge("GEN001", trained(0.95, 0.97)) is None


def test_a_gap_on_a_small_validation_set_is_silent_by_its_interval():
    few = trained(1.0, 0.9, sem=0.0, validation_sem=binomial(0.9, 30))
    many = trained(1.0, 0.9, sem=0.0, validation_sem=binomial(0.9, 3000))
    assert judge("GEN001", few) is None
    assert judge("GEN001", many) is not None


def test_a_run_that_failed_does_not_overfit():
    assert judge("GEN001", trained(0.5, 0.2, linear=0.9)) is None


def test_training_that_is_harder_than_evaluation_is_silent():
    assert judge("GEN001", trained(0.9, 0.96)) is None  # as with dropout


def test_noisy_targets_leave_room_between_the_r2():
    def fitted(train, validation):
        return trained(train, validation, metric="R²", constant=0.0, linear=0.4)

    assert judge("GEN001", fitted(0.6, 0.47)) is None
    assert found("GEN001", fitted(0.95, 0.3)).severity == Severity.HIGH


def test_the_remedy_is_a_penalty_for_the_optimiser_at_hand():
    assert found("GEN001", trained(1.0, 0.7)).prescription.recipe == {
        "weight_decay": 0.01,
        "optimizer": "adamw",
    }


def test_the_limit_of_the_gap_can_be_replaced():
    assert judge("GEN001", trained(1.0, 0.86, sem=0.002), gap=0.4) is None


def losses(train, held, sem=0.01):
    record = run(np.linspace(2, 0.1, 200))
    probe(record, "train.loss", train)
    probe(record, "validation.loss", held)
    return probe(record, "validation.loss.sem", [sem] * len(held))


DOWN = np.geomspace(2, 0.05, 8)


def test_without_scores_a_validation_loss_that_rises_is_found():
    held = [2.0, 1.2, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0]
    finding = found("GEN001", losses(DOWN, held))
    assert finding.evidence[0].observed == pytest.approx(1.0)
    assert finding.severity == Severity.MEDIUM
    assert finding.prescription.recipe == {"steps": 56}


def test_without_scores_noise_and_slight_rises_are_silent():
    held = [2.0, 1.2, 1.0, 1.02, 1.05, 1.1, 1.1, 1.15]
    assert judge("GEN001", losses(DOWN, held)) is None
    rising = [2.0, 1.2, 1.0, 1.2, 1.3, 1.4, 1.5, 1.6]
    assert judge("GEN001", losses(DOWN, rising, sem=0.3)) is None


def test_without_scores_a_training_loss_that_rises_too_is_another_illness():
    held = [2.0, 1.2, 1.0, 1.2, 1.4, 1.6, 1.8, 2.0]
    assert judge("GEN001", losses(held, held)) is None


def test_a_validation_loss_that_never_fell_has_a_finite_rise():
    finding = found("GEN001", losses(DOWN, [1.0, 1.2, 1.4, 1.6, 1.8, 2.0, 2.2, 2.4]))
    assert finding.evidence[0].observed < 100
    assert finding.prescription.recipe == {}


# -- GEN002: not well enough ---------------------------------------------------------------------


def test_training_scores_below_a_linear_model_are_found():
    assert found("GEN002", trained(0.5, 0.5)).severity == Severity.HIGH
    assert found("GEN002", trained(0.8, 0.8)).severity == Severity.MEDIUM


def test_scores_at_those_of_a_linear_model_are_silent():
    assert judge("GEN002", trained(0.89, 0.88)) is None
    assert judge("GEN002", trained(0.99, 0.95)) is None


def test_a_run_that_the_budget_ended_while_it_fell_is_a_note():
    record = trained(0.5, 0.5)
    record.meta["ended"] = "out of time"
    finding = found("GEN002", record)
    assert finding.severity == Severity.NOTE and "budget" in finding.prescription.text
    flat = scored(run(np.full(200, 2.0)), 0.5)
    flat.meta["ended"] = "out of time"
    assert found("GEN002", flat).severity == Severity.HIGH
    few = scored(run([2.3, 2.4, 2.3, 2.4, 2.3]), 0.5)
    few.meta["ended"] = "out of time"
    assert found("GEN002", few).severity == Severity.NOTE


def test_a_difference_within_its_error_is_silent():
    assert judge("GEN002", trained(0.82, 0.85, sem=0.03)) is None


def test_data_that_nothing_can_learn_are_silent():
    record = trained(
        0.12, 0.1, linear=0.13, linear_validation=0.1, neighbours_validation=0.1
    )
    assert judge("GEN002", record) is None


def test_a_simple_model_that_is_better_on_held_out_data_is_found():
    finding = found("GEN002", trained(0.99, 0.7, neighbours_validation=0.95))
    assert finding.severity == Severity.MEDIUM
    assert "five nearest neighbours" in finding.claim


def test_no_better_than_a_constant_is_grave():
    assert found("GEN002", trained(0.1, 0.1)).severity == Severity.HIGH


def test_the_margin_can_be_replaced():
    assert judge("GEN002", trained(0.8, 0.85), margin=0.2) is None


def test_without_held_out_data_or_simple_models_nothing_is_judged():
    record = run([2.0, 1.0])
    record.missing["validation.loss"] = "the problem has no validation data"
    assert reason("GEN001", record) == "the problem has no validation data"
    assert "experiment.baselines" in reason("GEN002", record)
