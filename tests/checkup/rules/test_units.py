"""Rules about units and layers that take no part, on shares that are counted."""

import numpy as np
import pytest
from records import found, judge, layered, probe, reason, run, scored

from steepest.checkup.finding import Severity


FALLING = np.linspace(2.0, 1.5, 100)


# -- SIG003: dead units ------------------------------------------------------------------------


def dead_share(z):
    """The share of units whose input is ≤ 0 for every example."""
    return float((z <= 0).all(axis=0).mean())


def relu(shares, loss=FALLING, place="relu model.py:3"):
    return probe(run(loss, 0.1), "unit.dead", [[s] for s in shares], labels=[place])


def test_units_that_no_example_opens_are_found():
    z = np.random.default_rng(0).standard_normal((256, 64))
    z[:, :40] -= 8.0
    finding = found("SIG003", relu([dead_share(z)] * 5))
    assert finding.evidence[0].observed == pytest.approx(40 / 64)
    assert finding.evidence[0].place == "relu model.py:3"
    assert "before the first update" in finding.cause


def test_sparse_activations_without_a_dead_unit_are_silent():
    z = np.random.default_rng(0).standard_normal((256, 64)) - 1.3
    assert (z <= 0).mean() > 0.9
    assert judge("SIG003", relu([dead_share(z)] * 5)) is None


def test_units_that_die_while_training_ask_for_smaller_steps():
    finding = found("SIG003", relu([0.0, 0.3, 0.7, 0.8, 0.8]))
    assert finding.prescription.recipe == {"learning_rate": 0.01}


def test_a_layer_that_is_dead_as_a_whole_is_critical():
    assert found("SIG003", relu([1.0] * 5)).severity == Severity.CRITICAL


def test_dead_units_of_a_run_that_succeeded_are_a_note():
    record = scored(relu([0.6] * 5), 0.99)
    assert found("SIG003", record).severity == Severity.NOTE


def test_the_share_of_dead_units_can_be_replaced():
    assert judge("SIG003", relu([0.6] * 5), share=0.7) is None
    assert judge("SIG003", relu([0.4] * 5), share=0.3) is not None


# -- SIG004: saturated units -------------------------------------------------------------------


def tanh(shares, loss=FALLING):
    place = "tanh model.py:5"
    record = run(loss, 0.1)
    probe(record, "activation.std", [[30.0]] * len(shares), labels=[place])
    return probe(record, "unit.saturated", [[s] for s in shares], labels=[place])


def test_units_that_start_at_their_ends_are_found():
    finding = found("SIG004", tanh([0.9] * 9))
    assert "not standardised" in finding.cause
    assert finding.evidence[1].observed == 30.0


def test_units_that_get_there_in_a_run_that_failed_are_found():
    record = scored(tanh([0.0, 0.1, 0.3, 0.6, 0.8, 0.9]), 0.2)
    assert "have grown" in found("SIG004", record).cause


def test_a_head_that_is_right_and_sure_is_silent():
    assert judge("SIG004", scored(tanh([0.0, 0.1, 0.3, 0.6, 0.8, 0.9]), 0.99)) is None


def test_units_in_the_middle_of_their_range_are_silent():
    assert judge("SIG004", tanh([0.05] * 9)) is None


def test_the_share_of_saturated_units_can_be_replaced():
    assert judge("SIG004", tanh([0.9] * 9), share=0.95) is None


# -- SIG005: idle layers -----------------------------------------------------------------------


def test_a_layer_that_is_slower_by_orders_of_magnitude_is_found():
    record = layered(run(FALLING), [1.0, 1.0, 1.0], update=[1e-8, 1e-3, 1e-3])
    finding = found("SIG005", record)
    assert finding.severity == Severity.MEDIUM
    assert finding.evidence[0].place == "weights[0]"


def test_a_layer_that_the_optimiser_leaves_out_is_a_note():
    record = layered(run(FALLING), [1.0, 1.0, 1.0], update=[0.0, 1e-3, 1e-3])
    assert found("SIG005", record).severity == Severity.NOTE


def test_layers_of_like_speed_are_silent():
    record = layered(run(FALLING), [1.0, 1.0, 1.0], update=[1e-4, 1e-3, 1e-2])
    assert judge("SIG005", record) is None


def test_a_layer_without_any_gradient_is_left_to_the_rule_about_programs():
    record = layered(run(FALLING), [0.0, 1.0, 1.0], update=[0.0, 1e-3, 1e-3])
    assert judge("SIG005", record) is None


def test_a_branch_that_starts_at_zero_is_no_idle_layer():
    update, weight = np.full((10, 3), 1e-3), np.full((10, 3), 1.0)
    update[0, 0], weight[0, 0] = 0.0, 0.0
    record = layered(run(FALLING), [1.0, 1.0, 1.0], update=update, weight=weight)
    assert judge("SIG005", record) is None


def test_the_ratio_of_the_updates_can_be_replaced():
    record = layered(run(FALLING), [1.0, 1.0, 1.0], update=[1e-8, 1e-3, 1e-3])
    assert judge("SIG005", record, ratio=1e-6) is None


@pytest.mark.parametrize(
    ("rule", "series"),
    [
        ("SIG001", "layer.gradient_norm"),
        ("SIG003", "unit.dead"),
        ("SIG004", "unit.saturated"),
        ("SIG005", "layer.update_norm"),
    ],
)
def test_a_program_without_such_units_is_not_judged(rule, series):
    record = run(FALLING)
    assert series in reason(rule, record)
    record.missing[series] = "the program has no such unit"
    assert reason(rule, record) == "the program has no such unit"
