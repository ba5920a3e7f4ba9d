"""Which equations of a program a result needs.

The backward slice of some outputs: an equation is in it if one of its results is an
operand of an equation in it. Calls are entered, so that of a function that computes a
value and what its derivative will need only the first part counts; of loops and
branches everything does.
"""

from collections.abc import Sequence
from typing import Any

from jax.extend import core

from ...core import jaxpr
from .events import Address


def needed(
    closed: jaxpr.Closed,
    wanted: Sequence[bool],
    around: jaxpr.Equation | None = None,
) -> tuple[set[Address], list[bool]]:
    """Addresses of the equations that the wanted outputs need, and which inputs do."""
    program = closed.jaxpr
    live: set[Any] = {
        v
        for v, want in zip(program.outvars, wanted, strict=True)
        if want and not isinstance(v, core.Literal)
    }
    found: set[Address] = set()
    for number in reversed(range(len(program.eqns))):
        eqn = program.eqns[number]
        used = [v in live for v in eqn.outvars]
        if not any(used):
            continue
        equation = jaxpr.describe(eqn, around, (0, number))
        found.add(equation.address)
        reads = [True] * len(eqn.invars)
        if isinstance(equation.control, jaxpr.Call):
            inner, reads = needed(equation.control.body, used, equation)
            found |= inner
        else:
            for i, body in enumerate(jaxpr.bodies(equation.control)):
                found |= {e.address for e in jaxpr.equations(body, equation, i)}
        live |= {
            v
            for v, read in zip(eqn.invars, reads, strict=True)
            if read and not isinstance(v, core.Literal)
        }
    return found, [v in live for v in program.invars]
