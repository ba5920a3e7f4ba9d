"""Products, quotients, powers and roots of what overflows or vanishes.

    e^a / e^b, e^a · e^b            exp(L), L the sum of the logarithms
    (a − b)/(a + b)                 tanh((L_a − L_b)/2)
    a/(a − b), b/(a − b)            −n(L_b − L_a), n(L_a − L_b), n(u) = 1/(e^u − 1)
    (e^u − 1)/u, sin u / u          the functions with the point 0 filled in (`removable`)
    √Σx², x/√Σx², a·b/(|a||b|)      norm, normalise, cosine_similarity
    (1 + d)ᵗ                        exp(t·log1p d)

A quotient is risky where numerator and denominator can overflow together, or vanish
together; or where the denominator alone overflows, since the derivative of 1/b is
−b′/b², a 0·∞. Without such a risk nothing is changed.
"""

import math

from . import functions as f
from .expression import Expressions, Node, origin
from .facts import bounds, share, varies
from .linear import Linear, emit, expanded
from .logarithm import (
    Product,
    exp_of,
    is_softmax,
    log_of,
    product,
    reflect,
    rest_of,
    simplify,
)
from .oneplus import minus
from .removable import removable


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
    if len(lin.terms) == 1 and len(lin.terms[0][0].args) == 2:
        return factors(xs, product(xs, v), v)
    return None


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
    return norm_of(xs, v) if v.op == "sqrt" else None


def squares(xs: Expressions, a: Node) -> tuple[Node, Node, float] | None:
    """(x, Σx², k) of a value that is k·Σx²."""
    k = 1.0
    while True:
        if a.op == "div" and (a.args[1].known or 0) > 0:
            k, a = k / a.args[1].known, a.args[0]  # type: ignore[operator]
        elif a.op == "mul" and any((n.known or 0) > 0 for n in a.args):
            c, other = sorted(a.args, key=lambda n: n.known is None)
            k, a = k * (c.known or 1.0), other
        else:
            break
    if a.op == "reduce_sum" and a.args[0].op == "square":
        return a.args[0].args[0], a, k
    if a.op == "dot_general" and a.args[0] is a.args[1] and len(a.args[0].shape) == 1:
        return a.args[0], a, k
    return None


def norm_of(xs: Expressions, v: Node) -> Node | None:
    """√(k·Σx²) = √k · norm(x); √x² = |x|; √(a² + b²) = hypot(a, b)."""
    a = v.args[0]
    if a.op == "square":
        return xs.unary("abs", a.args[0])
    if a.op == "add" and a.args[0].op == a.args[1].op == "square":
        x, y = a.args[0].args[0], a.args[1].args[0]
        if x.known is None and y.known is None and x.shape == y.shape:
            return xs.call("hypot", f.stable("hypot"), x, y)
        return None
    moves: list[Node] = []
    below = a
    while below.op in ("broadcast_in_dim", "reshape", "squeeze", "expand_dims"):
        moves.append(below)
        below = below.args[0]
    found = squares(xs, below)
    if found is None:
        return None
    x, total, k = found
    if total.op == "dot_general":
        axes: tuple[int, ...] = (0,)
    else:
        axes = tuple(total.params["axes"])
    out = xs.call(
        "norm", f.stable("norm"), x, options={"axis": axes}, shape=total.shape
    )
    out = xs.scale(out, math.sqrt(k)) if not math.isclose(k, 1) else out
    for like in reversed(moves):
        out = xs.move(like, out)
    return out


def _norm_argument(
    xs: Expressions, v: Node
) -> tuple[Node, tuple[int, ...], bool] | None:
    """(x, axes, inverse) of a value that is |x|, or 1/|x|, along axes."""
    below = origin(v)
    if below.op not in ("sqrt", "rsqrt"):
        return None
    found = squares(xs, origin(below.args[0]))
    if found is None or not math.isclose(found[2], 1):
        return None
    x, total, _ = found
    axes = (0,) if total.op == "dot_general" else tuple(total.params["axes"])
    return x, axes, below.op == "rsqrt"


def _normalised(xs: Expressions, v: Node) -> Node | None:
    pairs = [(v.args[0], v.args[1])]
    if v.op == "mul":
        pairs.append((v.args[1], v.args[0]))
    for x, length in pairs:
        found = _norm_argument(xs, length)
        if found is None or found[2] != (v.op == "mul"):
            continue
        y, axes, _ = found
        if y is not x or x.shape != v.shape:
            continue
        if any(varies(length, k) for k in axes if length.shape):
            continue
        return xs.call("normalise", f.stable("normalise"), x, options={"axis": axes})
    return None


def _cosine(xs: Expressions, v: Node) -> Node | None:
    """a·b / (|a|·|b|), along the last axis."""
    if v.op != "div":
        return None
    found = scalar_product(v.args[0])
    below = v.args[1]
    if found is None or below.op != "mul":
        return None
    a, b, axes = found
    lengths = [_norm_argument(xs, n) for n in below.args]
    if any(n is None or n[2] or n[1] != axes for n in lengths):
        return None
    if {n[0].id for n in lengths if n is not None} != {a.id, b.id}:
        return None
    return xs.call(
        "cosine_similarity",
        f.stable("cosine_similarity"),
        a,
        b,
        options={"axis": axes[0]},
        shape=v.shape,
    )


def scalar_product(v: Node) -> tuple[Node, Node, tuple[int, ...]] | None:
    """(a, b, axes) of Σ a·b over one axis."""
    if v.op == "reduce_sum" and v.args[0].op in ("mul", "square"):
        a, b = (v.args[0].args * 2)[:2]
        axes = tuple(v.params["axes"])
        return (a, b, axes) if a.shape == b.shape and len(axes) == 1 else None
    if v.op == "dot_general":
        a, b = v.args
        if len(a.shape) == len(b.shape) == 1:
            return a, b, (0,)
    return None


def angle(xs: Expressions, v: Node) -> Node | None:
    """arccos of the scalar product of two normalised vectors."""
    inner = v.args[0]
    while inner.op in ("max", "min", "clamp") and any(
        n.known is not None for n in inner.args
    ):
        inner = next(n for n in inner.args if n.known is None)
    if inner.op == "div":
        found = _cosine(xs, inner)
        if found is not None:
            a, b = found.args
            axis = found.params["axis"]
            return xs.call(
                "angle",
                f.stable("angle"),
                a,
                b,
                options={"axis": axis},
                shape=v.shape,
            )
    found = scalar_product(inner)
    if found is None:
        return None
    a, b, axes = found
    unit = [_unit(xs, n) for n in (a, b)]
    if None in unit:
        return None
    p, q = (n for n in unit if n is not None)
    return xs.call(
        "angle", f.stable("angle"), p, q, options={"axis": axes[0]}, shape=v.shape
    )


def _unit(xs: Expressions, u: Node) -> Node | None:
    """x of a value that is x/|x|."""
    if u.op in ("mul", "div"):
        found = _normalised(xs, u)
        if found is not None:
            return found.args[0]
    return None


def power(xs: Expressions, v: Node) -> Node | None:
    """(1 + d)ᵗ for exponents that may be large; powers of exponentials."""
    base, t = v.args
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
    _cosine,
    _normalised,
    removable,
    _tanh,
    _bose,
    _softmax,
    _weighted,
    _exponentials,
)
