"""Rules about the first state, on planted faults, their twins, and facts by hand."""

import pytest
from records import found, judge, probe, run, scored
from small import planted

from steepest.checkup.finding import Severity


PLANTED = [
    ("moons", "wrong-first-loss", "INI001"),
    ("moons", "constant-weights", "INI002"),
    ("moons", "unit-weights", "INI003"),
    ("moons", "saturated", "INI003"),
]


@pytest.mark.parametrize(("base", "fault", "rule"), PLANTED)
def test_the_planted_fault_is_found_and_the_twin_is_silent(base, fault, rule):
    assert found(rule, planted(base, fault, "INI"))
    for each in ("INI001", "INI002", "INI003"):
        assert judge(each, planted(base, "", "INI")) is None


def fact(name, value):
    record = run([2.0, 1.9, 1.9])
    record.facts[f"initial.{name}"] = value
    return record


def first(loss, expected=2.303):
    return fact("loss", {"loss": loss, "expected": expected, "of": "log K"})


def test_a_usual_first_loss_is_silent():
    assert judge("INI001", first(2.303)) is None
    assert judge("INI001", first(3.5)) is None  # a usual head adds half its variance
    assert judge("INI001", first(0.1)) is None  # a model that was trained before


def test_a_first_loss_of_another_magnitude_is_found():
    assert found("INI001", first(30.0)).severity == Severity.HIGH
    assert found("INI001", first(12.0)).severity == Severity.MEDIUM
    assert judge("INI001", first(30.0), ratio=20.0) is None


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_a_first_loss_that_is_no_number_is_left_to_the_rules_about_numbers(loss):
    assert judge("INI001", first(loss)) is None


def constant(same=(), zero=(), matrices=3, order=("a", "b", "head")):
    record = fact(
        "constant_layers",
        {"same": list(same), "zero": list(zero), "matrices": matrices},
    )
    record.facts["experiment.depth"] = {"paths": list(order), "sizes": [9] * 3}
    return record


def test_equal_units_before_the_last_layer_are_found():
    assert found("INI002", constant(same=["a", "b"])).severity == Severity.CRITICAL


def test_every_weight_at_zero_is_found():
    assert "zero" in found("INI002", constant(zero=["a", "b", "head"])).claim


@pytest.mark.parametrize(
    "facts",
    [
        {"zero": ["head"]},  # a last layer at zero
        {"same": ["head"]},  # or at a constant
        {"zero": ["b"]},  # a residual branch that ends in zeros
        {"zero": ["head"], "matrices": 1, "order": ["head"]},  # logistic regression
    ],
    ids=["zero head", "constant head", "residual branch", "logistic regression"],
)
def test_zeros_that_break_no_symmetry_are_silent(facts):
    assert judge("INI002", constant(**facts)) is None


def signal(*std):
    sites = [f"relu model.py:{i}" for i in range(len(std))]
    return fact("signal", {"sites": sites, "mean": [0.0] * len(std), "std": list(std)})


def test_signals_that_keep_their_size_are_silent():
    assert judge("INI003", signal(0.8, 0.6, 0.5, 1.4)) is None
    assert judge("INI003", signal(0.05, 0.04)) is None  # sparse inputs


def test_signals_that_grow_or_fade_are_found_with_the_factor_of_a_layer():
    growing = found("INI003", signal(3.0, 30.0, 300.0))
    assert growing.evidence[1].observed == pytest.approx(10.0)
    assert "too large" in growing.claim
    assert "too small" in found("INI003", signal(0.1, 0.01, 0.001)).claim


def test_a_signal_that_dead_units_cut_off_has_not_faded():
    record = signal(1.0, 0.001)
    probe(record, "unit.dead", [[1.0, 1.0]] * 3, labels=["a", "b"])
    assert judge("INI003", record) is None


def test_a_wrong_scale_in_a_run_that_failed_is_grave():
    assert found("INI003", scored(signal(50.0), 0.2)).severity == Severity.HIGH
    assert found("INI003", scored(signal(50.0), 0.95)).severity == Severity.MEDIUM


def test_the_limits_of_the_scale_can_be_replaced():
    assert judge("INI003", signal(50.0), large=100.0) is None
