"""A broken program cannot memorise; simple models score what scikit-learn says."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_diabetes, load_iris
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
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


def test_the_classifiers_are_scikit_learns_on_standardised_inputs():
    order = np.random.default_rng(0).permutation(150)
    train, held = order[:100], order[100:]
    problem = Problem(model(), loss, (X[train], Y[train]), (X[held], Y[held]))
    ours = simple_models(problem)
    scaler = StandardScaler().fit(X[train])
    twins = {
        "constant": DummyClassifier(),
        "linear": LogisticRegression(max_iter=300),
        "neighbours": KNeighborsClassifier(5),
    }
    for name, twin in twins.items():
        twin.fit(scaler.transform(X[train]), Y[train])
        for rows, side in ((train, 0), (held, 1)):
            expected = twin.score(scaler.transform(X[rows]), Y[rows])
            got = getattr(ours, name)[side]
            # one example at most may lie so near a border that float32 decides
            assert got.value == pytest.approx(expected, abs=1 / len(rows))
            p = np.clip(got.value, 1 / len(rows), 1 - 1 / len(rows))
            binomial = np.sqrt(p * (1 - p) / len(rows))
            assert got.sem == pytest.approx(binomial, rel=0.2)
    assert (ours.train_size, ours.validation_size) == (100, 50)


def test_neighbours_of_a_regression_are_scikit_learns():
    data = load_diabetes()
    x, y = data.data.astype(np.float32), data.target.astype(np.float32)
    ours = simple_models(Problem(model(), loss, (x, y)))
    scaled = StandardScaler().fit_transform(x)
    guess = KNeighborsRegressor(5).fit(scaled, y).predict(scaled)
    assert ours.neighbours[0].value == pytest.approx(r2_score(y, guess), abs=5e-3)
    assert ours.neighbours[1] is None


def test_large_data_are_thinned_the_same_way_every_time():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3000, 2)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int32)
    first, second = (simple_models(Problem(model(), loss, (x, y))) for _ in range(2))
    assert first == second and first.train_size == 1000
    assert first.linear[0].value > 0.98


def test_one_batch_is_the_same_every_time_and_leaves_the_model_alone():
    problem = Problem(model(), loss, (X, Y), predict=apply)
    before = jax.tree.map(np.array, problem.model)
    first = fit_one_batch(problem, steps=30, key=KEY)
    second = fit_one_batch(problem, steps=30, key=KEY)
    assert first == second and first.steps == 30
    jax.tree.map(np.testing.assert_array_equal, problem.model, before)
    assert first.curve[0] == pytest.approx(first.loss_first)


def test_one_batch_of_an_iterable_and_of_a_regression_is_fitted_too():
    target = np.sin(3 * X[:, :1])

    def squared(model, batch):
        x, y = batch
        return jnp.mean((apply(model, x)[:, :1] - y) ** 2)

    batches = lambda: iter([(X[:40], target[:40])])
    problem = Problem(
        model(), squared, batches, predict=lambda m, x: apply(m, x)[:, :1],
        task="regression",
    )  # fmt: skip
    result = fit_one_batch(problem, size=8, key=KEY)
    assert result.size == 8 and result.score is not None and result.score > 0.9
    assert result.loss_last < 0.1 * result.loss_first
