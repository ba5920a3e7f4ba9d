"""What is not finite in the compiled program alone.

The program is traced backwards from the output: an operation is to blame if, compiled up
to it, the program gives a NaN or an infinity, and compiled up to each of its operands it
does not. Programs that end where one asks are compiled as the whole is; to ask for all
values of one program would keep XLA from folding them away.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.extend.core import jaxpr_as_fun

from ...core import jaxpr
from .births import Origin, is_finite


def under_jit(program: jaxpr.Program, where: str) -> Origin | None:
    """The operation to blame if the compiled program ends otherwise; see the module."""
    closed, values = program.closed, [array(v) for v in program.values]
    outs = jax.jit(jaxpr_as_fun(closed))(*values)
    bad = next((i for i, out in enumerate(outs) if not is_finite(out)), None)
    if bad is None or not all(map(is_finite, values)):
        return None
    made = _makers(closed)
    step = made.outputs[bad]
    compiled = _compiled_up_to(closed, values)
    while step is not None:
        worse = next((s for s in made.steps[step].reads if not compiled(s)), None)
        if worse is None:
            break
        step = worse
    if step is None:
        return None
    equation = made.steps[step].equation
    place = str(equation.place) if equation.place.file else ""
    sentence = (
        f"`{equation.primitive}` gives a NaN or an infinity"
        + (f" at {place}" if place else "")
        + (", in the gradient" if where == "gradient" else "")
        + ", under jit only: XLA computes it in another way than it is written"
    )
    return Origin(
        equation.primitive, place, where, (), None, sentence, equation.path, "jit"
    )


class _Step(NamedTuple):
    equation: jaxpr.Equation
    reads: tuple[int, ...]  # steps that its operands come from


class _Steps(NamedTuple):
    steps: list[_Step]
    outputs: list[int | None]


def _makers(closed: jaxpr.Closed) -> _Steps:
    """Which operation each operand and each output comes from; calls are entered."""
    steps: list[_Step] = []

    def note(equation: jaxpr.Equation, *reads: int | None) -> list[int]:
        steps.append(_Step(equation, tuple(r for r in reads if r is not None)))
        return [len(steps) - 1] * len(equation.eqn.outvars)

    loops = dict.fromkeys((jaxpr.Scan, jaxpr.While, jaxpr.Cond), note)
    outputs = jaxpr.evaluate(
        closed,
        [None] * len(closed.jaxpr.invars),
        lift=lambda x: None,
        rules=loops,
        default=note,
    )
    return _Steps(steps, outputs)


def _compiled_up_to(
    closed: jaxpr.Closed, values: Sequence[Any]
) -> Callable[[int], bool]:
    """Whether the results of a step are finite in a program that ends with it."""

    @functools.cache
    def finite(number: int) -> bool:
        def up_to(*values: Any) -> list[Any]:
            results: list[list[Any]] = []

            def run(equation: jaxpr.Equation, *values: Any) -> list[Any]:
                results.append(equation.bind(*values))
                return results[-1]

            loops = dict.fromkeys((jaxpr.Scan, jaxpr.While, jaxpr.Cond), run)
            jaxpr.evaluate(closed, values, lift=lambda x: x, rules=loops, default=run)
            return results[number]

        return all(map(is_finite, jax.jit(up_to)(*values)))

    return finite


def array(x: Any) -> Any:
    extended = jax.dtypes.issubdtype(getattr(x, "dtype", None), jax.dtypes.extended)
    return x if extended else jnp.asarray(x)
