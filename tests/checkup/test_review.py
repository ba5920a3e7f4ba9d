"""A record of any loop can be judged without running anything."""

import jax.numpy as jnp
import numpy as np
import pytest

from steepest import InputError, Recipe, Record, review


def logged(losses, **more):
    record = Record()
    for step, loss in enumerate(losses):
        record.log(step, loss=loss, **more)
    return record


def test_a_falling_loss_is_healthy_and_the_rest_is_not_run():
    report = review(logged(np.exp(-np.arange(200) / 20)), name="mine")
    assert report.verdict.status == "healthy" and report.name == "mine"
    assert "the program itself" in report.not_run["DAT002"]
    assert "did not log `layer.gradient_norm`" in report.not_run["SIG001"]
    assert "generalises" not in report.verdict.sentence


def test_no_rule_fails_on_what_a_loop_of_ones_own_records():
    losses = 1 / (1 + np.arange(300))
    record = logged(losses, gradient_norm=0.1, learning_rate=0.1)
    for step in range(0, 300, 20):
        for name in ("train", "validation"):
            record.add(f"{name}.loss", step, losses[step])
            record.add(f"{name}.accuracy", step, 0.9)
    for recipe in (None, Recipe()):
        report = review(record, recipe=recipe)
        assert [r for r in report.not_run.values() if "failed" in r] == []


def test_a_loss_that_is_not_finite_ends_the_run_there():
    report = review(logged([3.0, 2.0, float("inf"), float("nan")]))
    assert report.findings[0].rule == "NUM001"
    assert report.record.meta["nonfinite"]["step"] == 2
    assert len(report.record["loss"].step) == 2


def test_a_loss_that_never_was_a_number_is_reported():
    report = review(logged([float("nan")] * 3))
    assert report.verdict.status == "does not train"
    assert report.findings[0].rule == "NUM001"


def test_a_loss_that_leaps_up_and_comes_half_way_back_does_not_train():
    losses = [1.0] + [50.0] * 99 + [10.0] * 900
    assert review(logged(losses)).verdict.status == "does not train"


def test_the_record_is_left_as_it_is():
    record = logged([3.0, 2.0, float("nan")])
    review(record, name="x", recipe=Recipe())
    assert record.meta == {} and len(record["loss"].step) == 3


def test_arrays_of_any_library_may_be_logged():
    report = review(logged(jnp.exp(-jnp.arange(50) / 10)))
    assert report.verdict.status == "healthy"


def test_the_report_of_a_saved_record_is_the_same(tmp_path):
    record = logged([3.0, 2.0, float("nan")])
    record.save(tmp_path / "run.npz")
    again = review(Record.load(tmp_path / "run.npz"))
    assert again.findings == review(record).findings


def test_a_loop_may_log_only_the_accuracy_on_held_out_data():
    record = logged(np.exp(-np.arange(50) / 10))
    record.log(49, **{"validation.accuracy": 0.5})
    assert "accuracy 50.0% held out" in review(record).verdict.sentence


def test_a_fact_is_no_series_for_the_verdict():
    record = logged(np.exp(-np.arange(50) / 10))
    record.facts |= {"train.loss": 3.0, "validation.loss": 3.0}
    assert review(record).verdict.status == "healthy"


def ragged(step, value):
    record = Record()
    record.extend("loss", step, value)
    return record


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (ragged([0, 1, 2], [3.0, 2.0]), "2 values at 3 steps"),
        (ragged(np.zeros((2, 2)), np.ones(2)), "2 values at 4 steps"),
        (logged([3.0, 2.0], **{"validation.loss": np.ones(3)}), "log a scalar"),
        (Record(), "The record is empty"),
        (logged([np.ones(2), np.ones(2)]), "log a scalar"),
        (logged([np.ones(2), np.ones(3)]), "differ in shape"),
        (logged(["a", "b"]), "not numbers"),
    ],
)
def test_what_cannot_be_read_is_refused(record, said):
    with pytest.raises(InputError, match=said):
        review(record)
