"""Masked branches, singular points, and library functions outside of their good range."""

import jax
import jax.numpy as jnp
from jax import lax
from jax.scipy.special import logsumexp, xlogy
from mpmath import mp, mpf

from steepest.numerics import stable

from .case import HUGE, LOSS, ZERO, Case, f32, lse, mean, span, variance


BOTH = (*ZERO, *HUGE)


# -- Masked branches -----------------------------------------------------------------


def log_of_positive(x):
    return jnp.where(x > 0, jnp.log(x), 0.0)


def root_of_positive(x):
    return jnp.where(x > 0, jnp.sqrt(x), 0)


def guarded_ratio(s, n):
    return jnp.where(n > 0, s / n, 0.0)


def masked_mean(x, mask):
    return (x * mask).sum() / mask.sum()


def capped_exponential(x):
    return jnp.where(x < 50, jnp.exp(x), x)


def cross_entropy(p, y):
    return -jnp.sum(y * jnp.log(p), axis=-1)


def entropy(p):
    return -jnp.sum(p * jnp.log(p))


def root_of_maximum(x):
    return jnp.maximum(x, 0) ** 0.5


def clipped_norm(x):
    return jnp.maximum(jnp.linalg.norm(x), 1e-6)


def root_by_product(x):
    return (x > 0).astype(x.dtype) * jnp.sqrt(x)


def branch(x):
    return lax.select(x >= 1, jnp.arccosh(x), jnp.zeros_like(x))


def vmapped_guard(x):
    def one(v):
        return jnp.where(v == 0, 1.0, jnp.sin(v) / v)

    return jax.vmap(one)(x)


def own_entropy(p):
    return -sum(v * mp.log(v) if v else mpf(0) for v in p)


def surprise(p, y):
    pairs = zip(p, y, strict=True)
    return [
        -sum(b * mp.log(a) if b else mpf(0) for a, b in zip(r, s, strict=True))
        for r, s in pairs
    ]


