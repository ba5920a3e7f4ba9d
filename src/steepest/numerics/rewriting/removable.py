"""Quotients of which both parts vanish together: a removable point, filled in.

    g(u)/u and u/g(u), g(u) = e^u − 1, log(1 + u), sin u, tanh u, sinh u
    (xᵗ − 1)/t, (rᵗ − 1)/(r − 1)
    (f(a) − f(b))/(a − b), f = exp, log, √, square

Numerator and denominator are read as linear combinations, so that a factor, a sign and
the order of the terms do not matter.
"""

import math

from . import functions as f, ratios
from .expression import Expressions, Node
from .facts import bounds
from .linear import Linear, emit, expanded
from .logarithm import product
from .oneplus import minus


OVER = {
    "expm1": ("expm1_over_x", f.stable("expm1_over_x")),
    "sin": ("sinc", ratios.sinc),
    "tanh": ("tanh_over_x", ratios.tanh_over_x),
    "sinh": ("sinh_over_x", ratios.sinh_over_x),
    "log1p": ("log1p_over_x", ratios.log1p_over_x),
}
SLOPES = {
    "exp": ratios.slope_of_exp,
    "log": ratios.slope_of_log,
    "sqrt": ratios.slope_of_sqrt,
    "square": ratios.slope_of_square,
}


def removable(xs: Expressions, v: Node) -> Node | None:
    """A quotient with its removable point, as a function that has none."""
    if v.op != "div" or v.args[1].known is not None:
        return None
    a, b = v.args
    found = _over(xs, a, b) or _slope(xs, a, b) or _versine(xs, a, b)
    if found is not None:
        return found
    below = None if a.known is not None else _over(xs, b, a) or _slope(xs, b, a)
    if below is None:
        return None
    one = xs.number(1.0, v)
    return xs.div(one, below)


def _versine(xs: Expressions, a: Node, b: Node) -> Node | None:
    """k·(1 − cos u)/u²."""
    above, below = expanded(xs, a), expanded(xs, b)
    if len(above.terms) != 1 or len(below.terms) != 1 or below.constant:
        return None
    (cosine, k), (square, m) = above.terms[0], below.terms[0]
    if cosine.op != "cos" or square.op != "square" or above.constant != -k:
        return None
    u = cosine.args[0]
    factor = proportional(expanded(xs, u), expanded(xs, square.args[0]))
    if factor is None or u.shape != b.shape:
        return None
    out = xs.call("versine_over_square", ratios.versine_over_square, u)
    return xs.scale(out, -k * factor * factor / m)


def proportional(p: Linear, q: Linear) -> float | None:
    """k of p = k·q."""
    if not q.terms or len(p.terms) != len(q.terms):
        return None
    k = p.of(q.terms[0][0]) / q.terms[0][1]
    if not k or not math.isfinite(k):
        return None
    rest = p.plus(q, -k)
    size = max(abs(p.constant), *(abs(c) for _, c in p.terms))
    left = [abs(c) for _, c in rest.terms] + [abs(rest.constant)]
    return k if max(left) <= 1e-6 * size else None


def _over(xs: Expressions, a: Node, b: Node) -> Node | None:
    """a/b where a vanishes with b and has the slope 1 there."""
    lin, below = expanded(xs, a), expanded(xs, b)
    if len(lin.terms) != 1 or not below.terms:
        return None
    node, k = lin.terms[0]
    if not node.args or node.shape != b.shape or node.dtype != b.dtype:
        return None
    shifted = math.isclose(lin.constant, -k, rel_tol=1e-6)
    u = node.args[0]
    if shifted and node.op == "exp":
        factor = proportional(expanded(xs, u), below)
        name, fun = OVER["expm1"]
    elif not lin.constant and node.op in OVER:
        factor = proportional(expanded(xs, u), below)
        name, fun = OVER[node.op]
    elif not lin.constant and node.op == "log" and not product(xs, u).exps:
        whole = expanded(xs, u)
        less = whole._replace(constant=whole.constant - 1)
        factor = proportional(less, below)
        u = emit(xs, less, u)
        name, fun = OVER["log1p"]
    elif shifted and node.op in ("pow", "integer_pow"):
        out = _power(xs, node, below, b)
        return None if out is None else xs.scale(out, k)
    else:
        return None
    if factor is None:
        return None
    return xs.scale(xs.call(name, fun, u), k * factor)


def _power(xs: Expressions, node: Node, below: Linear, b: Node) -> Node | None:
    """(xᵗ − 1) over t, or over x − 1."""
    x = node.args[0]
    whole = expanded(xs, x)
    less = whole._replace(constant=whole.constant - 1)
    along = proportional(less, below)
    if node.op == "integer_pow":
        n = node.params["y"]
        if along is None or not 1 <= n <= 1 << 16:
            return None
        out = xs.call("geometric_sum", ratios.geometric_sum, x, options={"n": n})
        return xs.scale(out, along)
    t = node.args[1]
    if x.known is not None:
        return None
    if along is not None:
        d = emit(xs, less, x)
        out = xs.call("power_over_base", ratios.power_over_base, x, t, d)
        return xs.scale(out, along)
    factor = proportional(expanded(xs, t), below)
    if factor is None:
        return None
    d = minus(xs, x, 1.0)
    known = () if d is None else (d,)
    fun = ratios.power_over_exponent
    return xs.scale(xs.call("power_over_exponent", fun, x, t, *known), factor)


def _slope(xs: Expressions, a: Node, b: Node) -> Node | None:
    """(f(p) − f(q))/(p − q)."""
    lin = expanded(xs, a)
    if len(lin.terms) != 2 or lin.constant:
        return None
    (first, k), (second, m) = lin.terms
    if k != -m or first.op != second.op or first.op not in SLOPES:
        return None
    if first.shape != second.shape or first.shape != b.shape:
        return None
    p, q = first.args[0], second.args[0]
    if p.known is not None or q.known is not None:
        return None
    d = expanded(xs, p).plus(expanded(xs, q), -1.0)
    factor = proportional(d, expanded(xs, b))
    if factor is None or not _close(xs, p, q):
        return None
    fun = SLOPES[first.op]
    return xs.scale(xs.call(f"slope_of_{first.op}", fun, p, q), k * factor)


def _close(xs: Expressions, p: Node, q: Node) -> bool:
    """Whether the two can be equal."""
    (a, b), (c, d) = bounds(xs, p), bounds(xs, q)
    return a <= d and c <= b
