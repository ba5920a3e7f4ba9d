"""Products, quotients, powers and roots of what overflows or vanishes.

    e^a / e^b, e^a · e^b            exp(L), L the sum of the logarithms
    (a − b)/(a + b)                 tanh((L_a − L_b)/2)
    a/(a − b), b/(a − b)            −n(L_b − L_a), n(L_a − L_b), n(u) = 1/(e^u − 1)
    (e^u − 1)/u, sin u / u          the functions with the point 0 filled in (`removable`)
    √Σx², x/√Σx², a·b/(|a||b|)      (`lengths`)
    (Πx)ᵗ, Πx/ΣΠx, xⁿ/(xⁿ + kⁿ)     (`products`)
    (1 + d)ᵗ                        exp(t·log1p d)

A quotient is risky where numerator and denominator can overflow together, or vanish
together; or where the denominator alone overflows, since the derivative of 1/b is
−b′/b², a 0·∞. Without such a risk nothing is changed.
"""

import math

from . import functions as f
from .constant import some_in_each_row
from .difference import cancelling
from .distances import root_of_distances
from .exponential import exp_of
from .expression import Expressions, Node
from .facts import bounds, share
from .lengths import cosine, norm_of, normalised
from .linear import Linear, emit
from .logarithm import Product, log_of, product, rest_of
from .oneplus import minus
from .products import power_of_product, share_of_powers, share_of_products
from .removable import removable
from .softmaxes import is_softmax
from .terms import reflect, simplify


def quotient(xs: Expressions, v: Node) -> Node | None:
    """A stable form of the product or quotient `v`; None where it has no risk."""
    if not v.floating or v.op not in ("mul", "div"):
        return None
    for rule in (_softmax,) if v.guarded else FORMS:
        found = rule(xs, v)
        if found is not None:
            return found
    return None


def factors(xs: Expressions, p: Product, v: Node) -> Node:
    """scale · rest · exp(E) as a node."""
    whole = exp_of(xs, p.E, v)
    if not p.rest:
        return xs.scale(whole, p.scale)
    positive_powers = [n for n, power in p.rest if power > 0]
    if not positive_powers and whole.known is None:
        below = rest_of(xs, p.inverse()._replace(scale=1.0), v, 1.0)
        return xs.div(xs.scale(whole, p.scale), below)
    return xs.mul(rest_of(xs, p, v, p.scale), whole)


def _softmax(xs: Expressions, v: Node) -> Node | None:
    """A softmax whose scores overflow in x/T, or may all be masked by −∞."""
    if not is_softmax(xs, v) or _masked_by_library(v):
        return None
    lin = product(xs, v).E
    if len(lin.terms) != 1 or len(lin.terms[0][0].args) != 2:
        return None
    whole = lin.terms[0][0]
    if whole.args[1].dtype == bool and some_in_each_row(whole.args[1], whole):
        return None
    return factors(xs, product(xs, v), v)


def _masked_by_library(v: Node) -> bool:
    """Whether the mask of a softmax is the library's own, which ends it well."""
    u = v.args[0]
    while u.op in ("exp", "sub", "convert_element_type"):
        u = u.args[0]
    return u.guarded


def _weighted(xs: Expressions, v: Node) -> Node | None:
    """w·e^x / Σ w·e^x."""
    total = share(v)
    if total is None:
        return None
    p = product(xs, v.args[0])
    if not p.exps or not p.rest or not _risky(xs, v):
        return None
    x = xs.spread(emit(xs, reflect(xs, p.E), v), v.shape)
    w = xs.spread(rest_of(xs, p, v, 1.0), v.shape)
    options = {"axis": tuple(total.params["axes"])}
    return xs.call("weighted_softmax", f.weighted_softmax, x, w, options=options)


def _risky(xs: Expressions, v: Node) -> bool:
    a, b = v.args
    p, q = product(xs, a), product(xs, b)
    (a_low, a_high), (b_low, b_high) = bounds(xs, a), bounds(xs, b)
    if v.op == "mul":
        infinite = math.inf in (a_high, b_high, -a_low, -b_low)
        return bool(p.exps and q.exps and infinite)
    huge = math.inf in (b_high, -b_low)
    vanishing = bool(p.exps) and b_low <= 0 <= b_high and a_low <= 0 <= a_high
    return bool(q.exps) and (huge or vanishing)


def _exponentials(xs: Expressions, v: Node) -> Node | None:
    if not _risky(xs, v):
        return None
    whole = product(xs, v)
    if whole.exps < 1 or not math.isfinite(whole.scale):
        return None
    return factors(xs, whole, v)


