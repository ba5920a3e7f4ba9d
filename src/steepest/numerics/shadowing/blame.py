"""Which operation an output's error is to blame on.

An error of a rounding, u, is no fault. The operation to blame is the one that makes
much of little: where, on the way to the output, the relative error grows most,

    growth = total / max(before, u),                                               (1)

among the operations whose error is at least a tenth of the output's, and the first of
those that make something that is not finite. Where the shadow agrees with the program
(float64 makes the same mistake) the operation of the greatest condition is to blame.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .errors import COLUMNS
from .operations import Operation


#: Condition numbers above which a difference cancels, a function is sensitive.
CONDITIONED = 32.0


def blame(table: Sequence[Operation], stats: Any, output: int) -> tuple[Operation, str]:
    """The operation that made the error of an output, and the kind of the loss."""
    rows = np.asarray(stats, np.float64)
    on_the_way = [
        i
        for i, o in enumerate(table)
        if output in o.reaches and not o.decides and rows[i, COLUMNS["ran"]]
    ]
    if not on_the_way:
        raise LookupError(f"no operation that rounds reaches output {output}")
    total, before = rows[:, COLUMNS["total"]], rows[:, COLUMNS["before"]]
    u = np.array([o.eps / 2 for o in table])
    infinite = [i for i in on_the_way if np.isinf(total[i])]
    if infinite:
        born = [i for i in infinite if np.isfinite(before[i])]
        i = (born or infinite)[0]
        return table[i], kind_of(table[i], rows[i])
    end = total[on_the_way[-1]]
    growth = total / np.maximum(before, u)
    guilty = [i for i in on_the_way if total[i] >= 0.1 * end and growth[i] > 16]
    if guilty:
        i = max(guilty, key=lambda i: growth[i])
    else:
        condition = rows[:, COLUMNS["condition"]]
        i = max(on_the_way, key=lambda i: condition[i])
    return table[i], kind_of(table[i], rows[i])


def kind_of(operation: Operation, row: np.ndarray) -> str:
    """What sort of loss a row shows."""
    get = {name: row[i] for name, i in COLUMNS.items()}
    name = operation.primitive
    u = operation.eps / 2
    if np.isinf(get["total"]):
        return "overflow" if np.isinf(get["native"]) else "domain"
    if name in ("convert_element_type", "reduce_precision"):
        return "cast"
    if get["native"] == 0 and get["wide"] != 0 and get["condition"] < CONDITIONED:
        return "underflow"
    if get["condition"] >= CONDITIONED:
        return "cancellation" if name in ADDING else "sensitivity"
    if get["absorbed"] and name in ADDING and not operation.loop:
        return "absorption"
    if get["introduced"] > 8 * u or operation.loop:
        return "accumulation" if name in ADDING else "rounding"
    if name in ("logistic", "tanh", "erf"):
        return "saturation"
    return "rounding"


ADDING = frozenset(
    ["add", "sub", "add_any", "add_jaxvals", "reduce_sum", "cumsum", "dot_general", "conv_general_dilated", "scatter-add", "scatter_add", "reduce_window_sum", "select_and_scatter_add"]
)
