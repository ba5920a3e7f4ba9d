"""Operations on each element, and what they lose of what they are given.

What a function loses of an argument that was rounded is in `LOSSES`, from its condition
number x f′(x) / f(x).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
from mpmath import mpc, mpf

from ...core import jaxpr
from .functions import (
    BINARY,
    COMPARED,
    FAILURES,
    NAN,
    ONE,
    SPECIAL,
    UNARY,
    decided,
    divide,
    real_only,
)
from .run import Run, each, is_float, lift, native, size_of


# -- What a function loses of a rounded argument: bits, from x, y = f(x) --------------


def near_one(x: Any, y: Any) -> float:
    """asin, acos, atanh, acosh: what 1 − x² loses."""
    rest = 1 - x * x
    return 1 - size_of(rest) - size_of(y) if rest and y else 0


LOSSES: dict[str, Callable[[Any, Any], float]] = {
    **dict.fromkeys(("exp", "expm1", "sinh", "cosh"), lambda x, y: size_of(x)),
    "exp2": lambda x, y: size_of(x),
    "logistic": lambda x, y: size_of(x),
    "erfc": lambda x, y: 2 * size_of(x) + 1,
    "log": lambda x, y: 1 - size_of(y),
    "log2": lambda x, y: 1 - size_of(y),
    "log1p": lambda x, y: size_of(x) - size_of(1 + x) - size_of(y),
    **dict.fromkeys(("sin", "cos"), lambda x, y: size_of(x) - size_of(y) + 1),
    "tan": lambda x, y: size_of(x) + abs(size_of(y)) + 1,
    **dict.fromkeys(("asin", "acos", "atanh", "acosh"), near_one),
    "one_minus_square": lambda x, y: 2 * size_of(x) + 1 - size_of(y),
}
SAFE = frozenset(
    [
        "neg",
        "abs",
        "sign",
        "sqrt",
        "rsqrt",
        "cbrt",
        "square",
        "tanh",
        "atan",
        "asinh",
        "erf",
        "real",
        "imag",
        "conj",
    ]
)
ROUNDING = frozenset(("floor", "ceil", "round", "sign"))


def unary(name: str) -> Callable[..., Any]:
    f = real_only(UNARY[name])
    lost, safe = LOSSES.get(name), name in SAFE

    def rule(run: Run, equation: jaxpr.Equation, x: Any) -> Any:
        if not is_object(x):
            return equation.bind(x)

        def at(v: Any) -> Any:
            y = f(v)
            if safe or not v or run.exact(v) or not mpmath.isfinite(v):
                return y
            if lost is None:
                run.undecided = True
            elif y and mpmath.isfinite(y):
                run.report(lost(v, y))
            return y

        return each(at, x)

    return rule


def binary(name: str) -> Callable[..., Any]:
    f = BINARY[name]

    def rule(run: Run, equation: jaxpr.Equation, x: Any, y: Any) -> Any:
        if not is_object(x):
            return natively(equation, x, y)
        return each(lambda a, b: f(run, a, b), x, y)

    return rule


def comparison(name: str) -> Callable[..., Any]:
    f = COMPARED[name]

    def rule(run: Run, equation: jaxpr.Equation, x: Any, y: Any) -> Any:
        if not is_object(x):
            return natively(equation, x, y)
        both = np.frompyfunc(lambda a, b: decided(run, a, b) and f(a, b), 2, 1)
        return np.asarray(both(x, y), bool)

    return rule


def special(name: str) -> Callable[..., Any]:
    f = SPECIAL[name]

    def at(*values: Any) -> Any:
        try:
            return mpmath.mpmathify(f(*values))
        except FAILURES:
            return NAN

    def rule(run: Run, equation: jaxpr.Equation, *values: Any) -> Any:
        run.undecided = True
        return each(at, *values)

    return rule


# -- Those with parameters, and conversions --------------------------------------------


def integer_pow(run: Run, equation: jaxpr.Equation, x: Any) -> Any:
    n = equation.params["y"]
    if not is_object(x):
        return natively(equation, x)
    return each(lambda v: divide(run, ONE, v**-n) if n < 0 else v**n, x)


def round_(run: Run, equation: jaxpr.Equation, x: Any) -> Any:
    even = int(equation.params["rounding_method"]) == 1

    def at(v: Any) -> Any:
        if not mpmath.isfinite(v):
            return v
        return mpmath.nint(v) if even else mpmath.sign(v) * mpmath.floor(abs(v) + 0.5)

    return each(at, x) if is_object(x) else natively(equation, x)


def is_finite(run: Run, equation: jaxpr.Equation, x: Any) -> Any:
    return np.asarray(np.frompyfunc(mpmath.isfinite, 1, 1)(x), bool)


def clamp(run: Run, equation: jaxpr.Equation, low: Any, x: Any, high: Any) -> Any:
    if not is_object(x):
        return natively(equation, low, x, high)
    return each(lambda a, v, b: v if v != v else min(max(v, a), b), low, x, high)


def convert(run: Run, equation: jaxpr.Equation, x: Any) -> Any:
    """Formats of floats are one; towards integers numbers are cut off."""
    aval = equation.outputs[0]
    if not is_object(x):
        if not is_float(aval):
            return natively(equation, x)
        return lift_integers(x, aval)
    if jnp.issubdtype(aval.dtype, jnp.complexfloating):
        return each(mpc, x)
    if is_float(aval):
        return each(mpmath.re, x)
    if aval.dtype == bool:
        return np.asarray(np.frompyfunc(bool, 1, 1)(x), bool)
    info = jnp.iinfo(aval.dtype)

    def cut(v: Any) -> int:
        if v != v:
            return 0
        v = min(max(v, mpf(int(info.min))), mpf(int(info.max)))
        return int(v)

    return np.asarray(np.frompyfunc(cut, 1, 1)(x)).astype(aval.dtype)


def lift_integers(x: Any, aval: Any) -> Any:
    kind = mpc if jnp.issubdtype(aval.dtype, jnp.complexfloating) else mpf
    return each(lambda v: kind(int(v)), np.asarray(x))


def polynomial(run: Run, equation: jaxpr.Equation, x: Any, *coefficients: Any) -> Any:
    """Horner's rule, the coefficient of the highest power first."""
    run.undecided = True
    (many,) = coefficients if len(coefficients) == 1 else (np.stack(coefficients),)
    y = each(lambda v: mpf(0), x)
    for c in many:
        y = each(lambda a, b, k: a * b + k, y, x, np.broadcast_to(c, x.shape))
    return y


