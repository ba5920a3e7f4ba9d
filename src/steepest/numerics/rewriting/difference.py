"""Sums and differences that cancel, rewritten as functions of their own.

A tree of additions is read as one combination Σ cᵢ·vᵢ + c₀. In it are looked for, most
special first:

    e^s − s − 1, 1 + s − e^s           expm1_minus(s)
    log(1 + x) − x                     log1p_minus(x)
    log(1 + e^x) − x·y                 the cross-entropy of a sigmoid with logit x
    mean(x²) − mean(x)²                the two-pass variance
    |a|² + |b|² − 2 a·b                |a − b|²
    e^u − e^(−u)                       2 sinh u
    f(a) − f(b) with a − b known       f of the difference: √, log, 1/x, sin, arctan, …
    v − c with a one-plus form         (`oneplus`)

What is left of the combination is added to the result. A difference of unrelated
arguments is left alone: its error is no more than what rounding its inputs does to it.

Reference: Higham (2002), Accuracy and Stability of Numerical Algorithms, §§1.7–1.9.
"""

import math
from collections.abc import Iterator

from . import functions as f, ratios
from .distances import squared_distances
from .expression import Expressions, Node, origin
from .facts import bounds, varies
from .linear import Linear, difference, emit, expanded
from .logarithm import log_of
from .moments import covariance, variance, windows
from .oneplus import minus
from .softmaxes import unshifted


Found = tuple[Node, Linear]  # a node for the part that cancels, and what is left


def cancelling(xs: Expressions, v: Node) -> Node | None:
    """The sum `v` with its cancellation done symbolically; None if there is none."""
    if not v.floating:
        return None
    lin = expanded(xs, v)
    if len(lin.terms) + bool(lin.constant) < 2 or len(lin.terms) > 24:
        return None
    for rule in RULES:
        found = rule(xs, lin, v)
        if found is None:
            continue
        node, rest = found
        if rest.zero:
            return node
        return xs.add(emit(xs, rest, v), node)
    return None


def _pairs(lin: Linear) -> Iterator[tuple[Node, Node, float]]:
    """Terms (a, b, k) of which k·(a − b) is part of the combination."""
    for i, (a, p) in enumerate(lin.terms):
        for b, q in lin.terms[i + 1 :]:
            if p == -q:
                yield (a, b, p) if p > 0 else (b, a, q)


def _same(xs: Expressions, lin: Linear, u: Node, factor: float) -> Linear | None:
    """The combination less factor · u, if all of u's own terms are in it."""
    if lin.of(u):
        return lin.plus(Linear(((u, 1.0),)), -factor) if lin.of(u) == factor else None
    own = expanded(xs, u)
    if own.terms and all(lin.of(n) == c * factor for n, c in own.terms):
        return lin.plus(own, -factor)
    return None


def _exponential_remainder(xs: Expressions, lin: Linear, v: Node) -> Found | None:
    for node, k in lin.terms:
        if node.op not in ("exp", "expm1"):
            continue
        u = node.args[0]
        rest = _same(xs, lin.without(node), u, -k)
        if rest is None:
            continue
        own = expanded(xs, u).constant if not lin.of(u) else 0.0
        if node.op == "exp":
            rest = rest._replace(constant=rest.constant + k)
            if (
                abs(rest.constant) > 1e-6 * abs(k)
                and own == 0
                and not _close(lin.constant, -k)
            ):
                continue
        out = xs.scale(xs.call("expm1_minus", f.stable("expm1_minus"), u), k)
        return out, rest
    return None


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-6)


def _logarithm_remainder(xs: Expressions, lin: Linear, v: Node) -> Found | None:
    for node, k in lin.terms:
        if node.op == "log1p":
            u = node.args[0]
        elif node.op == "log":
            inner = minus(xs, node.args[0], 1.0) if node.args[0].op != "exp" else None
            if inner is None or log_of(xs, node.args[0]) is not None:
                continue
            u = inner
        else:
            continue
        rest = _same(xs, lin.without(node), u, -k)
        if rest is not None:
            out = xs.call("log1p_minus", f.stable("log1p_minus"), u)
            return xs.scale(out, k), rest
    return None


