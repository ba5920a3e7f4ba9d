"""log v of sums, differences and functions whose logarithm is known without v.

σ, erfc, Φ, cosh, e^u − 1          their logarithms
e^a ± e^b, 1 ± e^u                 logaddexp, logdiffexp, softplus, log1mexp
Σ w·e^x, cumsum, matrix products   logsumexp with weights
"""

import math

from . import functions as f, logarithm
from .expression import MOVES, Expressions, Node
from .facts import bounds
from .linear import Linear, atom, emit, expanded
from .softmaxes import one_minus_softmax
from .terms import as_axis, moved, named, reflect, safe_move, simplify, softplus


def log_of_whole(xs: Expressions, v: Node) -> Linear | None:
    """log v of sums and of functions whose logarithm is known, else None."""
    op, a = v.op, v.args
    if op == "logistic":
        return softplus(xs, xs.neg(a[0])).times(-1.0)
    if op == "erfc":
        return log_ndtr(xs, a[0], -math.sqrt(2)).plus(Linear((), math.log(2)))
    if op == "cosh":
        return atom(named(xs, "logcosh", a[0]))
    if op == "expm1":
        return atom(named(xs, "log_expm1", a[0]))
    if op == "add":
        return _log_of_sum(xs, v)
    if op == "sub":
        return _log_of_difference(xs, v)
    if op in ("reduce_sum", "cumsum"):
        return _log_of_reduction(xs, v)
    if op == "dot_general":
        return _log_of_dot(xs, v)
    if op in MOVES and a[0].floating and v.floating and safe_move(v):
        inner = logarithm.log_of(xs, a[0])
        return None if inner is None else moved(xs, v, inner)
    if op in ("reduce_max", "reduce_min", "cummax", "cummin"):
        inner = logarithm.log_of(xs, a[0])
        return None if inner is None else moved(xs, v, inner)
    if op in ("reduce_prod", "cumprod"):
        inner = logarithm.log_of(xs, a[0])
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
        cases = [logarithm.log_or_number(xs, n) for n in a]
        if None not in cases and any(c.terms for c in cases if c is not None):
            nodes = [emit(xs, c, n) for c, n in zip(cases, a, strict=True) if c]
            if len(nodes) == 2:
                best = xs._arithmetic(op, *nodes)
                return atom(best)
    if op == "select_n" and len(a) == 3:
        cases = [_case(xs, n) for n in a[1:]]
        if all(c is not None for c in cases) and any(c.terms for c in cases if c):
            false, true = (emit(xs, reflect(xs, c), v) for c in cases if c is not None)
            false = hidden(xs, false, a[0], when=True)
            return atom(xs.select(a[0], false, hidden(xs, true, a[0], when=False)))
    return None


#: New functions with an infinite slope somewhere, and where they have none.
HARMLESS = {
    "log1mexp": (-1.0,),
    "log_expm1": (1.0,),
    "logdiffexp": (0.0, -1.0),
    "log": (1.0,),
    "log1p": (0.0,),
}
PLAIN = frozenset(("add", "sub", "mul", "neg", "div", "max", "min"))


def hidden(xs: Expressions, node: Node, predicate: Node, when: bool) -> Node:
    """A branch whose singular functions are harmless where it is not chosen."""
    if node.known is not None or node.equation is not None or not node.args:
        return node
    if predicate.shape not in ((), node.shape):
        return node
    if node.op in HARMLESS:
        args = []
        for u, c in zip(node.args, HARMLESS[node.op], strict=True):
            number = xs.number(c, node)
            pair = (u, number) if when else (number, u)
            args.append(xs.select(predicate, *pair))
        if node.op in ("log", "log1p"):
            return xs.unary(node.op, *args) if node.op == "log" else log1p(xs, *args)
        return named(xs, node.op, *args)
    if node.op in PLAIN:
        args = [hidden(xs, u, predicate, when) for u in node.args]
        join = {"add": xs.add, "sub": xs.sub, "mul": xs.mul, "div": xs.div}.get(node.op)
        if node.op == "neg":
            return xs.neg(*args)
        return join(*args) if join is not None else xs._arithmetic(node.op, *args)
    return node


def log1p(xs: Expressions, u: Node) -> Node:
    return xs.call("log1p", f.log1p, u)


def _case(xs: Expressions, v: Node) -> Linear | None:
    return Linear((), -math.inf) if v.known == 0 else logarithm.log_or_number(xs, v)


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
            return atom(named(xs, "log_ndtr", u))
    return atom(named(xs, "log_ndtr", xs.scale(w, factor)))


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
        less = _less(xs, other) if c == 1 else None
        if less is not None:
            return one_minus(xs, less, v)
    La, Lb = logarithm.log_or_number(xs, a), logarithm.log_or_number(xs, b)
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
            return atom(named(xs, "logcosh", u)).plus(Linear((), math.log(2)))
    return atom(named(xs, "logaddexp", p, q))


