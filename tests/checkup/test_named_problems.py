"""The whole check-up on every named problem, and on every sound one that looks ill."""

import dataclasses

import pytest

from steepest import Recipe, check, problems
from steepest.checkup.finding import Severity
from steepest.checkup.rules import RULES
from steepest.problems.controls import CONTROLS


pytestmark = pytest.mark.slow
BUDGET = 240  # seconds: none of them needs 60, but the machine may be busy

FIELDS = {field.name for field in dataclasses.fields(Recipe)}
RULE = {rule.id: rule for rule in RULES}


def weighty(report):
    found = [f for f in report.findings if f.severity > Severity.NOTE]
    return {f.rule: f.claim for f in found}


def following(finding, report):
    """The findings that another one explains, at once or by others."""
    found = [f for f in report.findings if f.explained_by == finding.rule]
    return found + [g for f in found for g in following(f, report)]


def assert_readable(report):
    for finding in report.findings:
        # its own severity, or that of what follows from it
        most = max(
            RULE[f.rule].severity for f in (finding, *following(finding, report))
        )
        assert finding.evidence and finding.severity <= most
        assert finding.claim.endswith(".") and finding.refutation.endswith(".")
        assert set(finding.prescription.recipe) <= FIELDS
    assert [r for r in report.not_run.values() if r.startswith("the rule failed")] == []


@pytest.mark.parametrize("name", problems.names())
def test_a_named_problem_shows_its_fault_or_none(name):
    case = problems.make(name)
    report = check(case.problem, case.recipe, budget=BUDGET)
    assert_readable(report)
    if case.fault:
        causes = problems.FAULTS[case.fault].rules
        assert {f.rule for f in report.findings} & set(causes), weighty(report)
    else:
        assert weighty(report) == {}


@pytest.mark.parametrize("name", CONTROLS)
def test_a_sound_program_that_looks_ill_draws_nothing_above_a_note(name):
    case = CONTROLS[name]()
    report = check(case.problem, case.recipe, budget=BUDGET)
    assert_readable(report)
    assert weighty(report) == {}