def softplus_argument(xs: Expressions, node: Node) -> Node | None:
    """x of a value that is log(1 + e^x)."""
    if node.op == "logaddexp" and len(node.args) == 2:
        for a, b in (node.args, node.args[::-1]):
            if b.known == 0:
                return a
    if node.op == "log":
        L = log_of(xs, node.args[0])
    elif node.op == "log1p" and node.args[0].op == "exp":
        return node.args[0].args[0]
    else:
        return None
    if L is None or L.constant or len(L.terms) != 1 or L.terms[0][1] != 1:
        return None
    inner = L.terms[0][0]
    return inner.args[0] if inner.op == "softplus" else None


def _logistic_loss(xs: Expressions, lin: Linear, v: Node) -> Found | None:
    for node, k in lin.terms:
        x = softplus_argument(xs, node)
        if x is None or x.shape != node.shape:
            continue
        for other, c in lin.terms:
            if other.op == "mul" and x in other.args and c == -k:
                y = other.args[1] if other.args[0] is x else other.args[0]
                loss = xs.call(
                    "binary_cross_entropy",
                    f.stable("binary_cross_entropy"),
                    x,
                    xs.spread(y, x.shape),
                )
                return xs.scale(loss, k), lin.without(node, other)
        if lin.of(x) == -k:
            out = xs.call("softplus", f.stable("softplus"), xs.neg(x))
            return xs.scale(out, k), lin.without(node, x)
    return None


def _hyperbolic(xs: Expressions, lin: Linear, v: Node) -> Found | None:
    """e^u − e^(−u)."""
    for a, b, k in _pairs(lin):
        if a.op == b.op == "exp":
            total = expanded(xs, a.args[0]).plus(expanded(xs, b.args[0]))
            if total.zero:
                out = xs.call("sinh", f.sinh, a.args[0])
                return xs.scale(out, 2 * k), lin.without(a, b)
    return None


ROOTS = {1 / 3: "cbrt"}
FUNCTIONS = {
    "sin": ("difference_of_sines", f.difference_of_sines),
    "cos": ("difference_of_cosines", f.difference_of_cosines),
    "tan": ("difference_of_tangents", f.difference_of_tangents),
    "atan": ("difference_of_arctangents", f.difference_of_arctangents),
    "tanh": ("difference_of_tanh", f.difference_of_tanh),
    "logistic": ("difference_of_sigmoids", f.difference_of_sigmoids),
    "cbrt": ("difference_of_roots", f.difference_of_roots),
    "lgamma": ("difference_of_gammaln", ratios.difference_of_gammaln),
}


def _functions(xs: Expressions, lin: Linear, v: Node) -> Found | None:
    """k·(f(a) − f(b)) by the difference of the arguments."""
    for p, q, k in _pairs(lin):
        out = _difference(xs, p, q)
        if out is not None:
            return xs.scale(out, k), lin.without(p, q)
    return None


