"""What the compiler makes of a program: identities of real numbers that XLA applies.

Under `jit`, XLA replaces operations by others that are equal for real numbers, and not
for floating-point numbers. Some rescue a program, log(exp x) → x; these can make one fail
that is sound as written:

    x·c₁·c₂ → x·(c₁c₂), x + c₁ + c₂ → x + (c₁ + c₂)     c₁c₂ overflows, c₁ + c₂ absorbs
    x/c → x·(1/c)                                       1/c is subnormal, so 0
    (a/b)/c → a/(bc), a/(b/c) → ac/b                    bc and ac overflow
    ac + bc → (a + b)c                                  a + b overflows

`IDENTITIES` lists all that are known, each with an input at which it shows and the
version of JAX without it; tests measure every one at both ends of the supported range.
`folded` applies those above to a program: what can fail in that, and not in the program
as it is written, is what an audit looks for in the compiled one.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from ...core import jaxpr


class Identity(NamedTuple):
    """An identity that XLA applies, and an input at which that can be seen."""

    before: str
    after: str
    fun: Callable[..., Any]
    inputs: tuple[float, ...]  # float32
    eager: float  # the result as written, to six digits
    compiled: float  # and with the identity
    until: tuple[int, int] | None = None  # the first version of JAX without it
    folded: bool = False  # whether `folded` applies it


HUGE = 1e30
INF, NAN = np.inf, np.nan
OLD = (0, 12)

#: As measured on the CPU with JAX 0.10.2 and 0.12.0.
IDENTITIES: tuple[Identity, ...] = (
    Identity(
        *("x·c₁·c₂", "x·(c₁c₂)", lambda x: x * HUGE * HUGE, (0.0,)),
        *(0.0, NAN, OLD, True),
    ),
    Identity(
        *("x·c₁/c₂", "x·(c₁/c₂)", lambda x: x * 1e-30 / 1e-30, (1e-15,)),
        *(0.0, 1e-15, OLD, True),
    ),
    Identity(
        *("x + c₁ + c₂", "x + (c₁ + c₂)", lambda x: x + 3e38 + 3e38, (-3e38,)),
        *(3e38, INF, OLD, True),
    ),
    Identity(
        *("(c₁ − x) + c₂", "(c₁ + c₂) − x", lambda x: (1 - x) + 1e-10, (1.0,)),
        *(1e-10, 0.0, OLD, True),
    ),
    Identity(
        *("x/c", "x·(1/c)", lambda x: x / 3e38, (3e38,)),
        *(1.0, 0.0, None, True),
    ),
    Identity(
        *("a/b/c", "a/(b·c)", lambda a, b, c: a / b / c, (1e30, 1e20, 1e20)),
        *(1e-10, 0.0, None, True),
    ),
    Identity(
        *("a/(b/c)", "a·c/b", lambda a, b, c: a / (b / c), (1e30, 1e30, 1e20)),
        *(1e20, INF, None, True),
    ),
    Identity(
        *("a·c + b·c", "(a + b)·c", lambda a, b: a * 0.5 + b * 0.5, (3e38, 3e38)),
        *(3e38, INF, None, True),
    ),
    Identity(
        *("log(exp x)", "x", lambda x: jnp.log(jnp.exp(x)), (100.0,)),
        *(INF, 100.0, OLD),
    ),
    Identity(
        *("log(xʸ)", "y·log x", lambda x, y: jnp.log(x**y), (1e30, 3.0)),
        *(INF, 207.232666),
    ),
    Identity(
        *("exp a · exp b", "exp(a + b)", lambda a, b: jnp.exp(a) * jnp.exp(b)),
        *((100.0, -100.0), NAN, 1.0, OLD),
    ),
    Identity(
        *("exp a / exp b", "exp(a − b)", lambda a, b: jnp.exp(a) / jnp.exp(b)),
        *((100.0, 100.0), NAN, 1.0, OLD),
    ),
    Identity(
        *("√(x·x)", "|x|", lambda x: jnp.sqrt(x * x), (1e20,)),
        *(INF, 1e20, OLD),
    ),
    Identity(
        *("(x²)ᵗ", "|x|²ᵗ", lambda x: (x**2) ** 0.5, (1e30,)),
        *(INF, 1e30, OLD),
    ),
    Identity(
        *("x·y + z", "one rounding", lambda x, y, z: x * y + z),
        *((1.1, 1.7, -1.87), 0.0, -3.09944e-08),
    ),
)


# -- A program with the identities applied ---------------------------------------------


class Form(NamedTuple):
    """A value, and what it was made of: by one operation, of a number if there is one."""

    value: Any
    op: str = ""
    parts: tuple[Any, ...] = ()  # forms
    number: float | None = None  # the value itself, where it is a constant


def folded(closed: jaxpr.Closed) -> jaxpr.Closed | None:
    """The program as XLA may compute it; None where none of the identities applies."""
    applied: list[str] = []

    def step(equation: jaxpr.Equation, *operands: Form) -> list[Form]:
        rule = RULES.get(equation.primitive)
        if rule is not None and all(map(_narrow, operands)):
            found = rule(*operands)
            if found is not None:
                applied.append(equation.primitive)
                return [found]
        outs = equation.bind(*(x.value for x in operands))
        return [Form(y, equation.primitive, operands) for y in outs]

    def run(*values: Any) -> list[Any]:
        loops = dict.fromkeys((jaxpr.Scan, jaxpr.While, jaxpr.Cond), step)
        outs = jaxpr.evaluate(
            closed, [Form(v) for v in values], lift=_lifted, rules=loops, default=step
        )
        return [out.value for out in outs]

    avals = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in _inputs(closed)]
    program = jax.make_jaxpr(run)(*avals)
    return program if applied else None


def _inputs(closed: jaxpr.Closed) -> Sequence[Any]:
    return closed.jaxpr.invars


def _lifted(x: Any) -> Form:
    plain = np.ndim(x) == 0 and isinstance(x, (int, float, np.generic, np.ndarray))
    return Form(x, number=float(x) if plain and np.isrealobj(x) else None)


def _narrow(x: Form) -> bool:
    return jnp.result_type(x.value) in (jnp.float32, jnp.bfloat16, jnp.float16)


def _rounded(c: float, like: Form) -> np.ndarray:
    """A number in the format of a value, without its subnormal ones."""
    dtype = jnp.result_type(like.value)
    with np.errstate(all="ignore"):
        number = np.asarray(c).astype(dtype)
        small = abs(number) < jnp.finfo(dtype).tiny
        return np.where(small, 0, number).astype(dtype)


def _scale(x: Form) -> tuple[Form, float]:
    """(y, c) of a value that is y·c."""
    if x.op == "mul":
        for y, c in (x.parts, x.parts[::-1]):
            if c.number is not None:
                return y, c.number
    if x.op == "div" and x.parts[1].number:
        y, c = x.parts
        return y, float(_rounded(1 / c.number, y))
    return x, 1.0


def _scaled(x: Form, c: float) -> Form:
    number = _rounded(c, x)
    value = lax.mul(x.value, lax.broadcast(number, jnp.shape(x.value)))
    return Form(value, "mul", (x, Form(number, number=float(number))))


def _mul(x: Form, y: Form) -> Form | None:
    for a, c in ((x, y), (y, x)):
        if c.number is not None and a.number is None:
            base, d = _scale(a)
            return None if base is a else _scaled(base, d * c.number)
    return None


def _div(x: Form, y: Form) -> Form | None:
    if y.number is not None:
        if x.number is not None or not y.number:
            return None
        base, d = _scale(x)
        inverse = float(_rounded(1 / y.number, x))
        if base is x and inverse:
            return None  # the same but for the last digit
        return _scaled(base, d * inverse)
    if y.op == "div" and jnp.shape(x.value) == jnp.shape(y.value):
        b, c = y.parts
        above = Form(lax.mul(x.value, c.value), "mul", (x, c))
        return Form(lax.div(above.value, b.value), "div", (above, b))
    if x.op == "div" and x.parts[1].number is None:
        a, b = x.parts
        below = Form(lax.mul(b.value, y.value), "mul", (b, y))
        return Form(lax.div(a.value, below.value), "div", (a, below))
    return None


def _shift(x: Form) -> tuple[Form, float, int]:
    """(y, c, s) of a value that is s·y + c."""
    if x.op == "add":
        for y, c in (x.parts, x.parts[::-1]):
            if c.number is not None:
                return y, c.number, 1
    if x.op == "sub":
        a, b = x.parts
        if b.number is not None:
            return a, -b.number, 1
        if a.number is not None:
            return b, a.number, -1
    return x, 0.0, 1


def _shifted(x: Form, c: float, sign: int) -> Form:
    number = _rounded(c, x)
    whole = lax.broadcast(number, jnp.shape(x.value))
    parts = (Form(number, number=float(number)), x)
    if sign > 0:
        return Form(lax.add(whole, x.value), "add", parts)
    return Form(lax.sub(whole, x.value), "sub", parts)


def _add(x: Form, y: Form) -> Form | None:
    for a, c in ((x, y), (y, x)):
        if c.number is not None and a.number is None:
            base, d, sign = _shift(a)
            return None if base is a else _shifted(base, d + c.number, sign)
    (p, c), (q, d) = _scale(x), _scale(y)
    if p is not x and q is not y and c == d:
        total = Form(lax.add(p.value, q.value), "add", (p, q))
        return _scaled(total, c)
    return None


def _sub(x: Form, y: Form) -> Form | None:
    if y.number is None or x.number is not None:
        return None
    base, d, sign = _shift(x)
    return None if base is x else _shifted(base, d - y.number, sign)


RULES: dict[str, Callable[[Form, Form], Form | None]] = {
    "mul": _mul,
    "div": _div,
    "add": _add,
    "sub": _sub,
}