MASKED = (
    Case(
        "where-log-grad",
        log_of_positive,
        (span(-1, 1, 4),),
        (f32([0, 0.5, -0.25, 1]),),
        lambda x: [1 / v if v > 0 else mpf(0) for v in x],
        True,
        ("div", "mul", "log"),
        BOTH,
        lambda x: jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1)), 0.0),
    ),
    Case(
        "where-sqrt-grad",
        root_of_positive,
        (span(-1, 1, 4),),
        (f32([0, 0.25, -0.25, 1]),),
        lambda x: [1 / (2 * mp.sqrt(v)) if v > 0 else mpf(0) for v in x],
        True,
        ("div", "mul", "sqrt"),
        (*BOTH, "domain"),
        lambda x: jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0),
    ),
    Case(
        "where-ratio-grad",
        guarded_ratio,
        (span(-1, 1, 2), span(0, 10, 2)),
        (f32([1, 1]), f32([0, 4])),
        lambda s, n: [mpf(0), 1 / n[1]],
        True,
        ("div", "mul"),
        BOTH,
        lambda s, n: jnp.where(n > 0, s / jnp.where(n > 0, n, 1), 0.0),
    ),
    Case(
        "masked-mean",
        masked_mean,
        (span(-1, 1, 5), span(0, 1, 5)),
        (f32([1, 2, 3, 4, 5]) / 5, f32([0] * 5)),
        None,
        False,
        ("div",),
        ZERO,
        None,
    ),
    Case(
        "where-exp-grad",
        capped_exponential,
        (span(-200, 200, 3),),
        (f32([100, 1, -1]),),
        lambda x: [mp.exp(v) if v < 50 else mpf(1) for v in x],
        True,
        ("mul", "exp"),
        HUGE,
        lambda x: jnp.where(x < 50, jnp.exp(jnp.where(x < 50, x, 0)), x),
    ),
    Case(
        "cross-entropy-of-p",
        cross_entropy,
        (span(0, 1, 2, 3), span(0, 1, 2, 3)),
        (f32([[0, 0.5, 0.5], [1, 0, 0]]), f32([[0, 1, 0], [1, 0, 0]])),
        surprise,
        False,
        ("log", "mul"),
        ZERO,
        lambda p, y: -jnp.sum(xlogy(y, p), axis=-1),
    ),
    Case(
        "entropy-of-p",
        entropy,
        (span(0, 1, 4),),
        (f32([0, 0.25, 0.75, 0]),),
        own_entropy,
        False,
        ("log", "mul"),
        ZERO,
        lambda p: -jnp.sum(stable.xlogx(p)),
    ),
    Case(
        "root-of-maximum-grad",
        root_of_maximum,
        (span(-1, 1, 2),),
        (f32([-1, 0.25]),),
        lambda x: [mpf(0), mpf(1)],
        True,
        ("pow", "mul", "div", "rsqrt", "sqrt"),
        (*BOTH, "domain"),
        lambda x: jnp.where(x > 0, jnp.sqrt(jnp.where(x > 0, x, 1)), 0),
    ),
    Case(
        "max-of-norm-grad",
        clipped_norm,
        (span(-1, 1, 3),),
        (f32([0, 0, 0]),),
        lambda x: [mpf(0)] * 3,
        True,
        ("div", "mul", "sqrt"),
        BOTH,
        lambda x: jnp.maximum(stable.norm(x), 1e-6),
    ),
    Case(
        "mask-by-product",
        root_by_product,
        (span(-1, 1, 3),),
        (f32([-0.5, 0.25, 1]),),
        lambda x: [mp.sqrt(v) if v > 0 else mpf(0) for v in x],
        False,
        ("sqrt",),
        ("domain",),
        lambda x: jnp.sqrt(jnp.where(x > 0, x, 0)),
    ),
    Case(
        "select-arccosh-grad",
        branch,
        (span(0, 3, 3),),
        (f32([0.5, 2, 3]),),
        lambda x: [1 / mp.sqrt(v * v - 1) if v > 1 else mpf(0) for v in x],
        True,
        ("rsqrt", "sqrt", "mul", "div", "pow", "acosh", "log", "sub"),
        (*BOTH, "domain"),
        None,
    ),
    Case(
        "where-sinc-grad",
        vmapped_guard,
        (span(-3, 3, 3),),
        (f32([0, 1, 2]),),
        lambda x: [mpf(0)] + [(v * mp.cos(v) - mp.sin(v)) / v**2 for v in x[1:]],
        True,
        ("div", "mul", "integer_pow"),
        BOTH,
        lambda x: jnp.sinc(x / jnp.pi),
    ),
)


# -- Singular points -----------------------------------------------------------------


def sinc(x):
    return jnp.sin(x) / x


def bernoulli_function(x):
    return x / (jnp.exp(x) - 1)


def log_ratio(x):
    return jnp.log(x) / (x - 1)


def binary_entropy(p):
    return -(p * jnp.log(p) + (1 - p) * jnp.log(1 - p))


def radius(x, y):
    return jnp.sqrt(x**2 + y**2)


def gumbel(u):
    return -jnp.log(-jnp.log(u))


def polar_angle(y, x):
    return jnp.arctan2(y, x)


def tanh_over(x):
    return jnp.tanh(x) / x


def scaled_to_peak(x):
    return x / jnp.max(jnp.abs(x), axis=-1, keepdims=True)


def pearson(x, y):
    a, b = x - x.mean(), y - y.mean()
    return (a * b).sum() / jnp.sqrt((a * a).sum() * (b * b).sum())


def correlation(x, y):
    a, b = [v - mean(x) for v in x], [v - mean(y) for v in y]
    cross = mean([u * v for u, v in zip(a, b, strict=True)])
    return cross / mp.sqrt(variance(x) * variance(y))


