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

from . import functions as f, ratios
from .expression import MOVES, Expressions, Node, origin
from .facts import bounds, share, varies
from .linear import Linear, atom, difference, emit, expanded


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
            return Product(E=atom(_named(xs, "log1mexp", a[0].args[0])), exps=1)
        return p._replace(scale=-p.scale) if p.exps else opaque
    x = normal_cdf(xs, v)
    if x is not None:
        return Product(E=atom(_named(xs, "log_ndtr", x)), exps=1)
    if op == "mul":
        p = product(xs, a[0]).times(product(xs, a[1]))
        return p if p.exps else opaque
    if op == "div":
        return _quotient(xs, v) or opaque
    if op in ("square", "integer_pow", "sqrt", "rsqrt", "pow"):
        return _power(xs, v) or opaque
    E = _log_of_whole(xs, v)
    return opaque if E is None else Product(E=E, exps=1)


def _quotient(xs: Expressions, v: Node) -> Product | None:
    a, b = v.args
    E = _softmax(xs, v)
    if E is None:
        E = _entry_of_softmax(xs, v)
    if E is not None:
        return Product(E=E, exps=1)
    below = origin(b)
    if below.op == "add" and b is below and a in below.args:  # a / (a + b)
        i = below.args.index(a)
        La, Lb = (_log_or_number(xs, n) for n in (a, below.args[1 - i]))
        if La is not None and Lb is not None and (La.terms or Lb.terms):
            z = emit(xs, simplify(xs, Lb.plus(La, -1.0)), v)
            return Product(E=softplus(xs, z).times(-1.0), exps=1)
    p = product(xs, a).times(product(xs, b).inverse())
    return p if p.exps else None


def _softmax(xs: Expressions, v: Node) -> Linear | None:
    """a / Σ a, whose summands may be masked: the logarithm is log_softmax."""
    a, below = v.args
    total = origin(below)
    if total.op != "reduce_sum" or total.args[0].shape != a.shape:
        return None
    axes = tuple(total.params["axes"])
    if any(varies(below, k) for k in axes):
        return None
    summed, mask = total.args[0], None
    if origin(summed) is not origin(a):
        mask, inner = unmasked(xs, summed, 0.0)
        if inner is None or origin(inner) is not origin(a):
            return None
    p = product(xs, a)
    if not p.exps or p.rest:
        return None
    u = emit(xs, p.E, a)
    if mask is None:
        mask, inner = unmasked(xs, u, -math.inf)
        u = u if inner is None else inner
    u = unshifted(u, axes)
    again, inner = unmasked(xs, u, -math.inf)
    if inner is not None:
        mask, u = (again if mask is None else mask), unshifted(inner, axes)
    scaled = temperature(xs, u, axes)
    if scaled is not None and mask is None:
        options = {"axis": _axis(axes), "tempered": True}
        return atom(xs.call("log_softmax", f.log_softmax, *scaled, options=options))
    options = {"axis": _axis(axes)}
    if mask is not None:
        return atom(
            xs.call("log_softmax", f.masked_log_softmax, u, mask, options=options)
        )
    return atom(xs.call("log_softmax", f.log_softmax, u, options=options))


PICKS = frozenset(("slice", "squeeze", "reshape", "gather", "dynamic_slice"))


def _entry_of_softmax(xs: Expressions, v: Node) -> Linear | None:
    """e[i] / Σ e, entries of a whole array over the sum of it."""
    a, total = v.args[0], origin(v.args[1])
    if total.op != "reduce_sum" or total.shape or a.op not in PICKS:
        return None
    whole, path = a, []
    while whole.op in PICKS and safe_move(whole) and whole is not total.args[0]:
        path.append(whole)
        whole = whole.args[0]
    if whole is not total.args[0]:
        return None
    p = product(xs, whole)
    if not p.exps or p.rest:
        return None
    axes = tuple(range(len(whole.shape)))
    u = unshifted(emit(xs, p.E, whole), axes)
    out = xs.call("log_softmax", f.log_softmax, u, options={"axis": _axis(axes)})
    for like in reversed(path):
        out = xs.move(like, out)
    return atom(out)


def temperature(
    xs: Expressions, u: Node, axes: tuple[int, ...]
) -> tuple[Node, Node] | None:
    """(x, T) of x / T, whose quotient may overflow where the softmax does not."""
    if u.op != "div" or bounds(xs, u.args[1])[0] >= 1e-6:
        return None
    x, T = u.args
    return None if any(varies(T, k) for k in axes if T.shape) else (x, T)


