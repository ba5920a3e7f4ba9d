"""Generated data have the shape, the noise and the difficulty that they claim."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from steepest import InputError
from steepest.data import blobs, circles, moons, regression, spirals, xor


CLASSES = {"moons": moons, "circles": circles, "spirals": spirals, "blobs": blobs, "xor": xor}  # fmt: skip


@pytest.mark.parametrize("name", CLASSES)
def test_classes_are_balanced_shuffled_and_the_seed_decides(name):
    make = CLASSES[name]
    data, again, other = make(240), make(240), make(240, seed=1)
    assert data.inputs.dtype == np.float32 and data.targets.dtype == np.int32
    counts = np.bincount(data.targets)
    assert len(data) == 240 and counts.min() == counts.max()
    assert len(data.classes) == len(counts) and data.task == "classification"
    np.testing.assert_array_equal(data.inputs, again.inputs)
    np.testing.assert_array_equal(data.targets, again.targets)
    assert not np.array_equal(data.inputs, other.inputs)
    assert (np.diff(data.targets) != 0).sum() > 60  # sorted: at most two


@pytest.mark.parametrize(
    ("name", "linear", "curved"),
    [("xor", 0.65, 0.95), ("circles", 0.65, 0.95), ("spirals", 0.75, 0.9)],
)
def test_a_linear_model_cannot_part_what_neighbours_can(name, linear, curved):
    data = CLASSES[name](600)
    line = cross_val_score(LogisticRegression(), *data.arrays).mean()
    near = cross_val_score(KNeighborsClassifier(5), *data.arrays).mean()
    assert line < linear and near > curved


def test_without_noise_the_points_lie_on_their_curves():
    data = circles(100, noise=0.0, ratio=0.3)
    radius = np.linalg.norm(data.inputs, axis=1)
    np.testing.assert_allclose(radius, np.where(data.targets == 0, 1, 0.3), rtol=1e-6)
    data = moons(100, noise=0.0)
    centre = np.where(data.targets[:, None] == 0, [[0.0, 0.0]], [[1.0, 0.5]])
    np.testing.assert_allclose(
        np.linalg.norm(data.inputs - centre, axis=1), 1, rtol=1e-5
    )
    data = xor(100, noise=0.0)
    assert set(np.abs(data.inputs).ravel().tolist()) == {1.0}
    np.testing.assert_array_equal(data.targets, (data.inputs.prod(1) < 0))
    data = spirals(100, turns=1.0, noise=0.0)
    x, y = data.inputs.T
    radius = np.hypot(x, y)
    turned = np.exp(-1j * (2 * np.pi * radius + np.pi * data.targets)) * (x + 1j * y)
    np.testing.assert_allclose(turned, radius, atol=1e-5)


def test_blobs_have_the_deviation_asked_for():
    data = blobs(6000, classes=4, dim=3, noise=0.6)
    within = [data.inputs[data.targets == c].std(0) for c in range(4)]
    # the deviation of a deviation is σ/√2n: 1500 points, four of those
    np.testing.assert_allclose(within, 0.6, atol=4 * 0.6 / np.sqrt(2 * 1500))


@pytest.mark.parametrize("noise", [0.1, 0.5])
def test_the_least_error_of_the_regression_is_its_noise(noise):
    """The best possible prediction is the same function without noise."""
    noisy, clean = (regression(5000, noise=s) for s in (noise, 0.0))
    np.testing.assert_array_equal(noisy.inputs, clean.inputs)
    error = np.mean((noisy.targets - clean.targets) ** 2)
    # the deviation of a mean of squares is σ² √(2/n); four of those
    assert abs(error - noise**2) < 4 * noise**2 * np.sqrt(2 / 5000)
    assert clean.targets.var() > 0.1  # and there is something to learn


@pytest.mark.parametrize("options", [{"n": 0}, {"n": 10, "noise": -1.0}])
def test_impossible_requests_are_refused(options):
    for make in (*CLASSES.values(), regression):
        with pytest.raises(InputError, match="must be positive"):
            make(**options)
