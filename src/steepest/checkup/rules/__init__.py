"""Every rule of the check-up, in the order of the program: data first, held-out last."""

from ..rule import Rule
from . import (
    batches,
    data,
    features,
    generalisation,
    ground,
    heads,
    initial,
    noise,
    numerics,
    one_batch,
    optimiser,
    precision,
    program,
    progress,
    signal,
    step_size,
    stopping,
    units,
)


RULES: tuple[Rule, ...] = (
    *data.RULES,
    *heads.RULES,
    *program.RULES,
    *initial.RULES,
    *numerics.RULES,
    *precision.RULES,
    *batches.RULES,
    *signal.RULES,
    *units.RULES,
    *features.RULES,
    *step_size.RULES,
    *optimiser.RULES,
    *noise.RULES,
    *ground.RULES,
    *progress.RULES,
    *stopping.RULES,
    *one_batch.RULES,
    *generalisation.RULES,
)
