"""Which operation is looked at for what, and why it is rewritten.

A rule gets a value of the program and gives a stable form of it, or None. It fires
where the form as written can overflow, vanish or cancel for some finite input, so that
a program without such a risk stays as it is.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from . import functions as f, ratios
from .difference import cancelling
from .exponential import log_node
from .expression import Expressions, Node, origin
from .facts import bounds, positive
from .halves import accumulated, scaled
from .lengths import angle
from .linear import emit, expanded
from .logarithm import log_of, product
from .oneplus import log_near_one
from .products import log_one_plus_square
from .quotient import power, quotient, root
from .singular import (
    empty_sum,
    entropy,
    masked,
    masked_product,
    root_of_positive_part,
)


class Form(NamedTuple):
    """A stable form of a value, and what was wrong with the old one."""

    node: Node
    why: str


Rule = Callable[[Expressions, Node], Node | None]


def improve(xs: Expressions, v: Node) -> Form | None:
    """A stable form of `v`, if it needs one and has one."""
    memo = xs.memo.setdefault("improve", {})
    if v.id not in memo:
        memo[v.id] = None
        memo[v.id] = _improve(xs, v)
    return memo[v.id]


def _improve(xs: Expressions, v: Node) -> Form | None:
    if v.equation is None or v.dtype is None:
        return None
    for rule, why in RULES.get(v.op, ()):
        if rule in CHANGING and v.guarded:
            continue
        found = rule(xs, v)
        if found is not None and found is not v:
            return Form(found, BECAUSE.get(_head(found), why)(v))
    return None


# -- Logarithms ------------------------------------------------------------------------


def log(xs: Expressions, v: Node) -> Node | None:
    """log of exponentials, of products, of determinants, of what is near 1."""
    a = v.args[0]
    if not a.floating:
        return None
    eps = absorbed(xs, a)
    if eps is not None:
        return log_of_apart(xs, eps)
    L = log_of(xs, a)
    if L is not None:
        low, high = bounds(xs, a)
        if low <= 0 or high == math.inf:
            return log_node(xs, L, v)
        return None
    return _log_of_product(xs, a) or log_one_plus_square(xs, v) or log_near_one(xs, a)


def log_of_apart(xs: Expressions, a: Node) -> Node:
    """log((1 − p) + ε): near 1 it is log1p(ε − p), which keeps both p and ε."""
    kept, eps = a.args
    if kept.args and eps.known is not None:
        lin = expanded(xs, kept.args[0])
        if lin.constant == 1 and lin.terms:
            rest = eps.known if a.op == "add" else -eps.known
            d = emit(xs, lin._replace(constant=rest), a)
            return xs.call("log_near_one", f.log_near_one, d, a)
    return xs.unary("log", a)


def _log_of_product(xs: Expressions, a: Node) -> Node | None:
    inner = origin(a, frozenset(("reshape", "squeeze", "broadcast_in_dim", "copy")))
    absolute = inner.op == "abs"
    whole = inner.args[0] if absolute else inner
    if inner is not a and whole.op not in ("reduce_prod", "det"):
        return None
    out = None
    if whole.op == "reduce_prod":
        name = "log_abs_product" if absolute else "log_product"
        fun = f.log_abs_product if absolute else f.stable("log_product")
        options = {"axis": tuple(whole.params["axes"])}
        (x,) = whole.args
        out = xs.call(name, fun, x, options=options, shape=whole.shape)
    elif whole.op == "cumprod" and inner is a:
        options = {k: whole.params[k] for k in ("axis", "reverse")}
        options["absolute"] = absolute
        return xs.call("log_cumprod", ratios.log_cumprod, *whole.args, options=options)
    elif whole.op == "det":
        name = "log_abs_determinant" if absolute else "log_determinant"
        fun = f.log_abs_determinant if absolute else f.log_determinant
        out = xs.call(name, fun, whole.args[0], shape=whole.shape)
    elif a.op == "square":
        log_abs = xs.unary("log", xs.unary("abs", a.args[0]))
        better = _log_of_product(xs, xs.unary("abs", a.args[0]))
        return xs.scale(log_abs if better is None else better, 2.0)
    elif a.op == "mul":  # a positive factor that is a product itself
        for one, other in (a.args, a.args[::-1]):
            better = _log_of_product(xs, one)
            if better is not None and (positive(xs, other) or other.known):
                if other.known is not None and other.known <= 0:
                    continue
                return xs.add(better, xs.unary("log", other))
        return None
    elif a.op == "sqrt":
        better = _log_of_product(xs, a.args[0])
        return None if better is None else xs.scale(better, 0.5)
    if out is None or out.shape == a.shape:
        return out
    path = []
    while a is not inner:
        path.append(a)
        a = a.args[0]
    for like in reversed(path):
        out = xs.move(like, out)
    return out


def log1p(xs: Expressions, v: Node) -> Node | None:
    """log1p(e^x), log1p(−σ(x)): the logarithm of 1 + a as a whole."""
    a = v.args[0]
    if a.op == "expm1":
        return a.args[0]
    if not product(xs, a).exps:
        return log_one_plus_square(xs, v)
    whole = xs.add(xs.number(1.0, a), a)
    L = log_of(xs, whole)
    low, high = bounds(xs, whole)
    if L is None or (low > 0 and high < math.inf):
        return None
    return log_node(xs, L, v)


def absorbed(xs: Expressions, a: Node) -> Node | None:
    """(1 − p) + ε with 1 − p kept apart: the compiler would add ε to the 1 first.

    Python itself adds 1 + ε, exactly for our purpose, before the format drops ε.
    """
    if a.op not in ("add", "sub"):
        return None
    one = next((n for n in a.args if n.known is not None), None)
    if one is not None and one.known is not None and a.dtype is not None:
        nearest = float(np.asarray(one.known).astype(a.dtype))
        if nearest and 0 < one.known - nearest < float(jnp.finfo(a.dtype).eps):
            other = next(n for n in a.args if n is not one)
            whole = xs.number(nearest, a)
            join = {"add": xs.add, "sub": xs.sub}[a.op]
            pair = (whole, other) if a.args[0] is one else (other, whole)
            kept = xs.call("apart", f.apart, join(*pair))
            eps = xs.number(one.known - nearest, a)
            later = a.op == "sub" and a.args[1] is one
            return xs.sub(kept, eps) if later else xs.add(kept, eps)
    pairs = [(a.args[0], a.args[1])]
    if a.op == "add":
        pairs.append((a.args[1], a.args[0]))
    for inner, eps in pairs:
        e = eps.known
        if e is None or inner.op not in ("add", "sub") or a.dtype is None:
            continue
        one = expanded(xs, inner).constant
        if not 0 < abs(e) < float(jnp.finfo(a.dtype).eps) * abs(one):
            continue
        kept = xs.call("apart", f.apart, _one_plus(xs, inner))
        return xs.add(kept, eps) if a.op == "add" else xs.sub(kept, eps)
    return None


def _one_plus(xs: Expressions, inner: Node) -> Node:
    found = cancelling(xs, inner)
    return inner if found is None else found


# -- Inverses --------------------------------------------------------------------------


INVERSE = {"atanh": "tanh", "asinh": "sinh", "logit": "logistic"}


def inverse(xs: Expressions, v: Node) -> Node | None:
    """artanh(tanh u) = u, of which the middle has no digits left."""
    inner = v.args[0]
    if inner.op == INVERSE[v.op] and inner.dtype == v.dtype and len(inner.args) == 1:
        u = inner.args[0]
        return u if u.shape == v.shape else None
    return None


# -- Why -------------------------------------------------------------------------------


def _range(v: Node) -> str:
    dtype = v.dtype if v.floating else jnp.float32
    info = jnp.finfo(dtype)
    high, low = math.log(float(info.max)), math.log(float(info.tiny))
    return f"{jnp.dtype(dtype).name} above {high:.1f} and vanishes below {low:.1f}"


def _exponential(v: Node) -> str:
    return f"the exponential overflows {_range(v)}"


def _cancels(v: Node) -> str:
    eps = float(jnp.finfo(v.dtype).eps)
    return f"nearly equal numbers are subtracted; less than {eps:.1e} of them is lost"


def _square(v: Node) -> str:
    limit = math.sqrt(float(jnp.finfo(v.dtype).max))
    return f"the square overflows above {limit:.1e}, and √ has no slope at 0"


def _singular(v: Node) -> str:
    return "the masked branch has an infinite slope where it is hidden: 0·∞ is NaN"


def _zero(v: Node) -> str:
    return "at 0 the product is 0·(−∞), and its limit is 0"


def _empty(v: Node) -> str:
    return "a row of −∞ alone has the sum 0, whose logarithm has an infinite slope"


def _short(v: Node) -> str:
    return "a sum in sixteen bits stops growing after a few hundred terms"


def _large(v: Node) -> str:
    return "on the way to the result float16 overflows above 65504"


def _angle(v: Node) -> str:
    return "the arccosine loses half of the digits near 0 and π"


def _product(v: Node) -> str:
    eps = float(jnp.finfo(v.dtype).eps)
    return (
        f"the exponential or product overflows {_range(v)}, "
        f"and 1 + x loses what of x is below {eps:.1e}"
    )


def _powers(v: Node) -> str:
    high = float(jnp.finfo(v.dtype).max)
    return (
        f"a power or product overflows above {high:.1e}, or vanishes, before the rest"
    )


def _removable(v: Node) -> str:
    return "at 0 the quotient is 0/0, and near it nothing but rounding is divided"


def _head(form: Node) -> str:
    """The function that a form is, without a factor, a sign or what is added to it."""
    while form.op in ("mul", "neg", "add", "sub") and form.equation is None:
        free = [a for a in form.args if a.known is None]
        if len(free) != 1:
            return form.op
        form = free[0]
    return form.op


#: Why, where the form tells more than the operation that it stands for.
BECAUSE: dict[str, Callable[[Node], str]] = {
    **dict.fromkeys(("normalise", "cosine_similarity", "log1p_square"), _square),
    **dict.fromkeys(
        ("share_of_powers", "share_of_products", "power_of_product"), _powers
    ),
    **dict.fromkeys(("log_product", "log_abs_product", "log_cumprod"), _powers),
    **dict.fromkeys(("expm1_over_x", "sinc", "tanh_over_x", "sinh_over_x"), _removable),
    **dict.fromkeys(("log1p_over_x", "power_over_exponent"), _removable),
    "versine_over_square": _removable,
}


RULES: dict[str, tuple[tuple[Rule, Callable[[Node], str]], ...]] = {
    "log": ((log, _product), (scaled, _large), (empty_sum, _empty)),
    "log1p": ((log1p, _exponential), (scaled, _large)),
    "add": ((cancelling, _cancels),),
    "sub": ((cancelling, _cancels),),
    "mul": (
        (entropy, _zero),
        (masked_product, _singular),
        (quotient, _exponential),
        (scaled, _large),
    ),
    "div": ((quotient, _exponential), (scaled, _large)),
    "sqrt": ((root_of_positive_part, _singular), (root, _square), (scaled, _large)),
    "rsqrt": ((root, _square), (scaled, _large)),
    "pow": ((root_of_positive_part, _singular), (power, _cancels), (scaled, _large)),
    "acos": ((angle, _angle),),
    "atanh": ((inverse, _exponential),),
    "asinh": ((inverse, _exponential),),
    "logit": ((inverse, _exponential),),
    "select_n": ((masked, _singular),),
    "reduce_sum": ((accumulated, _short),),
    "cumsum": ((accumulated, _short),),
}


#: Rules that round otherwise than the function that they replace.
CHANGING = (
    cancelling,
    entropy,
    masked_product,
    root_of_positive_part,
    root,
    power,
    log,
    log1p,
    inverse,
    accumulated,
    scaled,
)
