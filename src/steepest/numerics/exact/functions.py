"""Functions of numbers, with the conventions of IEEE 754 at singular points.

log 0 = −∞, 1/0 = ∞, √−1 = NaN; there is one zero, without a sign. Results whose
exponent would not fit in memory (exp of 2²⁰⁰) are ∞ or 0.
"""

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
from mpmath import mpc, mpf
from mpmath.libmp import ComplexResult, NoConvergence

from .run import Run, size_of


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
