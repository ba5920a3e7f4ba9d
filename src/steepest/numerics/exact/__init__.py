"""A program in exact arithmetic: see `_evaluate`."""

from ._evaluate import (
    condition as condition,
    evaluate as evaluate,
    gradient as gradient,
)
