"""Experiments around the run, and that none of them can cost the report."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import by_loss, classes, classifier, net, numbers, weights

from steepest import InputError, Problem, Record
from steepest.checkup.preflight import experiments
from steepest.checkup.preflight._note import note


# -- The order of the layers ----------------------------------------------------------------


def test_layers_are_ordered_by_their_use_and_not_by_their_names():
    params = dict(zip("zma", weights((4, 8), (8, 8), (8, 3)), strict=True))
    params["bias"] = jnp.zeros(8)

    def apply(p, x):
        h = jax.nn.relu(x @ p["z"] + p["bias"][None])
        return jax.nn.relu(h @ p["m"]) @ p["a"]

    fact = experiments.depth(classifier(params, apply))
    assert fact == {"paths": ["z", "m", "a"], "sizes": [32, 64, 24]}


def test_a_matrix_that_is_used_twice_stands_at_its_first_use():
    params = dict(zip(("tied", "head"), weights((4, 8), (4, 3)), strict=True))

    def apply(p, x):
        return jnp.tanh(jax.nn.relu(x @ p["tied"]) @ p["tied"].T) @ p["head"]

    assert experiments.depth(classifier(params, apply))["paths"] == ["tied", "head"]


def test_a_matrix_that_is_only_transposed_first_is_used_later():
    params = dict(zip(("late", "soon"), weights((3, 8), (4, 8)), strict=True))

    def apply(p, x):
        turned = p["late"].T
        return jax.nn.relu(x @ p["soon"]) @ turned

    assert experiments.depth(classifier(params, apply))["paths"] == ["soon", "late"]


def test_what_the_loss_does_not_use_has_no_depth():
    params = dict(zip(("used", "idle"), weights((4, 3), (9, 9)), strict=True))
    fact = experiments.depth(classifier(params, lambda p, x: x @ p["used"]))
    assert fact["paths"] == ["used"]


def test_weights_inside_of_a_loop_stand_where_the_loop_does():
    x = np.zeros((60, 7, 4), np.float32)
    names = ("head", "inner", "embed")
    params = dict(zip(names, weights((8, 3), (8, 8), (4, 8)), strict=True))

    def apply(p, x):
        x = x @ p["embed"]

        def step(h, x):
            return jnp.tanh(x + h @ p["inner"]), None

        h, _ = jax.lax.scan(step, jnp.zeros((len(x), 8)), x.transpose(1, 0, 2))
        return h @ p["head"]

    fact = experiments.depth(classifier(params, apply, (x, classes()[1])))
    assert fact["paths"] == ["embed", "inner", "head"]


# -- Scores afterwards -------------------------------------------------------------------------


def fitted(function):
    return SimpleNamespace(predict=function)


def test_the_trained_model_is_scored_on_both_sets():
    x, y = classes()
    problem = classifier(
        weights((4, 8), (8, 3)), net, (x, y), validation=(x[:20], y[:20])
    )
    truth = {row.tobytes(): label for row, label in zip(x, y, strict=True)}

    def right(x):
        return np.eye(3)[[truth[np.asarray(row).tobytes()] for row in x]]

    scores = experiments.final_scores(fitted(right), problem)
    assert scores["metric"] == "accuracy"
    assert scores["train"][0] == scores["validation"][0] == 1.0


def test_a_regression_is_scored_by_the_share_of_variance():
    x, y = numbers()
    problem = Problem(
        weights((4, 1)), lambda p, b: 0.0, (x, y), predict=lambda p, x: x @ p[0]
    )
    scores = experiments.final_scores(fitted(lambda x: np.zeros((len(x), 1))), problem)
    # predicting 0: R² = 1 − mean(y²)/var(y)
    assert scores["metric"] == "R²" and scores["validation"] is None
    assert scores["train"][0] == pytest.approx(1 - (y**2).mean() / y.var(), abs=1e-4)


def test_without_predict_there_are_no_scores_and_the_reason_is_kept():
    record = Record()
    problem = by_loss(lambda p, b: jnp.mean(net(p, b[0])))
    experiments.measure_after(fitted(None), problem, record)
    assert "no `predict`" in record.missing["experiment.final"]


# -- Failures ------------------------------------------------------------------------------------


def test_a_refusal_and_a_failure_are_reasons_and_no_errors():
    record = Record()

    def refuse():
        raise InputError("There is nothing to compare with.")

    def fail():
        raise ValueError("first line\nsecond line")

    note(record, "a", refuse)
    note(record, "b", fail)
    note(record, "c", lambda: {"score": 1.0})
    assert record.missing == {
        "a": "There is nothing to compare with.",
        "b": "could not be measured: ValueError: first line",
    }
    assert record.facts == {"c": {"score": 1.0}}
