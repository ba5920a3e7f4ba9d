"""The rule about when a run was stopped, on losses that arrived, and did not."""

import numpy as np
import pytest
from records import found, judge, noisy, probe, run, scored

from steepest.checkup.finding import Severity


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
