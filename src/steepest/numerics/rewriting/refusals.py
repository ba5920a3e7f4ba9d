"""Risks that no other form of the same function removes: the reason, and what to do.

A quotient whose scale can be 0, a logarithm of what was clipped, a loop of raw moments:
the function has no value there, or is another one. Library functions are not judged.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from .expression import Expressions, Node, origin
from .facts import bounds
from .lengths import scalar_product
from .logarithm import log_of, product


class Refusal(NamedTuple):
    """A risk that no other form of the same function removes."""

    reason: str
    advice: str


CASTS = frozenset(("convert_element_type",))


def refuse(xs: Expressions, v: Node) -> Refusal | None:
    """A risk of `v` that cannot be rewritten without changing the function."""
    rule = REFUSALS.get(v.op)
    return None if rule is None or v.equation is None or v.guarded else rule(xs, v)


def _clipped(xs: Expressions, v: Node) -> Refusal | None:
    a = v.args[0]
    if a.op in ("max", "min", "clamp"):
        inner = a
        while inner.op in ("max", "min", "clamp"):
            free = [n for n in inner.args if n.known is None]
            if len(free) != 1:
                return None
            inner = free[0]
        if log_of(xs, inner) is not None:
            return Refusal(
                "the argument is clipped, so that its logarithm is another function",
                "take the logarithm from the scores, without the clip",
            )
    if a.op == "add" and any((n.known or 0) > 0 for n in a.args):
        p = next(n for n in a.args if n.known is None or n.known <= 0)
        if log_of(xs, p) is not None and 0 < max(n.known or 0 for n in a.args) < 1e-3:
            return Refusal(
                "a small number is added to the argument: finite, but biased",
                "take the logarithm from the scores, without the addition",
            )
    return None


def _scaled(xs: Expressions, v: Node) -> Refusal | None:
    """A quotient by something that is 0 for some input with its numerator."""
    a, b = v.args
    low, high = bounds(xs, b)
    if b.known is not None or not low <= 0 <= high or product(xs, a).exps:
        return None
    numerator, below = origin(a), origin(b)
    if _size_of(below, _sources(numerator)) or _range_of(xs, below, numerator):
        return Refusal(
            "the scale can be 0, where the quotient has no limit",
            "say what the result is there: where(s > 0, x / where(s > 0, s, 1), 0)",
        )
    if numerator.op == below.op == "reduce_sum":
        weights = origin(below.args[0])
        summed = origin(numerator.args[0])
        if summed.op == "mul" and any(origin(n) is weights for n in summed.args):
            if weights.op == "div" and weights.args[0].known is not None:
                return Refusal(
                    "a weight is infinite where its divisor is 0, and ∞/∞ is NaN",
                    "say what the mean is there: the value of the point that is met",
                )
            return Refusal(
                "the weights may all be 0, where their mean has no value",
                "divide by maximum(sum(weights), 1), or by the count that is meant",
            )
    return None


def _sources(a: Node) -> tuple[Node, ...]:
    return (a, origin(a.args[0])) if a.op in ("sub", "abs") else (a,)


def _size_of(below: Node, sources: tuple[Node, ...]) -> bool:
    """Whether it is the maximum, sum or mean size of what is divided."""
    while below.op in ("div", "mul") and below.args[1].known is not None:
        below = origin(below.args[0])
    if below.op not in ("reduce_max", "reduce_sum"):
        return False
    inner = origin(below.args[0])
    inner = origin(inner.args[0]) if inner.op == "abs" else inner
    return inner is sources[0]


def _range_of(xs: Expressions, below: Node, numerator: Node) -> bool:
    """Whether it is max x − min x, below x − c."""
    if below.op != "sub" or numerator.op != "sub":
        return False
    ends = [origin(n) for n in below.args]
    if {n.op for n in ends} != {"reduce_max", "reduce_min"}:
        return False
    x = origin(numerator.args[0])
    return all(origin(n.args[0]) is x for n in ends)


def _infinite_factor(xs: Expressions, v: Node) -> Refusal | None:
    for c, other in (v.args, v.args[::-1]):
        if c.known is not None and math.isinf(c.known):
            low, high = bounds(xs, other)
            if low <= 0 <= high:
                return Refusal(
                    "0 · ∞ is NaN wherever the other factor is 0",
                    "select the infinity instead: where(mask, scores, -inf)",
                )
    return None


def _double_logarithm(xs: Expressions, v: Node) -> Refusal | None:
    inner = v.args[0]
    if inner.op == "neg" and inner.args[0].op == "log":
        low, high = bounds(xs, inner.args[0].args[0])
        if low <= 0 and high >= 1:
            return Refusal(
                "−log(−log u) is infinite at u = 0 and at u = 1",
                "draw u from the open interval, or use jax.random.gumbel",
            )
    return _clipped(xs, v)


def _direction(xs: Expressions, v: Node) -> Refusal | None:
    if all(low <= 0 <= high for low, high in (bounds(xs, n) for n in v.args)):
        return Refusal(
            "the origin has no direction: the slope there is 0/0",
            "use steepest.numerics.stable.arctan2, whose slope there is 0",
        )
    return None


def _stored_short(xs: Expressions, v: Node) -> Refusal | None:
    """A float32 value that was in float16 for a product with a number."""
    inner = v.args[0]
    if v.dtype != jnp.float32 or inner.dtype != jnp.float16:
        return None
    while inner.op in ("mul", "div") and any(n.known is not None for n in inner.args):
        inner = next(n for n in inner.args if n.known is None)
    if inner is v.args[0] or inner.op not in CASTS:
        return None
    low, high = bounds(xs, inner.args[0])
    if inner.args[0].dtype != jnp.float32 or (low > -6e4 and high < 6e4):
        return None
    return Refusal(
        "what is above 65504 is infinite in float16, and the program rounds there",
        "scale it before it is stored in float16, or leave it in float32",
    )


def _raw_moments(xs: Expressions, v: Node) -> Refusal | None:
    """s/n − (t/n)² of sums that one loop has made."""
    square = v.args[1]
    if square.op != "square":
        return None
    parts = [origin(v.args[0]), origin(square.args[0])]
    sums = [origin(n.args[0]) if n.op in ("div", "mul") else n for n in parts]
    loops = {id(n.equation.eqn) for n in sums if _looped(n)}  # type: ignore[union-attr]
    if len(loops) != 1 or not all(map(_looped, sums)):
        return None
    return Refusal(
        "the sums of x and of x² come from a loop; their difference has no digits where "
        "the mean is large",
        "update a running mean and the squares about it (Welford), or keep the values",
    )


def _looped(node: Node) -> bool:
    return node.equation is not None and node.equation.control is not None


def _arccosine(xs: Expressions, v: Node) -> Refusal | None:
    inner = v.args[0]
    while inner.op in ("max", "min", "clamp"):
        inner = next((n for n in inner.args if n.known is None), inner.args[0])
    if scalar_product(inner) is None:
        return None
    return Refusal(
        "the arccosine of a scalar product is the angle only between unit vectors",
        "use steepest.numerics.stable.angle(u, v)",
    )


def _lost_constant(xs: Expressions, v: Node) -> Refusal | None:
    if v.dtype != jnp.float16:
        return None
    if any(n.known is not None and np.float16(n.known) == 0 for n in v.args):
        return Refusal(
            "the constant that is added is 0 in float16",
            "use a constant of at least 6e-8, or compute in float32",
        )
    return None


REFUSALS: dict[str, Callable[[Expressions, Node], Refusal | None]] = {
    "log": _double_logarithm,
    "div": _scaled,
    "mul": _infinite_factor,
    "sub": _raw_moments,
    "acos": _arccosine,
    "atan2": _direction,
    "add": _lost_constant,
    "convert_element_type": _stored_short,
}
