"""Held-out data are held out: disjoint, in proportion, by group, by time."""

from dataclasses import replace

import numpy as np
import pytest

from steepest import InputError
from steepest.data import (
    Dataset,
    by_time,
    grouped,
    load,
    standardise,
    standardise_targets,
    stratified,
)


def numbered(n=200, classes=4, groups=None):
    """Examples that carry their own number as input."""
    numbers = np.arange(n, dtype=np.float32)[:, None]
    labels = (np.arange(n) ** 2 % 7 % classes).astype(np.int32)
    return Dataset(numbers, labels, "classification", groups=groups)


def numbers(data):
    return data.inputs[:, 0].astype(int).tolist()


GROUPS = np.repeat(np.arange(20), np.arange(1, 21))  # sizes 1 to 20
SPLITS = {
    "stratified": lambda share, seed: stratified(numbered(), share, seed=seed),
    "grouped": lambda share, seed: grouped(numbered(210, groups=GROUPS), share, seed=seed),
    "by time": lambda share, seed: by_time(numbered(), share),
    "regression": lambda share, seed: stratified(replace(numbered(), task="regression"), share, seed=seed),
}  # fmt: skip


@pytest.mark.parametrize("name", SPLITS)
@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
def test_every_example_is_on_one_side_and_the_share_is_near(name, share):
    train, held = SPLITS[name](share, 0)
    n = len(train) + len(held)
    assert sorted(numbers(train) + numbers(held)) == list(range(n))
    # at most half an example for each class; for groups, at most the last one
    slack = 20 if name == "grouped" else 2
    assert abs(len(held) - share * n) <= slack
    again = SPLITS[name](share, 0)
    assert numbers(again[0]) == numbers(train) and numbers(again[1]) == numbers(held)


def test_every_class_is_held_out_in_proportion():
    data = load("digits")
    _, held = stratified(data, 0.2, seed=3)
    for label in range(10):
        of_class = (data.targets == label).sum()
        assert (held.targets == label).sum() == round(0.2 * of_class)


def test_seeds_give_different_splits_and_both_sides_are_shuffled():
    first, second = (stratified(numbered(), seed=seed) for seed in (0, 1))
    assert set(numbers(first[1])) != set(numbers(second[1]))
    for side in first:
        assert numbers(side) != sorted(numbers(side))


def test_no_group_stands_on_both_sides():
    for seed in range(20):
        train, held = grouped(numbered(210, groups=GROUPS), 0.2, seed=seed)
        assert not set(train.groups.tolist()) & set(held.groups.tolist())
        assert len(train) and len(held)


def test_even_two_groups_can_be_parted():
    for share in (0.01, 0.99):
        train, held = grouped(numbered(10, groups=np.repeat([0, 1], 5)), share)
        assert len(train) == len(held) == 5


def test_the_last_examples_are_held_out_in_their_order():
    train, held = by_time(numbered(), 0.25)
    assert numbers(train) == list(range(150)) and numbers(held) == list(range(150, 200))
    assert len(by_time(numbered(3), 0.01)[1]) == 1


@pytest.mark.parametrize("split", [stratified, grouped, by_time])
@pytest.mark.parametrize("share", [0.0, 1.0, -0.5, 20])
def test_a_share_that_is_none_is_refused(split, share):
    with pytest.raises(InputError, match="between 0 and 1"):
        split(numbered(groups=np.arange(200)), share)


@pytest.mark.parametrize("groups", [None, np.zeros(200)])
def test_a_grouped_split_needs_groups(groups):
    with pytest.raises(InputError, match="at least two groups"):
        grouped(numbered(groups=groups))


# -- Standardisation ---------------------------------------------------------------------


def test_the_scale_is_that_of_the_training_data_alone():
    train, held = stratified(load("wine"), seed=0)
    shifted = replace(held, inputs=held.inputs * 3 + 100)
    a, b = standardise(train, held)
    c, d = standardise(train, shifted)
    np.testing.assert_array_equal(a.inputs, c.inputs)
    mean, std = (f(train.inputs.astype(np.float64), axis=0) for f in (np.mean, np.std))
    # one rounding of the result to float32
    np.testing.assert_allclose(b.inputs, (held.inputs - mean) / std, rtol=1e-6)
    np.testing.assert_allclose(d.inputs, (shifted.inputs - mean) / std, rtol=1e-6)
    np.testing.assert_allclose(a.inputs.mean(0, np.float64), 0, atol=1e-6)
    np.testing.assert_allclose(a.inputs.std(0, np.float64), 1, rtol=1e-6)
    assert a.inputs.dtype == np.float32 and a.targets is train.targets


def test_a_constant_feature_is_centred_and_not_blown_up():
    inputs = np.stack([np.full(50, 0.1), np.arange(50.0)], -1).astype(np.float32)
    (train,) = standardise(Dataset(inputs, np.zeros(50), "regression"))
    assert np.abs(train.inputs[:, 0]).max() < 1e-6


def test_targets_are_standardised_likewise():
    train, held = stratified(load("diabetes"), seed=0)
    a, b = standardise_targets(train, held)
    np.testing.assert_allclose(a.targets.mean(dtype=np.float64), 0, atol=1e-6)
    std = train.targets.std(dtype=np.float64)
    expected = (held.targets - train.targets.mean(dtype=np.float64)) / std
    np.testing.assert_allclose(b.targets, expected, rtol=1e-5, atol=1e-6)
