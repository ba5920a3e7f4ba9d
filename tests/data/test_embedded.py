"""The embedded sets are scikit-learn's, raw, in 32 bits."""

import numpy as np
import pytest
from sklearn import datasets as sk

from steepest import InputError
from steepest.data import Dataset, load


SETS = {
    "digits": (sk.load_digits, (1797, 64), 10),
    "breast-cancer": (sk.load_breast_cancer, (569, 30), 2),
    "wine": (sk.load_wine, (178, 13), 3),
    "iris": (sk.load_iris, (150, 4), 3),
    "diabetes": (lambda: sk.load_diabetes(scaled=False), (442, 10), 0),
}


@pytest.mark.parametrize("name", SETS)
def test_it_is_what_scikit_learn_has(name):
    original, shape, classes = SETS[name][0](), *SETS[name][1:]
    ours = load(name)
    assert ours.inputs.shape == shape and len(ours) == shape[0] and ours.name == name
    np.testing.assert_array_equal(ours.inputs, original.data.astype(np.float32))
    np.testing.assert_array_equal(ours.targets, original.target)
    assert ours.inputs.dtype == np.float32
    assert ours.targets.dtype == (np.int32 if classes else np.float32)
    assert ours.task == ("classification" if classes else "regression")
    assert len(ours.classes) == classes == len(np.unique(ours.targets)) * (classes > 0)
    assert len(ours.features) == shape[1]


def test_pictures_know_their_shape():
    digits = load("digits")
    assert digits.image_shape == (8, 8) and load("iris").image_shape is None
    images = digits.inputs.reshape(-1, *digits.image_shape)
    np.testing.assert_array_equal(images, sk.load_digits().images)


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(InputError, match=r"'mnist'.*digits.*iris"):
        load("mnist")


def test_examples_and_targets_must_be_as_many():
    with pytest.raises(InputError, match="3 inputs but 2 targets"):
        Dataset(np.zeros((3, 1)), np.zeros(2), "regression")


def test_taking_examples_takes_their_groups_too():
    data = Dataset(np.arange(6.0).reshape(3, 2), np.arange(3), "classification", groups=np.array(list("abc")))  # fmt: skip
    some = data.take(np.array([2, 0]))
    assert some.targets.tolist() == [2, 0] and some.groups.tolist() == ["c", "a"]
    assert some.arrays[0].tolist() == [[4.0, 5.0], [0.0, 1.0]]
