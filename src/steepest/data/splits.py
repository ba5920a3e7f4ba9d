"""Parting data for training and for judging.

An estimate of the generalisation error is unbiased only if the held-out examples are
independent of those that were trained on (DL §5.3). Hence three ways to part:

- `stratified`: at random, each class in proportion;
- `grouped`: whole groups (patients, writers) go to one side;
- `by_time`: the last examples are held out, as they will be in use.
"""

import numpy as np

from ..core.errors import InputError
from .dataset import Dataset


def stratified(
    data: Dataset, held_out: float = 0.2, *, seed: int = 0
) -> tuple[Dataset, Dataset]:
    """Part at random; for classification with the same share of every class."""
    _check(held_out)
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(data))
    if data.task == "classification":
        labels = data.targets[order]
        out = np.zeros(len(data), bool)
        for label in np.unique(labels):
            members = np.flatnonzero(labels == label)
            out[members[: round(held_out * len(members))]] = True
    else:
        out = np.arange(len(data)) < round(held_out * len(data))
    return data.take(order[~out]), data.take(order[out])


def grouped(
    data: Dataset, held_out: float = 0.2, *, seed: int = 0
) -> tuple[Dataset, Dataset]:
    """Part so that no group stands on both sides.

    Raises `InputError` when the data have fewer than two groups.
    """
    _check(held_out)
    if data.groups is None or len(np.unique(data.groups)) < 2:
        raise InputError("A grouped split needs `groups` with at least two groups.")
    names, sizes = np.unique(data.groups, return_counts=True)
    order = np.random.default_rng(seed).permutation(len(names))
    reach = np.cumsum(sizes[order])
    count = int(
        np.clip(np.searchsorted(reach, held_out * len(data)) + 1, 1, len(names) - 1)
    )
    out = np.isin(data.groups, names[order[:count]])
    return data.take(np.flatnonzero(~out)), data.take(np.flatnonzero(out))


def by_time(data: Dataset, held_out: float = 0.2) -> tuple[Dataset, Dataset]:
    """Hold out the last examples, in the order in which they stand."""
    _check(held_out)
    first = len(data) - max(1, round(held_out * len(data)))
    return data.take(np.arange(first)), data.take(np.arange(first, len(data)))


def _check(held_out: float) -> None:
    if not 0 < held_out < 1:
        raise InputError(f"`held_out` must lie between 0 and 1, but is {held_out}.")
