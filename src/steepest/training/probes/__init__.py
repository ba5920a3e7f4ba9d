"""Measurements taken while a run goes on."""

from ._probe import (
    Context as Context,
    Measure as Measure,
    Probe as Probe,
    Snapshot as Snapshot,
)
from .activations import ACTIVATIONS as ACTIVATIONS
from .evaluation import EVALUATION as EVALUATION
from .norms import NORMS as NORMS
from .sharpness import SHARPNESS as SHARPNESS, sharpness_probe as sharpness_probe


STANDARD = (NORMS, EVALUATION, ACTIVATIONS, SHARPNESS)
