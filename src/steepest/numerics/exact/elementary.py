"""Functions of one element each, with the conventions of IEEE 754 at singular points.

log 0 = −∞, 1/0 = ∞, √−1 = NaN; there is one zero, without a sign. Results whose
exponent would not fit in memory (exp of 2²⁰⁰) are ∞ or 0. What a function loses of an
argument that was rounded is in `LOSSES`, from its condition number x f′(x) / f(x).
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
from mpmath import mpc, mpf
from mpmath.libmp import ComplexResult, NoConvergence

from ...core import jaxpr
from .run import Run, each, is_float, lift, native, size_of


NAN, INF, ONE = mpf("nan"), mpf("inf"), mpf(1)
FAILURES = (
    ZeroDivisionError,
    ValueError,
    OverflowError,
    ComplexResult,
    NoConvergence,
)
HUGE = 200  # bits of an exponent


# -- The four operations ---------------------------------------------------------------


def add(run: Run, x: Any, y: Any) -> Any:
    s = x + y
    if not x or not y or x == y:
        return s
    if not (mpmath.isfinite(x) and mpmath.isfinite(y)):
        return s
    if not s:
        if not (run.exact(x) and run.exact(y)):
            run.undecided = True
        return s
    run.absorb(abs(size_of(x) - size_of(y)))
    if not (run.exact(x) and run.exact(y)):
        run.report(max(size_of(x), size_of(y)) - size_of(s))
    return s


def subtract(run: Run, x: Any, y: Any) -> Any:
    return add(run, x, -y)


def multiply(run: Run, x: Any, y: Any) -> Any:
    return x * y


def divide(run: Run, x: Any, y: Any) -> Any:
    if y:
        return x / y
    return NAN if not x or x != x else (INF if x > 0 else -INF) * 1


def remainder(run: Run, x: Any, y: Any) -> Any:
    """As in C: the sign is that of x."""
    if not y or not mpmath.isfinite(x) or y != y:
        return NAN
    if not mpmath.isfinite(y):
        return x
    if not run.exact(x):
        run.undecided = True
    return x - y * mpf(int(x / y))


def power(run: Run, x: Any, y: Any) -> Any:
    if isinstance(x, mpc):
        return x**y
    y = mpf(int(y)) if isinstance(y, int | np.integer) else y
    if y == 0 or x == 1:
        return ONE
    if x != x or y != y:
        return NAN
    if not mpmath.isfinite(y):
        size = abs(x)
        return ONE if size == 1 else INF if (size > 1) == (y > 0) else mpf(0)
    if x == 0 or not mpmath.isfinite(x):
        odd = mpmath.isint(y) and int(y) % 2 == 1 and x < 0
        result = mpf(0) if (x == 0) == (y > 0) else INF
        return -result if odd else result
    if x < 0 and not mpmath.isint(y):
        return NAN
    grown = y * mpmath.log(abs(x))
    if size_of(grown) > HUGE:
        return INF if grown > 0 else mpf(0)
    if not (run.exact(x) and run.exact(y)):
        run.report(max(0, size_of(y), size_of(grown)))
    return x ** int(y) if mpmath.isint(y) and abs(y) < 2**60 else x**y


# -- Functions of one argument ---------------------------------------------------------


def real_only(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """NaN where a real argument has no real result."""

    def at(x: Any) -> Any:
        if isinstance(x, mpf) and x != x:
            return x
        try:
            y = f(x)
        except FAILURES:
            return NAN
        return NAN if isinstance(y, mpc) and isinstance(x, mpf) else mpmath.mpmathify(y)

    return at


def guarded(f: Callable[[Any], Any], low: Any, high: Any) -> Callable[[Any], Any]:
    """`f`, with its limits `low` and `high` beyond 2²⁰⁰."""

    def at(x: Any) -> Any:
        if isinstance(x, mpf) and (x == INF or x == -INF or size_of(x) > HUGE):
            return (low if x < 0 else high) if x == x else x
        return f(x)

    return at


def logistic(x: Any) -> Any:
    if isinstance(x, mpc) or x >= 0:
        return 1 / (1 + mpmath.exp(-x))
    e = mpmath.exp(x)
    return e / (1 + e)


def log(x: Any) -> Any:
    return -INF if x == 0 else mpmath.log(x)


def log1p(x: Any) -> Any:
    return -INF if x == -1 else mpmath.log1p(x)


def lgamma(x: Any) -> Any:
    if (mpmath.isint(x) and x <= 0) or not mpmath.isfinite(x):
        return INF
    return mpmath.re(mpmath.loggamma(x))


def atanh(x: Any) -> Any:
    return x * INF if abs(x) == 1 else mpmath.atanh(x)


def cbrt(x: Any) -> Any:
    return -mpmath.cbrt(-x) if x < 0 else mpmath.cbrt(x)


def sign(x: Any) -> Any:
    return mpmath.sign(x)


def finite(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """`f`; infinities stay what they are."""
    return lambda x: f(x) if mpmath.isfinite(x) else x


def scaled_bessel(order: int) -> Callable[[Any], Any]:
    return lambda x: mpmath.besseli(order, x) * mpmath.exp(-abs(x))


ZERO = mpf(0)
UNARY: dict[str, Callable[[Any], Any]] = {
    "neg": lambda x: -x,
    "abs": abs,
    "sign": sign,
    "floor": finite(mpmath.floor),
    "ceil": finite(mpmath.ceil),
    "exp": guarded(mpmath.exp, ZERO, INF),
    "exp2": guarded(lambda x: mpf(2) ** x, ZERO, INF),
    "expm1": guarded(mpmath.expm1, -ONE, INF),
    "log": log,
    "log2": lambda x: log(x) / mpmath.log(2),
    "log1p": log1p,
    "logistic": guarded(logistic, ZERO, ONE),
    "tanh": guarded(mpmath.tanh, -ONE, ONE),
    "sinh": guarded(mpmath.sinh, -INF, INF),
    "cosh": guarded(mpmath.cosh, INF, INF),
    "sin": mpmath.sin,
    "cos": mpmath.cos,
    "tan": mpmath.tan,
    "asin": mpmath.asin,
    "acos": mpmath.acos,
    "atan": mpmath.atan,
    "asinh": mpmath.asinh,
    "acosh": mpmath.acosh,
    "atanh": atanh,
    "sqrt": mpmath.sqrt,
    "rsqrt": lambda x: INF if x == 0 else 1 / mpmath.sqrt(x),
    "cbrt": cbrt,
    "square": lambda x: x * x,
    "one_minus_square": lambda x: (1 - x) * (1 + x),
    "erf": guarded(mpmath.erf, -ONE, ONE),
    "erfc": guarded(mpmath.erfc, mpf(2), ZERO),
    "erf_inv": mpmath.erfinv,
    "lgamma": lgamma,
    "digamma": mpmath.digamma,
    "bessel_i0e": scaled_bessel(0),
    "bessel_i1e": scaled_bessel(1),
    "real": mpmath.re,
    "imag": mpmath.im,
    "conj": mpmath.conj,
}
BINARY: dict[str, Callable[[Run, Any, Any], Any]] = {
    "add": add,
    "add_any": add,
    "sub": subtract,
    "mul": multiply,
    "div": divide,
    "rem": remainder,
    "pow": power,
    "atan2": lambda run, y, x: mpmath.atan2(y, x) if x or y else ZERO,
    "max": lambda run, x, y: decided(run, x, y) and (x if x != x or x > y else y),
    "min": lambda run, x, y: decided(run, x, y) and (x if x != x or x < y else y),
    "complex": lambda run, x, y: mpc(x, y),
}
COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "eq": lambda x, y: x == y,
    "ne": lambda x, y: x != y,
    "lt": lambda x, y: x < y,
    "le": lambda x, y: x <= y,
    "gt": lambda x, y: x > y,
    "ge": lambda x, y: x >= y,
}
SPECIAL: dict[str, Callable[..., Any]] = {
    "polygamma": lambda m, x: mpmath.psi(int(m), x),
    "igamma": lambda a, x: mpmath.gammainc(a, 0, x, regularized=True),
    "igammac": lambda a, x: mpmath.gammainc(a, x, mpmath.inf, regularized=True),
    "igamma_grad_a": lambda a, x: mpmath.diff(
        lambda b: mpmath.gammainc(b, 0, x, regularized=True), a
    ),
    "zeta": mpmath.zeta,
    "regularized_incomplete_beta": lambda a, b, x: mpmath.betainc(
        a, b, 0, x, regularized=True
    ),
}


def decided(run: Run, x: Any, y: Any) -> bool:
    """Report a comparison of rounded numbers that are nearly the same; always True."""
    if x != y and mpmath.isfinite(x) and mpmath.isfinite(y):
        d = x - y
        near = max(size_of(x), size_of(y)) - size_of(d) > run.half
        if near and not (run.exact(x) and run.exact(y)):
            run.undecided = True
    return True


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