def unmasked(xs: Expressions, v: Node, fill: float) -> tuple[Node | None, Node | None]:
    """(mask, values) of a select that fills with a constant, else (None, None)."""
    if v.op == "convert_element_type":
        return unmasked(xs, v.args[0], fill)
    if v.op in ("select_n", "where") and len(v.args) == 3:
        mask, false, true = v.args
        if false.known == fill:
            return mask, true
        if true.known == fill:
            return xs.call("not", f.logical_not, mask, dtype=mask.dtype), false
    if v.op == "mul" and fill == 0:
        for m, other in ((v.args[0], v.args[1]), (v.args[1], v.args[0])):
            inner = origin(m, frozenset(("convert_element_type",)))
            if inner is not m and inner.dtype == bool and m.shape == v.shape:
                return inner, other
    return None, None


def unshifted(u: Node, axes: tuple[int, ...]) -> Node:
    """x of x − m, where m does not vary along the axes that are summed over."""
    while u.op == "sub" and not any(varies(u.args[1], k) for k in axes):
        if u.args[0].shape != u.shape:
            break
        u = u.args[0]
    return u


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


def _log_or_number(xs: Expressions, v: Node) -> Linear | None:
    c = v.known
    if c is not None:
        return Linear((), math.log(c)) if 0 < c < math.inf else None
    return log_of(xs, v)


def _axis(axes: tuple[int, ...]) -> int | tuple[int, ...]:
    return axes[0] if len(axes) == 1 else axes


def _named(xs: Expressions, name: str, *args: Node, **options: object) -> Node:
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
        return Linear(((_named(xs, "softplus", w), 1.0), (w, -1.0)))
    return atom(_named(xs, "softplus", u))


def negated(xs: Expressions, u: Node) -> Node:
    """−u, with the sign taken into a constant factor."""
    if u.op == "mul":
        for c, other in ((u.args[0], u.args[1]), (u.args[1], u.args[0])):
            if c.known is not None:
                return xs.scale(other, -c.known)
    if u.op == "div" and u.args[1].known is not None:
        return xs.div(u.args[0], xs.number(-u.args[1].known, u))
    return xs.neg(u)


def _log_of_whole(xs: Expressions, v: Node) -> Linear | None:
    """log v of sums and of functions whose logarithm is known, else None."""
    op, a = v.op, v.args
    if op == "logistic":
        return softplus(xs, xs.neg(a[0])).times(-1.0)
    if op == "erfc":
        return log_ndtr(xs, a[0], -math.sqrt(2)).plus(Linear((), math.log(2)))
    if op == "cosh":
        return atom(_named(xs, "logcosh", a[0]))
    if op == "expm1":
        return atom(_named(xs, "log_expm1", a[0]))
    if op == "add":
        return _log_of_sum(xs, v)
    if op == "sub":
        return _log_of_difference(xs, v)
    if op in ("reduce_sum", "cumsum"):
        return _log_of_reduction(xs, v)
    if op == "dot_general":
        return _log_of_dot(xs, v)
    if op in MOVES and a[0].floating and v.floating and safe_move(v):
        inner = log_of(xs, a[0])
        return None if inner is None else moved(xs, v, inner)
    if op in ("reduce_max", "reduce_min", "cummax", "cummin"):
        inner = log_of(xs, a[0])
        return None if inner is None else moved(xs, v, inner)
    if op in ("reduce_prod", "cumprod"):
        inner = log_of(xs, a[0])
        if inner is None:
            return None
        u = emit(xs, inner, a[0])
        if op == "reduce_prod":
            options = {"axis": tuple(v.params["axes"])}
            total = xs.call("sum", f.total, u, options=options, shape=v.shape)
            return atom(total)
        options = {"axis": v.params["axis"], "reverse": v.params["reverse"]}
        return atom(xs.call("cumsum", f.cumsum, u, options=options))
    if op in ("max", "min"):
        cases = [_log_or_number(xs, n) for n in a]
        if None not in cases and any(c.terms for c in cases if c is not None):
            nodes = [emit(xs, c, n) for c, n in zip(cases, a, strict=True) if c]
            if len(nodes) == 2:
                best = xs._arithmetic(op, *nodes)
                return atom(best)
    if op == "select_n" and len(a) == 3:
        cases = [_case(xs, n) for n in a[1:]]
        if all(c is not None for c in cases) and any(c.terms for c in cases if c):
            false, true = (emit(xs, reflect(xs, c), v) for c in cases if c is not None)
            return atom(xs.select(a[0], false, true))
    return None


