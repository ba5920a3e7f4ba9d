"""Products of many factors, and powers, that overflow or vanish although what is made of
them does not.

    log cumprod x                     Σ log|x|, with the signs of the products
    (Π x)ᵗ, √Π x                      exp(t·Σ log|x|)
    Πᵢ x / Σⱼ Πⱼ x                    every factor over that of the largest product
    xⁿ/(xⁿ + kⁿ), 1/(1 + xⁿ)          1/(1 + (k/x)ⁿ) or (x/k)ⁿ/(1 + (x/k)ⁿ)
    log(1 + x²)                       2 log|x| + log(1 + x⁻²) far out
"""

import math
from typing import Any

from . import ratios
from .expression import Expressions, Node, origin
from .facts import share
from .linear import expanded


MOVED = frozenset(("broadcast_in_dim", "reshape", "squeeze", "expand_dims"))


def power_of_product(xs: Expressions, v: Node) -> Node | None:
    """(Π x)ᵗ with |t| < 1."""
    base = v.args[0]
    t = 0.5 if v.op == "sqrt" else v.args[1].known
    if base.op != "reduce_prod" or t is None or abs(t) >= 1:
        return None
    options = {"axis": tuple(base.params["axes"]), "t": t}
    fun = ratios.power_of_product
    return xs.call("power_of_product", fun, *base.args, options=options, shape=v.shape)


def share_of_products(xs: Expressions, v: Node) -> Node | None:
    """Π x / Σ Π x, over one axis of the products."""
    total = share(v) if v.op == "div" else None
    if total is None:
        return None
    lin = expanded(xs, origin(v.args[0], frozenset(("convert_element_type",))))
    if len(lin.terms) != 1 or lin.constant or lin.terms[0][0].op != "reduce_prod":
        return None
    product = lin.terms[0][0]
    axes, over = tuple(product.params["axes"]), tuple(total.params["axes"])
    x = product.args[0]
    if len(over) != 1 or product.shape != v.shape:
        return None
    kept = [k for k in range(len(x.shape)) if k not in axes]
    options = {"axis": axes, "over": kept[over[0]]}
    fun = ratios.share_of_products
    return xs.call("share_of_products", fun, x, options=options, shape=v.shape)


def share_of_powers(xs: Expressions, v: Node) -> Node | None:
    """a/(a + b), where a and b are powers of the same exponent, or one of them is 1."""
    if v.op != "div" or v.args[1].op != "add" or v.args[1].shape != v.shape:
        return None
    top, terms = v.args[0], v.args[1].args
    mine = next((n for n in terms if _same(n, top)), None)
    if mine is None:
        return None
    other = terms[1] if mine is terms[0] else terms[0]
    p, q = _power(xs, mine), _power(xs, other)
    if p is None or q is None or not (p[1] or q[1]):
        return None
    if isinstance(p[1] or q[1], Node) and not {1, None} >= {p[0].known, q[0].known}:
        return None
    n = p[1] or q[1]
    if p[1] and q[1] and p[1] != q[1]:
        return None
    x, k = (xs.spread(_base(xs, a, n), v.shape) for a in (p[0], q[0]))
    if isinstance(n, Node):
        return xs.call("share_of_powers", ratios.share_of_powers, x, k, n)
    options = {"n": n}
    return xs.call("share_of_powers", ratios.share_of_powers, x, k, options=options)


def _base(xs: Expressions, a: Node, n: Any) -> Node:
    """a, or the number of which it is the power."""
    if a.known is None or a.known == 1:
        return a
    return xs.const(a.known ** (1 / n), a.shape, a.dtype)


def _same(a: Node, b: Node) -> bool:
    return a is b or (a.known is not None and a.known == b.known == 1)


def _power(xs: Expressions, v: Node) -> tuple[Node, int | float | Node | None] | None:
    """(x, n) of xⁿ; n is None for a positive number, a power of any exponent."""
    if v.known is not None:
        return (v, None) if v.known > 0 else None
    if v.op == "square":
        return v.args[0], 2
    if v.op == "integer_pow" and v.params["y"] > 1:
        return v.args[0], int(v.params["y"])
    if v.op == "pow":
        t = v.args[1].known
        if t is None:
            return v.args[0], v.args[1]
        return (v.args[0], t) if t > 1 else None
    return None


def log_one_plus_square(xs: Expressions, v: Node) -> Node | None:
    """log(1 + k·x²) and log1p(k·x²)."""
    lin = expanded(xs, v.args[0])
    if len(lin.terms) != 1 or lin.constant != (1.0 if v.op == "log" else 0.0):
        return None
    square, k = lin.terms[0]
    if square.op != "square" or k <= 0 or square.shape != v.shape:
        return None
    x = square.args[0]
    x = x if k == 1 else xs.scale(x, math.sqrt(k))
    return xs.call("log1p_square", ratios.log1p_square, x)
