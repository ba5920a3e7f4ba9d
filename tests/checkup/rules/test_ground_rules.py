"""Rules about the place where a run stands, on records whose derivatives are known."""

import numpy as np
import pytest
from records import found, judge, noisy, probe, reason, run, scored

from steepest import Record
from steepest.checkup.finding import Severity
from steepest.checkup.rules.ground import ground_of


def place(record, slope, lowest, highest, kind="inconclusive", **more):
    """Write what was measured of the ground."""
    facts = {
        "kind": kind,
        "reason": "",
        "gradient_norm": slope,
        "lowest": lowest,
        "highest": highest,
        "lowest_residual": 1e-6,
        "highest_residual": 1e-6,
        "along_gradient": more.pop("along", highest),
        "inputs": more.pop("inputs", None),
    }
    record.facts |= {f"curvature.{name}": value for name, value in facts.items()}
    record.facts |= {f"noise.{name}": value for name, value in more.items()}
    return record


def stuck(train=0.12, **recipe):
    """A loss that stands still, with a model no better than a constant."""
    record = run(noisy(np.full(300, 2.3), 0.01), 0.1, **({"optimizer": "sgd"} | recipe))
    return scored(record, train, constant=0.1, linear=0.9)


# -- Which place it is -----------------------------------------------------------------


def test_the_four_places_are_told_apart_by_gradient_and_curvature():
    cases = {
        "moving": (1.0, -0.5, 1.0, "moving"),
        "saddle": (1e-6, -0.5, 1.0, "saddle"),
        "minimum": (1e-6, 0.1, 1.0, "minimum"),
        "flat": (1e-6, 0.0, 1.0, "inconclusive"),
    }
    for expected, (gradient, low, high, kind) in cases.items():
        ground = ground_of(place(Record(), gradient, low, high, kind))
        assert ground is not None and ground.place == expected


def test_a_gradient_hidden_by_the_noise_of_the_examples_counts_as_none():
    seen = place(Record(), 0.1, -1.0, 1.0, "moving", gradient=[1.0, 0.1])
    hidden = place(Record(), 0.1, -1.0, 1.0, "moving", gradient=[0.001, 0.001])
    assert [g.place for g in map(ground_of, (seen, hidden)) if g] == [
        "moving",
        "saddle",
    ]


def test_without_a_measurement_there_is_no_place():
    assert ground_of(Record()) is None


def test_negative_curvature_within_its_residual_is_no_saddle():
    record = place(Record(), 1e-6, -0.2, 1.0)
    record.facts["curvature.lowest_residual"] = 0.2
    ground = ground_of(record)
    assert ground is not None and ground.place == "flat"


# -- OPT008: on a saddle ---------------------------------------------------------------


def test_a_run_that_stands_on_a_saddle_is_told_the_way_out():
    finding = found("OPT008", place(stuck(), 1e-6, -0.5, 1.0))
    assert finding.evidence[0].observed == pytest.approx(-0.5)
    assert finding.prescription.recipe == {"optimizer": "adam", "learning_rate": 1e-3}


def test_adam_on_a_saddle_is_given_longer_steps():
    record = place(stuck(optimizer="adam"), 1e-6, -0.5, 1.0)
    change = found("OPT008", record).prescription.recipe
    assert change == {"learning_rate": pytest.approx(1.0)}


@pytest.mark.parametrize(
    "change",
    [
        {"slope": 1.0, "kind": "moving"},  # it moves
        {"lowest": -0.05},  # hardly negative
        {"lowest": 0.0},  # a flat
    ],
)
def test_no_saddle_is_claimed_where_one_of_its_marks_is_missing(change):
    facts = {"slope": 1e-6, "lowest": -0.5, "highest": 1.0, **change}
    assert judge("OPT008", place(stuck(), **facts)) is None


def test_a_run_that_learned_is_on_no_saddle_whatever_its_hessian_says():
    assert judge("OPT008", place(stuck(0.97), 1e-6, -0.5, 1.0)) is None


