"""A program read as expressions, through the calls of jit.

Functions with derivative rules of their own stay whole; loops, branches and
rematerialised parts are programs by themselves, rewritten first.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax.numpy as jnp

from ...core import jaxpr
from .carries import Carries, carries
from .expression import Expressions, Node
from .functions import WIDE
from .halves import SHORT


#: Libraries whose functions keep their values to the bit.
PROTECTED = ("jax/_src/nn/", "jax/_src/scipy/", "jax/nn/", "jax/scipy/", "optax/")


@dataclass
class Reading:
    """A program as nodes, and which equation each came from."""

    xs: Expressions = field(default_factory=Expressions)
    inputs: list[Node] = field(default_factory=list)
    outputs: list[Node] = field(default_factory=list)
    at: dict[tuple[int, ...], list[Node]] = field(default_factory=dict)
    operands: dict[tuple[int, ...], list[Node]] = field(default_factory=dict)
    home: dict[int, jaxpr.Equation] = field(default_factory=dict)
    effects: list[Node] = field(default_factory=list)
    inner: dict[tuple[int, ...], list[Any]] = field(default_factory=dict)
    wider: dict[tuple[int, ...], Carries] = field(default_factory=dict)
    calls: list[jaxpr.Equation] = field(default_factory=list)  # around what is read
    whole: set[tuple[int, ...]] = field(default_factory=set)  # calls not looked into


Exact = dict[tuple[int, ...], tuple[float | None, ...]]


def read(
    closed: jaxpr.Closed,
    around: jaxpr.Equation | None,
    body: int,
    exact: Exact,
    nested: Callable[..., Any] | None = None,
) -> Reading:
    """Every value of the program as a node.

    `nested` rewrites a program inside of control flow, given it, the equation, its
    number there and `exact`; without it those programs are not looked into.
    """
    r = Reading()
    r.inputs = [r.xs.leaf(v.aval) for v in closed.jaxpr.invars]

    def note(equation: jaxpr.Equation, args: Sequence[Node], outs: list[Node]) -> None:
        r.at[equation.address], r.operands[equation.address] = outs, list(args)
        for node in outs:
            if node.op not in ("const", "input") and node.id not in r.home:
                r.home[node.id] = equation
                node.guarded = _of_library(equation, r.calls)
        if equation.control is None and equation.eqn.effects:
            r.effects += [*args, *outs]

    def ordinary(equation: jaxpr.Equation, *args: Node) -> list[Node]:
        if equation.address in exact:
            args = tuple(
                a if c is None or a.known is None else r.xs.const(c, a.shape, a.dtype)
                for a, c in zip(args, exact[equation.address], strict=True)
            )
        outs = r.xs.primitive(equation, args)
        note(equation, args, outs)
        return outs

    def loop(equation: jaxpr.Equation, *args: Node) -> list[Node]:
        outs = r.xs.opaque(equation, equation.name, args, {})
        note(equation, args, outs)
        if equation.eqn.effects:
            r.effects += [*args, *outs]
        if nested is not None and jaxpr.rebindable(equation):
            programs = jaxpr.bodies(equation.control)
            r.inner[equation.address] = [
                nested(program, equation, k, exact)
                for k, program in enumerate(programs)
            ]
            wider = _wider(equation, programs, r.inner[equation.address], exact)
            if wider is not None:
                r.wider[equation.address] = wider
        return outs

    def call(equation: jaxpr.Equation, *args: Node) -> list[Node]:
        control = equation.control
        if control.kind.startswith("custom"):
            name = _custom(equation)
            outs = r.xs.opaque(equation, name, args, {})
            if name in WIDE:
                outs[0].fun = WIDE[name]
            note(equation, args, outs)
            return outs
        if control.kind == "remat":
            return loop(equation, *args)
        if _library_determinant(equation):
            outs = r.xs.opaque(equation, "det", args, {})
            outs[0].fun = WIDE["det"]
            note(equation, args, outs)
            r.whole.add(equation.address)
            return outs
        if _library_diagonal(equation):
            outs = r.xs.opaque(equation, "diagonal", args, {})
            outs[0].fun = jnp.diagonal
            note(equation, args, outs)
            r.whole.add(equation.address)
            return outs
        r.calls.append(equation)
        outs = inside(control.body, args, equation, 0)
        r.calls.pop()
        r.at[equation.address], r.operands[equation.address] = outs, list(args)
        return outs

    def inside(
        program: jaxpr.Closed,
        args: Sequence[Node],
        equation: jaxpr.Equation | None,
        body: int,
    ) -> list[Node]:
        rules = {
            jaxpr.Call: call,
            jaxpr.Scan: loop,
            jaxpr.While: loop,
            jaxpr.Cond: loop,
        }
        return jaxpr.evaluate(
            program,
            args,
            lift=r.xs.constant,
            rules=rules,
            default=ordinary,
            around=equation,
            body=body,
        )

    r.outputs = inside(closed, r.inputs, around, body)
    return r


def _wider(
    equation: jaxpr.Equation,
    programs: Sequence[jaxpr.Closed],
    inner: Sequence[Any],
    exact: Exact,
) -> Carries | None:
    """A loop that sums in sixteen bits, with its sums in thirty-two."""
    control = equation.control
    if not isinstance(control, (jaxpr.Scan, jaxpr.While)):
        return None
    if not any(v.dtype in SHORT for v in equation.outputs):
        return None
    body = read(programs[-1], equation, len(programs) - 1, exact)
    new = [p.closed or old for p, old in zip(inner, programs, strict=True)]
    return carries(control, new, body)


def _of_library(equation: jaxpr.Equation, calls: list[jaxpr.Equation]) -> bool:
    """Whether an equation is part of a library function that the user called.

    What is inside a jitted function keeps the lines of whoever had it traced first, so
    that they count only where that function itself is the library's.
    """
    if not calls:
        return equation.of_library(*PROTECTED)
    own = equation.library[:1] == (calls[0].name,)
    return calls[0].of_library(*PROTECTED) or (own and equation.of_library(*PROTECTED))


CUSTOM = {"logaddexp": ("exp", "log1p"), "logit": ("log",), "relu": ("max",)}


def _custom(equation: jaxpr.Equation) -> str:
    """The name under which a function with its own derivative is known, if it is."""
    name = equation.name
    expected = CUSTOM.get(name)
    if expected is None:
        return f"custom {name}"
    found = {e.primitive for e in jaxpr.equations(equation.control.body)}
    return name if found.issuperset(expected) else f"custom {name}"


def _library_diagonal(equation: jaxpr.Equation) -> bool:
    """`jnp.diagonal` of a matrix, which is another program on every platform."""
    if equation.name != "diagonal" or len(equation.inputs) != 1:
        return False
    (x,), (out,) = equation.inputs, equation.outputs
    if len(x.shape) != 2 or out.shape != (min(x.shape),):
        return False
    found = {e.primitive for e in jaxpr.equations(equation.control.body)}
    return found >= {"iota", "gather"} and found <= DIAGONAL


DIAGONAL = frozenset(
    (
        *("iota", "lt", "add", "select_n", "broadcast_in_dim", "concatenate", "gather"),
        *("eq", "convert_element_type", "platform_index", "cond", "mul", "reduce_sum"),
    )
)


def _library_determinant(equation: jaxpr.Equation) -> bool:
    if equation.name != "det" or len(equation.inputs) != 1:
        return False
    inner = next(jaxpr.equations(equation.control.body), None)
    return inner is not None and inner.library[:1] == ("det",)


def leaves(r: Reading, new: Node, old: int) -> list[Node]:
    """The values of the program that a new expression reads."""
    found: dict[int, Node] = {}
    seen: set[int] = set()
    pending = [new]
    while pending:
        node = pending.pop()
        if node.id in seen or node.op in ("const", "literal"):
            continue
        seen.add(node.id)
        if node.id != old and (node.id in r.home or node.op == "input"):
            found[node.id] = node
        else:
            pending += node.args
    return sorted(found.values(), key=lambda node: node.id)
