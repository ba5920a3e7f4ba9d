"""Singular points: branches that a mask hides from the value and not from the gradient.

The derivative of where(c, f(u), a) at a masked entry is 0 · f′(u), which is NaN where
f′ is infinite. Masked before it is computed,

    where(c, f(where(c, u, u₀)), a),

the value is the same to the bit and the gradient is 0. And x·log y is 0 at x = 0, by
the limit, where arithmetic gives 0·(−∞).
"""

import math
from collections.abc import Callable
from typing import Any

from . import functions as f, ratios
from .expression import MOVES, Expressions, Node, origin
from .facts import Bounds, bounds
from .linear import emit, expanded
from .logarithm import log_of


# operation → (operand, value at which it is harmless, whether bounds reach its poles)
Pole = tuple[int, float, Callable[[Bounds], bool]]


def _at_or_below(limit: float) -> Callable[[Bounds], bool]:
    return lambda b: b[0] <= limit


def _overflows(b: Bounds) -> bool:
    return b[1] > 80 or b[0] < -math.inf


POLES: dict[str, Pole] = {
    "log": (0, 1.0, _at_or_below(0)),
    "log1p": (0, 0.0, _at_or_below(-1)),
    "sqrt": (0, 1.0, _at_or_below(0)),
    "rsqrt": (0, 1.0, _at_or_below(0)),
    "pow": (0, 1.0, _at_or_below(0)),
    "div": (1, 1.0, lambda b: b[0] <= 0 <= b[1]),
    "acos": (0, 0.0, lambda b: b[0] <= -1 or b[1] >= 1),
    "asin": (0, 0.0, lambda b: b[0] <= -1 or b[1] >= 1),
    "atanh": (0, 0.0, lambda b: b[0] <= -1 or b[1] >= 1),
    "acosh": (0, 2.0, _at_or_below(1)),
    "exp": (0, 0.0, _overflows),
    "expm1": (0, 0.0, _overflows),
    "sinh": (0, 0.0, lambda b: b[1] > 80 or b[0] < -80),
    "cosh": (0, 0.0, lambda b: b[1] > 80 or b[0] < -80),
}
THROUGH = frozenset(
    (
        *("add", "sub", "mul", "div", "neg", "abs", "exp", "log", "log1p", "expm1"),
        *("sqrt", "rsqrt", "pow", "integer_pow", "square", "sin", "cos", "tan", "tanh"),
        *("max", "min", "logistic", "sign", "acos", "asin", "atanh", "acosh", "atan"),
        *("sinh", "cosh", "convert_element_type", "erf", "erfc"),
    )
)


def masked(xs: Expressions, v: Node) -> Node | None:
    """A select whose hidden branch is computed at a harmless point; None if it is."""
    if v.op != "select_n" or len(v.args) != 3 or not v.floating:
        return None
    predicate, false, true = v.args
    if predicate.known is not None or predicate.shape not in (v.shape, ()):
        return None
    branches = [
        _guarded(xs, false, predicate, hidden=True),
        _guarded(xs, true, predicate, hidden=False),
    ]
    if branches[0] is false and branches[1] is true:
        return None
    return xs.select(predicate, branches[0], branches[1])


def _guarded(xs: Expressions, branch: Node, predicate: Node, hidden: bool) -> Node:
    """The branch with the operands of its singular operations masked."""
    done: dict[int, Node] = {}

    def rebuild(node: Node, depth: int) -> Node:
        if node.id in done:
            return done[node.id]
        done[node.id] = node
        if depth == 0 or node.op not in THROUGH or node.equation is None:
            return node
        if not node.floating or node.known is not None or _improved(xs, node):
            return node
        args = [rebuild(a, depth - 1) for a in node.args]
        if node.op in POLES:
            index, safe, reaches = POLES[node.op]
            u = node.args[index]
            fits = u.shape == predicate.shape or not predicate.shape
            risky = fits and u.known is None and reaches(bounds(xs, u))
            if risky and not _same_mask(u, predicate) and _varied(u):
                harmless = xs.number(safe, u)
                value = args[index]
                args[index] = (
                    xs.select(predicate, value, harmless)
                    if hidden
                    else xs.select(predicate, harmless, value)
                )
        if all(a is b for a, b in zip(args, node.args, strict=True)):
            return node
        done[node.id] = again(xs, node, args)
        return done[node.id]

    return rebuild(branch, 12)


def _improved(xs: Expressions, node: Node) -> bool:
    """Whether the node gets a form of its own, which has no pole there."""
    from .rules import improve  # the rules ask this module in their turn

    form = improve(xs, node)
    return form is not None and form.node.op not in ("xlogx", "xlogy", "where")


def again(xs: Expressions, node: Node, args: list[Node], dtype: Any = None) -> Node:
    """The same operation on other operands of the same shapes."""
    return xs.node(
        node.op + "'",
        [xs.spread(a, b.shape) for a, b in zip(args, node.args, strict=True)],
        shape=node.shape,
        dtype=node.dtype if dtype is None else dtype,
        key=("again", node.id),
        params=node.params,
        equation=node.equation,
        fun=node.fun,
    )