def _case(xs: Expressions, v: Node) -> Linear | None:
    return Linear((), -math.inf) if v.known == 0 else _log_or_number(xs, v)


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


def normal_cdf(xs: Expressions, v: Node) -> Node | None:
    """x of a value that is Φ(x), as `jax.scipy.stats.norm.cdf` computes it.

    ½·(1 + erf w) where |w| is small, else ½·erfc|w| or ½·(2 − erfc|w|), w = x/√2.
    """
    if v.op != "mul" or not any(a.known == 0.5 for a in v.args):
        return None
    whole = next((a for a in v.args if a.op == "select_n"), None)
    if whole is None or len(whole.args) != 3:
        return None
    tail, middle = whole.args[1:]
    if tail.op != "select_n" or middle.op != "add" or tail.args[1].op != "erfc":
        return None
    erf = next((a for a in middle.args if a.op == "erf"), None)
    w = None if erf is None else erf.args[0]
    if w is None or tail.args[1].args[0].op != "abs":
        return None
    if tail.args[1].args[0].args[0] is not w or tail.args[2].op != "sub":
        return None
    lin = log_ndtr(xs, w, math.sqrt(2))
    return lin.terms[0][0].args[0]


def log_ndtr(xs: Expressions, w: Node, factor: float) -> Linear:
    """log Φ(factor · w); a factor that w has itself cancels, so that Φ is of x."""
    lin = expanded(xs, w)
    if len(lin.terms) == 1 and lin.constant == 0:
        x, c = lin.terms[0]
        total = c * factor
        if abs(abs(total) - 1) < 1e-6:
            u = x if total > 0 else xs.neg(x)
            return atom(_named(xs, "log_ndtr", u))
    return atom(_named(xs, "log_ndtr", xs.scale(w, factor)))


def _log_of_sum(xs: Expressions, v: Node) -> Linear | None:
    a, b = v.args
    for one, other in ((a, b), (b, a)):
        c = one.known
        if c == 1 and other.op == "erf":  # 1 + erf = 2·Φ
            lin = log_ndtr(xs, other.args[0], math.sqrt(2))
            return lin.plus(Linear((), math.log(2)))
        if c == 1 and other.op == "tanh":
            u = xs.scale(other.args[0], 2.0)
            lin = softplus(xs, xs.neg(u)).times(-1.0)
            return lin.plus(Linear((), math.log(2)))
    La, Lb = _log_or_number(xs, a), _log_or_number(xs, b)
    if La is None or Lb is None or not (La.terms or Lb.terms):
        return None
    if _free(xs, a) or _free(xs, b):
        return None
    for one, other in ((La, Lb), (Lb, La)):
        if not one.terms and one.constant == 0:
            return softplus(xs, emit(xs, reflect(xs, other), v))
    p, q = emit(xs, reflect(xs, La), v), emit(xs, reflect(xs, Lb), v)
    if La.terms and Lb.terms:
        d = simplify(xs, La.plus(Lb))
        if d.zero:  # exp u + exp −u
            u = q if p.op == "neg" else p
            return atom(_named(xs, "logcosh", u)).plus(Linear((), math.log(2)))
    return atom(_named(xs, "logaddexp", p, q))


def _free(xs: Expressions, v: Node) -> bool:
    """Whether a factor of unknown sign is in it: the log of a summand may be NaN."""
    return any(bounds(xs, n)[0] < 0 for n, _ in product(xs, v).rest if v.known is None)


