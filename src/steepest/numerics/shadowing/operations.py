"""The operations of a program that can lose digits, and which outputs they reach.

What moves elements or chooses among them rounds nothing and is left out; so is what
computes integers, apart from decisions that are made on floats: a comparison, an
`argmax`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.extend import core

from ...core import jaxpr
from ...core.jaxpr import is_float as is_float


Address = tuple[int, ...]


class Operation(NamedTuple):
    """An equation of a program, as the table of a shadow names it."""

    primitive: str
    name: str
    place: jaxpr.Place
    path: tuple[str, ...]  # the calls and loops around it
    address: Address
    format: str  # of its result: "float32"
    eps: float  # the gap after 1 in that format
    decides: bool  # it makes a decision: its result is no float, or a step function
    loop: bool  # it is inside of a loop
    reaches: frozenset[int]  # numbers of the outputs that its result can reach
    exponent: int | None = None  # of an `integer_pow`


#: They pass on what they get, all or a part of it, without rounding.
PASSING = frozenset(
    [
        "broadcast_in_dim",
        "reshape",
        "squeeze",
        "expand_dims",
        "transpose",
        "copy",
        "copy_p",
        "slice",
        "rev",
        "split",
        "stack",
        "unstack",
        "concatenate",
        "pad",
        "gather",
        "dynamic_slice",
        "dynamic_update_slice",
        "select_n",
        "stop_gradient",
        "optimization_barrier",
        "sharding_constraint",
        "device_put",
        "neg",
        "abs",
        "max",
        "min",
        "clamp",
        "reduce_max",
        "reduce_min",
        "cummax",
        "cummin",
        "reduce_window_max",
        "reduce_window_min",
        "real",
        "imag",
        "conj",
        "complex",
        "scatter",
        "scatter_max",
        "scatter_min",
        "scatter-max",
        "scatter-min",
        "name",
        "sort",
        "top_k",
        "select_and_gather_add",
        "tile",
        "iota",
        "nextafter",
        "empty",
        "empty2",
        "is_finite",
        "bitcast_convert_type",
        "custom_linear_solve",
    ]
)
#: Functions that jump: the program's own choice is taken in the wide run as well.
STEPS = frozenset(["floor", "ceil", "round", "sign"])
COMPARES = frozenset(("eq", "ne", "lt", "le", "gt", "ge", "argmax", "argmin"))
#: Sums of their operands' elements, whole or weighted.
LINEAR = frozenset(
    (
        "cumsum",
        "reduce_window_sum",
        "conv_general_dilated",
        "scatter-add",
        "scatter_add",
        "select_and_scatter_add",
    )
)
TERMS = LINEAR | {"reduce_sum", "dot_general"}


def operations(closed: jaxpr.Closed) -> tuple[Operation, ...]:
    """The operations of a program that can lose digits, in its order."""
    reach = reached(closed)
    found = []
    for e in jaxpr.equations(closed):
        if not counts(e):
            continue
        out = next((v for v in e.outputs if is_float(v)), None)
        source = out or next(v for v in e.inputs if is_float(v))
        found.append(
            Operation(
                e.primitive,
                e.name,
                e.place,
                e.path,
                e.address,
                str(source.dtype),
                float(jnp.finfo(source.dtype).eps),
                out is None or e.primitive in STEPS,
                any(name in ("scan", "while") for name in e.path),
                reach.get(e.address, frozenset()),
                e.params.get("y") if e.primitive == "integer_pow" else None,
            )
        )
    return tuple(found)


def counts(equation: jaxpr.Equation) -> bool:
    """Whether an equation is an operation of the table."""
    if equation.control is not None or equation.primitive in PASSING:
        return False
    if not any(map(is_float, equation.inputs)):
        return False
    if any(map(is_float, equation.outputs)):
        return equation.primitive != "convert_element_type" or narrows(equation)
    return (
        equation.primitive in COMPARES or equation.primitive == "convert_element_type"
    )


def narrows(equation: jaxpr.Equation) -> bool:
    """Whether a conversion of floats can round."""
    old, new = equation.inputs[0].dtype, equation.outputs[0].dtype
    a, b = jnp.finfo(old), jnp.finfo(new)
    return bool(b.nmant < a.nmant or b.maxexp < a.maxexp or b.minexp > a.minexp)


def reached(closed: jaxpr.Closed) -> dict[Address, frozenset[int]]:
    """For each equation the outputs that it can reach, by one pass backwards.

    Calls are entered; what is inside of a loop or a branch reaches whatever the loop
    reaches.
    """
    found: dict[Address, frozenset[int]] = {}
    masks = [frozenset((i,)) for i in range(len(closed.jaxpr.outvars))]
    _backwards(closed, masks, None, 0, found)
    return found


def _backwards(
    closed: jaxpr.Closed,
    masks: Sequence[frozenset[int]],
    around: jaxpr.Equation | None,
    body: int,
    found: dict[Address, frozenset[int]],
) -> list[frozenset[int]]:
    none: frozenset[int] = frozenset()
    live: dict[Any, frozenset[int]] = {}

    def mark(atom: Any, mask: frozenset[int]) -> None:
        if mask and not isinstance(atom, core.Literal):
            live[atom] = live.get(atom, none) | mask

    for atom, mask in zip(closed.jaxpr.outvars, masks, strict=True):
        mark(atom, mask)
    for number in reversed(range(len(closed.jaxpr.eqns))):
        eqn = closed.jaxpr.eqns[number]
        each = [live.get(v, none) for v in eqn.outvars]
        union = none.union(*each)
        if not union:
            continue
        equation = jaxpr.describe(eqn, around, (body, number))
        found[equation.address] = union
        reads = [union] * len(eqn.invars)
        if isinstance(equation.control, jaxpr.Call):
            reads = _backwards(equation.control.body, each, equation, 0, found)
        else:
            for i, inner in enumerate(jaxpr.bodies(equation.control)):
                for e in jaxpr.equations(inner, equation, i):
                    found[e.address] = union
        for atom, mask in zip(eqn.invars, reads, strict=True):
            mark(atom, mask)
    return [live.get(v, none) for v in closed.jaxpr.invars]
