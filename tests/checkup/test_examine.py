"""Rules are applied to a record, and nothing they do can lose the report."""

import pytest

from steepest import InputError, Record
from steepest.checkup._examine import examine
from steepest.checkup.finding import Evidence, Finding, Prescription, Severity
from steepest.checkup.rule import Rule


def judge(record, limits):
    observed = float(record.facts["x"])
    if observed <= limits["most"]:
        return None
    return Finding(
        rule="DAT900",
        severity=Severity.HIGH,
        claim="x is large",
        evidence=(Evidence("x", observed, limits["most"]),),
        why="",
        reference="",
        cause="",
        prescription=Prescription("lower x"),
        confidence=1.0,
        refutation="",
    )


RULE = Rule("DAT900", "x", Severity.HIGH, judge, ("x",), {"most": 1.0})


def test_a_rule_finds_passes_or_is_not_run_with_the_reason_of_the_record():
    assert examine(Record(facts={"x": 2.0}), [RULE]).findings[0].rule == "DAT900"
    assert examine(Record(facts={"x": 0.0}), [RULE]).passed == ("DAT900",)
    lacking = Record(missing={"x": "there is no x"})
    assert examine(lacking, [RULE]).not_run == {"DAT900": "there is no x"}


def test_limits_are_replaced_by_name():
    record = Record(facts={"x": 2.0})
    assert examine(record, [RULE], limits={"DAT900.most": 3.0}).findings == ()


def test_a_silenced_rule_is_listed_as_not_run():
    result = examine(Record(facts={"x": 2.0}), [RULE], silence=["DAT900"])
    assert result.findings == () and "silenced" in result.not_run["DAT900"]


def test_a_failing_rule_does_not_cost_the_report():
    def broken(record, limits):
        raise KeyError("oops")

    bad = Rule("DAT901", "y", Severity.HIGH, broken, ())
    result = examine(Record(facts={"x": 2.0}), [bad, RULE])
    assert [f.rule for f in result.findings] == ["DAT900"]
    assert "KeyError" in result.not_run["DAT901"]


@pytest.mark.parametrize(
    "options",
    [
        {"limits": {"DAT900.least": 1.0}},
        {"limits": {"NOPE.most": 1.0}},
        {"silence": ["X"]},
    ],
)
def test_unknown_limits_and_rules_are_refused(options):
    with pytest.raises(InputError, match="There is no"):
        examine(Record(), [RULE], **options)


def test_a_limit_must_be_a_number():
    with pytest.raises(InputError, match="must be a number"):
        examine(Record(), [RULE], limits={"DAT900.most": "high"})


def test_of_alternatives_one_measurement_is_enough_and_none_is_too_few():
    rule = Rule("DAT900", "x", Severity.HIGH, judge, ("x", "y|z"), {"most": 1.0})
    assert examine(Record(facts={"x": 2.0, "z": 0.0}), [rule]).findings
    assert (
        "`y` was not measured"
        in examine(Record(facts={"x": 2.0}), [rule]).not_run["DAT900"]
    )
