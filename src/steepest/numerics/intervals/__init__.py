"""Bounds of what a program computes, over ranges of its inputs."""

from .analysis import (
    Analysis as Analysis,
    Range as Range,
    analyse as analyse,
    range_of as range_of,
)
from .interval import Interval as Interval
from .state import Candidate as Candidate
