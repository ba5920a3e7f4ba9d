"""Rules about the step, on runs whose optimum and stability are known in closed form."""

import numpy as np
import pytest
from records import (
    descend,
    found,
    judge,
    layered,
    probe,
    quadratic,
    reason,
    run,
    scored,
    stable_up_to,
)

from steepest import Record
from steepest.checkup.finding import Severity
from steepest.checkup.rules.optimisation import stability_of


STEEP = (1.0, 10.0, 100.0)
METHODS = ("sgd", "momentum", "nesterov")


def noisy(values, scale, seed=0):
    return np.asarray(values) + scale * np.random.default_rng(seed).standard_normal(
        len(values)
    )


# -- OPT001: beyond the limit of stability --------------------------------------------------


@pytest.mark.parametrize("beta", [0.5, 0.9])
@pytest.mark.parametrize("method", [*METHODS, "adam", "rmsprop"])
def test_the_limit_is_where_the_linear_recurrence_stops_contracting(method, beta):
    record = run(np.ones(5), 0.1, optimizer=method, momentum=beta, beta1=beta)
    for name in ("sharpness", "sharpness.preconditioned"):
        probe(record, name, [1.0, 1.0])
    # bisection and formula agree to rounding
    assert stability_of(record).limit == pytest.approx(
        stable_up_to(method, beta), rel=1e-9
    )