def test_a_loss_that_falls_is_leaving_its_saddle():
    record = run(np.linspace(2.3, 1.5, 300), 0.1, optimizer="sgd")
    record = scored(record, 0.12, constant=0.1, linear=0.9)
    assert judge("OPT008", place(record, 1e-6, -0.5, 1.0)) is None


def test_the_share_of_negative_curvature_can_be_replaced():
    record = place(stuck(), 1e-6, -0.5, 1.0)
    assert judge("OPT008", record, negative=0.6) is None


# -- OPT005 says which place it is -----------------------------------------------------


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ((1.0, -0.5, 1.0, "moving"), "on a slope"),
        ((1e-6, -0.5, 1.0, "saddle"), "on a saddle"),
        ((1e-6, 0.1, 1.0, "minimum"), "in a minimum"),
        ((1e-6, 0.0, 1.0, "inconclusive"), "on a flat"),
    ],
)
def test_a_plateau_names_its_place_and_its_evidence(facts, words):
    finding = found("OPT005", place(stuck(), *facts))
    assert words in finding.claim
    assert any("λ_min" in e.quantity for e in finding.evidence)


def test_a_plateau_without_curvature_is_told_all_the_same():
    finding = found("OPT005", stuck())
    assert finding.claim.endswith("far from what can be reached.")


# -- OPT009: in a ravine ---------------------------------------------------------------


def slow(product=0.5, train=0.5, **recipe):
    """A loss that falls slowly with a step at half of what the sharpness allows."""
    recipe = {"optimizer": "sgd"} | recipe
    record = run(np.linspace(2.3, 2.0, 300), 0.1, **recipe)
    probe(record, "sharpness", [2 * product / 0.1] * 6)
    record.meta["steps"] = 300
    return scored(record, train, constant=0.1, linear=0.95)


def test_a_ravine_is_read_off_the_curvature_along_the_gradient():
    record = place(slow(), 0.1, 0.0, 10.0, "moving", along=1e-3)
    finding = found("OPT009", record)
    assert finding.evidence[0].observed == pytest.approx(1e4)
    assert finding.prescription.recipe["optimizer"] == "adam"


def test_a_ravine_is_read_off_the_inputs_too():
    record = place(slow(), 0.1, 0.0, 10.0, "moving", inputs=[10.0, 1e-3])
    finding = found("OPT009", record)
    assert finding.evidence[0].observed == pytest.approx(1e4)
    assert finding.prescription.treatment == "whitened inputs"


@pytest.mark.parametrize(
    "record",
    [
        slow(product=0.01),  # the step is short of everything
        slow(train=0.97),  # it got there
        slow(optimizer="adam"),  # it has a step for each parameter
    ],
    ids=["short", "succeeded", "adam"],
)
def test_no_ravine_without_a_step_at_its_limit_and_a_run_that_suffers(record):
    assert judge("OPT009", place(record, 0.1, 0.0, 10.0, "moving", along=1e-3)) is None


def test_a_round_valley_is_no_ravine():
    assert judge("OPT009", place(slow(), 0.1, 0.0, 10.0, "moving")) is None


def test_a_ratio_that_the_run_was_long_enough_for_is_no_fault():
    record = place(slow(), 0.1, 0.0, 10.0, "moving", along=1e-3)
    record.meta["steps"] = 30_000
    assert judge("OPT009", record) is None


def test_the_verdict_is_graver_where_the_run_failed():
    worse = place(slow(train=0.12), 0.1, 0.0, 10.0, "moving", along=1e-3)
    milder = place(slow(train=0.94), 0.1, 0.0, 10.0, "moving", along=1e-3)
    assert found("OPT009", worse).severity == Severity.HIGH
    assert judge("OPT009", milder) is None or found("OPT009", milder).severity < 3


def test_a_loop_of_ones_own_is_told_that_curvature_takes_the_program():
    assert "not measured" in reason("OPT008", stuck())
