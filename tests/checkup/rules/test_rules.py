"""The table of rules is sound, whatever the rules say."""

import re

import pytest
from records import RULE, reason

from steepest import Record
from steepest.checkup.finding import Severity
from steepest.checkup.rank import STAGES
from steepest.checkup.rules import RULES
from steepest.problems import FAULTS


rules = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)


def test_ids_and_titles_are_unique():
    assert len(RULE) == len(RULES) == len({rule.title for rule in RULES})


@rules
def test_a_rule_is_documented_and_names_its_family(rule):
    assert re.fullmatch(r"[A-Z]{3}\d{3}", rule.id) and rule.id[:3] in STAGES
    assert rule.title and rule.doc.endswith(".")
    assert isinstance(rule.severity, Severity)


@rules
def test_every_limit_is_explained_by_name(rule):
    for name in rule.limits:
        assert f"`{name}`" in rule.doc, f"{rule.id}.{name} is not explained"


@rules
def test_a_rule_explains_rules_that_exist_and_not_itself(rule):
    assert set(rule.explains) <= set(RULE) - {rule.id}
    assert len(set(rule.explains)) == len(rule.explains)


def test_the_causes_of_every_planted_fault_are_rules():
    for name, fault in FAULTS.items():
        assert fault.rules and set(fault.rules) <= set(RULE), name


@rules
def test_an_empty_record_is_judged_by_no_rule_that_needs_something(rule):
    if rule.needs:
        assert "was not measured" in reason(rule.id, Record())