def _same_mask(u: Node, predicate: Node) -> bool:
    """Whether the operand is masked by the same predicate already."""
    while u.op in ("neg", "abs", "convert_element_type", "mul", "div", "add", "sub"):
        inner = [a for a in u.args if a.known is None]
        if len(inner) != 1:
            return False
        u = inner[0]
    return u.op in ("select_n", "where") and u.args[0] is predicate


def _varied(u: Node) -> bool:
    return u.op not in ("const", "literal")


def empty_sum(xs: Expressions, v: Node) -> Node | None:
    """log Σ exp(x − m) where m is 0 for a row of −∞ alone: the slope there is 0."""
    if v.op != "log":
        return None
    s = v.args[0]
    total = origin(s.args[0] if s.op == "abs" else s)
    if total.op != "reduce_sum" or total.args[0].op != "exp":
        return None
    z = total.args[0].args[0]
    if z.op != "sub" or not any(n.op == "is_finite" for n in _guards(z.args[1])):
        return None
    zero = xs.call("is_zero", f.is_zero, s, dtype=bool)
    inside = xs.unary("log", xs.select(zero, s, xs.number(1.0, s)))
    return xs.select(zero, inside, xs.number(-math.inf, s))


def _guards(m: Node) -> list[Node]:
    while m.op in MOVES:
        m = m.args[0]
    return [m.args[0]] if m.op in ("select_n", "where") else []


def entropy(xs: Expressions, v: Node) -> Node | None:
    """x·log y with x·log y = 0 at x = 0."""
    if v.op != "mul" or not v.floating:
        return None
    for a, other in ((v.args[0], v.args[1]), (v.args[1], v.args[0])):
        if a.known is not None or a.shape != other.shape:
            continue
        low, high = bounds(xs, a)
        if not low <= 0 <= high:
            continue
        if other.op == "log":
            b = other.args[0]
            if bounds(xs, b)[0] > 0 or log_of(xs, b) is not None:
                continue
            if b.op in ("add", "sub"):
                lin = expanded(xs, b)
                if lin.constant == 1 and lin.terms:
                    return _xlog1py(xs, a, b, emit(xs, lin._replace(constant=0.0), b))
                if lin.constant:
                    continue  # p + ε is never 0
            return _xlogy(xs, a, b)
        if other.op in ("sub", "add"):
            found = _relative(xs, a, other)
            if found is not None:
                return found
    return None


def _xlogy(xs: Expressions, a: Node, b: Node) -> Node:
    if a is b:
        return xs.call("xlogx", f.stable("xlogx"), a)
    return xs.call("xlogy", f.stable("xlogy"), a, b)


def _xlog1py(xs: Expressions, a: Node, b: Node, d: Node) -> Node:
    """a·log b with b = 1 + d."""
    if a is b:
        return xs.call("xlogx_near_one", ratios.xlogx_near_one, d)
    return xs.call("xlog1py", ratios.xlog1py, a, d)


def masked_product(xs: Expressions, v: Node) -> Node | None:
    """mask · f(u) with a pole of f where the mask is 0: selected, not multiplied."""
    if v.op != "mul" or not v.floating:
        return None
    for mask, branch in (v.args, v.args[::-1]):
        chosen = origin(mask, frozenset(("convert_element_type",)))
        if chosen is mask or chosen.dtype != bool or chosen.shape != v.shape:
            continue
        guarded = _guarded(xs, branch, chosen, hidden=False)
        if guarded is not branch:
            return xs.select(chosen, xs.number(0.0, v), guarded)
    return None


def root_of_positive_part(xs: Expressions, v: Node) -> Node | None:
    """√max(u, 0) and max(u, 0)ᵗ, of which the slope where u is negative is 0·∞."""
    t = 0.5 if v.op == "sqrt" else v.args[1].known
    base = v.args[0]
    if t is None or not 0 < t < 1 or base.shape != v.shape:
        return None
    if base.op != "max" or not any(n.known == 0 for n in base.args):
        return None
    u = next(n for n in base.args if n.known != 0)
    hidden = xs.call("at_most_0", f.at_most_zero, u, dtype=bool)
    inner = again(xs, v, [xs.select(hidden, u, xs.number(1.0, u)), *v.args[1:]])
    return xs.select(hidden, inner, xs.number(0.0, v))


def _relative(xs: Expressions, a: Node, other: Node) -> Node | None:
    """a·(log a ± …): a factor 0 makes the whole 0."""
    first, second = other.args
    logs = [n for n in (first, second) if n.op == "log" and n.args[0] is a]
    if not logs or log_of(xs, a) is not None:
        return None
    zero = xs.call("is_zero", f.is_zero, a, dtype=bool)
    safe = xs.select(zero, a, xs.number(1.0, a))
    inner = [
        xs.unary("log", safe) if n.op == "log" and n.args[0] is a else n
        for n in (first, second)
    ]
    for k, n in enumerate(inner):
        if n.op == "log" and n.args[0] is not safe:
            b = n.args[0]
            inner[k] = xs.unary("log", xs.select(zero, b, xs.number(1.0, b)))
    join = xs.add if other.op == "add" else xs.sub
    return xs.select(zero, xs.mul(safe, join(inner[0], inner[1])), xs.number(0.0, a))
