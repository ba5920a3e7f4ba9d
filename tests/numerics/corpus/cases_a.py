"""Table A: logarithms and exponentials of logits."""

import math

import jax
import jax.numpy as jnp
from mpmath import mp

from steepest.numerics import stable

from .case import HUGE, LOSS, ZERO, Case, f32, lse, sigmoid, softmax, span


INF = float("inf")


def A1(x):
    return jnp.log(jax.nn.softmax(x))[1]


def A2(x, y):
    return -jnp.sum(y * jnp.log(jax.nn.softmax(x)))


def A3(x):
    return (jnp.exp(x) / jnp.sum(jnp.exp(x)))[0]


def A4(x):
    return jnp.log(jnp.sum(jnp.exp(x)))


def A5(x):
    return jnp.log(jnp.mean(jnp.exp(x)))


def A6(a, b):
    return jnp.log(jnp.exp(a) + jnp.exp(b))


def A7(x):
    return jnp.log(1 + jnp.exp(x))


def A8(x):
    return jnp.log(1 - jnp.exp(x))


def A9(a, b):
    return jnp.log(jnp.exp(a) - jnp.exp(b))


def A10(x):
    return jnp.log(jax.nn.sigmoid(x))


def A11(x):
    return jnp.log(1 - jax.nn.sigmoid(x))


def A12(x):
    return 1 / (1 + jnp.exp(-x))


def A13(x):
    return jnp.exp(x) / (1 + jnp.exp(x))


def A14(x):
    return 1 - jax.nn.sigmoid(x)


def A15(x):
    return jax.nn.sigmoid(x) / (1 - jax.nn.sigmoid(x))


def A16(x):
    s = jax.nn.sigmoid(x)
    return jnp.log(s / (1 - s))


def A17(x):
    return jnp.log1p(-jax.nn.sigmoid(x))


def A18(x):
    return jax.nn.sigmoid(x) * jnp.exp(-x)


def A19(x):
    return jnp.log(jnp.cosh(x))


def A20(x, y):
    s = jax.nn.sigmoid(x)
    return -(y * jnp.log(s) + (1 - y) * jnp.log(1 - s))


def A21(p):
    return jnp.log(1e-10 + 1 - p)


def A22(x):
    p = jax.nn.softmax(x)[0]
    return (1 - p) ** 2 * jnp.log(p)


def A23(x):
    p = jax.nn.softmax(x)
    return -jnp.sum(p * jnp.log(p))


def A24(a, b):
    p, q = jax.nn.softmax(a), jax.nn.softmax(b)
    return jnp.sum(p * (jnp.log(p) - jnp.log(q)))


def A25(x):
    return jnp.take(jnp.log(jax.nn.softmax(x)), 1)


def A28(x, T):
    return jax.nn.softmax(x / T)[0]


def A30(x):
    return jax.nn.logsumexp(x)


def A31(x, mask):
    return jax.nn.softmax(jnp.where(mask > 0, x, -jnp.inf))[0]


def entropy(x):
    p = softmax(x)
    return -sum(v * (xi - lse(x)) for v, xi in zip(p, x, strict=True))


def kl(a, b):
    p, A, B = softmax(a), lse(a), lse(b)
    rows = zip(p, a, b, strict=True)
    return sum(v * ((x - A) - (y - B)) for v, x, y in rows)


def bce(x, y):
    return y * mp.log1p(mp.exp(-x)) + (1 - y) * mp.log1p(mp.exp(x))


def tempered(x, T):
    return softmax([v / T for v in x])[0]


PAIR = span(-300, 300, 2)
WIDE = span(-300, 300)

