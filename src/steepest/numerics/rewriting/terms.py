"""The terms that logarithms consist of, and their forms for an argument of either sign."""

import math

from . import functions as f
from .expression import Expressions, Node
from .facts import bounds
from .linear import Linear, atom, emit, expanded


def as_axis(axes: tuple[int, ...]) -> int | tuple[int, ...]:
    return axes[0] if len(axes) == 1 else axes


def named(xs: Expressions, name: str, *args: Node, **options: object) -> Node:
    return xs.call(name, f.stable(name), *args, options=options)


def softplus(xs: Expressions, u: Node) -> Linear:
    """softplus(u), and for −u the same function of u: softplus(−u) = softplus(u) − u."""
    flipped = (
        u.op == "neg"
        or (u.op == "sub" and u.args[0].id > u.args[1].id)
        or (u.op == "mul" and any((a.known or 0) < 0 for a in u.args))
        or (u.op == "div" and (u.args[1].known or 0) < 0)
    )
    if flipped:
        w = negated(xs, u)
        return Linear(((named(xs, "softplus", w), 1.0), (w, -1.0)))
    return atom(named(xs, "softplus", u))


def negated(xs: Expressions, u: Node) -> Node:
    """−u, with the sign taken into a constant factor."""
    if u.op == "mul":
        for c, other in ((u.args[0], u.args[1]), (u.args[1], u.args[0])):
            if c.known is not None:
                return xs.scale(other, -c.known)
    if u.op == "div" and u.args[1].known is not None:
        return xs.div(u.args[0], xs.number(-u.args[1].known, u))
    return xs.neg(u)


def simplify(xs: Expressions, lin: Linear) -> Linear:
    """The combination with its sums multiplied out, if that is shorter."""
    out = Linear((), lin.constant)
    for node, c in lin.terms:
        out = out.plus(expanded(xs, node), c)
    return out if len(out.terms) < len(lin.terms) else lin


def reflect(xs: Expressions, lin: Linear) -> Linear:
    """a·u + c·softplus(u) as the function of −u where that leaves less of u."""
    for node, c in lin.terms:
        if node.op == "softplus" and node.fun is not None and node.args:
            u = node.args[0]
            a = lin.of(u)
            if a and abs(a + c) < abs(a):
                flipped = named(xs, "softplus", negated(xs, u))
                rest = lin.without(node, u)
                return rest.plus(Linear(((flipped, c), (u, a + c))))
    return lin


def safe_move(v: Node) -> bool:
    """Whether a move puts nothing but elements of its operand into the result."""
    if v.op == "gather":
        fill = v.params.get("fill_value")
        dropped = "FILL" in str(v.params.get("mode"))
        return not dropped or fill is None or math.isnan(float(fill))
    return True


def moved(xs: Expressions, like: Node, lin: Linear) -> Linear:
    """A combination, each of its terms moved as `like` does."""
    if like.op.startswith(("reduce", "cum")) and (
        len(lin.terms) != 1 or lin.terms[0][1] != 1
    ):
        whole = emit(xs, lin, like.args[0])
        return atom(xs.move(like, xs.spread(whole, like.args[0].shape)))
    terms = tuple((xs.move(like, n), c) for n, c in lin.terms)
    return Linear(terms, lin.constant)


def weighed(xs: Expressions, lin: Linear) -> bool:
    """Whether a sum has weights that may be 0: where all are, its logarithm is −∞.

    There exp of the logarithm is right and its slope is 0·∞.
    """
    sums = [n for n, _ in lin.terms if n.op == "logsumexp" and len(n.args) == 2]
    return any(bounds(xs, n.args[1])[0] <= 0 for n in sums)
