"""exp of a combination of logarithms, by a function that has no logarithm in it.

exp(log_softmax) is softmax, exp(−softplus(−u)) is σ(u), φ(x)/Φ(x) is Mills' ratio.
"""

import math

from . import functions as f, ratios
from .expression import Expressions, Node
from .linear import Linear, atom, difference, emit, expanded
from .terms import named, reflect, simplify


def log_node(xs: Expressions, lin: Linear, like: Node) -> Node:
    """The logarithm as a node."""
    lin = reflect(xs, simplify(xs, lin))
    for node, c in lin.terms:  # log(mean(exp)): the count cancels inside
        if node.op == "logsumexp" and len(node.args) == 1 and c == 1:
            count = math.prod(node.args[0].shape) / max(math.prod(node.shape), 1)
            if count > 1 and abs(lin.constant + math.log(count)) < 1e-6:
                mean = xs.call(
                    "logmeanexp",
                    f.stable("logmeanexp"),
                    node.args[0],
                    options=dict(node.params),
                    shape=node.shape,
                )
                rest = lin.without(node)
                lin = Linear((*rest.terms, (mean, 1.0)))
                break
    return emit(xs, lin, like)


def exp_of(xs: Expressions, lin: Linear, like: Node) -> Node:
    """exp of a combination, by the function that has no logarithm in it."""
    lin = _gammas(xs, reflect(xs, simplify(xs, lin)))
    ratio = _mills(xs, lin)
    if ratio is not None:
        return ratio
    if not lin.terms:
        return xs.const(math.exp(lin.constant), like.shape, like.dtype)
    if len(lin.terms) == 1:
        (node, c) = lin.terms[0]
        whole = None
        if node.op == "log_softmax" and c == 1:
            whole = xs.call(
                "softmax", f.softmax_of(node), *node.args, options=dict(node.params)
            )
        elif node.op == "softplus" and c == -1:
            whole = xs.call("sigmoid", f.logistic, xs.neg(node.args[0]))
        elif node.op == "log" and c == 1:
            whole = node.args[0]
        if whole is not None:
            return xs.scale(whole, math.exp(lin.constant))
    return xs.unary("exp", emit(xs, lin, like))


def _gammas(xs: Expressions, lin: Linear) -> Linear:
    """log Γ(a) − log Γ(b) as one function of the difference of a and b."""
    gammas = [(n, c) for n, c in lin.terms if n.op == "lgamma"]
    for p, c in gammas:
        for q, e in gammas:
            a, b = p.args[0], q.args[0]
            d = difference(xs, a, b) if c == -e == 1 else None
            if d is not None and a.shape == b.shape == p.shape:
                fun = ratios.difference_of_gammaln
                args = (a, b, xs.spread(emit(xs, d, a), a.shape))
                out = xs.call("difference_of_gammaln", fun, *args)
                return _gammas(xs, lin.without(p, q).plus(atom(out)))
    return lin


def _mills(xs: Expressions, lin: Linear) -> Node | None:
    """k · φ(x) / Φ(x)."""
    tail = next((n for n, c in lin.terms if n.op == "log_ndtr" and c == -1), None)
    if tail is None:
        return None
    x = tail.args[0]
    out = Linear((), lin.constant)
    for node, c in lin.without(tail).terms:
        out = out.plus(expanded(xs, node), c)
    inner = x.args[0] if x.op == "neg" else x
    if len(out.terms) != 1 or out.terms[0][0] is not xs.square(inner):
        return None
    if abs(out.terms[0][1] + 0.5) > 1e-6:
        return None
    scale = math.exp(out.constant + 0.5 * math.log(2 * math.pi))
    scale = 1.0 if abs(scale - 1) < 1e-6 else scale
    return xs.scale(named(xs, "mills_ratio", x), scale)
