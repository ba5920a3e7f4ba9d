"""Rules about numbers that stop being numbers."""

import numpy as np
import pytest
from records import found, judge, reason, run

from steepest import Record
from steepest.checkup.finding import Severity


def ended(primitive="log", where="value", place="model.py:12", **more):
    record = run([2.0, 1.0, 0.5])
    record.meta["ended"] = "non-finite"
    record.meta["nonfinite"] = {
        "step": 3,
        "primitive": primitive,
        "place": place,
        "where": where,
        "sentence": f"`{primitive}` made the first one.",
    } | more
    return record


def test_a_run_that_ended_in_nan_names_step_operation_and_line():
    finding = found("NUM001", ended())
    assert finding.severity == Severity.CRITICAL
    assert "at step 3, first in `log` at model.py:12." in finding.claim
    assert finding.evidence[0].place == "model.py:12"
    assert "log_softmax" in finding.prescription.snippet


@pytest.mark.parametrize(
    "primitive",
    [
        "log",
        "log1p",
        "exp",
        "div",
        "sqrt",
        "rsqrt",
        "pow",
        "integer_pow",
        "dot_general",
    ],
)
def test_every_known_origin_has_a_cause_of_its_own(primitive):
    finding = found("NUM001", ended(primitive))
    assert primitive in finding.cause and "unknown" not in finding.cause


def test_the_gradient_is_told_from_the_loss():
    assert "The gradient stopped" in found("NUM001", ended("sqrt", "gradient")).claim


@pytest.mark.parametrize("primitive", ["erf_inv", ""])
def test_an_origin_that_is_not_known_is_still_reported(primitive):
    assert found("NUM001", ended(primitive, place=""))


def test_a_run_without_any_word_of_the_origin_is_still_reported():
    record = run([2.0, 1.0])
    record.meta["ended"] = "non-finite"
    assert "unknown" in found("NUM001", record).cause


@pytest.mark.parametrize("how", ["completed", "interrupted", "out of time"])
def test_a_run_that_ended_otherwise_is_silent(how):
    record = run([2.0, 1.0])
    record.meta["ended"] = how
    assert judge("NUM001", record) is None


def test_a_loss_of_large_numbers_is_silent():
    assert judge("NUM001", run(np.geomspace(1, 1e30, 50))) is None


def log_of(guarded, of="softmax", ended=False):
    record = Record()
    record.facts["program.log_of_softmax"] = [
        {"place": "model.py:9", "of": of, "guarded": guarded, "least": 1e-3}
    ]
    if ended:
        record.meta |= {"ended": "non-finite", "nonfinite": {"step": 4}}
    return record


@pytest.mark.parametrize("of", ["softmax", "sigmoid"])
def test_the_logarithm_of_a_bare_probability_is_grave(of):
    finding = found("NUM002", log_of(False, of))
    assert finding.severity == Severity.HIGH
    assert f"log_{of}" in finding.prescription.snippet


def test_it_is_critical_once_the_run_has_ended_in_nan():
    assert found("NUM002", log_of(False, ended=True)).severity == Severity.CRITICAL


def test_the_logarithm_of_a_clipped_probability_is_a_note():
    assert found("NUM002", log_of(True)).severity == Severity.NOTE


def test_no_such_logarithm_is_silent_and_no_program_is_not_judged():
    record = Record()
    assert "`program.log_of_softmax` was not measured" in reason("NUM002", record)
    record.facts["program.log_of_softmax"] = []
    assert judge("NUM002", record) is None


def test_the_stated_distance_of_logits_is_where_float32_ends():
    limit = found("NUM002", log_of(False)).evidence[1].observed
    # log softmax of a logit that far below the largest: exp underflows to subnormals
    assert np.exp(np.float32(-limit)) == pytest.approx(
        np.finfo(np.float32).tiny, rel=1e-4
    )