def test_the_limit_of_adam_is_38():
    record = run(np.ones(5), 0.1, optimizer="adam")
    assert stability_of(probe(record, "sharpness.preconditioned", [1.0])).limit == (
        pytest.approx(38)
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_step_beyond_the_limit_is_found_and_one_below_it_is_not(method):
    edge = stable_up_to(method) / max(STEEP)
    beyond = found("OPT001", quadratic(STEEP, 1.1 * edge, optimizer=method))
    assert beyond.severity == Severity.CRITICAL
    assert judge("OPT001", quadratic(STEEP, 0.9 * edge, optimizer=method)) is None


@pytest.mark.parametrize("method", METHODS)
def test_the_prescribed_step_descends(method):
    edge = stable_up_to(method) / max(STEEP)
    finding = found("OPT001", quadratic(STEEP, 4 * edge, 60, optimizer=method))
    rate = finding.prescription.recipe["learning_rate"]
    assert rate < edge
    losses = descend(STEEP, rate, 300, method)
    assert losses[-1] < 0.02 * losses[0]


def test_the_evidence_is_step_size_times_sharpness():
    finding = found("OPT001", quadratic(STEEP, 0.03, 60))
    assert finding.evidence[0].observed == pytest.approx(3.0)
    assert finding.evidence[0].limit == pytest.approx(2.0)


def test_the_edge_of_stability_with_a_falling_loss_is_silent():
    record = run(noisy(2 * np.exp(-np.arange(400) / 60), 0.01) + 0.05, 0.05)
    record.meta["recipe"]["optimizer"] = "sgd"
    probe(record, "sharpness", [10, 25, 38, 41, 42, 41, 43, 41])  # ηλ up to 2.15
    assert judge("OPT001", record) is None


def test_a_step_far_beyond_the_limit_in_a_run_that_went_well_is_no_more_than_a_note():
    record = run(2 * np.exp(-np.arange(400) / 60), 0.05, optimizer="sgd")
    finding = judge("OPT001", probe(record, "sharpness", [200.0] * 8))  # ηλ = 10
    assert finding is None or finding.severity == Severity.NOTE


def test_a_warm_up_is_left_out():
    def record(warmup):
        made = run(np.linspace(2, 1.5, 200), 0.1, optimizer="sgd", warmup=warmup)
        return probe(made, "sharpness", [90, 60, 10, 10, 10, 10], range(0, 180, 30))

    assert judge("OPT001", record(60)) is None
    assert judge("OPT001", record(0)) is not None


def test_a_large_step_for_a_flat_loss_is_silent():
    assert judge("OPT001", quadratic((0.1, 0.5, 1.0), 1.5)) is None


def test_where_no_limit_is_known_the_relative_update_tells():
    def record(update):
        rising = run(np.linspace(2, 3, 100), 0.5, optimizer="lion")
        return layered(rising, [1.0, 1.0], update=[0.01, update])

    assert found("OPT001", record(0.6)).evidence[0].place == "weights[1]"
    assert judge("OPT001", record(0.02)) is None


def test_one_large_first_step_is_enough():
    update = np.full((10, 2), 1e-3)
    update[0] = 2.0
    record = layered(run(np.linspace(2, 3, 100), 0.5), [1.0, 1.0], update=update)
    assert found("OPT001", record).evidence[0].steps == (0, 0)


def test_the_limit_of_the_product_can_be_replaced():
    record = quadratic(STEEP, 0.03, 60)
    assert judge("OPT001", record, product=1.6) is None


def test_without_a_learning_rate_the_rule_is_not_run():
    assert "`learning_rate` was not measured" in reason("OPT001", run([1, 2, 3]))


# -- OPT002: far below it --------------------------------------------------------------------


def slow(rate=1e-4, curvature=1.0, steps=400):
    record = quadratic((curvature, curvature), rate, steps)
    return layered(record, [1.0, 1.0], update=rate)


def test_a_tiny_step_is_found_and_the_prescribed_one_arrives():
    finding = found("OPT002", slow())
    rate = finding.prescription.recipe["learning_rate"]
    losses = descend((1.0, 1.0), rate, 400)
    assert losses[-1] < 0.01 * losses[0]
    assert judge("OPT002", slow(rate=rate)) is None


def test_a_run_that_is_done_has_no_step_too_small():
    record = layered(run(np.full(300, 0.7), 1e-4, optimizer="sgd"), [1.0], update=1e-5)
    scored(record, 0.97)
    assert judge("OPT002", record) is None


def test_a_gradient_that_vanished_is_not_a_step_too_small():
    record = slow()
    record.extend("gradient_norm", range(400), list(np.geomspace(1, 1e-3, 400)))
    assert judge("OPT002", record) is None


def test_a_loss_that_rises_is_not_a_step_too_small():
    record = layered(run(np.linspace(1, 1.3, 200), 1e-4), [1.0], update=1e-5)
    assert judge("OPT002", record) is None


def test_one_small_measurement_beside_a_usual_one_is_silent():
    record = run(np.linspace(2, 1.5, 200), 1e-3, optimizer="sgd")
    probe(record, "sharpness", [30.0] * 4)  # 0.015 of the limit, below `product`
    assert judge("OPT002", layered(record, [1.0], update=1e-3)) is None


def test_a_tiny_rate_in_the_warm_up_is_left_out():
    update = np.full((10, 1), 1e-3)
    update[:5] = 1e-6
    record = run(np.linspace(2, 1.5, 200), 1e-3, warmup=100)
    assert judge("OPT002", layered(record, [1.0], update=update)) is None


def test_the_limit_of_the_progress_can_be_replaced():
    assert judge("OPT002", slow(), progress=0.01) is None


# -- OPT003: to and fro ---------------------------------------------------------------------


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


# -- OPT004: up ------------------------------------------------------------------------------


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


# -- OPT005: nowhere --------------------------------------------------------------------------


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


# -- OPT006: too few, too many -----------------------------------------------------------------


def test_a_loss_that_still_falls_at_the_end_was_stopped_too_early():
    finding = found("OPT006", run(noisy(np.linspace(3, 1, 200), 0.02), epochs=4))
    assert finding.prescription.recipe == {"epochs": 12}
    assert finding.severity == Severity.NOTE


def test_a_run_that_failed_because_it_was_stopped_costs_something():
    record = scored(run(noisy(np.linspace(3, 1, 200), 0.02), steps=200), 0.3)
    finding = found("OPT006", record)
    assert finding.severity == Severity.MEDIUM
    assert finding.prescription.recipe == {"steps": 600}


@pytest.mark.parametrize(
    "losses",
    [
        noisy(np.maximum(3 * np.exp(-np.arange(200) / 15), 0.5), 0.01),
        noisy(np.full(200, 2.0), 0.4),
    ],
    ids=["a floor above zero", "noise"],
)
def test_a_loss_that_has_arrived_was_not_stopped_too_early(losses):
    assert judge("OPT006", run(losses)) is None


def test_a_run_that_the_budget_ended_was_not_stopped_by_its_recipe():
    record = run(noisy(np.linspace(3, 1, 200), 0.02), epochs=4)
    record.meta["ended"] = "out of time"
    assert judge("OPT006", record) is None


def held_out(values, sem=0.01):
    record = run(np.linspace(2, 0.5, 200))
    probe(record, "validation.loss", values)
    return probe(record, "validation.loss.sem", [sem] * len(values))


def test_a_validation_loss_that_rises_for_most_of_the_run_was_stopped_too_late():
    values = [2.0, 1.2, 1.0, 1.1, 1.2, 1.3, 1.4, 1.5]
    finding = found("OPT006", held_out(values))
    assert finding.prescription.recipe == {"steps": 56}
    assert judge("OPT006", held_out(values, sem=0.4)) is None
    assert judge("OPT006", held_out(values), late=0.1) is None


def test_a_validation_loss_that_never_fell_prescribes_nothing_impossible():
    assert (
        "steps"
        not in found(
            "OPT006", held_out([1.0, 1.2, 1.4, 1.6, 1.8, 2.0])
        ).prescription.recipe
    )


# -- OPT007: one batch ---------------------------------------------------------------------------


def one_batch(record=None, **facts):
    record = record or run(np.linspace(2, 1.8, 100))
    given = {
        "size": 16,
        "steps": 200,
        "loss_first": 2.3,
        "loss_last": 2.2,
        "score": 0.2,
    }
    record.facts["experiment.one_batch"] = given | facts
    return record


def test_a_program_that_cannot_fit_sixteen_examples_is_found():
    assert found("OPT007", one_batch()).severity == Severity.CRITICAL
    assert judge("OPT007", one_batch(loss_last=0.01, score=1.0)) is None


def test_a_floor_above_zero_is_silent_where_the_examples_are_named():
    assert judge("OPT007", one_batch(loss_last=0.6, score=1.0)) is None


def test_a_loss_that_is_solved_is_silent_whatever_predict_says():
    assert judge("OPT007", one_batch(loss_last=0.001, score=0.1)) is None


def test_the_floor_of_smoothed_labels_is_silent_without_scores():
    k, share = 10, 0.1
    q = np.full(k, share / k)
    q[0] += 1 - share
    floor = float(-(q * np.log(q)).sum())  # the entropy of a smoothed label
    fitted = one_batch(loss_first=float(np.log(k)), loss_last=1.02 * floor, score=None)
    assert judge("OPT007", fitted) is None


def test_a_loss_that_stays_is_found_without_scores():
    assert judge("OPT007", one_batch(score=None)) is not None
    assert judge("OPT007", one_batch(score=None, loss_last=float("nan"))) is not None


def test_the_score_that_counts_as_fitted_can_be_replaced():
    assert judge("OPT007", one_batch(score=0.8), score=0.75) is None


def test_an_empty_record_is_judged_by_none_of_these_rules():
    for rule in ("OPT001", "OPT002", "OPT003", "OPT004", "OPT005", "OPT006", "OPT007"):
        assert "was not measured" in reason(rule, Record())
