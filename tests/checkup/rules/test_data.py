"""Rules about the data, on planted faults, their twins, and facts by hand."""

import numpy as np
import pytest
from records import found, judge, reason
from small import planted

from steepest import Record
from steepest.checkup.finding import Severity


def with_facts(**facts):
    return Record(facts={f"data.{name}": fact for name, fact in facts.items()})


PLANTED = [
    ("moons", "missing-values", "DAT001"),
    ("wine", "raw-inputs", "DAT002"),
    ("regression", "unscaled-target", "DAT003"),
    ("moons", "rare-class", "DAT004"),
    ("moons", "sorted", "DAT005"),
    ("moons", "leakage", "DAT006"),
]


@pytest.mark.parametrize(("base", "fault", "rule"), PLANTED)
def test_the_planted_fault_is_found_and_the_twin_is_silent(base, fault, rule):
    assert found(rule, planted(base, fault, "DAT"))
    assert judge(rule, planted(base, "", "DAT")) is None


@pytest.mark.parametrize(("base", "fault", "rule"), PLANTED)
def test_no_other_rule_about_data_answers_to_the_fault(base, fault, rule):
    record = planted(base, fault, "DAT")
    for _, _, other in PLANTED:
        measured = other not in ("DAT003",) or base == "regression"
        measured &= other not in ("DAT004", "DAT005") or base != "regression"
        if measured and other != rule:
            assert judge(other, record) is None, other


# -- DAT001 ---------------------------------------------------------------------------------


def test_where_the_first_nan_stands_is_said():
    fact = {"count": 3, "rows": 2, "first": 7, "where": "validation inputs"}
    claim = found("DAT001", with_facts(nonfinite=fact)).claim
    assert "row 7 of the validation inputs" in claim


# -- DAT002 ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rms", "ratio"), [(1.0, 1.0), (0.4, 3.0), (0.1, 1.0), (3.0, 20.0)]
)
def test_pixels_in_the_unit_interval_one_hot_vectors_and_counts_are_silent(rms, ratio):
    assert judge("DAT002", with_facts(rms=rms, scale_ratio=ratio)) is None


@pytest.mark.parametrize(("rms", "ratio"), [(80.0, 1.0), (1e-3, 1.0), (1.0, 500.0)])
def test_inputs_too_large_too_small_or_too_uneven_are_found(rms, ratio):
    assert judge("DAT002", with_facts(rms=rms, scale_ratio=ratio)) is not None


def test_the_limits_of_the_scale_can_be_replaced():
    assert judge("DAT002", with_facts(rms=80.0, scale_ratio=1.0), rms=100.0) is None


# -- DAT003 ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("std", "mean"), [(2000.0, 30000.0), (1e-3, 0.0), (1.0, 50.0), (0.0, 1.0)]
)
def test_targets_of_another_magnitude_are_found(std, mean):
    assert judge("DAT003", with_facts(target_std=std, target_mean=mean)) is not None


@pytest.mark.parametrize(("std", "mean"), [(1.0, 0.0), (0.3, 0.5), (10.0, 20.0)])
def test_targets_near_one_are_silent(std, mean):
    assert judge("DAT003", with_facts(target_std=std, target_mean=mean)) is None


# -- DAT004 ---------------------------------------------------------------------------------


def counts(*numbers, **facts):
    table = {str(i): n for i, n in enumerate(numbers)}
    majority = max(numbers) / sum(numbers)
    return with_facts(class_counts=table, majority=majority, **facts)


def test_the_scatter_of_small_counts_is_no_imbalance():
    assert judge("DAT004", counts(11, 6, 7, 5, 1, 8)) is None


def test_a_rare_class_is_found():
    finding = found("DAT004", counts(900, 30))
    assert finding.evidence[0].observed == pytest.approx(30.0)


def test_an_imbalance_that_the_loss_makes_good_is_a_note():
    record = counts(900, 30)
    record.facts["problem.class_weights"] = True
    assert found("DAT004", record).severity == Severity.NOTE


def test_one_class_and_even_classes_are_silent():
    assert judge("DAT004", counts(100)) is None
    assert judge("DAT004", counts(100, 90, 110)) is None
    assert judge("DAT004", counts(900, 30), ratio=50.0) is None


# -- DAT005 ---------------------------------------------------------------------------------


def test_sorted_examples_that_are_shuffled_are_silent():
    assert judge("DAT005", with_facts(batch_entropy=0.1, shuffled=True)) is None
    assert judge("DAT005", with_facts(batch_entropy=0.1, shuffled=False)) is not None


def test_an_iterable_whose_batches_hold_one_class_each_is_found():
    assert judge("DAT005", with_facts(batch_entropy=0.1, shuffled=None)) is not None
    assert judge("DAT005", with_facts(batch_entropy=0.97, shuffled=None)) is None


# -- DAT006 ---------------------------------------------------------------------------------


def overlap(shared, within=0.0, groups=0, held_out=100):
    fact = {
        "shared": shared,
        "held_out": held_out,
        "share": shared / held_out,
        "first": 3,
        "within": within,
        "groups": groups,
    }
    return with_facts(overlap=fact)


def test_data_that_repeat_themselves_may_repeat_across_the_split():
    assert judge("DAT006", overlap(20, within=0.15)) is None
    assert judge("DAT006", overlap(20, within=0.01)) is not None


def test_one_shared_row_is_a_chance():
    assert judge("DAT006", overlap(1, held_out=20)) is None


def test_groups_on_both_sides_are_found_without_a_shared_row():
    assert "2 groups" in found("DAT006", overlap(0, groups=2)).claim


def test_the_share_of_shared_rows_can_be_replaced():
    assert judge("DAT006", overlap(20), share=0.3) is None


def test_rules_about_data_that_are_not_arrays_are_not_run_with_the_reason():
    record = Record(missing={"data.rms": "the inputs are not an array of floats"})
    record.facts["data.scale_ratio"] = np.float64(1.0)
    assert reason("DAT002", record) == "the inputs are not an array of floats"
