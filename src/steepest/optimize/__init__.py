"""Descent: directions, step sizes, Newton's method, and what a search has found."""

from . import (
    adaptive as adaptive,
    clipping as clipping,
    newton_steps as newton_steps,
    noise as noise,
    step_rules as step_rules,
    transforms as transforms,
)
from ._book import book
from ._judge import Judged, judge
from ._least_squares import least_squares
from ._minimize import Minimized, minimize
from ._range_test import RangeTest, range_test
from .steepest import Direction, dual_norm, steepest_direction
from .wolfe import WolfeStep, strong_wolfe


__all__ = [
    "Direction",
    "Judged",
    "Minimized",
    "RangeTest",
    "WolfeStep",
    "book",
    "dual_norm",
    "judge",
    "least_squares",
    "minimize",
    "range_test",
    "steepest_direction",
    "strong_wolfe",
]
