"""Data made to measure: shapes that a linear model cannot part, noise that is known.

The noise of `regression` is known, so the least error that any model can have, the
Bayes error, is `noise**2`.
"""

import numpy as np

from ..core.errors import InputError
from .dataset import Dataset


def moons(n: int = 400, *, noise: float = 0.1, seed: int = 0) -> Dataset:
    """Two half circles, one in the other's mouth."""
    generator = _generator(n, noise, seed)
    label = np.arange(n) % 2
    angle = np.pi * generator.random(n)
    x = np.where(label == 0, np.cos(angle), 1 - np.cos(angle))
    y = np.where(label == 0, np.sin(angle), 0.5 - np.sin(angle))
    return _classes("moons", np.stack([x, y], -1), label, noise, generator)


def circles(
    n: int = 400, *, noise: float = 0.1, ratio: float = 0.5, seed: int = 0
) -> Dataset:
    """A circle of radius 1 and one of radius `ratio`."""
    generator = _generator(n, noise, seed)
    label = np.arange(n) % 2
    angle = 2 * np.pi * generator.random(n)
    radius = np.where(label == 0, 1.0, ratio)
    points = radius[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    return _classes("circles", points, label, noise, generator)


def spirals(
    n: int = 400, *, turns: float = 1.5, noise: float = 0.05, seed: int = 0
) -> Dataset:
    """Two arms that wind round each other."""
    generator = _generator(n, noise, seed)
    label = np.arange(n) % 2
    t = np.sqrt(generator.random(n))
    angle = 2 * np.pi * turns * t + np.pi * label
    points = t[:, None] * np.stack([np.cos(angle), np.sin(angle)], -1)
    return _classes("spirals", points, label, noise, generator)


def blobs(
    n: int = 400, *, classes: int = 3, dim: int = 2, noise: float = 0.5, seed: int = 0
) -> Dataset:
    """Gaussian clouds of deviation `noise` about random centres of deviation 2."""
    generator = _generator(n, noise, seed)
    label = np.arange(n) % classes
    centres = 2 * generator.standard_normal((classes, dim))
    return _classes("blobs", centres[label], label, noise, generator)


def xor(n: int = 400, *, noise: float = 0.2, seed: int = 0) -> Dataset:
    """Four clouds at (±1, ±1); the class is the parity of the signs (DL §6.1)."""
    generator = _generator(n, noise, seed)
    corner = np.arange(n) % 4
    signs = np.stack([corner // 2, corner % 2], -1)
    return _classes("xor", 2.0 * signs - 1, signs.sum(-1) % 2, noise, generator)


def regression(
    n: int = 400, *, dim: int = 5, noise: float = 0.1, seed: int = 0
) -> Dataset:
    """y = sin(a·x) + (b·x)²/2 + noise·ε with x, ε standard normal."""
    generator = _generator(n, noise, seed)
    a, b = generator.standard_normal((2, dim)) / np.sqrt(dim)
    x = generator.standard_normal((n, dim))
    y = np.sin(x @ a) + (x @ b) ** 2 / 2 + noise * generator.standard_normal(n)
    return Dataset(
        x.astype(np.float32), y.astype(np.float32), "regression", "regression"
    )


def _generator(n: int, noise: float, seed: int) -> np.random.Generator:
    if n < 1 or noise < 0:
        raise InputError(f"`n` must be positive and `noise` at least 0: {n}, {noise}.")
    return np.random.default_rng(seed)


def _classes(
    name: str,
    points: np.ndarray,
    label: np.ndarray,
    noise: float,
    generator: np.random.Generator,
) -> Dataset:
    noisy = points + noise * generator.standard_normal(points.shape)
    order = generator.permutation(len(noisy))
    classes = tuple(str(c) for c in np.unique(label))
    return Dataset(
        noisy[order].astype(np.float32),
        label[order].astype(np.int32),
        "classification",
        name,
        classes,
    )
