"""Numerical soundness: where a program loses its numbers."""

from ._locate import (
    Origin as Origin,
    locate_in_loss as locate_in_loss,
    locate_nonfinite as locate_nonfinite,
)
