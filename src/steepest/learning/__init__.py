"""Experiments that train: one batch, and the simple models to be beaten."""

from ._one_batch import OneBatch, fit_one_batch
from .baselines import Baselines, Score, score, simple_models, table


__all__ = [
    "Baselines",
    "OneBatch",
    "Score",
    "fit_one_batch",
    "score",
    "simple_models",
    "table",
]
