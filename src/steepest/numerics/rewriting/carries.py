"""Sums that a loop carries in sixteen bits, carried in thirty-two.

    s ← s + vᵢ,   m ← 0.999·m + 0.001·vᵢ,   w ← w − η·g

stop moving once what is added is less than half a unit in the last place of what is
carried: after 1/ε turns at the latest, with ε = 2⁻⁷ for bfloat16. A loop of more turns
than that carries such values in float32; they are rounded for every other use, and once
at the end. Sequences that the loop gives out keep their format.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from ...core import jaxpr
from .compute import compute
from .expression import Expressions, Node
from .halves import SHORT, rounded, widened
from .linear import expanded


class Carries(NamedTuple):
    """A loop with some of its carried values in float32."""

    at: tuple[int, ...]  # their numbers among the values that are carried
    programs: tuple[jaxpr.Closed, ...]
    forms: tuple[tuple[Node, Node, jaxpr.Equation, Expressions], ...]  # old, new, where


def carries(
    control: jaxpr.Scan | jaxpr.While,
    programs: Sequence[jaxpr.Closed],
    reading: Any,
) -> Carries | None:
    """The loop with its short sums carried in float32; None if it has none.

    `reading` is the loop's body, the last of `programs`, as expressions.
    """
    first = _constants(control)
    count = len(reading.inputs) - first
    if isinstance(control, jaxpr.Scan):
        count = control.num_carry
    out = reading.outputs[:count]
    found = []
    for k, node in enumerate(out):
        leaf = reading.inputs[first + k]
        if _sums(reading.xs, leaf, node) and _long(control, node.dtype):
            found.append((k, node))
    if not found:
        return None
    at = tuple(k for k, _ in found)
    new = {k: widened(reading.xs, node) for k, node in found}
    body = _widened_body(programs[-1], reading, first, new)
    bodies: tuple[jaxpr.Closed, ...] = (body,)
    if isinstance(control, jaxpr.While):
        test = _rounding(programs[0], control.num_condition_consts, new, out)
        bodies = (test, body)
    xs = reading.xs
    forms = tuple(
        (node, rounded(xs, new[k], node.dtype), reading.home[node.id], xs)
        for k, node in found
    )
    return Carries(at, bodies, forms)


def run(equation: jaxpr.Equation, loop: Carries, values: Sequence[Any]) -> list[Any]:
    """The loop with its sums in float32, each rounded at the end."""
    control = equation.control
    assert isinstance(control, (jaxpr.Scan, jaxpr.While))
    count = len(control.split(values)[0])
    if isinstance(control, jaxpr.While):
        count += len(control.split(values)[1])
    values = list(values)
    for k in loop.at:
        values[count + k] = values[count + k].astype(jnp.float32)
    outs = jaxpr.rebind(equation, loop.programs, *values)
    for k in loop.at:
        outs[k] = outs[k].astype(equation.outputs[k].dtype)
    return outs


def _constants(control: jaxpr.Scan | jaxpr.While) -> int:
    """How many operands of the body come before what is carried."""
    if isinstance(control, jaxpr.Scan):
        return control.num_consts
    return control.num_body_consts


def _sums(xs: Expressions, leaf: Node, node: Node) -> bool:
    """Whether a multiple of what was carried, and something else, is carried on."""
    if node.dtype not in SHORT or node.op not in ("add", "sub"):
        return False
    lin = expanded(xs, node)
    return lin.of(leaf) != 0 and (len(lin.terms) > 1 or lin.constant != 0)


def _long(control: jaxpr.Scan | jaxpr.While, dtype: Any) -> bool:
    """Whether the loop has enough turns for a sum to stop; unknown counts as yes."""
    if isinstance(control, jaxpr.While):
        return True
    return control.length > 1 / float(jnp.finfo(dtype).eps)


def _widened_body(
    program: jaxpr.Closed, reading: Any, first: int, new: dict[int, Node]
) -> jaxpr.Closed:
    xs = reading.xs
    casts = {k: widened(xs, reading.inputs[first + k]) for k in new}

    def body(*values: Any) -> list[Any]:
        plain, env = list(values), {}
        for k in new:
            wide = values[first + k]
            plain[first + k] = wide.astype(reading.inputs[first + k].dtype)
            env[casts[k].id] = wide
        env |= {n.id: v for n, v in zip(reading.inputs, plain, strict=True)}
        outs = jaxpr.as_function(program)(*plain)
        for k, node in new.items():
            outs[k] = compute(node, env, {})
        return outs

    return jax.make_jaxpr(body)(*_avals(program, first, new))


def _rounding(
    program: jaxpr.Closed, first: int, new: dict[int, Node], out: Sequence[Node]
) -> jaxpr.Closed:
    """The condition of a loop, on what is carried as it was."""

    def test(*values: Any) -> list[Any]:
        plain = list(values)
        for k in new:
            plain[first + k] = plain[first + k].astype(out[k].dtype)
        return jaxpr.as_function(program)(*plain)

    return jax.make_jaxpr(test)(*_avals(program, first, new))


def _avals(program: jaxpr.Closed, first: int, new: dict[int, Node]) -> list[Any]:
    avals = [
        jax.ShapeDtypeStruct(
            v.aval.shape, v.aval.dtype, weak_type=getattr(v.aval, "weak_type", False)
        )
        for v in program.jaxpr.invars
    ]
    for k in new:
        avals[first + k] = jax.ShapeDtypeStruct(avals[first + k].shape, jnp.float32)
    return avals
