"""Does it fail to train, or fail to generalise? Planted records of each kind."""

import pytest

from steepest import Record
from steepest.checkup.verdict import verdict


def run(train, validation, majority=0.1):
    record = Record(facts={"data.majority": majority})
    for step, (t, v) in enumerate(zip(train, validation, strict=True)):
        record.log(
            100 * step,
            **{
                "train.loss": 3 * (1 - t),
                "train.accuracy": t,
                "validation.loss": 3 * (1 - v),
                "validation.accuracy": v,
            },
        )
    return record


def test_a_run_no_better_than_the_majority_class_does_not_train():
    assert verdict(run([0.1, 0.11], [0.1, 0.1]), []).status == "does not train"


def test_accuracy_is_judged_against_the_majority_not_against_zero():
    assert verdict(run([0.5, 0.92], [0.5, 0.9], 0.92), []).status == "does not train"
    assert verdict(run([0.5, 0.98], [0.5, 0.97], 0.92), []).status == "healthy"


def test_a_run_that_learns_and_has_no_findings_is_healthy():
    result = verdict(run([0.1, 0.95], [0.1, 0.94]), [])
    assert result.status == "healthy"
    assert "95.0%" in result.sentence and "94.0%" in result.sentence


def test_a_run_that_ended_in_nan_does_not_train():
    record = run([0.1, 0.9], [0.1, 0.9])
    record.meta |= {"ended": "non-finite", "nonfinite": {"step": 7}}
    result = verdict(record, [])
    assert result.status == "does not train" and "step 7" in result.sentence


@pytest.mark.parametrize(
    ("last", "status"), [(0.1, "healthy"), (2.9, "does not train")]
)
def test_without_accuracy_the_loss_decides(last, status):
    record = Record()
    for step, loss in enumerate([3.0, 3.0, last, last]):
        record.log(step, loss=loss)
    assert verdict(record, []).status == status


def test_a_run_cut_off_after_a_few_updates_is_undecided():
    record = run([0.1, 0.1], [0.1, 0.1])
    record.meta["ended"] = "out of time"
    for step in range(4):
        record.log(step, loss=2.3 - 0.01 * step)
    assert verdict(record, []).status == "undecided"


@pytest.mark.parametrize(("train", "status"), [(0.9, "healthy"), (-3.0, None)])
def test_a_regression_is_judged_against_its_mean_not_by_its_loss(train, status):
    record = Record(
        facts={"experiment.final": {"metric": "R²", "train": [train, 0.01]}}
    )
    for step, loss in enumerate([30.0, 20.0, 10.0, 8.0]):  # it fell, whatever it means
        record.log(step, loss=loss)
    assert verdict(record, []).status == (status or "does not train")