def _free(xs: Expressions, v: Node) -> bool:
    """Whether a factor of unknown sign is in it: the log of a summand may be NaN."""
    return any(
        bounds(xs, n)[0] < 0
        for n, _ in logarithm.product(xs, v).rest
        if v.known is None
    )


def _log_of_difference(xs: Expressions, v: Node) -> Linear | None:
    a, b = v.args
    if a.known == 1:
        x = normal_cdf(xs, b)
        if x is not None:
            return atom(named(xs, "log_ndtr", xs.neg(x)))
        if b.op == "logistic":
            return softplus(xs, b.args[0]).times(-1.0)
        if b.op == "erf":
            lin = log_ndtr(xs, b.args[0], -math.sqrt(2))
            return lin.plus(Linear((), math.log(2)))
        if b.op == "tanh":
            lin = softplus(xs, xs.scale(b.args[0], 2.0)).times(-1.0)
            return lin.plus(Linear((), math.log(2)))
        if b.op == "square" and b.args[0].op == "tanh":
            return atom(named(xs, "log_one_minus_tanh2", b.args[0].args[0]))
        top = one_minus_softmax(xs, b)
        if top is not None:
            return atom(top)
    if a.known == 2 and b.op == "erfc":
        return log_of_whole(xs, xs.call("erfc", f.erfc, xs.neg(b.args[0])))
    La, Lb = logarithm.log_or_number(xs, a), logarithm.log_or_number(xs, b)
    if La is None or Lb is None or not (La.terms or Lb.terms):
        return None
    tails = [t.op == "log_ndtr" and c == 1 for lin in (La, Lb) for t, c in lin.terms]
    if tails == [True, True] and La.constant == Lb.constant:
        p, q = (lin.terms[0][0].args[0] for lin in (La, Lb))
        out = xs.call("log_ndtr_difference", f.log_ndtr_difference, p, q)
        return atom(out).plus(Linear((), La.constant))
    if not La.terms and La.constant == 0:
        return one_minus(xs, Lb, v)
    p, q = emit(xs, reflect(xs, La), v), emit(xs, reflect(xs, Lb), v)
    if not Lb.terms and Lb.constant == 0:
        return atom(named(xs, "log_expm1", p))
    return atom(named(xs, "logdiffexp", p, q))


def one_minus(xs: Expressions, lin: Linear, like: Node) -> Linear:
    """log(1 − exp L); of 1 − σ(u) it is log σ(−u)."""
    lin = reflect(xs, simplify(xs, lin))
    if len(lin.terms) == 1 and not lin.constant:
        node, c = lin.terms[0]
        if node.op == "softplus" and c == -1:
            return softplus(xs, xs.neg(node.args[0])).times(-1.0)
    return atom(named(xs, "log1mexp", emit(xs, lin, like)))


def _less(xs: Expressions, v: Node) -> Linear | None:
    """log of −v, where v is a negative multiple of an exponential."""
    p = logarithm.product(xs, v)
    if v.known is not None or not p.exps or p.rest or p.scale >= 0:
        return None
    return p.E.plus(Linear((), math.log(-p.scale)))


def _log_of_reduction(xs: Expressions, v: Node) -> Linear | None:
    (a,) = v.args
    p = logarithm.product(xs, a)
    if not p.exps:
        return None
    u = xs.spread(emit(xs, reflect(xs, p.E), a), a.shape)
    if v.op == "cumsum":
        if p.rest or p.scale != 1:
            return None
        options = {"axis": v.params["axis"], "reverse": v.params["reverse"]}
        return atom(xs.call("logcumsumexp", f.logcumsumexp, u, options=options))
    options = {"axis": as_axis(tuple(v.params["axes"]))}
    if p.rest or p.scale < 0:
        w = xs.spread(logarithm.rest_of(xs, p, a, p.scale), a.shape)
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
    p, q = logarithm.product(xs, a), logarithm.product(xs, b)
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
        w = logarithm.rest_of(xs, r, n, r.scale)
        parts += [xs.spread(u, n.shape), xs.spread(w, n.shape)]
    weighted = bool(p.rest or q.rest or p.scale != 1 or q.scale != 1)
    options = {"dims": _tuples(dims), "weighted": weighted}
    node = xs.call("log_dot", f.log_dot, *parts, options=options, shape=v.shape)
    return atom(node)


def _tuples(x: object) -> object:
    return tuple(map(_tuples, x)) if isinstance(x, (tuple, list)) else x
