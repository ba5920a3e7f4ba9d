"""The families that the tables stand for, in spellings that nobody tunes on."""

from .family_exponentials import EXPONENTIALS
from .family_half import HALF
from .family_magnitudes import MAGNITUDES
from .family_singular import SINGULARITIES


FAMILIES = (*MAGNITUDES, *HALF, *EXPONENTIALS, *SINGULARITIES)
