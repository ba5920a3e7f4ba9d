"""Sums in sixteen bits: accumulated in thirty-two, rounded once.

A running sum in bfloat16 stops growing at 256 equal terms, in float16 at 2048; and the
squares under a mean overflow in float16 beyond 255 although the mean does not. So sums
are taken in float32, of terms that are computed in float32.
"""

import jax.numpy as jnp

from .expression import Expressions, Node
from .singular import again


SHORT = (jnp.dtype("bfloat16"), jnp.dtype("float16"))
TERMS = frozenset(("square", "mul", "exp", "add", "sub", "neg", "integer_pow"))


def accumulated(xs: Expressions, v: Node) -> Node | None:
    """A sum of short floats, in float32; None for other sums."""
    if v.op not in ("reduce_sum", "cumsum", "reduce_window_sum") or not v.args:
        return None
    a = v.args[0]
    if v.dtype in SHORT:
        wide = widened(xs, a)
        total = _as_float32(xs, v, wide)
        return _rounded(xs, total, v.dtype)
    if a.op == "convert_element_type" and a.args[0].dtype in SHORT:
        inner = a.args[0]
        if a.dtype == jnp.float32 and inner.op in TERMS:
            return _as_float32(xs, v, widened(xs, inner))
    return None


def widened(xs: Expressions, a: Node, depth: int = 4) -> Node:
    """The value in float32, with the last few operations before it done there."""
    if a.known is not None:
        return xs.const(a.value, a.shape, jnp.float32)
    if depth and a.op in TERMS and a.equation is not None and a.dtype in SHORT:
        args = [widened(xs, n, depth - 1) for n in a.args]
        out = again(xs, a, args)
        out.dtype = jnp.dtype("float32")
        return out
    return xs.call("float32", lambda x: x.astype(jnp.float32), a, dtype=jnp.float32)


def _as_float32(xs: Expressions, v: Node, operand: Node) -> Node:
    return xs.node(
        v.op,
        (operand,),
        shape=v.shape,
        dtype=jnp.dtype("float32"),
        key=("wide", v.id),
        params=v.params,
        equation=v.equation,
    )


def _rounded(xs: Expressions, total: Node, dtype: object) -> Node:
    name = str(dtype)
    return xs.call(name, lambda x: x.astype(dtype), total, dtype=dtype)
