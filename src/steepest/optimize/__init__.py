"""Descent: directions, step sizes, Newton's method, and what a search has found."""

from . import (
    newton_steps as newton_steps,
    step_rules as step_rules,
    transforms as transforms,
)
from ._minimize import Minimized, minimize
from .steepest import Direction, dual_norm, steepest_direction
from .wolfe import WolfeStep, strong_wolfe


__all__ = [
    "Direction",
    "Minimized",
    "WolfeStep",
    "dual_norm",
    "minimize",
    "steepest_direction",
    "strong_wolfe",
]
