"""Sixteen bits: sums and what is scaled after it was large, computed in thirty-two.

A running sum in bfloat16 stops growing at 256 equal terms, in float16 at 2048; so sums
are taken in float32, of terms that are computed in float32. And the squares under a
mean, or a product of matrices, overflow in float16 although the mean, the root or the
scaled product does not: what ends in a root, a logarithm or a division by a number is
computed in float32 from where it was small, and rounded once (`scaled`).

Constants are those that the program holds, rounded to its format.
"""

from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from .expression import MOVES, Expressions, Node
from .facts import bounds
from .singular import again


SHORT = (jnp.dtype("bfloat16"), jnp.dtype("float16"))
GROWING = frozenset(
    ("square", "integer_pow", "mul", "exp", "reduce_sum", "cumsum", "dot_general")
)
ELEMENTWISE = frozenset(
    (
        *("square", "mul", "exp", "add", "sub", "neg", "integer_pow", "div", "abs"),
        *("max", "min"),
    )
)
SUMS = frozenset(("reduce_sum", "cumsum", "reduce_window_sum", "dot_general"))
DEPTH = 12  # operations that are computed in float32 instead


def accumulated(xs: Expressions, v: Node) -> Node | None:
    """A sum of short floats, in float32; None for other sums."""
    if v.op not in ("reduce_sum", "cumsum", "reduce_window_sum") or not v.args:
        return None
    if v.dtype in SHORT:
        return rounded(xs, widened(xs, v), v.dtype)
    a = v.args[0]
    if a.op == "convert_element_type" and a.args[0].dtype in SHORT:
        inner = a.args[0]
        if a.dtype == jnp.float32 and inner.op in ELEMENTWISE:
            return _again(xs, v, [widened(xs, inner)])
    return None


def scaled(xs: Expressions, v: Node) -> Node | None:
    """A root, a logarithm or a multiple of what overflows float16 on the way."""
    if v.dtype != jnp.float16 or not _contracts(v):
        return None
    if not any(_grows(xs, a) for a in v.args):
        return None
    return rounded(xs, _again(xs, v, [widened(xs, a) for a in v.args]), v.dtype)


def _contracts(v: Node) -> bool:
    """Whether a large operand gives a result that is less large."""
    if v.op in ("sqrt", "rsqrt", "log", "log1p"):
        return True
    constant = v.args[-1].known
    if v.op == "pow":
        return constant is not None and abs(constant) < 1
    if v.op == "div":
        return constant is not None and abs(constant) > 1
    if v.op == "mul":
        return any(n.known is not None and abs(n.known) < 1 for n in v.args)
    return False


def _grows(xs: Expressions, a: Node, depth: int = DEPTH) -> bool:
    """Whether a value may be too large for float16 where its own sources are not."""
    if a.known is not None or not depth or not a.floating:
        return False
    low, high = bounds(xs, a)
    if low > -6e4 and high < 6e4:
        return False
    if a.op in GROWING and (a.op != "mul" or all(n.known is None for n in a.args)):
        return True
    through = a.op in MOVES or a.op in ELEMENTWISE or a.op in SUMS
    return through and any(_grows(xs, n, depth - 1) for n in a.args)


def widened(xs: Expressions, a: Node, depth: int = DEPTH) -> Node:
    """The value in float32, with the operations before it done there."""
    if a.known is not None:
        held = float(np.asarray(a.value).astype(a.dtype)) if a.floating else a.value
        return xs.const(held, a.shape, jnp.float32)
    if a.dtype == jnp.float32:
        return _through(xs, a, depth)
    if depth and a.dtype in SHORT and a.equation is not None:
        if a.op == "convert_element_type" and a.args[0].dtype == jnp.float32:
            return _through(xs, a.args[0], depth - 1)
        if a.op == "dot_general":
            return _product(xs, a)
        if a.op in ELEMENTWISE or a.op in SUMS or (a.op in MOVES and a.op not in CASTS):
            operands = a.args[:1] if a.op in MOVES else a.args
            wide = [widened(xs, n, depth - 1) for n in operands]
            return _again(xs, a, [*wide, *a.args[len(wide) :]])
    return xs.call("float32", lambda x: x.astype(jnp.float32), a, dtype=jnp.float32)


CASTS = frozenset(("convert_element_type", "stop_gradient"))


def _through(xs: Expressions, a: Node, depth: int) -> Node:
    """A float32 value, computed from short ones that were rounded on the way."""
    if not depth or a.known is not None or a.dtype != jnp.float32:
        return a
    if a.op == "convert_element_type" and a.args[0].dtype in SHORT:
        inner = a.args[0]
        return widened(xs, inner, depth - 1) if inner.op in ELEMENTWISE else a
    if a.equation is None or not (a.op in ELEMENTWISE or a.op in ("reduce_sum",)):
        return a
    args = [_through(xs, n, depth - 1) for n in a.args]
    if all(new is old for new, old in zip(args, a.args, strict=True)):
        return a
    return _again(xs, a, args)


def _again(xs: Expressions, a: Node, args: list[Node]) -> Node:
    """The same operation on float32 operands."""
    return again(xs, a, args, jnp.dtype("float32"))


def _product(xs: Expressions, a: Node) -> Node:
    """A product of matrices, accumulated and left in float32."""
    options = {k: a.params[k] for k in ("dimension_numbers", "precision")}

    def fun(p: Any, q: Any) -> Any:
        wide = jnp.float64 if p.dtype == jnp.float64 else jnp.float32
        return lax.dot_general(p, q, preferred_element_type=wide, **options)

    dims = str(a.params["dimension_numbers"])
    return xs.node(
        "dot_general",
        a.args,
        shape=a.shape,
        dtype=jnp.dtype("float32"),
        key=("wide", dims),
        params=a.params,
        fun=fun,
    )


def rounded(xs: Expressions, wide: Node, dtype: object) -> Node:
    """A float32 value in the format of the program."""
    name = str(dtype)
    return xs.call(name, lambda x: x.astype(dtype), wide, dtype=dtype)