def _log_of_difference(xs: Expressions, v: Node) -> Linear | None:
    a, b = v.args
    if a.known == 1:
        x = normal_cdf(xs, b)
        if x is not None:
            return atom(_named(xs, "log_ndtr", xs.neg(x)))
        if b.op == "logistic":
            return softplus(xs, b.args[0]).times(-1.0)
        if b.op == "erf":
            lin = log_ndtr(xs, b.args[0], -math.sqrt(2))
            return lin.plus(Linear((), math.log(2)))
        if b.op == "tanh":
            lin = softplus(xs, xs.scale(b.args[0], 2.0)).times(-1.0)
            return lin.plus(Linear((), math.log(2)))
        if b.op == "square" and b.args[0].op == "tanh":
            return atom(_named(xs, "log_one_minus_tanh2", b.args[0].args[0]))
        top = one_minus_softmax(xs, b)
        if top is not None:
            return atom(top)
    if a.known == 2 and b.op == "erfc":
        return _log_of_whole(xs, xs.call("erfc", f.erfc, xs.neg(b.args[0])))
    La, Lb = _log_or_number(xs, a), _log_or_number(xs, b)
    if La is None or Lb is None or not (La.terms or Lb.terms):
        return None
    tails = [t.op == "log_ndtr" and c == 1 for lin in (La, Lb) for t, c in lin.terms]
    if tails == [True, True] and La.constant == Lb.constant:
        p, q = (lin.terms[0][0].args[0] for lin in (La, Lb))
        out = xs.call("log_ndtr_difference", f.log_ndtr_difference, p, q)
        return atom(out).plus(Linear((), La.constant))
    p, q = emit(xs, reflect(xs, La), v), emit(xs, reflect(xs, Lb), v)
    if not La.terms and La.constant == 0:
        return atom(_named(xs, "log1mexp", q))
    if not Lb.terms and Lb.constant == 0:
        return atom(_named(xs, "log_expm1", p))
    return atom(_named(xs, "logdiffexp", p, q))


def one_minus_softmax(xs: Expressions, b: Node) -> Node | None:
    """log(1 − softmax), through moves of the softmax."""
    path: list[Node] = []
    while b.op in MOVES and safe_move(b):
        path.append(b)
        b = b.args[0]
    if b.op != "div":
        return None
    lin = product(xs, b).E
    if len(lin.terms) != 1 or lin.constant or lin.terms[0][0].op != "log_softmax":
        return None
    inner = lin.terms[0][0]
    if len(inner.args) != 1 or lin.terms[0][1] != 1:
        return None
    u = inner.args[0]
    out = xs.call(
        "log1m_softmax", f.stable("log1m_softmax"), u, options=dict(inner.params)
    )
    for like in reversed(path):
        out = xs.move(like, out)
    return out


def _log_of_reduction(xs: Expressions, v: Node) -> Linear | None:
    (a,) = v.args
    p = product(xs, a)
    if not p.exps:
        return None
    u = xs.spread(emit(xs, reflect(xs, p.E), a), a.shape)
    if v.op == "cumsum":
        if p.rest or p.scale != 1:
            return None
        options = {"axis": v.params["axis"], "reverse": v.params["reverse"]}
        return atom(xs.call("logcumsumexp", f.logcumsumexp, u, options=options))
    options = {"axis": _axis(tuple(v.params["axes"]))}
    if p.rest or p.scale < 0:
        w = xs.spread(rest_of(xs, p, a, p.scale), a.shape)
        return atom(
            xs.call(
                "logsumexp",
                f.weighted_logsumexp,
                u,
                w,
                options=options,
                shape=v.shape,
            )
        )
    total = xs.call(
        "logsumexp", f.stable("logsumexp"), u, options=options, shape=v.shape
    )
    return atom(total).plus(Linear((), math.log(p.scale)))


def _log_of_dot(xs: Expressions, v: Node) -> Linear | None:
    a, b = v.args
    p, q = product(xs, a), product(xs, b)
    if not (p.exps or q.exps):
        return None
    dims = v.params["dimension_numbers"]
    ((ca, _), _) = dims
    contracted = math.prod(a.shape[k] for k in ca)
    if math.prod(v.shape) * contracted > 1 << 20 or a.dtype != b.dtype:
        return None
    parts = []
    for n, r in ((a, p), (b, q)):
        u = emit(xs, reflect(xs, r.E), n) if r.exps else xs.const(0.0, n.shape, n.dtype)
        w = rest_of(xs, r, n, r.scale)
        parts += [xs.spread(u, n.shape), xs.spread(w, n.shape)]
    weighted = bool(p.rest or q.rest or p.scale != 1 or q.scale != 1)
    options = {"dims": _tuples(dims), "weighted": weighted}
    node = xs.call("log_dot", f.log_dot, *parts, options=options, shape=v.shape)
    return atom(node)


def _tuples(x: object) -> object:
    return tuple(map(_tuples, x)) if isinstance(x, (tuple, list)) else x


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
                flipped = _named(xs, "softplus", negated(xs, u))
                rest = lin.without(node, u)
                return rest.plus(Linear(((flipped, c), (u, a + c))))
    return lin


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
    return xs.scale(_named(xs, "mills_ratio", x), scale)


def is_softmax(xs: Expressions, v: Node) -> bool:
    return v.op == "div" and share(v) is not None and product(xs, v).exps > 0
