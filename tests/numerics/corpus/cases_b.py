"""Table B: differences near 1, tails, and functions written out by hand."""

import jax.numpy as jnp
from jax.scipy.special import erf, erfc
from jax.scipy.stats import norm
from mpmath import mp

from steepest.numerics import stable

from .case import HUGE, LOSS, ZERO, Case, cdf, f32, pdf, span


ROOT2 = 2**0.5


def B1(x):
    return jnp.exp(x) - 1


def B2(x):
    return jnp.log(1 + x)


def B3(x):
    return jnp.log(1 - x)


def B4(x):
    return (jnp.exp(x) - 1) / x


def B5(x):
    return 1 - jnp.exp(-x)


def B6(x):
    return jnp.exp(x) / (jnp.exp(x) - 1)


def B7(x):
    return jnp.log(x + 1) - jnp.log(x)


def B8(x):
    return jnp.log((1 - x) / (1 + x))


def B9(i, n):
    return (1 + i / n) ** n


def B10(e, t):
    return 1 - (1 - e) ** t


def B11(x):
    return (jnp.exp(x) - jnp.exp(-x)) / (jnp.exp(x) + jnp.exp(-x))


def B12(x):
    return (jnp.exp(x) - jnp.exp(-x)) / 2


def B13(x):
    return 2 / (1 + jnp.exp(-2 * x)) - 1


def B14(x):
    return x * (1 + erf(x / ROOT2)) / 2


def B15(x):
    return 1 - erf(x)


def B16(x):
    return jnp.log(erfc(x))


def B17(x):
    return jnp.log(norm.cdf(x))


def B18(x):
    return norm.pdf(x) / norm.cdf(x)


def B19(x):
    return jnp.log(1 - jnp.tanh(x) ** 2)


def B20(x):
    return jnp.arctanh(jnp.tanh(x))


def B21(s):
    return jnp.exp(s) - 1 - s


def B22(x):
    return jnp.log((1 + x) / (1 - x)) / 2


def B23(x, y):
    return jnp.log(1 + jnp.exp(x)) - x * y


UNIT = span(-1, 1)
HALF = span(-0.5, 0.5)

