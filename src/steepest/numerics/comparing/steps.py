"""A program run one operation at a time, each result with a number of its expression.

Numbers are those of structural value numbering: two results have the same number if
they are the same operation, with the same parameters, of results with the same numbers;
inputs are numbered by their position and constants by their bytes. What has the same
number in two programs is the same expression of the same arguments.
"""

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...core import jaxpr


class Numbered(NamedTuple):
    """A value and the number of its expression."""

    value: Any
    number: int


class Step(NamedTuple):
    """An operation that was run."""

    equation: jaxpr.Equation
    operands: tuple[Numbered, ...]
    outs: tuple[Any, ...]
    number: int  # of its first result
    form: tuple[Any, ...]  # primitive, parameters, shapes: what it is, wherever from


class Numbers:
    """The numbers of the expressions of some programs."""

    def __init__(self) -> None:
        self.known: dict[Any, int] = {}

    def of(self, expression: Any) -> int:
        return self.known.setdefault(expression, len(self.known))

    def constant(self, x: Any) -> Numbered:
        if is_key(x):
            return Numbered(x, self.of(("key", str(jax.random.key_data(x)))))
        x = jnp.asarray(x)
        return Numbered(x, self.of((str(x.dtype), x.shape, np.asarray(x).tobytes())))

    def inputs(self, values: Sequence[Any]) -> list[Numbered]:
        return [Numbered(v, self.of(("input", i))) for i, v in enumerate(values)]


def is_key(x: Any) -> bool:
    dtype = getattr(x, "dtype", None)
    return dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.extended)


def run(
    closed: jaxpr.Closed,
    values: Sequence[Numbered],
    numbers: Numbers,
    around: jaxpr.Equation | None = None,
    body: int = 0,
) -> tuple[list[Numbered], list[Step]]:
    """The outputs of a program and its operations; calls are entered, loops are one."""
    steps: list[Step] = []

    def step(equation: jaxpr.Equation, *operands: Numbered) -> list[Numbered]:
        outs = equation.bind(*(x.value for x in operands))
        form = form_of(equation)
        expression = (form, tuple(x.number for x in operands))
        found = [Numbered(o, numbers.of((expression, i))) for i, o in enumerate(outs)]
        number = found[0].number if found else -1
        steps.append(Step(equation, operands, tuple(outs), number, form))
        return found

    loops: dict[Any, Callable[..., Any]] = dict.fromkeys(
        (jaxpr.Scan, jaxpr.While, jaxpr.Cond), step
    )
    outs = jaxpr.evaluate(
        closed,
        values,
        lift=lambda x: x if isinstance(x, Numbered) else numbers.constant(x),
        rules=loops,
        default=step,
        around=around,
        body=body,
    )
    return outs, steps


def form_of(equation: jaxpr.Equation) -> tuple[Any, ...]:
    """What an operation is: programs inside of it are printed, addresses left out."""
    params = {k: v for k, v in equation.params.items() if k not in NAMES}
    printed = re.sub(r" at 0x[0-9a-f]+", "", str(sorted(params.items(), key=str)))
    shapes = tuple((str(v.dtype), tuple(v.shape)) for v in equation.outputs)
    return equation.primitive, printed, shapes


#: Parameters that say nothing about what is computed.
NAMES = frozenset(("name", "sharding", "out_sharding", "update_jaxpr", "update_consts"))
