"""The classic formulas, tables A and B."""

from .cases_a import CASES_A
from .cases_b import CASES_B


CASES = (*CASES_A, *CASES_B)
