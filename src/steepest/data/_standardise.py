"""Features of mean 0 and deviation 1, by the training data's mean and deviation.

Inputs on unlike scales make the Hessian of the first layer ill-conditioned: its
eigenvalues go with the second moments of the features (LeCun et al. 1998, §4.3). The
scale is measured on the training data alone; held-out data must not take part.
"""

from dataclasses import replace

import numpy as np

from .dataset import Dataset


def standardise(train: Dataset, *others: Dataset) -> tuple[Dataset, ...]:
    """Standardise every set by the mean and deviation of the first.

    A feature that is constant in training is only centred.
    """
    mean = train.inputs.mean(axis=0, dtype=np.float64)
    std = train.inputs.std(axis=0, dtype=np.float64)
    scale = np.where(std > 1e-12 * np.maximum(np.abs(mean), 1), std, 1.0)

    def apply(data: Dataset) -> Dataset:
        return replace(data, inputs=((data.inputs - mean) / scale).astype(np.float32))

    return tuple(map(apply, (train, *others)))


def standardise_targets(train: Dataset, *others: Dataset) -> tuple[Dataset, ...]:
    """The same for the targets of a regression."""
    mean = train.targets.mean(axis=0, dtype=np.float64)
    std = train.targets.std(axis=0, dtype=np.float64)
    scale = np.where(std > 0, std, 1.0)

    def apply(data: Dataset) -> Dataset:
        return replace(data, targets=((data.targets - mean) / scale).astype(np.float32))

    return tuple(map(apply, (train, *others)))