def _difference(xs: Expressions, p: Node, q: Node) -> Node | None:
    if p.shape != q.shape:
        return None
    if p.op == q.op == "square":
        a, b = p.args[0], q.args[0]
        d = difference(xs, a, b)
        if d is None:
            return xs.call(
                "difference_of_squares", f.stable("difference_of_squares"), a, b
            )
        return xs.mul(emit(xs, d, a), xs.add(a, b))
    if p.op == "div" and q.op == "div":
        k, m = p.args[0].known, q.args[0].known
        if k is None or k != m:
            return None
        a, b = p.args[1], q.args[1]
        d = difference(xs, a, b)
        if d is None:
            return None
        out = f.difference_of_reciprocals
        node = xs.call("difference_of_reciprocals", out, a, b, emit(xs, d, a))
        return xs.scale(node, k)
    if p.op != q.op or not p.args:
        return None
    a, b = p.args[0], q.args[0]
    if p.op == "sqrt":
        d = difference(xs, a, b)
        if d is None:
            return xs.call("sqrt_difference", f.stable("sqrt_difference"), a, b)
        return xs.call("sqrt_difference", f.conjugate, emit(xs, d, a), a, b)
    if p.op not in ("log", "exp", *FUNCTIONS):
        return None
    d = difference(xs, a, b)
    if d is None or a.known is not None or b.known is not None:
        return None
    if len(p.args) > 1:
        return None
    if p.op == "log":
        if log_of(xs, a) is not None or log_of(xs, b) is not None:
            return None
        return xs.call("log_quotient", f.log_quotient, emit(xs, d, a), a, b)
    if p.op == "exp":
        return xs.call("exp_difference", f.exp_difference, a, b)
    name, fun = FUNCTIONS[p.op]
    return xs.call(name, fun, a, b, emit(xs, d, a))


def _root(xs: Expressions, lin: Linear, v: Node) -> Found | None:
    """k·(√P − b), where P is b² and something: √(b² − 4ac) − b, √(x² + 1) − x."""
    for node, k in lin.terms:
        if node.op != "sqrt":
            continue
        P = node.args[0]
        whole = expanded(xs, P)
        for b, c in lin.terms:
            square = xs.square(b)
            if abs(c) != abs(k) or whole.of(square) != 1 or b.shape != node.shape:
                continue
            rest = whole.without(square)
            if rest.zero:
                continue
            e = emit(xs, rest, P)
            side = b if c == -k else xs.neg(b)
            out = xs.call("root_less", f.root_less, P, side, e)
            return xs.scale(out, k), lin.without(node, b)
    return None


def _from_constant(xs: Expressions, lin: Linear, v: Node) -> Found | None:
    """k·(v − c), c the constant of the combination."""
    if not lin.constant:
        return None
    for node, k in lin.terms:
        c = -lin.constant / k
        if not _reaches(bounds(xs, node), c):
            continue
        d = minus(xs, node, c)
        if d is not None:
            return xs.scale(d, k), lin.without(node)._replace(constant=0.0)
    return None


def _reaches(b: tuple[float, float], c: float) -> bool:
    return b[0] <= c <= b[1]


def _of_log_terms(xs: Expressions, lin: Linear, v: Node) -> Found | None:
    """x − log Σ e^x, the logarithm of a softmax written as a difference."""
    for node, k in lin.terms:
        inner = origin(node)
        if inner.op != "log" or k >= 0:
            continue
        total = _sum_of_exponentials(inner.args[0])
        if total is None:
            continue
        u, axes = total.args[0].args[0], tuple(total.params["axes"])
        if any(varies(node, a) for a in axes if node.shape) or u.shape != v.shape:
            continue
        x, rest = unshifted(u, axes), lin.without(node)
        if x is not u:
            top = origin(u.args[1])
            shift = [n for n, c in rest.terms if c == k and origin(n) is top]
            if u.args[0] is not x or len(shift) != 1:
                continue
            rest = rest.without(*shift)
        left = _same(xs, rest, x, -k)
        if left is not None:
            options = {"axis": axes}
            fun = f.stable("log_softmax")
            return xs.scale(xs.call("log_softmax", fun, x, options=options), -k), left
    return None


def _sum_of_exponentials(node: Node) -> Node | None:
    """The Σ e^u that a logarithm is of."""
    node = origin(node)
    node = origin(node.args[0]) if node.op == "abs" else node
    found = node.op == "reduce_sum" and node.args[0].op == "exp"
    return node if found else None


RULES = (
    _exponential_remainder,
    _logarithm_remainder,
    _logistic_loss,
    _of_log_terms,
    variance,
    covariance,
    windows,
    squared_distances,
    _hyperbolic,
    _functions,
    _root,
    _from_constant,
)
