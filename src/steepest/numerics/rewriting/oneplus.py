"""The one-plus form: v − c computed without the cancellation of v against c.

Most often c = ±1, and D = v − c is known as a function of its own:

    exp u − 1 = expm1 u           σ(u) − 1 = −σ(−u)       σ(u) − ½ = tanh(u/2)/2
    cos u − 1 = −2 sin²(u/2)      cosh u − 1 = 2 sinh²(u/2)
    erf u − 1 = −erfc u           erf u + 1 = erfc(−u)    erfc u − 1 = −erf u
    tanh u ∓ 1 = ∓2σ(∓2u)         tanh² u − 1 = −4σ(2u)σ(−2u)
    exp L − 1 = expm1 L           (1 + d)ᵗ − 1 = expm1(t·log1p d)
    ab − 1 = D_a + D_b + D_a·D_b  1/b − 1 = −D_b / b

and log(1 + d) = log1p d.
"""

import math

from . import functions as f, ratios
from .exponential import exp_of, log_node
from .expression import MOVES, Expressions, Node
from .facts import bounds
from .lengths import one_minus_cosine
from .linear import difference, emit, expanded
from .logarithm import log_of, product
from .terms import safe_move, weighed


def minus(xs: Expressions, v: Node, c: float, depth: int = 8) -> Node | None:
    """v − c without cancellation; None where no such form is known."""
    if depth == 0 or not v.floating or v.known is not None:
        return None
    op, a = v.op, v.args
    if op in MOVES and a[0].floating and safe_move(v) and op != "stop_gradient":
        inner = minus(xs, a[0], c, depth - 1)
        return None if inner is None else xs.move(v, inner)
    if op == "neg":
        inner = minus(xs, a[0], -c, depth - 1)
        return None if inner is None else xs.neg(inner)
    if op == "mul":
        for k, other in ((a[0], a[1]), (a[1], a[0])):
            if k.known:
                inner = minus(xs, other, c / k.known, depth - 1)
                return None if inner is None else xs.scale(inner, k.known)
    if op == "div" and a[1].known:
        inner = minus(xs, a[0], c * a[1].known, depth - 1)
        return None if inner is None else xs.div(inner, a[1])
    if op in ("add", "sub"):
        found = _of_sum(xs, v, c, depth)
        if found is not None:
            return found
    if op in ELEMENTARY:
        found = ELEMENTARY[op](xs, a[0], c)
        if found is not None:
            return found
    if op == "div" and a[0].known and c:  # k/b − c
        below = minus(xs, a[1], a[0].known / c, depth - 1)
        if product(xs, a[1]).exps == 0 and below is not None:
            return xs.neg(xs.div(xs.scale(below, c), a[1]))
        half = _sigmoid_scaled(xs, v, c)
        if half is not None:
            return half
    if op == "div" and c == 1:
        d = difference(xs, a[0], a[1])
        if d is not None and not product(xs, v).exps:
            return xs.div(emit(xs, d, a[0]), a[1])
    found = _of_mean(xs, v, c, depth)
    if found is not None:
        return found
    if c == 1:
        away = one_minus_cosine(xs, v)
        if away is not None:
            return xs.neg(away)
        L = log_of(xs, v)
        if L is not None and op not in ("add", "sub") and not weighed(xs, L):
            return xs.call("expm1", f.stable("expm1"), log_node(xs, L, v))
        return _power(xs, v, depth)
    return None


def exact(xs: Expressions, v: Node, c: float) -> bool:
    """Whether v − c is an operand as it stands, as for v = 1 ± x."""
    return v.op in ("add", "sub") and len(expanded(xs, v).terms) >= 1


def _of_sum(xs: Expressions, v: Node, c: float, depth: int) -> Node | None:
    """(c + x) − c = x; else the constant goes to a term that can take it."""
    lin = expanded(xs, v)
    if lin.constant == c and lin.terms:
        return emit(xs, lin._replace(constant=0.0), v)
    for node, k in lin.terms:
        wanted = (c - lin.constant) / k
        inner = minus(xs, node, wanted, depth - 1) if wanted else None
        if inner is not None and len(lin.terms) == 1:
            return xs.scale(inner, k)
    return None


