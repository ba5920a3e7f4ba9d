"""Ready-made problems: real data, a model, a loss and a recipe; healthy or sick."""

from . import functions as functions
from ._named import (
    DEFAULT as DEFAULT,
    describe as describe,
    draw as draw,
    make as make,
    names as names,
)
from .faults import FAULTS as FAULTS, Fault as Fault
from .spec import Case as Case, Spec as Spec