def nextafter(run: Run, equation: jaxpr.Equation, *values: Any) -> Any:
    """A neighbour in the program's format, which is what it is asked for."""
    return natively(equation, *values)


def same(run: Run, equation: jaxpr.Equation, *values: Any) -> Any:
    return list(values)


def natively(equation: jaxpr.Equation, *values: Any) -> Any:
    """The equation as it is, on values rounded to the formats of the program."""
    given = [native(x, aval) for x, aval in zip(values, equation.inputs, strict=True)]
    return [lift(out) if not is_key(out) else out for out in equation.bind(*given)]


def is_key(x: Any) -> bool:
    return jax.dtypes.issubdtype(x.dtype, jax.dtypes.extended)


def is_object(x: Any) -> bool:
    return isinstance(x, np.ndarray) and x.dtype == object


RULES: dict[str, Callable[..., Any]] = {
    **{name: unary(name) for name in UNARY},
    **{name: binary(name) for name in BINARY},
    **{name: comparison(name) for name in COMPARED},
    **{name: special(name) for name in SPECIAL},
    "integer_pow": integer_pow,
    "round": round_,
    "is_finite": is_finite,
    "clamp": clamp,
    "convert_element_type": convert,
    "polynomial": polynomial,
    "nextafter": nextafter,
    "bitcast_convert_type": nextafter,
    **dict.fromkeys(
        [
            "reduce_precision",
            "stop_gradient",
            "copy",
            "copy_p",
            "optimization_barrier",
            "device_put",
            "sharding_constraint",
            "name",
            "pvary",
        ],
        same,
    ),
}