SINGULAR = (
    Case(
        "sinc-at-0",
        sinc,
        (span(-3, 3),),
        (f32(0),),
        lambda x: mpf(1),
        False,
        ("div",),
        ZERO,
        lambda x: jnp.sinc(x / jnp.pi),
    ),
    Case(
        "bernoulli-function",
        bernoulli_function,
        (span(-20, 20),),
        (f32(1e-6),),
        lambda x: x / mp.expm1(x),
        False,
        ("sub", "div"),
        ZERO,
        lambda x: 1 / stable.expm1_over_x(x),
    ),
    Case(
        "log-ratio",
        log_ratio,
        (span(0.5, 2),),
        (f32(1),),
        lambda x: mpf(1),
        False,
        ("div",),
        ZERO,
        None,
    ),
    Case(
        "binary-entropy-at-0",
        binary_entropy,
        (span(0, 1, 3),),
        (f32([0, 0.5, 1]),),
        lambda p: [mpf(0), mp.log(2), mpf(0)],
        False,
        ("log", "mul"),
        ZERO,
        lambda p: -(stable.xlogx(p) + stable.xlogx(1 - p)),
    ),
    Case(
        "radius-grad",
        radius,
        (span(-1, 1), span(-1, 1)),
        (f32(0), f32(0)),
        lambda x, y: mpf(0),
        True,
        ("div", "mul", "sqrt"),
        BOTH,
        stable.hypot,
    ),
    Case(
        "gumbel",
        gumbel,
        (span(0, 1),),
        (f32(1),),
        None,
        False,
        ("log",),
        ZERO,
        None,
        "uniform draws include 0, and 1 after rounding",
    ),
    Case(
        "polar-angle-grad",
        polar_angle,
        (span(-1, 1), span(-1, 1)),
        (f32(0), f32(0)),
        None,
        True,
        ("div", "mul"),
        BOTH,
        None,
    ),
    Case(
        "tanh-over-x",
        tanh_over,
        (span(-5, 5, 2),),
        (f32([0, 1]),),
        lambda x: [mpf(1), mp.tanh(x[1])],
        False,
        ("div",),
        ZERO,
        None,
    ),
    Case(
        "scaled-to-peak",
        scaled_to_peak,
        (span(-1, 1, 2, 3),),
        (f32([[0, 0, 0], [0.5, -1, 0.25]]),),
        None,
        False,
        ("div",),
        ZERO,
        None,
    ),
    Case(
        "pearson-tiny",
        pearson,
        (span(-1e-10, 1e-10, 4), span(-1e-10, 1e-10, 4)),
        (f32([1e-11, 2e-11, 4e-11, 3e-11]), f32([1e-11, 3e-11, 2e-11, 5e-11])),
        correlation,
        False,
        ("div", "mul", "sqrt"),
        ZERO,
        None,
    ),
)


# -- Library functions ---------------------------------------------------------------


def library_logsumexp(x):
    return logsumexp(x)


def library_log_softmax(x):
    return jax.nn.log_softmax(x, axis=-1)


def library_norm(x):
    return jnp.linalg.norm(x, axis=0)


def library_gelu(x):
    return jax.nn.gelu(x)


def library_xlogy(x, y):
    return xlogy(x, y)


LIBRARY = (
    Case(
        "logsumexp-near-0",
        library_logsumexp,
        (span(-40, 0, 2),),
        (f32([0, -20]),),
        lambda x: lse(x),
        False,
        ("log", "reduce_sum", "add"),
        LOSS,
        stable.logsumexp,
    ),
    Case(
        "log-softmax-near-0",
        library_log_softmax,
        (span(-40, 40, 2),),
        (f32([10, -10]),),
        lambda x: [v - lse(x) for v in x],
        False,
        ("log", "reduce_sum", "sub"),
        LOSS,
        stable.log_softmax,
    ),
    Case(
        "norm-of-columns",
        library_norm,
        (span(-1e25, 1e25, 3, 2),),
        (f32([[1e20, 1], [1e20, 2], [0, 2]]),),
        lambda x: [mp.sqrt(sum(v * v for v in c)) for c in zip(*x, strict=True)],
        False,
        ("mul", "integer_pow", "square"),
        HUGE,
        lambda x: stable.norm(x, axis=0),
    ),
    Case(
        "gelu-grad-huge",
        library_gelu,
        (span(-1e30, 1e30),),
        (f32(1e20),),
        lambda x: mpf(1),
        True,
        ("integer_pow", "mul", "square"),
        HUGE,
        None,
    ),
    Case(
        "xlogy-grad-at-0",
        library_xlogy,
        (span(0, 1), span(0, 1)),
        (f32(0), f32(0)),
        None,
        True,
        ("log", "mul", "div"),
        BOTH,
        None,
    ),
)

SINGULARITIES = (*MASKED, *SINGULAR, *LIBRARY)
