"""A program rewritten: read as expressions, improved from the outputs back, written out.

1. Every equation is read as a node (`expression`), through the calls of jit. Functions
   with derivative rules of their own stay whole; loops, branches and rematerialised
   parts are programs by themselves, rewritten first.
2. From the outputs backwards, every value that is needed is given its stable form
   (`rules`), or is kept; what only the old form needed is not needed any more.
3. The program is run once more under `make_jaxpr`: an equation that is kept is bound as
   it was, with its parameters; a call in which nothing changes is one equation still.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax

from ...core import jaxpr
from .carries import Carries, carries, run as run_wide
from .compute import compute, fit
from .expression import Expressions, Node
from .functions import WIDE
from .halves import SHORT
from .refusals import Refusal, refuse
from .rules import Form, improve


SHORT_SUM = "a sum in sixteen bits stops moving once what is added is below half a unit"
#: Libraries whose functions keep their values to the bit.
PROTECTED = ("jax/_src/nn/", "jax/_src/scipy/", "jax/nn/", "jax/scipy/", "optax/")


class Change(NamedTuple):
    """One value with its stable form, or with the reason why it has none."""

    equation: jaxpr.Equation
    old: Node
    form: Form | None
    refusal: Refusal | None
    xs: Expressions
    cut: tuple[Node, ...]  # values of the program that the new form reads


class Rewriting(NamedTuple):
    """A program with its stable forms; `closed` is None where nothing changes."""

    closed: jaxpr.Closed | None
    changes: tuple[Change, ...]


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
    inner: dict[tuple[int, ...], list[Rewriting]] = field(default_factory=dict)
    wider: dict[tuple[int, ...], Carries] = field(default_factory=dict)
    calls: list[jaxpr.Equation] = field(default_factory=list)  # around what is read
    whole: set[tuple[int, ...]] = field(default_factory=set)  # calls not looked into


Exact = dict[tuple[int, ...], tuple[float | None, ...]]


def rewrite(
    closed: jaxpr.Closed,
    around: jaxpr.Equation | None = None,
    body: int = 0,
    exact: Exact | None = None,
) -> Rewriting:
    """The program with every risky value in its stable form.

    `exact` has the constants of equations as they were before they were rounded to the
    format of the program, by the addresses of the equations.
    """
    reading = read(closed, around, body, exact or {})
    live, forms, changes = choose(reading)
    nested = [
        change
        for address, rewritings in reading.inner.items()
        if any(node.id in live for node in reading.at[address])
        for rewriting in rewritings
        for change in rewriting.changes
    ]
    nested += [
        Change(equation, old, Form(new, SHORT_SUM), None, xs, tuple(_inputs(new)))
        for address, loop in reading.wider.items()
        if any(node.id in live for node in reading.at[address])
        for old, new, equation, xs in loop.forms
    ]
    changes = sorted([*changes, *nested], key=lambda c: c.equation.address)
    if not any(change.form is not None for change in changes):
        return Rewriting(None, tuple(changes))
    new = write(closed, reading, live, forms, around, body)
    return Rewriting(new, tuple(changes))


# -- 1. Reading ------------------------------------------------------------------------


def read(
    closed: jaxpr.Closed, around: jaxpr.Equation | None, body: int, exact: Exact
) -> Reading:
    """Every value of the program as a node."""
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
        if jaxpr.rebindable(equation):
            programs = jaxpr.bodies(equation.control)
            r.inner[equation.address] = [
                rewrite(program, equation, k, exact)
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
    inner: Sequence[Rewriting],
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


def _inputs(node: Node) -> list[Node]:
    """The values of a loop's body that a form is a function of."""
    found: dict[int, Node] = {}
    pending = [node]
    while pending:
        here = pending.pop()
        if here.op == "input" or (here.equation is not None and here.equation.control):
            found[here.id] = here
        else:
            pending += here.args
    return list(found.values())


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


def _library_determinant(equation: jaxpr.Equation) -> bool:
    if equation.name != "det" or len(equation.inputs) != 1:
        return False
    inner = next(jaxpr.equations(equation.control.body), None)
    return inner is not None and inner.library[:1] == ("det",)


# -- 2. Choosing -----------------------------------------------------------------------


