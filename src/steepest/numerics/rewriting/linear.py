"""Sums as linear combinations Σ cᵢ·vᵢ + c₀, in which like terms meet and cancel.

log of a product is the sum of logs, and the quotient of two exponentials exp(Σ − Σ′):
what is common to both sums must cancel before anything is rounded. `expanded` reads a
node as such a combination, `emit` writes one as a node.
"""

from typing import NamedTuple

from .expression import Expressions, Node


class Linear(NamedTuple):
    """Σ coefficient · node + constant."""

    terms: tuple[tuple[Node, float], ...] = ()
    constant: float = 0.0

    def plus(self, other: "Linear", factor: float = 1.0) -> "Linear":
        found: dict[int, tuple[Node, float]] = {n.id: (n, c) for n, c in self.terms}
        for node, c in other.terms:
            before = found.get(node.id, (node, 0.0))[1]
            found[node.id] = (node, before + factor * c)
        terms = tuple((n, c) for n, c in found.values() if c != 0)
        return Linear(terms, self.constant + factor * other.constant)

    def times(self, factor: float) -> "Linear":
        return Linear(
            tuple((n, c * factor) for n, c in self.terms), self.constant * factor
        )

    def of(self, node: Node) -> float:
        return next((c for n, c in self.terms if n is node), 0.0)

    def without(self, *nodes: Node) -> "Linear":
        kept = tuple((n, c) for n, c in self.terms if n not in nodes)
        return Linear(kept, self.constant)

    @property
    def zero(self) -> bool:
        return not self.terms and self.constant == 0


def atom(node: Node) -> Linear:
    if node.known is not None:
        return Linear((), node.known)
    return Linear(((node, 1.0),))


def expanded(xs: Expressions, node: Node, depth: int = 32) -> Linear:
    """A node as a linear combination of what is neither a sum nor a multiple."""
    if node.known is not None or depth == 0 or not node.floating:
        return atom(node)
    a = node.args
    if node.op == "add":
        return expanded(xs, a[0], depth - 1).plus(expanded(xs, a[1], depth - 1))
    if node.op == "sub":
        return expanded(xs, a[0], depth - 1).plus(expanded(xs, a[1], depth - 1), -1.0)
    if node.op == "neg":
        return expanded(xs, a[0], depth - 1).times(-1.0)
    if node.op == "mul":
        for one, other in ((a[0], a[1]), (a[1], a[0])):
            if one.known is not None and one.known != 0:
                return expanded(xs, other, depth - 1).times(one.known)
    if node.op == "div" and a[1].known not in (None, 0.0):
        return expanded(xs, a[0], depth - 1).times(1 / a[1].known)
    if node.op in ("broadcast_in_dim", "spread") and not node.args[0].shape:
        # a scalar sum in an array: keep it whole
        return atom(node)
    return atom(node)


def difference(xs: Expressions, a: Node, b: Node) -> Linear | None:
    """a − b where terms of the two cancel, or None where they have nothing common."""
    p, q = expanded(xs, a), expanded(xs, b)
    d = p.plus(q, -1.0)
    if len(d.terms) < len(p.terms) + len(q.terms) or (not q.terms and not p.terms):
        return d
    return None


def emit(xs: Expressions, lin: Linear, like: Node) -> Node:
    """The combination as a node; positive terms first."""
    if not lin.terms:
        return xs.const(lin.constant, like.shape, like.dtype)
    ordered = sorted(lin.terms, key=lambda term: term[1] < 0)
    total: Node | None = None
    for node, c in ordered:
        if total is None:
            total = xs.neg(node) if c == -1 else xs.scale(node, c)
        elif abs(c) == 1:
            total = xs.add(total, node) if c > 0 else xs.sub(total, node)
        else:
            scaled = xs.scale(node, abs(c))
            total = xs.add(total, scaled) if c > 0 else xs.sub(total, scaled)
    assert total is not None
    if lin.constant:
        total = xs.add(total, xs.number(lin.constant, total))
    return total
