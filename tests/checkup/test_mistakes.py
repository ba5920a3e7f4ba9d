"""The worst mistakes, from whatever a model gives."""

import numpy as np

from steepest.checkup.mistakes import probabilities, worst_mistakes


def test_the_surest_wrong_answer_is_the_worst_mistake():
    logits = np.array([[9.0, 0.0], [0.0, 1.0], [0.0, 5.0], [3.0, 0.0]])
    labels = np.array([1, 0, 1, 0])
    worst = worst_mistakes(np.zeros((4, 3)), labels, logits, classify=True)
    assert [m.index for m in worst] == [0, 1]
    np.testing.assert_allclose(worst[0].loss, 9 + np.log1p(np.exp(-9)), rtol=1e-12)


def test_labels_may_stand_in_a_column_or_be_one_hot():
    logits, x = np.eye(3)[[0, 1, 2]] * 5, np.zeros((3, 1))
    labels = np.array([0, 2, 2])
    for targets in (labels, labels[:, None], np.eye(3)[labels]):
        worst = worst_mistakes(x, targets, logits, classify=True)
        assert [(m.index, m.target) for m in worst] == [(1, 2.0)]


def test_one_column_is_judged_as_a_whole():
    p = np.array([0.0, 0.25, 1.0])
    np.testing.assert_array_equal(probabilities(p)[:, 1], p)  # probabilities
    z = np.array([0.0, 0.25, 1.5])  # one is outside [0, 1]: all are logits
    np.testing.assert_allclose(probabilities(z)[:, 1], 1 / (1 + np.exp(-z)), rtol=1e-15)
    np.testing.assert_array_equal(probabilities(np.zeros(3)), np.full((3, 2), 0.5))


def test_probabilities_are_recognised_and_logits_normalised():
    p = np.array([[0.25, 0.75]])
    np.testing.assert_array_equal(probabilities(p), p)
    np.testing.assert_allclose(probabilities(np.log(p)), p, rtol=1e-12)
    np.testing.assert_allclose(
        probabilities(np.array([900.0])), [[0.0, 1.0]], atol=1e-300
    )


def test_regression_ranks_by_squared_error():
    worst = worst_mistakes(
        np.zeros((3, 2)),
        np.array([0.0, 1.0, 2.0]),
        np.array([[0.0], [4.0], [1.0]]),
        classify=False,
    )
    assert [(m.index, m.loss) for m in worst] == [(1, 9.0), (2, 1.0), (0, 0.0)]


def test_flat_inputs_become_pictures_by_their_shape():
    x = np.linspace(0, 16, 2 * 64).reshape(2, 64)
    worst = worst_mistakes(
        x,
        np.array([0, 0]),
        np.array([[0.0, 1.0]] * 2),
        classify=True,
        image_shape=(8, 8),
    )
    assert worst[0].image.shape == (8, 8)
    assert worst[0].image.min() >= 0 and worst[1].image.max() <= 1
