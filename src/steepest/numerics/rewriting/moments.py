"""One-pass statistics, of which the mean is taken out only after it was squared.

    mean(x²) − mean(x)²               mean((x − mean x)²)
    mean(x·y) − mean(x)·mean(y)       mean((x − mean x)·(y − mean y))
    XᵀY/n − mean(X)⊗mean(Y)           (X − mean X)ᵀ(Y − mean Y)/n
    c[i + w] − c[i], c = cumsum(x)    Σ x over the window of w

The difference on the left is of numbers as large as mean² or as the whole sum, and may
even be negative. Chan, Golub & LeVeque (1983), Algorithms for computing the sample
variance.
"""

import math
from typing import NamedTuple

from . import functions as f
from .expression import Expressions, Node, origin, upright
from .facts import varies
from .linear import Linear


Found = tuple[Node, Linear]
CASTS = frozenset(("convert_element_type",))
PATH = frozenset(("broadcast_in_dim", "reshape", "squeeze", "expand_dims", *CASTS))
WIDEST = 128  # a window that is summed term by term


class Mean(NamedTuple):
    """factor · mean of x over axes; `total` is the sum in it."""

    x: Node
    axes: tuple[int, ...]
    total: Node
    factor: float = 1.0


def mean(node: Node, factor: float = 1.0) -> Mean | None:
    """factor · node as a multiple of a mean, if it is one."""
    below = node
    while True:
        if below.op == "mul" and any(a.known for a in below.args):
            c, other = sorted(below.args, key=lambda a: a.known is None)
            factor, below = factor * (c.known or 0.0), other
        elif below.op == "div" and below.args[1].known:
            factor, below = factor / below.args[1].known, below.args[0]
        elif below.op in PATH:
            below = below.args[0]
        else:
            break
    if below.op != "reduce_sum":
        return None
    x = origin(below.args[0], CASTS)
    count = math.prod(x.shape) / max(math.prod(below.shape), 1)
    return Mean(x, tuple(below.params["axes"]), below, factor * count)


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-6)


def variance(xs: Expressions, lin: Linear, v: Node) -> Found | None:
    """k·(mean(x²) − mean(x)²)."""
    for square, p in lin.terms:
        first = mean(square, p)
        if first is None or first.x.op != "square":
            continue
        for other, q in lin.terms:
            inner = origin(other, CASTS)
            if inner.op != "square" or q >= 0:
                continue
            second = mean(inner.args[0], 1.0)
            if second is None or second.axes != first.axes:
                continue
            if second.x is not origin(first.x.args[0], CASTS):
                continue
            if not _close(first.factor, -q * second.factor**2):
                continue
            shape = _kept(second.x.shape, first.axes, v.shape)
            if shape is None:
                continue
            options = {"axis": first.axes, "keepdims": shape}
            x = second.x
            fun = f.stable("variance")
            out = xs.call("variance", fun, x, options=options, shape=v.shape)
            return xs.scale(out, first.factor), lin.without(square, other)
    return None


def _kept(
    shape: tuple[int, ...], axes: tuple[int, ...], wanted: tuple[int, ...]
) -> bool | None:
    """Whether a reduction of this shape keeps its axes; None if neither fits."""
    if tuple(n for k, n in enumerate(shape) if k not in axes) == wanted:
        return False
    whole = tuple(1 if k in axes else n for k, n in enumerate(shape))
    return True if whole == wanted else None


def covariance(xs: Expressions, lin: Linear, v: Node) -> Found | None:
    """k·(mean(x·y) − mean(x)·mean(y)), element by element or for all pairs."""
    for node, p in lin.terms:
        for other, q in lin.terms:
            inner = origin(other, CASTS)
            if inner.op != "mul" or q * p >= 0:
                continue
            means = [mean(n) for n in inner.args]
            if None in means:
                continue
            first, second = (m for m in means if m is not None)
            size = -q * first.factor * second.factor
            found = _products(xs, node, p, first, second, size) or _pairs(
                xs, node, p, inner, first, second, size
            )
            if found is not None and found.shape == v.shape:
                return xs.scale(found, size), lin.without(node, other)
    return None


def _products(
    xs: Expressions, node: Node, p: float, first: Mean, second: Mean, size: float
) -> Node | None:
    whole = mean(node, p)
    if whole is None or whole.x.op != "mul" or not _close(whole.factor, size):
        return None
    sources = {origin(a, CASTS).id for a in whole.x.args}
    if sources != {first.x.id, second.x.id} or first.axes != second.axes:
        return None
    if whole.axes != first.axes:
        return None
    options = {"axis": first.axes}
    shape = first.total.shape
    fun = f.cross_moment
    return xs.call("covariance", fun, first.x, second.x, options=options, shape=shape)


def _pairs(
    xs: Expressions,
    node: Node,
    p: float,
    outer: Node,
    first: Mean,
    second: Mean,
    size: float,
) -> Node | None:
    """XᵀY: the products of all columns, contracted over the rows."""
    if node.op != "dot_general" or len(node.shape) != 2:
        return None
    ((ca, cb), (ba, bb)) = node.params["dimension_numbers"]
    (x, ca), (y, cb) = (upright(n, c) for n, c in zip(node.args, (ca, cb), strict=True))
    if ba or bb or len(ca) != 1 or len(x.shape) != 2 or len(y.shape) != 2:
        return None
    if not _close(p * x.shape[ca[0]], size):
        return None
    a, b = outer.args
    if varies(a, 0) == varies(a, 1) or varies(b, 0) == varies(b, 1):
        return None
    if varies(b, 0):
        first, second = second, first
    ca, cb = ca[0], cb[0]
    if (first.x, first.axes) != (x, (ca,)) or (second.x, second.axes) != (y, (cb,)):
        return None
    options = {"contract": (ca, cb)}
    return xs.call("covariance", f.covariance, x, y, options=options, shape=node.shape)


def windows(xs: Expressions, lin: Linear, v: Node) -> Found | None:
    """k·(c[i + w] − c[i]) of a cumulative sum: the sums of the terms between."""
    for late, k in lin.terms:
        for early, m in lin.terms:
            if k != -m or late.op != "slice" or early.op != "slice":
                continue
            total = late.args[0]
            if early.args[0] is not total or total.op != "cumsum":
                continue
            if total.params["reverse"] or late.shape != early.shape:
                continue
            axis = int(total.params["axis"])
            start, end = (tuple(n.params["start_indices"]) for n in (early, late))
            gaps = [b - a for a, b in zip(start, end, strict=True)]
            width = gaps.pop(axis)
            if any(gaps) or not 0 < width <= WIDEST:
                continue
            if any(
                n.params["strides"] not in (None, (1,) * len(start))
                for n in (late, early)
            ):
                continue
            options = {"axis": axis, "start": start, "width": width, "shape": v.shape}
            out = xs.call(
                "sum_of_windows",
                f.sum_of_windows,
                total.args[0],
                options=options,
                shape=late.shape,
            )
            return xs.scale(out, k), lin.without(late, early)
    return None
