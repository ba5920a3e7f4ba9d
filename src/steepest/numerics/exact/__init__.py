"""A program in exact arithmetic: see `_evaluate`."""

from ._evaluate import (
    SIZE as SIZE,
    condition as condition,
    evaluate as evaluate,
    gradient as gradient,
    trace as trace,
)
