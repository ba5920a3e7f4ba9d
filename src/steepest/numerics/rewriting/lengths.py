"""Lengths, directions and the cosines and angles between them, as they are written.

    √(k·Σx²)                       √k · norm(x)
    √x², √(a² + b²)                |x|, hypot(a, b)
    x/√Σx², x·rsqrt(Σx²)           normalise(x)
    Σab / (|a|·|b|), also          cosine_similarity(a, b)
      Σab / √(Σa²·Σb²), …
    arccos of it                   angle(a, b)

The squares overflow or vanish long before the length does, and √ has no slope at 0.
"""

import math

from . import functions as f, vectors
from .distances import spherical
from .expression import Expressions, Node, origin
from .facts import varies


MOVED = frozenset(
    ("broadcast_in_dim", "reshape", "squeeze", "expand_dims", "convert_element_type")
)
CASTS = frozenset(("convert_element_type",))


def squares(a: Node) -> tuple[Node, Node, float] | None:
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
    if a.op == "reduce_sum":
        inner = origin(a.args[0], CASTS)
        return (inner.args[0], a, k) if inner.op == "square" else None
    if a.op == "dot_general" and a.args[0] is a.args[1] and len(a.args[0].shape) == 1:
        return a.args[0], a, k
    return None


def _axes(total: Node) -> tuple[int, ...]:
    return (0,) if total.op == "dot_general" else tuple(total.params["axes"])


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
    while below.op in MOVED:
        moves.append(below)
        below = below.args[0]
    found = squares(below)
    if found is None or found[0].dtype != v.dtype:
        return None
    x, total, k = found
    options = {"axis": _axes(total)}
    out = xs.call("norm", f.stable("norm"), x, options=options, shape=total.shape)
    out = xs.scale(out, math.sqrt(k)) if not math.isclose(k, 1) else out
    for like in reversed(moves):
        if like.op != "convert_element_type":
            out = xs.move(like, out)
    return out


def fraction(v: Node) -> tuple[list[Node], list[Node]]:
    """The factors above and below the line; a root of a product is one factor."""
    if v.op == "mul":
        (p, q), (r, s) = map(fraction, v.args)
        return p + r, q + s
    if v.op == "div":
        (p, q), (r, s) = map(fraction, v.args)
        return p + s, q + r
    if v.op == "square":
        p, q = fraction(v.args[0])
        return p * 2, q * 2
    return ([], [v]) if v.op == "rsqrt" else ([v], [])


Length = tuple[Node, tuple[int, ...]]


def lengths(node: Node) -> tuple[list[Length], float] | None:
    """The (x, axes) of the factors |x| of a value that is k·Π|x|, or over it; and k."""
    below = origin(node, MOVED)
    if below.op not in ("sqrt", "rsqrt"):
        return None
    inner, parts, k = origin(below.args[0], MOVED), [], 1.0
    whole = squares(inner)
    above, under = fraction(inner) if whole is None else ([inner], [])
    for factor in above:
        found = squares(origin(factor, MOVED))
        if found is None:
            c = factor.known
            if c is None or c <= 0:
                return None
            k *= c
            continue
        parts.append((found[0], _axes(found[1])))
        k *= found[2]
    for factor in under:
        if factor.known is None or factor.known <= 0:
            return None
        k /= factor.known
    return (parts, math.sqrt(k)) if below.op == "sqrt" else (parts, 1 / math.sqrt(k))


def normalised(xs: Expressions, v: Node) -> Node | None:
    """x/|x|, x·rsqrt(Σx²), also with a number in the root."""
    pairs = [(v.args[0], v.args[1], "sqrt")] if v.op == "div" else []
    if v.op == "mul":
        (a, b) = v.args
        pairs = [(a, b, "rsqrt"), (b, a, "rsqrt")]
    for x, length, root in pairs:
        found = lengths(length)
        if found is None or len(found[0]) != 1 or origin(length, MOVED).op != root:
            continue
        (y, axes), k = found[0][0], found[1]
        if y is not x or x.shape != v.shape:
            continue
        if any(varies(length, a) for a in axes if length.shape):
            continue
        k = 1 / k if root == "sqrt" else k
        out = xs.call("normalise", f.stable("normalise"), x, options={"axis": axes})
        return out if math.isclose(k, 1) else xs.scale(out, k)
    return None


def unit(xs: Expressions, u: Node, axes: tuple[int, ...]) -> Node | None:
    """x of a value that is x/|x| along these axes."""
    found = normalised(xs, u) if u.op in ("mul", "div") else None
    if found is None or found.op != "normalise" or found.params["axis"] != axes:
        return None
    return found.args[0]


Pair = tuple[Node, Node, tuple[int, ...]]


def scalar_product(v: Node) -> Pair | None:
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


def pair(xs: Expressions, v: Node) -> Pair | None:
    """(a, b, axes) of a value that is the cosine of the angle of a and b."""
    found = scalar_product(v)
    if found is not None:
        a, b, axes = found
        p, q = unit(xs, a, axes), unit(xs, b, axes)
        return None if p is None or q is None else (p, q, axes)
    if v.op not in ("mul", "div"):
        return None
    above, below = fraction(v)
    found = scalar_product(above[0]) if len(above) == 1 else None
    if found is None:
        return None
    a, b, axes = found
    parts: list[Length] = []
    for node in below:
        more = lengths(node)
        if more is None or not math.isclose(more[1], 1):
            return None
        parts += more[0]
    if len(parts) != 2 or any(own != axes for _, own in parts):
        return None
    return found if {x.id for x, _ in parts} == {a.id, b.id} else None


def _of_two(xs: Expressions, name: str, fun: object, v: Node, found: Pair) -> Node:
    a, b, axes = found
    options = {"axis": axes[0]}
    return xs.call(name, fun, a, b, options=options, shape=v.shape)  # type: ignore


def cosine(xs: Expressions, v: Node) -> Node | None:
    """a·b / (|a|·|b|), along one axis."""
    found = pair(xs, v) if v.op in ("mul", "div") else None
    if found is None:
        return None
    return _of_two(xs, "cosine_similarity", f.stable("cosine_similarity"), v, found)


def one_minus_cosine(xs: Expressions, v: Node) -> Node | None:
    """1 − v, where v is the cosine of an angle between vectors."""
    found = pair(xs, v)
    return None if found is None else _of_two(xs, "versine", vectors.versine, v, found)


def angle(xs: Expressions, v: Node) -> Node | None:
    """arccos of the cosine of an angle between vectors, or on a sphere."""
    inner = v.args[0]
    while inner.op in ("max", "min", "clamp") and any(
        n.known is not None for n in inner.args
    ):
        inner = next(n for n in inner.args if n.known is None)
    found = pair(xs, inner)
    if found is None:
        return spherical(xs, inner)
    return _of_two(xs, "angle", f.stable("angle"), v, found)