def _logs(xs: Expressions, a: Node, b: Node) -> Linear | None:
    """L_a − L_b of two positive values, at least one of them an exponential."""
    found = []
    for n in (a, b):
        c = n.known
        if c is not None:
            found.append(Linear((), math.log(c)) if c > 0 else None)
        else:
            found.append(log_of(xs, n))
    if found[0] is None or found[1] is None:
        return None
    if not (found[0].terms or found[1].terms):
        return None
    return simplify(xs, found[0].plus(found[1], -1.0))


def _two(xs: Expressions, v: Node) -> tuple[Node, Node, float] | None:
    """(a, b, s) of a sum a + s·b, in its own order; s is ±1."""
    if v.op == "expm1":
        return xs.unary("exp", v.args[0]), xs.number(1.0, v), -1.0
    if v.op in ("add", "sub") and v.floating:
        return v.args[0], v.args[1], 1.0 if v.op == "add" else -1.0
    return None


def _tanh(xs: Expressions, v: Node) -> Node | None:
    if v.op != "div":
        return None
    above, below = _two(xs, v.args[0]), _two(xs, v.args[1])
    if above is None or below is None or above[2] != -1.0 or below[2] != 1.0:
        return None
    a, b, _ = above
    same = {_id(a), _id(b)} == {_id(below[0]), _id(below[1])}
    d = _logs(xs, a, b) if same else None
    if d is None:
        return None
    half = emit(xs, d.times(0.5), v)
    return xs.call("tanh", f.stable("tanh"), half)


def _id(node: Node) -> object:
    return node.id if node.known is None else ("number", node.known)


DIFFERENCES = ("log1mexp", "log_expm1", "logdiffexp")


def _bose(xs: Expressions, v: Node) -> Node | None:
    if v.op != "div":
        return None
    below = _two(xs, v.args[1])
    if below is None or below[2] != -1.0:
        return None
    E = product(xs, v.args[1]).E
    if len(E.terms) != 1 or E.terms[0][0].op not in DIFFERENCES:
        return None
    a, b, _ = below
    top = v.args[0]
    if not product(xs, top).exps and top.known is None:
        for mine, other, sign in ((a, b, -1.0), (b, a, 1.0)):
            d = None if mine.known is None else _logs(xs, other, mine)
            if d is not None and mine.known:
                out = xs.call("reciprocal_expm1", f.reciprocal_expm1, emit(xs, d, v))
                return xs.mul(xs.scale(top, sign / mine.known), out)
        return None
    for mine, other, sign in ((a, b, -1.0), (b, a, 1.0)):
        scale = 1.0
        if _id(top) != _id(mine):
            if top.known is None or mine.known is None or not mine.known:
                continue
            scale = top.known / mine.known
        d = _logs(xs, other, mine)
        if d is not None:
            u = emit(xs, d, v)
            out = xs.call("reciprocal_expm1", f.reciprocal_expm1, u)
            return xs.scale(out, sign * scale)
    return None


# -- Roots and powers ------------------------------------------------------------------


def root(xs: Expressions, v: Node) -> Node | None:
    """√ of exponentials and of sums of squares."""
    (a,) = v.args[:1]
    low, high = bounds(xs, a)
    p = product(xs, v)
    if p.exps and (low <= 0 or high == math.inf) and product(xs, a).exps:
        return factors(xs, p, v)
    if v.op != "sqrt":
        return None
    whole = power_of_product(xs, v)
    if whole is not None:
        return whole
    between = cancelling(xs, a)
    found = None if between is None else root_of_distances(xs, between)
    return found or norm_of(xs, v)


def power(xs: Expressions, v: Node) -> Node | None:
    """(1 + d)ᵗ for exponents that may be large; powers of exponentials."""
    base, t = v.args
    whole = power_of_product(xs, v)
    if whole is not None:
        return whole
    if product(xs, base).exps and product(xs, v).exps:
        low, high = bounds(xs, base)
        if low <= 0 or high == math.inf:
            return factors(xs, product(xs, v), v)
    if t.known is not None and abs(t.known) < 8:
        return None
    d = minus(xs, base, 1.0)
    if d is None or product(xs, base).exps:
        return None
    return xs.call("power_near_one", f.power_near_one, d, base, t)


FORMS = (
    cosine,
    normalised,
    removable,
    _tanh,
    _bose,
    share_of_powers,
    share_of_products,
    _softmax,
    _weighted,
    _exponentials,
)