CASES_A = (
    Case(
        "A1",
        A1,
        (PAIR,),
        (f32([200, 0]),),
        lambda x: x[1] - lse(x),
        False,
        ("log",),
        ZERO,
        lambda x: stable.log_softmax(x)[1],
    ),
    Case(
        "A1g",
        A1,
        (PAIR,),
        (f32([200, 0]),),
        lambda x: [-softmax(x)[0], 1 - softmax(x)[1]],
        True,
        ("log", "div", "mul"),
        ZERO,
        lambda x: stable.log_softmax(x)[1],
    ),
    Case(
        "A2",
        A2,
        (PAIR, span(0, 1, 2)),
        (f32([200, 0]), f32([1, 0])),
        lambda x, y: -sum(v * (xi - lse(x)) for v, xi in zip(y, x, strict=True)),
        False,
        ("log", "mul"),
        ZERO,
        lambda x, y: -jnp.sum(y * stable.log_softmax(x)),
    ),
    Case(
        "A3",
        A3,
        (PAIR,),
        (f32([100, 0]),),
        lambda x: softmax(x)[0],
        False,
        ("exp", "div"),
        (*HUGE, "0/0", "underflow"),
        lambda x: jax.nn.softmax(x)[0],
    ),
    Case(
        "A4",
        A4,
        (span(-50, 300, 2),),
        (f32([100, 101]),),
        lse,
        False,
        ("exp",),
        HUGE,
        stable.logsumexp,
    ),
    Case(
        "A4b",
        A4,
        (span(-300, 50, 2),),
        (f32([-200, -201]),),
        lse,
        False,
        ("log",),
        ZERO,
        stable.logsumexp,
    ),
    Case(
        "A5",
        A5,
        (span(-300, 50, 2),),
        (f32([-200, -201]),),
        lambda x: lse(x) - mp.log(2),
        False,
        ("log",),
        ZERO,
        stable.logmeanexp,
    ),
    Case(
        "A6",
        A6,
        (span(-200, 200), span(-200, 200)),
        (f32(100), f32(100)),
        lambda a, b: lse([a, b]),
        False,
        ("exp", "log"),
        (*HUGE, *ZERO),
        stable.logaddexp,
    ),
    Case(
        "A7",
        A7,
        (span(0, 200),),
        (f32(100),),
        lambda x: mp.log1p(mp.exp(x)),
        False,
        ("exp",),
        HUGE,
        stable.softplus,
    ),
    Case(
        "A7b",
        A7,
        (span(-50, 0),),
        (f32(-20),),
        lambda x: mp.log1p(mp.exp(x)),
        False,
        ("add", "log"),
        LOSS,
        stable.softplus,
    ),
    Case(
        "A7g",
        A7,
        (span(0, 200),),
        (f32(100),),
        sigmoid,
        True,
        ("exp", "div", "mul"),
        HUGE,
        stable.softplus,
    ),
    Case(
        "A8",
        A8,
        (span(-1, -1e-10),),
        (f32(-1e-9),),
        lambda x: mp.log(-mp.expm1(x)),
        False,
        ("log", "sub"),
        ZERO,
        stable.log1mexp,
    ),
    Case(
        "A8b",
        A8,
        (span(-60, -1),),
        (f32(-20),),
        lambda x: mp.log1p(-mp.exp(x)),
        False,
        ("sub", "log"),
        LOSS,
        stable.log1mexp,
    ),
    Case(
        "A9",
        A9,
        (span(60, 150), span(-20, 99)),
        (f32(100), f32(99)),
        lambda a, b: a + mp.log(-mp.expm1(b - a)),
        False,
        ("exp", "sub", "log"),
        (*HUGE, *LOSS, "domain"),
        stable.logdiffexp,
    ),
    Case(
        "A10",
        A10,
        (WIDE,),
        (f32(-100),),
        lambda x: -mp.log1p(mp.exp(-x)),
        False,
        ("log",),
        ZERO,
        stable.log_sigmoid,
    ),
    Case(
        "A10g",
        A10,
        (WIDE,),
        (f32(-100),),
        lambda x: sigmoid(-x),
        True,
        ("log", "div", "mul"),
        ZERO,
        stable.log_sigmoid,
    ),
    Case(
        "A11",
        A11,
        (WIDE,),
        (f32(20),),
        lambda x: -mp.log1p(mp.exp(x)),
        False,
        ("log", "sub"),
        ZERO,
        lambda x: -stable.softplus(x),
    ),
    Case(
        "A12g",
        A12,
        (WIDE,),
        (f32(-100),),
        lambda x: sigmoid(x) * sigmoid(-x),
        True,
        ("exp", "mul", "div", "integer_pow", "neg"),
        HUGE,
        jax.nn.sigmoid,
    ),
    Case(
        "A13",
        A13,
        (WIDE,),
        (f32(100),),
        sigmoid,
        False,
        ("exp", "div"),
        HUGE,
        jax.nn.sigmoid,
    ),
    Case(
        "A14",
        A14,
        (span(0, 60),),
        (f32(20),),
        lambda x: sigmoid(-x),
        False,
        ("sub", "logistic"),
        LOSS,
        lambda x: jax.nn.sigmoid(-x),
    ),
    Case(
        "A15",
        A15,
        (span(0, 60),),
        (f32(20),),
        mp.exp,
        False,
        ("div", "sub", "logistic"),
        ZERO,
        jnp.exp,
    ),
    Case(
        "A16",
        A16,
        (span(-200, 200),),
        (f32(20),),
        lambda x: x,
        False,
        ("div", "log", "sub", "logistic"),
        ZERO,
        lambda x: x,
    ),
    Case(
        "A17",
        A17,
        (span(-200, 200),),
        (f32(20),),
        lambda x: -mp.log1p(mp.exp(x)),
        False,
        ("log1p", "logistic"),
        ZERO,
        lambda x: -stable.softplus(x),
    ),
    Case(
        "A18",
        A18,
        (span(-200, 200),),
        (f32(-100),),
        lambda x: sigmoid(-x),
        False,
        ("exp", "mul"),
        HUGE,
        lambda x: jax.nn.sigmoid(-x),
    ),
    Case(
        "A19",
        A19,
        (WIDE,),
        (f32(100),),
        lambda x: mp.log(mp.cosh(x)),
        False,
        ("cosh",),
        HUGE,
        stable.logcosh,
    ),
    Case(
        "A19b",
        A19,
        (span(-1, 1),),
        (f32(1e-4),),
        lambda x: mp.log(mp.cosh(x)),
        False,
        ("log", "cosh"),
        LOSS,
        stable.logcosh,
    ),
    Case(
        "A20",
        A20,
        (span(-200, 200), span(0, 1)),
        (f32(20), f32(1)),
        bce,
        False,
        ("log", "mul", "sub"),
        ZERO,
        stable.binary_cross_entropy,
    ),
    Case(
        "A21",
        A21,
        (span(0, 1),),
        (f32(1),),
        lambda p: mp.log(mp.mpf("1e-10") + (1 - p)),
        False,
        ("log", "sub"),
        ZERO,
        lambda p: stable.logaddexp(jnp.log1p(-p), math.log(1e-10)),
        "Python itself adds 1e-10 and 1, and the sum becomes the literal 1",
    ),
    Case(
        "A22",
        A22,
        (span(-50, 50, 2),),
        (f32([20, 0]),),
        lambda x: softmax(x)[1] ** 2 * (x[0] - lse(x)),
        False,
        ("sub", "log", "div", "mul", "integer_pow"),
        ZERO,
        lambda x: -stable.focal_loss(x, 0, 2.0),
    ),
    Case(
        "A23",
        A23,
        (span(-200, 200, 2),),
        (f32([120, 0]),),
        entropy,
        False,
        ("log", "mul"),
        ZERO,
        stable.entropy_of_logits,
    ),
    Case(
        "A24",
        A24,
        (span(-200, 200, 2), span(-200, 200, 2)),
        (f32([0, 1]), f32([200, 0])),
        kl,
        False,
        ("log", "sub", "mul"),
        ZERO,
        stable.kl_of_logits,
    ),
    Case(
        "A25",
        A25,
        (PAIR,),
        (f32([200, 0]),),
        lambda x: x[1] - lse(x),
        False,
        ("log",),
        ZERO,
        lambda x: jnp.take(stable.log_softmax(x), 1),
    ),
    Case(
        "A28",
        A28,
        (span(-1e30, 1e30, 2), span(1e-10, 1)),
        (f32([1e30, 0]), f32(1e-10)),
        tempered,
        False,
        ("div", "sub"),
        HUGE,
        lambda x, T: jax.nn.softmax((x - jnp.max(x)) / T)[0],
    ),
    Case(
        "A30g",
        A30,
        (span(-INF, 50, 2),),
        (f32([-INF, -INF]),),
        lambda x: [mp.mpf(0), mp.mpf(0)],
        True,
        ("sub", "log", "exp", "div", "mul", "select_n"),
        ZERO,
        stable.logsumexp,
        "by convention the gradient of a sum of nothing is 0",
    ),
    Case(
        "A31",
        A31,
        (PAIR, span(0, 1, 2)),
        (f32([1, 2]), f32([0, 0])),
        lambda x, mask: mp.mpf(0),
        False,
        ("sub", "exp", "div"),
        ZERO,
        lambda x, mask: stable.softmax(x, where=mask > 0)[0],
        "by convention a row without a valid entry is 0",
    ),
)
