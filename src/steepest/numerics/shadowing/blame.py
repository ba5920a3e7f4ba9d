"""Which operation an output's error is to blame on.

An error of a rounding, u, is no fault. The operation to blame is the one that makes
much of little: where, on the way to the output, the relative error grows most,

    growth = total / max(before, u),                                               (1)

among the operations whose error is at least a tenth of the output's, or all that there
is (a half); or the first that
makes something that is not finite out of finite numbers. Where the shadow agrees with
the program (float64 makes the same mistake) it is the operation of the greatest
condition.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import COLUMNS
from .operations import TERMS, Operation
from .reading import Loss, before_of, read


def blame(table: Sequence[Operation], stats: Any, output: int) -> tuple[Operation, str]:
    """The operation that made the error of an output, and the kind of the loss."""
    loss = worst(table, stats, output)
    return loss.operation, loss.kind


def worst(table: Sequence[Operation], stats: Any, output: int) -> Loss:
    """The row of the operation that made the error of an output."""
    rows = np.asarray(stats, np.float64)
    way = [
        i
        for i, o in enumerate(table)
        if output in o.reaches and not o.decides and rows[i, COLUMNS["ran"]]
    ]
    if not way:
        raise LookupError(f"no operation that rounds reaches output {output}")
    fails = not np.isfinite(rows[way[-1], COLUMNS["native"]])
    born = [i for i in way if fails and is_born(table[i], rows[i])]
    if born:
        return read(table[born[0]], rows[born[0]])
    error = rows[:, COLUMNS["error"]]
    before = {i: error_before(table[i], rows[i]) for i in way}
    with np.errstate(invalid="ignore"):  # what was infinite before has not grown
        growth = {
            i: float(np.nan_to_num(error[i] / max(before[i], table[i].eps / 2)))
            for i in way
        }
    end = error[way[-1]]
    guilty = [i for i in way if error[i] >= min(0.1 * end, 0.5) and growth[i] > 16]
    if guilty:
        i = max(guilty, key=lambda i: growth[i])
        return read(table[i], rows[i])
    losses = [read(table[i], rows[i]) for i in way]
    return max(losses, key=lambda loss: np.nan_to_num(loss.condition))


def is_born(operation: Operation, row: Any) -> bool:
    """Whether a worst element is not finite and its operands are."""
    if np.isfinite(row[COLUMNS["native"]]):
        return False
    names = ("first", "second") if operation.primitive not in TERMS else ("second",)
    return bool(all(np.isfinite(row[COLUMNS[n]]) for n in names))


def error_before(operation: Operation, row: Any) -> float:
    """The error of the operands, with nothing else worked out."""
    get = {name: float(row[i]) for name, i in COLUMNS.items()}
    if operation.primitive in TERMS:
        return get["second"] / get["first_wide"] if get["first_wide"] else 0.0
    return before_of(operation, get)
