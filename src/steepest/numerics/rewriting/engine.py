"""A program rewritten: read as expressions, improved from the outputs back, written out.

1. Every equation is read as a node (`expression`), through the calls of jit. Functions
   with derivative rules of their own stay whole; loops, branches and rematerialised
   parts are programs by themselves, rewritten first.
2. From the outputs backwards, every value that is needed is given its stable form
   (`rules`), or is kept; what only the old form needed is not needed any more.
3. The program is run once more under `make_jaxpr`: an equation that is kept is bound as
   it was, with its parameters; a call in which nothing changes is one equation still.
"""

from typing import NamedTuple

from ...core import jaxpr
from .expression import Expressions, Node
from .reading import Exact, Reading, leaves, read
from .refusals import Refusal, refuse
from .rules import Form, improve
from .writing import write


SHORT_SUM = "a sum in sixteen bits stops moving once what is added is below half a unit"


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
    reading = read(closed, around, body, exact or {}, rewrite)
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
