"""Named test functions with known critical points, and least-squares problems (`mgh`)."""

from . import mgh as mgh
from ._function import Function as Function, Kind as Kind, Point as Point
from .catalogue import get as get, names as names
