"""Every rule of the check-up, in the order of the program: data first, held-out last."""

from ..rule import Rule
from . import data, generalisation, initial, numerics, optimisation, program, signal


RULES: tuple[Rule, ...] = (
    *data.RULES,
    *program.RULES,
    *initial.RULES,
    *numerics.RULES,
    *signal.RULES,
    *optimisation.RULES,
    *generalisation.RULES,
)
