"""The logarithmic form: v = s · r · exp(L), with L computed without v.

An exponential overflows or vanishes long before its logarithm does. So a value is read
as a product of a number s, of factors r of which nothing is known, and of exp L:

    exp u            L = u                   a · b, a / b, aᵗ    L_a ± L_b, t·L_a
    σ(u)             L = −softplus(−u)       Σ s·r·exp L         logsumexp(L, weights=s·r)
    a / Σ a          L = log_softmax         exp a + exp b       logaddexp(a, b)
    1 + exp u        L = softplus(u)         1 − exp u           log1mexp(u)
    exp a − exp b    L = logdiffexp(a, b)    a / (a + b)         −softplus(L_b − L_a)
    erfc, Φ, cosh, 1 − tanh², 1 − softmax    their logarithms

`log_of` gives log v, `exp_of` the value exp L by a function of its own where there is one
(softmax, sigmoid, Mills' ratio). L is a combination of terms, so that those of numerator
and denominator cancel before they are rounded.

References
    Blanchard, Higham & Higham (2021), Accurately computing the log-sum-exp and softmax
    functions. Mächler (2012), Accurately computing log(1 − exp(−|a|)).
"""

import math
from typing import NamedTuple

from . import logsums, softmaxes
from .expression import Expressions, Node, origin
from .linear import Linear, atom, emit
from .terms import named, simplify, softplus


class Product(NamedTuple):
    """scale · Π node^power · exp(E)."""

    scale: float = 1.0
    rest: tuple[tuple[Node, int], ...] = ()
    E: Linear = Linear()
    exps: int = 0  # how many exponentials went into E

    def times(self, other: "Product") -> "Product":
        powers = {n.id: (n, p) for n, p in self.rest}
        for n, p in other.rest:
            powers[n.id] = (n, powers.get(n.id, (n, 0))[1] + p)
        rest = tuple((n, p) for n, p in powers.values() if p)
        E = self.E.plus(other.E)
        return Product(self.scale * other.scale, rest, E, self.exps + other.exps)

    def inverse(self) -> "Product":
        rest = tuple((n, -p) for n, p in self.rest)
        scale = 1 / self.scale if self.scale else math.inf
        return Product(scale, rest, self.E.times(-1.0), self.exps)


def product(xs: Expressions, v: Node) -> Product:
    """`v` as a product with what is exponential in it apart."""
    memo = xs.memo.setdefault("product", {})
    if v.id not in memo:
        memo[v.id] = Product(rest=((v, 1),))  # while it is being asked for
        memo[v.id] = _product(xs, v)
    return memo[v.id]


def log_of(xs: Expressions, v: Node) -> Linear | None:
    """log v where `v` has an exponential in it; NaN where v is negative."""
    p = product(xs, v)
    if not p.exps or p.scale <= 0:
        return None
    lin = p.E.plus(Linear((), math.log(p.scale)))
    if p.rest:
        lin = lin.plus(atom(xs.unary("log", rest_of(xs, p, v, 1.0))))
    return lin


def log_or_number(xs: Expressions, v: Node) -> Linear | None:
    c = v.known
    if c is not None:
        return Linear((), math.log(c)) if 0 < c < math.inf else None
    return log_of(xs, v)


def _product(xs: Expressions, v: Node) -> Product:
    opaque = Product(rest=((v, 1),))
    if not v.floating:
        return opaque
    op, a = v.op, v.args
    if op == "const":
        c = float(v.value)
        return Product(c) if math.isfinite(c) and c != 0 else opaque
    if op == "exp":
        return Product(E=atom(a[0]), exps=1)
    if op == "neg":
        p = product(xs, a[0])
        if a[0].op == "expm1":  # 1 − exp u
            return Product(E=atom(named(xs, "log1mexp", a[0].args[0])), exps=1)
        return p._replace(scale=-p.scale) if p.exps else opaque
    x = logsums.normal_cdf(xs, v)
    if x is not None:
        return Product(E=atom(named(xs, "log_ndtr", x)), exps=1)
    if op == "mul":
        p = product(xs, a[0]).times(product(xs, a[1]))
        return p if p.exps else opaque
    if op == "div":
        return _quotient(xs, v) or opaque
    if op in ("square", "integer_pow", "sqrt", "rsqrt", "pow"):
        return _power(xs, v) or opaque
    E = logsums.log_of_whole(xs, v)
    return opaque if E is None else Product(E=E, exps=1)


def _quotient(xs: Expressions, v: Node) -> Product | None:
    a, b = v.args
    E = softmaxes.log_of_softmax(xs, v)
    if E is None:
        E = softmaxes.log_of_entry(xs, v)
    if E is not None:
        return Product(E=E, exps=1)
    below = origin(b)
    if below.op == "add" and b is below and a in below.args:  # a / (a + b)
        i = below.args.index(a)
        La, Lb = (log_or_number(xs, n) for n in (a, below.args[1 - i]))
        if La is not None and Lb is not None and (La.terms or Lb.terms):
            z = emit(xs, simplify(xs, Lb.plus(La, -1.0)), v)
            return Product(E=softplus(xs, z).times(-1.0), exps=1)
    p = product(xs, a).times(product(xs, b).inverse())
    return p if p.exps else None


def _power(xs: Expressions, v: Node) -> Product | None:
    base = product(xs, v.args[0])
    if not base.exps:
        return None
    if v.op == "pow" and v.args[1].known is None:
        if base.rest or base.scale <= 0:
            return None
        lin = base.E.plus(Linear((), math.log(base.scale)))
        t_log = xs.mul(v.args[1], emit(xs, lin, v))
        return Product(E=atom(t_log), exps=base.exps)
    t = {"square": 2.0, "sqrt": 0.5, "rsqrt": -0.5}.get(v.op)
    if t is None:
        t = float(v.params["y"]) if v.op == "integer_pow" else v.args[1].known
    assert t is not None
    E = base.E.times(t)
    if t == int(t):
        rest = tuple((n, p * int(t)) for n, p in base.rest)
        return Product(base.scale ** int(t), rest, E, base.exps)
    if base.scale <= 0:
        return None
    rest = ()
    if base.rest:
        node = rest_of(xs, base, v, 1.0)
        root = xs.unary("sqrt", node) if abs(t) == 0.5 else None
        if root is None:
            return None
        rest = ((root, 1 if t > 0 else -1),)
    return Product(base.scale**t, rest, E, base.exps)


def rest_of(xs: Expressions, p: Product, like: Node, scale: float) -> Node:
    """scale · the factors that are not exponential."""
    above: Node | None = None
    below: Node | None = None
    for node, power in p.rest:
        factor = node
        for _ in range(abs(power) - 1):
            factor = xs.mul(factor, node)
        if power > 0:
            above = factor if above is None else xs.mul(above, factor)
        else:
            below = factor if below is None else xs.mul(below, factor)
    if above is None:
        above = xs.const(scale, (), like.dtype)
    elif scale != 1:
        above = xs.scale(above, scale)
    return above if below is None else xs.div(above, below)