def _of_mean(xs: Expressions, v: Node, c: float, depth: int) -> Node | None:
    """mean(x) − c = mean(x − c); v is the sum of n entries, or (`minus`) a multiple."""
    if v.op != "reduce_sum" or not c:
        return None
    (x,) = v.args
    count = math.prod(x.shape) / max(math.prod(v.shape), 1)
    inner = minus(xs, x, c / count, depth - 1) if count else None
    if inner is None:
        return None
    inner = xs.spread(inner, x.shape)
    options = {"axis": tuple(v.params["axes"])}
    return xs.call("sum", f.total, inner, options=options, shape=v.shape)


def _sigmoid_scaled(xs: Expressions, v: Node, c: float) -> Node | None:
    """k·σ(u) − c, for c = k and c = k/2."""
    p = product(xs, v)
    if p.rest or len(p.E.terms) not in (1, 2) or p.E.constant:
        return None
    whole = exp_of(xs, p.E, v)
    if whole.op != "sigmoid":
        return None
    inner = _logistic(xs, whole.args[0], c / p.scale)
    return None if inner is None else xs.scale(inner, p.scale)


def _sigmoid(xs: Expressions, u: Node) -> Node:
    return xs.call("sigmoid", f.logistic, u)


def _logistic(xs: Expressions, u: Node, c: float) -> Node | None:
    if c == 1:
        return xs.neg(_sigmoid(xs, xs.neg(u)))
    if c == 0.5:
        half = xs.call("tanh", f.stable("tanh"), xs.scale(u, 0.5))
        return xs.scale(half, 0.5)
    return None


def _exp(xs: Expressions, u: Node, c: float) -> Node | None:
    return xs.call("expm1", f.stable("expm1"), u) if c == 1 else None


def _cos(xs: Expressions, u: Node, c: float) -> Node | None:
    if c != 1:
        return None
    return xs.neg(xs.call("one_minus_cos", f.stable("one_minus_cos"), u))


def _cosh(xs: Expressions, u: Node, c: float) -> Node | None:
    if c != 1:
        return None
    s = xs.call("sinh", f.sinh, xs.scale(u, 0.5))
    return xs.scale(xs.square(s), 2.0)


def _erf(xs: Expressions, u: Node, c: float) -> Node | None:
    if c == 1:
        return xs.neg(xs.call("erfc", f.erfc, u))
    return xs.call("erfc", f.erfc, xs.neg(u)) if c == -1 else None


def _erfc(xs: Expressions, u: Node, c: float) -> Node | None:
    if c == 1:
        return xs.neg(xs.call("erf", f.erf, u))
    return xs.neg(xs.call("erfc", f.erfc, xs.neg(u))) if c == 2 else None


def _tanh(xs: Expressions, u: Node, c: float) -> Node | None:
    if abs(c) != 1:
        return None
    s = _sigmoid(xs, xs.scale(u, -2.0 * c))
    return xs.scale(s, -2.0 * c)


def _square(xs: Expressions, u: Node, c: float) -> Node | None:
    if c == 1 and u.op == "tanh":
        w = xs.scale(u.args[0], 2.0)
        p, q = _sigmoid(xs, w), _sigmoid(xs, xs.neg(w))
        return xs.scale(xs.mul(p, q), -4.0)
    return None


ELEMENTARY = {
    "exp": _exp,
    "logistic": _logistic,
    "cos": _cos,
    "cosh": _cosh,
    "erf": _erf,
    "erfc": _erfc,
    "tanh": _tanh,
    "square": _square,
}


