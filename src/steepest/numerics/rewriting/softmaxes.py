"""Softmaxes as they are written: a/Σa with or without a shift, a mask, a temperature.

e^x / Σ e^x, also of x − m         softmax(x)
where(mask, e^x, 0) / Σ …          softmax(x, where=mask)
e^(x/T) / Σ e^(x/T)                softmax((x − max x)/T)
e[i] / Σ e                         softmax(x)[i]
"""

import math

from . import functions as f, logarithm
from .expression import MOVES, Expressions, Node, origin
from .facts import bounds, share, varies
from .linear import Linear, atom, emit
from .terms import as_axis, safe_move


def log_of_softmax(xs: Expressions, v: Node) -> Linear | None:
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
    p = logarithm.product(xs, a)
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
        options = {"axis": as_axis(axes), "tempered": True}
        return atom(xs.call("log_softmax", f.log_softmax, *scaled, options=options))
    options = {"axis": as_axis(axes)}
    if mask is not None:
        return atom(
            xs.call("log_softmax", f.masked_log_softmax, u, mask, options=options)
        )
    return atom(xs.call("log_softmax", f.log_softmax, u, options=options))


PICKS = frozenset(("slice", "squeeze", "reshape", "gather", "dynamic_slice"))


def log_of_entry(xs: Expressions, v: Node) -> Linear | None:
    """e[i] / Σ e, entries of a whole array over the sum of it."""
    a, total = v.args[0], origin(v.args[1])
    if total.op != "reduce_sum":
        return None
    if a.op == "diagonal" and a.args[0] is total.args[0] and v.args[1] is total:
        return _picked(xs, total, tuple(total.params["axes"]), [a])
    if total.op != "reduce_sum" or total.shape or a.op not in PICKS:
        return None
    whole, path = a, []
    while whole.op in PICKS and safe_move(whole) and whole is not total.args[0]:
        path.append(whole)
        whole = whole.args[0]
    if whole is not total.args[0]:
        return None
    return _picked(xs, total, tuple(range(len(whole.shape))), path)


def _picked(
    xs: Expressions, total: Node, axes: tuple[int, ...], path: list[Node]
) -> Linear | None:
    """The entries of log softmax that a path of moves picks, last move first."""
    whole = total.args[0]
    p = logarithm.product(xs, whole)
    if not p.exps or p.rest or len(whole.shape) < len(axes):
        return None
    u = unshifted(emit(xs, p.E, whole), axes)
    out = xs.call("log_softmax", f.log_softmax, u, options={"axis": as_axis(axes)})
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


def one_minus_softmax(xs: Expressions, b: Node) -> Node | None:
    """log(1 − softmax), through moves of the softmax."""
    path: list[Node] = []
    while b.op in MOVES and safe_move(b):
        path.append(b)
        b = b.args[0]
    if b.op != "div":
        return None
    lin = logarithm.product(xs, b).E
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


def is_softmax(xs: Expressions, v: Node) -> bool:
    return v.op == "div" and share(v) is not None and logarithm.product(xs, v).exps > 0