def choose(r: Reading) -> tuple[set[int], dict[int, Node], list[Change]]:
    """What is needed, the stable forms, and what is to be told of them."""
    live: set[int] = set()
    forms: dict[int, Node] = {}
    changes: list[Change] = []
    pending = [*r.outputs, *r.effects]
    while pending:
        node = pending.pop()
        if node.id in live:
            continue
        live.add(node.id)
        equation = r.home.get(node.id)
        if equation is None:
            pending += node.args
            continue
        form = improve(r.xs, node)
        if form is None:
            pending += node.args
            refusal = refuse(r.xs, node)
            if refusal is not None:
                changes.append(Change(equation, node, None, refusal, r.xs, ()))
            continue
        forms[node.id] = form.node
        cut = leaves(r, form.node, node.id)
        pending += cut
        changes.append(Change(equation, node, form, None, r.xs, tuple(cut)))
    return live, forms, changes


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


# -- 3. Writing ------------------------------------------------------------------------


def write(
    closed: jaxpr.Closed,
    r: Reading,
    live: set[int],
    forms: dict[int, Node],
    around: jaxpr.Equation | None,
    body: int,
) -> jaxpr.Closed:
    """The program with `forms` in place of the values that they stand for."""
    touched = _touched(r, live, forms)

    def run(*values: Any) -> list[Any]:
        env: dict[int, Any] = {
            node.id: value for node, value in zip(r.inputs, values, strict=True)
        }

        def known(value: Any, node: Node) -> Any:
            return compute(node, env, forms) if value is None else value

        def keep(address: tuple[int, ...], outs: list[Any]) -> list[Any]:
            for node, out in zip(r.at[address], outs, strict=True):
                env.setdefault(node.id, out)
            return outs

        def dead(equation: jaxpr.Equation) -> bool:
            nodes = r.at[equation.address]
            return not equation.eqn.effects and not any(n.id in live for n in nodes)

        def ordinary(equation: jaxpr.Equation, *args: Any) -> list[Any]:
            nodes = r.at[equation.address]
            if dead(equation):
                return [None] * len(nodes)
            first = nodes[0] if nodes else None
            if first is not None and first.id in forms:
                value = compute(first, env, forms)
                return [fit(value, first)]
            operands = r.operands[equation.address]
            args = tuple(map(known, args, operands))
            if equation.address in r.wider:
                loop = r.wider[equation.address]
                return keep(equation.address, run_wide(equation, loop, args))
            if any(p.closed for p in r.inner.get(equation.address, ())):
                programs = [
                    p.closed or old
                    for p, old in zip(
                        r.inner[equation.address],
                        jaxpr.bodies(equation.control),
                        strict=True,
                    )
                ]
                return keep(equation.address, jaxpr.rebind(equation, programs, *args))
            return keep(equation.address, equation.bind(*args))

        def call(equation: jaxpr.Equation, *args: Any) -> Any:
            control = equation.control
            if control.kind not in ("jit", "call") or equation.address in r.whole:
                return ordinary(equation, *args)
            if dead(equation):
                return [None] * len(r.at[equation.address])
            complete = all(a is not None for a in args)
            if complete and equation.address not in touched:
                return keep(equation.address, equation.bind(*args))
            return inside(control.body, args, equation, 0)

        def inside(
            program: jaxpr.Closed,
            args: Sequence[Any],
            equation: jaxpr.Equation | None,
            body: int,
        ) -> list[Any]:
            rules: dict[Any, Callable] = {jaxpr.Call: call}
            return jaxpr.evaluate(
                program,
                args,
                lift=lambda constant: constant,
                rules=rules,
                default=ordinary,
                around=equation,
                body=body,
            )

        outs = inside(closed, values, around, body)
        return [known(out, node) for out, node in zip(outs, r.outputs, strict=True)]

    avals = [_struct(v.aval) for v in closed.jaxpr.invars]
    return jax.make_jaxpr(run)(*avals)


def _struct(aval: Any) -> Any:
    weak = getattr(aval, "weak_type", False)
    return jax.ShapeDtypeStruct(aval.shape, aval.dtype, weak_type=weak)


def _touched(
    r: Reading, live: set[int], forms: dict[int, Node]
) -> set[tuple[int, ...]]:
    """Addresses of calls that cannot stay whole."""
    addresses = [r.home[i].address for i in forms if i in r.home]
    addresses += [
        a for a, programs in r.inner.items() if any(p.closed for p in programs)
    ]
    addresses += list(r.wider)
    touched = {a[:k] for a in addresses for k in range(2, len(a), 2)}
    for old, form in forms.items():
        for node in leaves(r, form, old):
            if node.id not in r.home:
                continue
            a = r.home[node.id].address
            for k in range(2, len(a), 2):
                if all(node is not out for out in r.at.get(a[:k], ())):
                    touched.add(a[:k])
    return touched
