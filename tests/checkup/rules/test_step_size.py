"""Rules about the step size, on runs whose limit of stability is known in closed form."""

import numpy as np
import pytest
from records import (
    descend,
    found,
    judge,
    layered,
    noisy,
    probe,
    quadratic,
    reason,
    run,
    scored,
    stable_up_to,
)

from steepest.checkup.finding import Severity


STEEP = (1.0, 10.0, 100.0)
METHODS = ("sgd", "momentum", "nesterov")


# -- OPT001: beyond the limit of stability -----------------------------------------------------


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


def test_the_prescribed_step_comes_from_where_the_limit_was_first_passed():
    record = run(np.geomspace(2, 2e6, 60), 5.0, optimizer="sgd")
    for step, curvature in ((0, 4.0), (20, 1e6), (40, 1e9)):  # blown up on the way
        record.log(step, sharpness=curvature)
    new = found("OPT001", record).prescription.recipe["learning_rate"]
    assert 0.3 < new * 4.0 < 2.0


def test_no_prescription_cuts_the_step_by_more_than_a_thousand():
    record = run(np.geomspace(2, 2e6, 60), 5.0, optimizer="sgd")
    record.log(0, sharpness=1e12)
    finding = found("OPT001", record)
    assert finding.prescription.recipe["learning_rate"] == pytest.approx(5e-3)
    assert "measure again" in finding.prescription.text


def test_where_no_step_was_measured_the_rule_is_not_run():
    assert "`sharpness` was not measured" in reason("OPT001", run([1, 2, 3], 20.0))


def test_the_limit_of_the_product_can_be_replaced():
    record = quadratic(STEEP, 0.03, 60)
    assert judge("OPT001", record, product=1.6) is None


def test_without_a_learning_rate_the_rule_is_not_run():
    assert "`learning_rate` was not measured" in reason("OPT001", run([1, 2, 3]))


def shaken(batch, product=1.2):
    """A run that blew up at a step that the mean of its loss allows."""
    record = run(np.geomspace(2, 2e6, 60), 0.1, optimizer="sgd", batch_size=batch)
    record.meta |= {"examples": 1000, "steps": 60, "ended": "non-finite"}
    probe(record, "sharpness", [10 * product, 1e12], [0, 50])
    probe(record, "train.loss", [2.0, 2e6], [0, 50])
    return layered(record, [1.0, 1.0], update=5.0)


def test_a_step_that_the_mean_loss_allows_is_not_accused_where_the_batch_is_tiny():
    assert judge("OPT001", shaken(1)) is None
    finding = found("OPT010", shaken(1))
    assert finding.prescription.recipe["batch_size"] == 32
    assert finding.prescription.recipe["steps"] == 20_000  # of epochs that were planned
    assert found("OPT001", shaken(1, product=4.0)).evidence[0].observed == 4.0
    assert judge("OPT010", shaken(64)) is None


def test_no_prescription_cuts_below_half_of_what_curvature_allows():
    new = found("OPT001", shaken(64)).prescription.recipe["learning_rate"]
    assert 0.04 <= new < 0.1  # 2/12, halved and cut to one digit; less than it was


def test_a_step_below_the_limit_in_a_run_that_went_well_is_not_accused():
    update = np.full((10, 2), 1e-3)
    update[0] = 100.0  # of weights that are almost nothing
    record = run(2 * np.exp(-np.arange(400) / 60), 0.05, optimizer="sgd")
    probe(record, "sharpness", [10.0] * 8)
    assert judge("OPT001", layered(record, [1.0, 1.0], update=update)) is None


# -- OPT002: far below it ----------------------------------------------------------------------


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


def test_no_prescription_raises_the_step_beyond_what_curvature_allows():
    finding = found("OPT002", slow(rate=1e-4, curvature=100.0, steps=40))
    assert finding.prescription.recipe["learning_rate"] <= 0.9 * 2 / 100