def _power(xs: Expressions, v: Node, depth: int) -> Node | None:
    """(1 + d)ᵗ − 1, products and reciprocals of what is near 1."""
    op, a = v.op, v.args
    if op == "mul":
        p, q = (minus(xs, n, 1.0, depth - 1) for n in a)
        if p is not None and q is not None:
            return xs.add(xs.add(p, q), xs.mul(p, q))
        return None
    if op not in ("pow", "integer_pow", "square", "sqrt"):
        return None
    d = minus(xs, a[0], 1.0, depth - 1)
    if d is None and op == "pow" and a[0].known is None and a[1].known is None:
        return xs.call("power_less_one", ratios.power_less_one, a[0], a[1])
    if d is None:
        return None
    if op == "sqrt":
        if d.op == "square":
            fun = ratios.hypot_less_one
            return xs.call("hypot_less_one", fun, d.args[0])
        return xs.call("sqrt1pm1", f.stable("sqrt1pm1"), d)
    if op == "square":
        return xs.mul(d, xs.add(d, xs.number(2.0, d)))
    if op == "pow":
        return xs.call("power_minus_one", f.power_minus_one, d, a[0], a[1])
    t = xs.number(float(v.params["y"]), d)
    return xs.call("power_minus_one", f.power_minus_one, d, a[0], t)


def log_near_one(xs: Expressions, v: Node) -> Node | None:
    """log v where `v` is 1 plus something that may be small, or a quotient like it."""
    op, a = v.op, v.args
    low, high = bounds(xs, v)
    if low >= 2 or high <= 0.5:
        return None
    if op == "div":
        return _log_of_quotient(xs, v)
    if op in ("add", "sub"):
        lin = expanded(xs, v)
        if lin.constant == 1 and lin.terms and not _counts(lin.terms):
            d = emit(xs, lin._replace(constant=0.0), v)
            inner = _log1p(xs, d)
            return inner
        return None
    if op in ("mul", "pow", "integer_pow", "sqrt", "cos"):
        if op in ("pow", "integer_pow", "sqrt"):
            inner = log_near_one(xs, a[0])
            if inner is None or (op == "integer_pow" and v.params["y"] % 2 == 0):
                return None
            t = {"sqrt": 0.5, "integer_pow": v.params.get("y")}.get(op)
            return xs.mul(inner, a[1]) if t is None else xs.scale(inner, float(t))
        if op == "cos":
            d = minus(xs, v, 1.0)
            return None if d is None else xs.call("log_near_one", f.log_near_one, d, v)
    return None


def _log1p(xs: Expressions, d: Node) -> Node:
    return xs.call("log1p", f.log1p, d)


def _counts(terms: tuple[tuple[Node, float], ...]) -> bool:
    """Whether every term is a whole number: 1 + n is exact."""

    def whole(node: Node) -> bool:
        if node.op == "convert_element_type":
            return not node.args[0].floating or whole(node.args[0])
        if node.op in ("reduce_sum", "reduce_max", "cumsum", *MOVES):
            return whole(node.args[0])
        return node.op in ("floor", "ceil", "round", "iota")

    return all(whole(node) for node, _ in terms)


def _log_of_quotient(xs: Expressions, v: Node) -> Node | None:
    """log((1 + x)/(1 − x)) = 2·artanh x; log(a/b) for a and b that nearly agree."""
    a, b = v.args
    p, q = expanded(xs, a), expanded(xs, b)
    if p.constant and p.constant == q.constant and p.terms and q.terms:
        total = p.plus(q)
        if not total.terms:  # c + x over c − x
            half = p._replace(constant=0.0).times(1 / p.constant)
            u = emit(xs, half, v)
            return xs.scale(xs.call("arctanh", f.arctanh, u), 2.0)
    d = difference(xs, a, b)
    if d is None or a.known is not None or (not p.terms or not q.terms):
        if a.known == 1:
            inner = log_near_one(xs, b)
            return None if inner is None else xs.neg(inner)
        if b.known is not None and math.isclose(b.known, 1):
            return log_near_one(xs, a)
        return None
    return xs.call("log_quotient", f.log_quotient, emit(xs, d, v), a, b)
