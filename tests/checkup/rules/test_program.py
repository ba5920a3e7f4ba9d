"""Rules about outputs, losses and layers, on planted faults, twins, and facts by hand."""

import math

import pytest
from records import RULE, found, judge, probe, reason, run, scored
from small import planted

from steepest import Record
from steepest.checkup.finding import Severity
from steepest.problems import FAULTS


PLANTED = [
    ("regression", "relu-head", "PRG001"),
    ("regression", "sigmoid-head", "PRG001"),
    ("moons", "one-unit-softmax", "PRG002"),
    ("moons", "softmax-twice", "PRG003"),
    ("moons", "missing-softmax", "PRG004"),
    ("moons", "class-numbers", "PRG005"),
    ("regression", "broadcast", "PRG006"),
    ("moons", "summed-loss", "PRG007"),
    ("moons", "cut-off", "PRG008"),
    ("moons", "no-activation", "PRG009"),
    ("moons", "log-softmax", "NUM002"),
    ("moons", "log-softmax-overflow", "NUM002"),
]
READ = ["PRG002", "PRG003", "PRG004", "PRG005", "PRG006", "PRG007", "PRG008", "PRG009"]


@pytest.mark.parametrize(("base", "fault", "rule"), PLANTED)
def test_the_planted_fault_is_found_and_the_twin_is_silent(base, fault, rule):
    finding = found(rule, planted(base, fault, "PRG"))
    assert finding.rule in FAULTS[fault].rules
    assert judge(rule, planted(base, "", "PRG")) is None


@pytest.mark.parametrize(("base", "fault", "rule"), PLANTED)
def test_no_other_rule_about_programs_answers_to_the_fault(base, fault, rule):
    for other in READ:
        record = planted(base, fault, "PRG")
        if other != rule and RULE[other].needs[0] in record:
            assert judge(other, record) is None, other


@pytest.mark.parametrize(
    ("base", "fault", "rule"),
    [planted for planted in PLANTED if planted[2] != "PRG007"],  # told by a value
)
def test_the_line_of_the_fault_is_named(base, fault, rule):
    place = found(rule, planted(base, fault, "PRG")).evidence[0].place
    file = "mlp.py:" if fault == "no-activation" else "programs.py:"
    assert place.startswith(file), place


def fact(name, value, **more):
    record = run([2.0, 1.9, 1.9]) if more.pop("ran", True) else Record()
    record.facts[f"program.{name}"] = value
    return record


def test_the_floor_of_a_double_softmax_is_that_of_its_best_probabilities():
    found_by = fact("softmax_twice", [{"place": "a.py:1", "inner": "", "classes": 10}])
    observed = found("PRG003", found_by).evidence[0]
    # all the weight on the right one of ten probabilities: -log(e / (e + 9))
    floor = math.log(1 + 9 / math.e)
    numbers = {observed.observed, observed.limit}
    assert any(n is not None and n == pytest.approx(floor) for n in numbers)


def output(low, high, outside, target=(-2.0, 3.0)):
    return fact(
        "output_range",
        {
            "operation": "sigmoid",
            "low": low,
            "high": high,
            "outside": outside,
            "target": list(target),
            "place": "model.py:4",
        },
    )


def test_a_bounded_output_for_a_target_within_its_bounds_is_silent():
    assert judge("PRG001", output(0.0, 1.0, 0.0, (0.1, 0.9))) is None
    assert judge("PRG001", output(0.0, 1.0, 0.01)) is None  # an outlier
    assert judge("PRG001", output(0.0, None, 0.4)) is not None
    assert judge("PRG001", output(0.0, 1.0, 0.4), outside=0.5) is None


def test_a_sum_is_told_from_a_mean_with_a_penalty():
    assert judge("PRG007", fact("batch_growth", 1.0)) is None
    assert judge("PRG007", fact("batch_growth", 1.2)) is None
    assert found("PRG007", fact("batch_growth", 2.0)).confidence > 0.9
    assert judge("PRG007", fact("batch_growth", 2.0), growth=2.5) is None


def test_scores_that_are_probabilities_already_are_silent():
    scores = [{"place": "a.py:1", "outside": 0.0}]
    assert judge("PRG004", fact("missing_softmax", scores)) is None


def cut(sizes, total=1000, by="stop_gradient"):
    leaves = [
        {"path": f"w{i}", "by": by, "place": "a.py:1", "size": size}
        for i, size in enumerate(sizes)
    ]
    record = fact("without_gradient", leaves)
    record.meta["parameters"] = total
    return record


def test_many_parameters_without_a_gradient_are_named_in_short():
    claim = found("PRG008", cut([1, 1, 1, 1, 1])).claim
    assert "`w0`, `w1`, `w2` and 2 more" in claim and "5 parameters" in claim


@pytest.mark.parametrize("by", ["unused", "cut", "argmax"])
def test_what_cuts_the_gradient_is_said(by):
    assert found("PRG008", cut([10], by=by)).cause


def test_a_large_part_without_a_gradient_is_critical():
    ran = scored(cut([900]), 0.95)
    few = scored(cut([10]), 0.95)
    assert found("PRG008", ran).severity == Severity.CRITICAL
    assert found("PRG008", few).severity == Severity.HIGH


def test_a_linear_stack_in_a_run_that_succeeded_costs_little():
    stack = fact("linear_stack", [{"place": "a.py:2", "first": "a.py:1"}])
    assert found("PRG009", stack).severity == Severity.HIGH
    assert found("PRG009", scored(stack, 0.97)).severity == Severity.MEDIUM


def test_class_numbers_against_one_output_are_less_than_against_many():
    def numbers(units):
        found_at = {"place": "a.py:3", "classes": 3, "units": units}
        return fact("class_numbers", [found_at])

    assert found("PRG005", numbers(1)).severity == Severity.HIGH
    assert found("PRG005", numbers(3)).severity == Severity.CRITICAL


def test_a_program_that_cannot_be_read_is_not_judged():
    record = probe(run([1.0, 0.5]), "train.loss", [1.0, 0.5])
    record.missing["program.broadcast"] = "the loss could not be read: TypeError: ..."
    assert reason("PRG006", record).startswith("the loss could not be read")
