"""The rule about fitting one batch, on facts by hand."""

import numpy as np
from records import (
    found,
    judge,
    run,
)

from steepest.checkup.finding import Severity


def one_batch(record=None, **facts):
    record = record or run(np.linspace(2, 1.8, 100))
    given = {
        "size": 16,
        "steps": 200,
        "loss_first": 2.3,
        "loss_last": 2.2,
        "score": 0.2,
    }
    record.facts["experiment.one_batch"] = given | facts
    return record


def test_a_program_that_cannot_fit_sixteen_examples_is_found():
    assert found("OPT007", one_batch()).severity == Severity.CRITICAL
    assert judge("OPT007", one_batch(loss_last=0.01, score=1.0)) is None


def test_a_floor_above_zero_is_silent_where_the_examples_are_named():
    assert judge("OPT007", one_batch(loss_last=0.6, score=1.0)) is None


def test_a_loss_that_is_solved_is_silent_whatever_predict_says():
    assert judge("OPT007", one_batch(loss_last=0.001, score=0.1)) is None


def test_the_floor_of_smoothed_labels_is_silent_without_scores():
    k, share = 10, 0.1
    q = np.full(k, share / k)
    q[0] += 1 - share
    floor = float(-(q * np.log(q)).sum())  # the entropy of a smoothed label
    fitted = one_batch(loss_first=float(np.log(k)), loss_last=1.02 * floor, score=None)
    assert judge("OPT007", fitted) is None


def test_a_loss_that_stays_is_found_without_scores():
    assert judge("OPT007", one_batch(score=None)) is not None
    assert judge("OPT007", one_batch(score=None, loss_last=float("nan"))) is not None


def test_the_score_that_counts_as_fitted_can_be_replaced():
    assert judge("OPT007", one_batch(score=0.8), score=0.75) is None
