"""Distances and angles, from differences of vectors and not from their products.

    |a|² + |b|² − 2 a·b                    |a − b|², for rows or for all pairs of rows
    √ of it                                distances, with slope 0 at equal points
    1 − a·b of unit vectors                the versine of the angle
    arccos a·b of unit vectors             2 arctan2(|a − b|, |a + b|)
    arccos(sin φ sin ψ + cos φ cos ψ cos λ)  the haversine formula

A product of nearly equal vectors agrees with |a|² in all digits but those that matter.
Kahan (2006), How futile are mindless assessments of roundoff.
"""

import math
from typing import Any

from . import vectors
from .expression import Expressions, Node, origin, upright
from .facts import varies
from .linear import Linear, expanded


Found = tuple[Node, Linear]
SPREAD = frozenset(("broadcast_in_dim", "reshape", "transpose"))


def _close(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=1e-6)


def squared_distances(xs: Expressions, lin: Linear, v: Node) -> Found | None:
    """k·(|a|² + |b|² − 2 a·b), for pairs of rows or row by row."""
    for cross, c in lin.terms:
        below = cross.args[0] if cross.op == "transpose" else cross
        if below.op == "dot_general":
            ((ca, cb), (ba, bb)) = below.params["dimension_numbers"]
            (a, p), (b, q) = (_multiple(xs, n) for n in below.args)
            if ba or bb or len(ca) != 1 or a.dtype != b.dtype:
                continue
            if len(a.shape) > 2 or len(b.shape) > 2:
                continue
            contract = (int(ca[0]), int(cb[0]))
        elif below.op == "reduce_sum" and below.args[0].op == "mul" and below is cross:
            (a, p), (b, q) = (_multiple(xs, n) for n in below.args[0].args)
            contract = (tuple(below.params["axes"]),) * 2
        else:
            continue
        k = -c * p * q / 2
        ends = _ends(a, b, contract, below is not cross, below.op == "dot_general")
        norms = [n for n, size in lin.terms if _close(size, k)]
        first = next((n for n in norms if _is_norm(n, v, *ends[0])), None)
        second = next(
            (n for n in norms if n is not first and _is_norm(n, v, *ends[1])), None
        )
        if first is None or second is None:
            continue
        options = {
            "contract": contract,
            "pairs": below.op == "dot_general",
            "flip": below is not cross,
        }
        fun = vectors.squared_distances
        name = "squared_distances"
        out = xs.call(name, fun, a, b, options=options, shape=v.shape)
        return xs.scale(out, k), lin.without(cross, first, second)
    return None


def _multiple(xs: Expressions, node: Node) -> tuple[Node, float]:
    """(a, k) of a node that is k·a."""
    lin = expanded(xs, node)
    if len(lin.terms) == 1 and not lin.constant and node.known is None:
        return lin.terms[0]
    return node, 1.0


End = tuple[Node, tuple[int, ...], int | None]  # an array, its summed axes, the place


def _ends(a: Node, b: Node, contract: tuple, flip: bool, pairs: bool) -> list[End]:
    """What |a|² and |b|² have to be, and along which axis of the result each varies."""
    if not pairs:  # row by row: the sum itself
        return [(a, contract[0], None), (b, contract[1], None)]
    count = sum(len(n.shape) == 2 for n in (a, b))
    places = [0 if len(a.shape) == 2 else None, None]
    if len(b.shape) == 2:
        places[1] = count - 1
    if flip:
        places = [None if k is None else count - 1 - k for k in places]
    return [
        (*upright(n, (c,)), k) for n, c, k in zip((a, b), contract, places, strict=True)
    ]


def _is_norm(n: Node, v: Node, x: Node, axes: tuple[int, ...], place: Any) -> bool:
    """Whether it is Σ x² over these axes, spread along all other axes of the result."""
    if isinstance(place, int):
        others = [k for k in range(len(n.shape)) if k != place]
        fits = len(n.shape) == len(v.shape) and n.shape[place] == v.shape[place]
        if not fits or any(varies(n, k) for k in others):
            return False
        total = origin(n, SPREAD)
    else:
        total = n if n.shape and len(x.shape) > 1 else origin(n, SPREAD)
    if total.op == "reduce_sum" and total.args[0].op == "square":
        found = upright(total.args[0].args[0], total.params["axes"])
    elif total.op == "dot_general" and total.args[0] is total.args[1]:
        ((ca, cb), (ba, bb)) = total.params["dimension_numbers"]
        whole = len(ca) + len(ba) == len(total.args[0].shape)
        if tuple(ca) != tuple(cb) or tuple(ba) != tuple(bb) or not whole:
            return False
        found = upright(total.args[0], ca)
    else:
        return False
    return found[0] is x and sorted(found[1]) == sorted(axes)


def root_of_distances(xs: Expressions, squared: Node) -> Node | None:
    """√(k·|a − b|²), given the form of what is under the root."""
    k, inner = 1.0, squared
    if squared.op == "mul":
        c, other = sorted(squared.args, key=lambda n: n.known is None)
        k, inner = c.known or 0.0, other
    if inner.op != "squared_distances" or k <= 0:
        return None
    options = dict(inner.params)
    name = "distances"
    out = xs.call(
        name, vectors.distances, *inner.args, options=options, shape=inner.shape
    )
    return out if k == 1 else xs.scale(out, math.sqrt(k))


def spherical(xs: Expressions, inner: Node) -> Node | None:
    """The angle of which `inner`, by the law of cosines, is the cosine."""
    lin = expanded(xs, inner)
    if len(lin.terms) != 2 or lin.constant:
        return None
    for (one, p), (other, q) in (lin.terms, lin.terms[::-1]):
        sines, cosines = _factors(one), _factors(other)
        if not (_close(p, 1) and _close(q, 1)) or len(sines) != 2 or len(cosines) != 3:
            continue
        if any(n.op != "sin" for n in sines) or any(n.op != "cos" for n in cosines):
            continue
        a, b = (n.args[0] for n in sines)
        rest = [n.args[0] for n in cosines]
        if a in rest and b in rest and a is not b:
            rest = [n for n in rest if n is not a and n is not b]
        if len(rest) == 1:
            return xs.call("great_circle", vectors.great_circle, a, b, rest[0])
    return None


def _factors(node: Node) -> list[Node]:
    if node.op == "mul":
        return [n for a in node.args for n in _factors(a)]
    return [node]
