"""A broken program cannot memorise; simple models score what scikit-learn says."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.preprocessing import StandardScaler

from steepest import InputError, Problem
from steepest.learning import fit_one_batch, score, simple_models


IRIS = load_iris()
X, Y = IRIS.data.astype(np.float32), IRIS.target.astype(np.int32)
KEY = jax.random.key(0)


def model(seed=0):
    rng = np.random.default_rng(seed)
    return {
        "W": rng.normal(size=(4, 16)).astype(np.float32) / 2,
        "b": np.zeros(16, np.float32),
        "V": rng.normal(size=(16, 3)).astype(np.float32) / 4,
    }


def apply(model, x):
    return jnp.tanh(x @ model["W"] + model["b"][None]) @ model["V"]


def loss(model, batch):
    x, y = batch
    losses = optax.softmax_cross_entropy_with_integer_labels(apply(model, x), y)
    return losses.mean()


def test_a_working_program_memorises_sixteen_examples():
    result = fit_one_batch(Problem(model(), loss, (X, Y), predict=apply), key=KEY)
    assert result.score == 1.0
    assert result.loss_last < 0.05 < result.loss_first
    assert (result.size, result.steps) == (16, 200)


def test_a_program_whose_signal_is_cut_does_not():
    def cut(model, batch):
        x, y = batch
        z = jax.lax.stop_gradient(apply(model, x)) + 0 * jnp.sum(model["V"])
        return optax.softmax_cross_entropy_with_integer_labels(z, y).mean()

    result = fit_one_batch(Problem(model(), cut, (X, Y), predict=apply), key=KEY)
    assert result.loss_last == pytest.approx(result.loss_first, rel=1e-5)


def test_a_rate_that_diverges_is_not_the_one_reported():
    def steep(model, batch):  # overflows unless the rate is small
        return jnp.exp(1000 * jnp.square(model["w"][0] - 0.01))

    result = fit_one_batch(
        Problem({"w": np.zeros(1, np.float32)}, steep, (X, Y)), key=KEY
    )
    assert result.loss_last <= result.loss_first
    assert result.score is None


def test_the_linear_baseline_is_ridge_regression_on_standardised_inputs():
    data = load_diabetes()
    x, y = data.data.astype(np.float32), data.target.astype(np.float32)
    train, held = slice(0, 300), slice(300, None)
    problem = Problem(model(), loss, (x[train], y[train]), (x[held], y[held]))
    ours = simple_models(problem)
    scaler = StandardScaler().fit(x[train])
    ridge = Ridge(alpha=1.0).fit(scaler.transform(x[train]), y[train])
    guess = ridge.predict(scaler.transform(x[held]))
    assert ours.metric == "R²"
    assert ours.linear[1] is not None
    assert ours.linear[1].value == pytest.approx(r2_score(y[held], guess), abs=1e-4)
    assert ours.constant[0].value == pytest.approx(0, abs=1e-12)


def test_classes_are_scored_by_accuracy_and_the_constant_is_the_commonest():
    problem = Problem(model(), loss, (X[:130], Y[:130]), (X[130:], Y[130:]))
    ours = simple_models(problem)
    assert ours.constant[0].value == pytest.approx(50 / 130)
    assert ours.constant[1] is not None and ours.constant[1].value == 0
    assert ours.linear[0].value > 0.95 and ours.neighbours[0].value > 0.95


def test_one_hot_labels_and_one_class_are_understood():
    hot = np.eye(3, dtype=np.float32)[Y]
    assert simple_models(Problem(model(), loss, (X, hot))).linear[0].value > 0.95
    same = simple_models(Problem(model(), loss, (X[:50], Y[:50])))
    assert same.linear[0].value == 1.0


@pytest.mark.parametrize(
    "data", [(X * np.nan, Y), lambda: [(X, Y)], (np.zeros((3, 5000)), Y[:3])]
)
def test_data_that_cannot_be_compared_are_refused(data):
    with pytest.raises(InputError):
        simple_models(Problem(model(), loss, data, task="classification"))


def test_scores_of_logits_probabilities_and_one_output_agree():
    y = np.array([0, 1, 1, 0])
    logit = np.array([-1.0, 2.0, 3.0, 4.0])
    for outputs in (
        logit,
        logit[:, None],
        1 / (1 + np.exp(-logit)),
        np.stack([-logit, logit], axis=-1),
    ):
        assert score(outputs, y, "classification").value == 0.75
