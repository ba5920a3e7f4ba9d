"""A shadow in exact arithmetic, for programs in float64 and where float64 is not enough.

The program is run one operation at a time, the exact one beside it. Rows are those of
a shadow in float64 (`errors`), but nothing in them was rounded twice.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import mpmath
import numpy as np

from ...core import jaxpr
from ..exact import trace
from ..exact.run import lift
from .errors import COLUMNS, EMPTY, KEPT
from .operations import STEPS, TERMS, Address, counts, is_float, operations
from .program import going_on


Step = tuple[jaxpr.Equation, Sequence[Any], Sequence[Any]]


def shadow_exactly(
    closed: jaxpr.Closed, values: Sequence[Any]
) -> tuple[list[Any], list[Any], np.ndarray]:
    """What `shadow_program` gives, with exact outputs as arrays of `mpmath.mpf`."""
    outs, steps = eagerly(closed, values)
    exact, seen = trace(closed, values)
    beside = by_address(seen)
    rows: dict[Address, np.ndarray] = {}
    for address, turns in by_address(steps).items():
        for turn, (step, other) in enumerate(zip(turns, beside[address], strict=False)):
            row = row_of(step, other)
            row[COLUMNS["turn"]] = turn if len(turns) > 1 else -1
            worst = rows.get(address)
            if worst is None or row[COLUMNS["error"]] > worst[COLUMNS["error"]]:
                rows[address] = row
    empty = np.asarray(EMPTY, float)
    table = [rows.get(o.address, empty) for o in operations(closed)]
    return outs, exact, np.asarray(table).reshape(-1, len(COLUMNS))


def eagerly(
    closed: jaxpr.Closed, values: Sequence[Any]
) -> tuple[list[Any], list[Step]]:
    """The outputs of a program run one operation at a time, and each operation."""
    steps: list[Step] = []

    def inside(closed: Any, values: Any, around: Any, body: int = 0) -> list[Any]:
        return jaxpr.evaluate(
            closed,
            values,
            lift=lambda x: x,
            rules={jaxpr.Scan: scan, jaxpr.While: loop, jaxpr.Cond: cond},
            default=step,
            around=around,
            body=body,
        )

    def step(equation: jaxpr.Equation, *operands: Any) -> list[Any]:
        outs = equation.bind(*operands)
        if counts(equation):
            steps.append((equation, operands, outs))
        return outs

    def scan(equation: jaxpr.Equation, *operands: Any) -> list[Any]:
        control = equation.control
        consts, carry, xs = control.split(operands)
        ys: dict[int, list[Any]] = {}
        for t in range(control.length)[:: -1 if control.reverse else 1]:
            row = [x[t] for x in xs]
            outs = inside(control.body, [*consts, *carry, *row], equation)
            carry, ys[t] = outs[: control.num_carry], outs[control.num_carry :]
        if not control.length:
            return equation.bind(*operands)
        columns = zip(*(ys[t] for t in range(control.length)), strict=True)
        return [*carry, *map(jnp.stack, columns)]

    def loop(equation: jaxpr.Equation, *operands: Any) -> list[Any]:
        control = equation.control
        tests, consts, carry = control.split(operands)
        while True:
            (goes,) = inside(control.condition, [*tests, *carry], equation)
            if not jnp.any(goes):
                return carry
            after = inside(control.body, [*consts, *carry], equation, 1)
            if jnp.ndim(goes):
                after = [going_on(goes, *x) for x in zip(after, carry, strict=True)]
            carry = after

    def cond(equation: jaxpr.Equation, index: Any, *operands: Any) -> list[Any]:
        branches = equation.control.branches
        chosen = int(np.clip(int(index), 0, len(branches) - 1))
        return inside(branches[chosen], list(operands), equation, chosen)

    return inside(closed, [jnp.asarray(v) for v in values], None), steps


def by_address(steps: Sequence[Step]) -> dict[Address, list[Step]]:
    found: dict[Address, list[Step]] = defaultdict(list)
    for step in steps:
        found[step[0].address].append(step)
    return found


def row_of(step: Step, other: Step) -> np.ndarray:
    """The row of one operation, from both runs."""
    equation, operands, outs = step
    row = np.asarray(EMPTY, float)
    row[COLUMNS["ran"]] = 1
    if not is_float(outs[0]) or equation.primitive in STEPS:
        differ = np.asarray(other[2][0] != lift(outs[0]), bool)
        row[COLUMNS["decisions"]] = differ.sum()
        return row
    y_hat, y = lift(outs[0]).ravel(), np.asarray(other[2][0], object).ravel()
    if not y.size:
        return row
    tiny = float(jnp.finfo(outs[0].dtype).tiny)
    errors = [distance(a, b, tiny) for a, b in zip(y_hat, y, strict=True)]
    k = int(np.argmax(errors))
    kept: list[Any] = []
    if equation.primitive in TERMS:
        kept = terms(equation, operands, other[1], k)
    elif all(np.ndim(x) in (0, outs[0].ndim) for x in operands):
        for x_hat, x in zip(operands[:2], other[1][:2], strict=True):
            for v in (lift(x_hat), x):
                kept.append(np.broadcast_to(v, outs[0].shape).ravel()[k])
    found = {"error": errors[k], "native": y_hat[k], "wide": y[k], "element": k}
    for name, v in {**found, **dict(zip(KEPT, kept, strict=False))}.items():
        row[COLUMNS[name]] = as_float(v)
    return row


def distance(a: Any, b: Any, tiny: float) -> float:
    if a != a or b != b or not mpmath.isfinite(b):
        return float("inf") if mpmath.isfinite(b) and b == b else 0.0
    return as_float(abs(a - b) / max(abs(b), tiny))


def terms(
    equation: jaxpr.Equation, operands: Sequence[Any], exact: Sequence[Any], k: int
) -> list[Any]:
    """Σ t̂, Σ |t| and Σ |t̂ − t| of a sum over axes; nothing of another one."""
    if equation.primitive != "reduce_sum":
        return []
    axes = equation.params["axes"]
    rows = []
    for x in (lift(operands[0]), np.asarray(exact[0], object)):
        kept = [i for i in range(x.ndim) if i not in axes]
        size = int(np.prod([x.shape[i] for i in kept]))
        rows.append(x.transpose(*kept, *axes).reshape(size, -1)[k])
    native, wide = rows
    moved = [abs(a - b) for a, b in zip(native, wide, strict=True)]
    return [mpmath.fsum(native), mpmath.fsum(map(abs, wide)), mpmath.fsum(moved)]


def as_float(x: Any) -> float:
    try:
        return float(mpmath.re(x))
    except OverflowError:
        return float("inf") if x > 0 else float("-inf")