CASES_B = (
    Case("B1", B1, (UNIT,), (f32(1e-6),), mp.expm1, False, ("sub",), LOSS, jnp.expm1),
    Case(
        "B2",
        B2,
        (HALF,),
        (f32(1e-8),),
        mp.log1p,
        False,
        ("add", "log"),
        LOSS,
        jnp.log1p,
    ),
    Case(
        "B3",
        B3,
        (HALF,),
        (f32(1e-8),),
        lambda x: mp.log1p(-x),
        False,
        ("sub", "log"),
        LOSS,
        lambda x: jnp.log1p(-x),
    ),
    Case(
        "B4",
        B4,
        (UNIT,),
        (f32(1e-6),),
        lambda x: mp.expm1(x) / x,
        False,
        ("sub", "div"),
        (*LOSS, "0/0"),
        stable.expm1_over_x,
    ),
    Case(
        "B5",
        B5,
        (span(0, 1),),
        (f32(1e-6),),
        lambda x: -mp.expm1(-x),
        False,
        ("sub",),
        LOSS,
        lambda x: -jnp.expm1(-x),
    ),
    Case(
        "B6",
        B6,
        (span(1e-9, 100),),
        (f32(1e-8),),
        lambda x: -1 / mp.expm1(-x),
        False,
        ("div", "sub", "exp"),
        (*ZERO, *HUGE),
        lambda x: -1 / jnp.expm1(-x),
    ),
    Case(
        "B7",
        B7,
        (span(1, 1e9),),
        (f32(1e8),),
        lambda x: mp.log1p(1 / x),
        False,
        ("sub", "add"),
        LOSS,
        lambda x: jnp.log1p(1 / x),
    ),
    Case(
        "B8",
        B8,
        (HALF,),
        (f32(1e-8),),
        lambda x: -2 * mp.atanh(x),
        False,
        ("log", "sub", "add", "div"),
        LOSS,
        lambda x: -2 * jnp.arctanh(x),
    ),
    Case(
        "B9",
        B9,
        (span(0, 0.2), span(1, 1e8)),
        (f32(0.05), f32(1e7)),
        lambda i, n: mp.exp(n * mp.log1p(i / n)),
        False,
        ("add", "pow"),
        LOSS,
        lambda i, n: jnp.exp(n * jnp.log1p(i / n)),
    ),
    Case(
        "B10",
        B10,
        (span(1e-9, 0.1), span(1, 1000)),
        (f32(1e-8), f32(1)),
        lambda e, t: -mp.expm1(t * mp.log1p(-e)),
        False,
        ("sub", "pow"),
        LOSS,
        lambda e, t: -jnp.expm1(t * jnp.log1p(-e)),
    ),
    Case(
        "B11",
        B11,
        (span(-200, 200),),
        (f32(100),),
        mp.tanh,
        False,
        ("exp", "div", "sub"),
        (*HUGE, *LOSS),
        jnp.tanh,
    ),
    Case(
        "B12",
        B12,
        (UNIT,),
        (f32(1e-5),),
        mp.sinh,
        False,
        ("sub",),
        LOSS,
        jnp.sinh,
    ),
    Case(
        "B13",
        B13,
        (UNIT,),
        (f32(1e-5),),
        mp.tanh,
        False,
        ("sub",),
        LOSS,
        jnp.tanh,
    ),
    Case(
        "B14",
        B14,
        (span(-10, 10),),
        (f32(-6),),
        lambda x: x * cdf(x),
        False,
        ("add", "erf"),
        LOSS,
        lambda x: x * erfc(-x / ROOT2) / 2,
    ),
    Case(
        "B15",
        B15,
        (span(0, 10),),
        (f32(5),),
        mp.erfc,
        False,
        ("sub", "erf"),
        LOSS,
        erfc,
    ),
    Case(
        "B16",
        B16,
        (span(0, 30),),
        (f32(12),),
        lambda x: mp.log(mp.erfc(x)),
        False,
        ("log", "erfc"),
        ZERO,
        stable.log_erfc,
    ),
    Case(
        "B17",
        B17,
        (span(-30, 5),),
        (f32(-20),),
        lambda x: mp.log(cdf(x)),
        False,
        ("log",),
        ZERO,
        stable.log_ndtr,
    ),
    Case(
        "B18",
        B18,
        (span(-30, 5),),
        (f32(-20),),
        lambda x: pdf(x) / cdf(x),
        False,
        ("div",),
        ZERO,
        stable.mills_ratio,
    ),
    Case(
        "B19",
        B19,
        (span(-20, 20),),
        (f32(10),),
        lambda x: -2 * mp.log(mp.cosh(x)),
        False,
        ("log", "sub"),
        ZERO,
        stable.log_one_minus_tanh2,
    ),
    Case(
        "B20",
        B20,
        (span(-20, 20),),
        (f32(10),),
        lambda x: x,
        False,
        ("atanh", "tanh"),
        ZERO,
        lambda x: x,
    ),
    Case(
        "B21",
        B21,
        (UNIT,),
        (f32(1e-4),),
        lambda s: mp.expm1(s) - s,
        False,
        ("sub",),
        LOSS,
        stable.expm1_minus,
    ),
    Case(
        "B22",
        B22,
        (HALF,),
        (f32(1e-6),),
        mp.atanh,
        False,
        ("log", "add", "sub", "div"),
        LOSS,
        jnp.arctanh,
    ),
    Case(
        "B23",
        B23,
        (span(-60, 60), span(0, 1)),
        (f32(50), f32(1)),
        lambda x, y: y * mp.log1p(mp.exp(-x)) + (1 - y) * mp.log1p(mp.exp(x)),
        False,
        ("sub", "add", "log"),
        LOSS,
        stable.binary_cross_entropy,
        "float64 makes the same mistake",
    ),
)
