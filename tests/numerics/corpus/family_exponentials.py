"""Differences of nearly equal functions, ratios of exponentials, tails and mixtures."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import erf, gammaln
from jax.scipy.stats import norm
from mpmath import mp, mpf

from steepest.numerics import stable

from .case import HUGE, LOSS, ZERO, Case, cdf, dot, f32, lse, pdf, softmax, span


# -- Differences ---------------------------------------------------------------------


def root_step(x):
    return jnp.sqrt(x + 1) - jnp.sqrt(x)


def reciprocal_step(x):
    return 1 / x - 1 / (x + 1)


def sine_step(x, e):
    return jnp.sin(x + e) - jnp.sin(x)


def arctan_step(n):
    return jnp.arctan(n + 1) - jnp.arctan(n)


def quadratic_root(a, b, c):
    return (-b + jnp.sqrt(b**2 - 4 * a * c)) / (2 * a)


@jax.jit
def finite_difference(x):
    h = 1e-5
    return (jnp.tanh(x + h) - jnp.tanh(x)) / h


def squares_apart(a, b):
    return a**2 - b**2


def box_cox(x, t):
    return (x**t - 1) / t


def mean_exponential(a, b):
    return (jnp.exp(b) - jnp.exp(a)) / (b - a)


def geometric_sum(r):
    return (1 - r**50) / (1 - r)


def annealed(x):
    """Squared growth of a quantity that hardly grows, in a loop."""
    return lax.fori_loop(0, 3, lambda i, v: v, (1 + x) ** 2) - 1


DIFFERENCES = (
    Case(
        "root-step",
        root_step,
        (span(1, 1e9),),
        (f32(1e8),),
        lambda x: 1 / (mp.sqrt(x + 1) + mp.sqrt(x)),
        False,
        ("sub", "add"),
        LOSS,
        lambda x: 1 / (jnp.sqrt(x + 1) + jnp.sqrt(x)),
    ),
    Case(
        "reciprocal-step",
        reciprocal_step,
        (span(1, 1e6),),
        (f32(123456),),
        lambda x: 1 / (x * (x + 1)),
        False,
        ("sub",),
        LOSS,
        lambda x: 1 / (x * (x + 1)),
    ),
    Case(
        "sine-step",
        sine_step,
        (span(-3, 3), span(1e-8, 0.1)),
        (f32(1), f32(1e-6)),
        lambda x, e: 2 * mp.cos(x + e / 2) * mp.sin(e / 2),
        False,
        ("sub", "add"),
        LOSS,
        lambda x, e: 2 * jnp.cos(x + e / 2) * jnp.sin(e / 2),
    ),
    Case(
        "arctan-step",
        arctan_step,
        (span(0, 1e4),),
        (f32(5000),),
        lambda n: mp.atan(1 / (1 + n * (n + 1))),
        False,
        ("sub", "atan"),
        LOSS,
        lambda n: jnp.arctan(1 / (1 + n * (n + 1))),
    ),
    Case(
        "quadratic-root",
        quadratic_root,
        (span(0.1, 10), span(100, 1e4), span(0.1, 10)),
        (f32(1), f32(5000), f32(1)),
        lambda a, b, c: -2 * c / (b + mp.sqrt(b**2 - 4 * a * c)),
        False,
        ("add", "sub"),
        LOSS,
        lambda a, b, c: -2 * c / (b + jnp.sqrt(b**2 - 4 * a * c)),
    ),
    Case(
        "finite-difference",
        finite_difference,
        (span(-3, 3),),
        (f32(0.7),),
        lambda x: (mp.tanh(x + mpf("1e-5")) - mp.tanh(x)) / mpf("1e-5"),
        False,
        ("sub", "add", "tanh"),
        LOSS,
        None,
    ),
    Case(
        "difference-of-squares",
        squares_apart,
        (span(1000, 5000), span(1000, 5000)),
        (f32(4097.25), f32(4097)),
        lambda a, b: (a - b) * (a + b),
        False,
        ("sub",),
        LOSS,
        lambda a, b: (a - b) * (a + b),
    ),
    Case(
        "box-cox",
        box_cox,
        (span(0.5, 5), span(1e-7, 2)),
        (f32(3), f32(1e-6)),
        lambda x, t: mp.expm1(t * mp.log(x)) / t,
        False,
        ("sub", "pow"),
        LOSS,
        lambda x, t: jnp.expm1(t * jnp.log(x)) / t,
    ),
    Case(
        "mean-exponential",
        mean_exponential,
        (span(-1, 1), span(1, 3)),
        (f32(1), f32(1 + 2**-20)),
        lambda a, b: mp.exp(a) * mp.expm1(b - a) / (b - a),
        False,
        ("sub", "div"),
        (*LOSS, "0/0"),
        lambda a, b: jnp.exp(a) * stable.expm1_over_x(b - a),
    ),
    Case(
        "geometric-sum",
        geometric_sum,
        (span(0, 1),),
        (f32(1),),
        lambda r: mpf(50),
        False,
        ("div", "sub"),
        ZERO,
        lambda r: jnp.polyval(jnp.ones(50), r),
    ),
    Case(
        "square-growth",
        annealed,
        (span(-0.5, 0.5),),
        (f32(1e-5),),
        lambda x: x * (2 + x),
        False,
        ("sub", "add"),
        LOSS,
        lambda x: x * (2 + x),
    ),
)


# -- Ratios of exponentials ----------------------------------------------------------


def own_softmax(z):
    e = jnp.exp(z)
    return e / e.sum(axis=1)[:, None]


def boltzmann_mean(energy, temperature):
    weights = jnp.exp(-energy / temperature)
    return jnp.sum(energy * weights) / jnp.sum(weights)


def log_share(a, b, c):
    return jnp.log(jnp.exp(a) / (jnp.exp(a) + jnp.exp(b) + jnp.exp(c)))


def effective_sample_size(log_weights):
    w = jnp.exp(log_weights)
    return w.sum() ** 2 / (w**2).sum()


def hill(x, k):
    return x**16 / (k**16 + x**16)


def cloglog(x):
    return jnp.log(1 - jnp.exp(-jnp.exp(x)))


def own_attention(q, k, v):
    w = jnp.exp(jnp.einsum("qd,kd->qk", q, k))
    return jnp.einsum("qk,kd->qd", w, v) / w.sum(-1, keepdims=True)


def contrastive(similarity):
    e = jnp.exp(similarity / 0.01)
    return -jnp.log(e[0] / jnp.sum(e))


def falling_factorial(n, k):
    return jnp.exp(gammaln(n + 1)) / jnp.exp(gammaln(n - k + 1))


def logit_of_share(a, b):
    p = jnp.exp(a) / (jnp.exp(a) + jnp.exp(b))
    return jnp.log(p) - jnp.log1p(-p)


def swish_by_hand(x):
    return x * jnp.exp(x) / (jnp.exp(x) + 1)


@jax.jit
def mish_by_hand(x):
    return x * jnp.tanh(jnp.log(1.0 + jnp.exp(x)))


def gaussian_nll(d, log_variance):
    return d**2 / jnp.exp(log_variance)


def boltzmann(energy, temperature):
    return dot(energy, softmax([-e / temperature for e in energy]))


def attended(q, k, v):
    out = []
    for a in q:
        p = softmax([dot(a, b) for b in k])
        out.append([dot(p, list(column)) for column in zip(*v, strict=True)])
    return out


Q = f32([[10, -10], [3, 4]])
K = f32([[10, -9], [8, -8], [0, 1]])
V = f32([[1, 2], [3, 4], [5, 6]])

RATIOS = (
    Case(
        "own-softmax-rows",
        own_softmax,
        (span(-200, 200, 2, 3),),
        (f32([[100, 0, -5], [1, 2, 3]]),),
        lambda z: [softmax(row) for row in z],
        False,
        ("exp", "div"),
        (*HUGE, *ZERO),
        lambda z: jax.nn.softmax(z, axis=1),
    ),
    Case(
        "boltzmann-mean",
        boltzmann_mean,
        (span(0, 500, 4), span(0.1, 5)),
        (f32([100, 101, 102, 110]), f32(0.5)),
        boltzmann,
        False,
        ("div", "exp"),
        ZERO,
        lambda e, t: jnp.sum(e * jax.nn.softmax(-e / t)),
    ),
    Case(
        "log-share",
        log_share,
        (span(-150, 150), span(-150, 150), span(-150, 150)),
        (f32(-120), f32(10), f32(0)),
        lambda a, b, c: a - lse([a, b, c]),
        False,
        ("log", "exp", "div"),
        (*HUGE, *ZERO),
        lambda a, b, c: stable.log_softmax(jnp.stack([a, b, c]))[0],
    ),
    Case(
        "effective-sample-size",
        effective_sample_size,
        (span(-100, 100, 5),),
        (f32([60, 59, 58, 0, -10]),),
        lambda w: mp.exp(2 * lse(w) - lse([2 * v for v in w])),
        False,
        ("integer_pow", "exp", "div", "square"),
        (*HUGE, *ZERO),
        None,
    ),
    Case(
        "hill",
        hill,
        (span(0.1, 1e4), span(0.1, 10)),
        (f32(1000), f32(2)),
        lambda x, k: 1 / (1 + (k / x) ** 16),
        False,
        ("integer_pow", "div"),
        (*HUGE, *ZERO),
        lambda x, k: 1 / (1 + (k / x) ** 16),
    ),
    Case(
        "complementary-log-log",
        cloglog,
        (span(-50, 5),),
        (f32(-20),),
        lambda x: mp.log(-mp.expm1(-mp.exp(x))),
        False,
        ("log", "sub"),
        ZERO,
        lambda x: stable.log1mexp(-jnp.exp(x)),
    ),
    Case(
        "own-attention",
        own_attention,
        (span(-10, 10, 2, 2), span(-10, 10, 3, 2), span(-10, 10, 3, 2)),
        (Q, K, V),
        attended,
        False,
        ("exp", "div", "dot_general"),
        (*HUGE, *ZERO),
        lambda q, k, v: jax.nn.softmax(q @ k.T, axis=-1) @ v,
    ),
    Case(
        "contrastive",
        contrastive,
        (span(-1, 1, 4),),
        (f32([0.95, 0.5, -0.25, 0]),),
        lambda s: lse([v / mpf("0.01") for v in s]) - s[0] / mpf("0.01"),
        False,
        ("exp", "log", "div"),
        (*HUGE, *ZERO),
        lambda s: -stable.log_softmax(s / 0.01)[0],
    ),
    Case(
        "falling-factorial",
        falling_factorial,
        (span(5, 60), span(1, 4)),
        (f32(50), f32(3)),
        lambda n, k: mpf(50 * 49 * 48),
        False,
        ("exp", "div"),
        HUGE,
        None,
    ),
    Case(
        "logit-of-share",
        logit_of_share,
        (span(-40, 40), span(-40, 40)),
        (f32(20), f32(0)),
        lambda a, b: a - b,
        False,
        ("log1p", "div", "log"),
        ZERO,
        lambda a, b: a - b,
    ),
    Case(
        "swish-by-hand",
        swish_by_hand,
        (span(-100, 100),),
        (f32(95),),
        lambda x: x / (1 + mp.exp(-x)),
        False,
        ("exp", "div", "mul"),
        HUGE,
        jax.nn.silu,
    ),
    Case(
        "mish-by-hand-grad",
        mish_by_hand,
        (span(-20, 100),),
        (f32(95),),
        lambda x: mp.diff(lambda t: t * mp.tanh(mp.log1p(mp.exp(t))), x),
        True,
        ("exp", "div", "mul"),
        HUGE,
        jax.nn.mish,
    ),
    Case(
        "gaussian-nll",
        gaussian_nll,
        (span(-0.1, 0.1), span(-88, 10)),
        (f32(0.01), f32(-88)),
        lambda d, log_variance: d**2 * mp.exp(-log_variance),
        False,
        ("div", "exp"),
        ZERO,
        lambda d, log_variance: d**2 * jnp.exp(-log_variance),
    ),
)


# -- Tails and mixtures --------------------------------------------------------------


def probit(x):
    return jnp.log(0.5 * (1 + erf(x / jnp.sqrt(2.0))))


def truncation(a):
    return jnp.log(norm.cdf(a + 1) - norm.cdf(a))


MEANS = np.float32([-3, 0, 4])
WEIGHTS = np.float32([0.25, 0.5, 0.25])


def mixture(x, s):
    z = (x - MEANS) / s
    return jnp.log(jnp.sum(WEIGHTS * jnp.exp(-0.5 * z**2) / (s * (2 * jnp.pi) ** 0.5)))


def responsibilities(x):
    joint = WEIGHTS[None, :] * jnp.exp(-0.5 * (x[:, None] - MEANS[None, :]) ** 2)
    return joint / joint.sum(axis=1, keepdims=True)


def student_t(z):
    return jnp.log(1 + z**2)


def hazard(x):
    return norm.pdf(x) / (1 - norm.cdf(x))


def log_survival(x):
    return jnp.log(1 - norm.cdf(x))


def two_tails(x, y):
    return jnp.log(norm.pdf(x) * norm.pdf(y))


def density(x):
    """w_k φ((x − m_k)) in logarithms."""
    return [
        mp.log(mpf(float(w))) - (x - mpf(float(m))) ** 2 / 2
        for w, m in zip(WEIGHTS, MEANS, strict=True)
    ]


def log_mixture(x, s):
    terms = [
        mp.log(mpf(float(w))) - ((x - mpf(float(m))) / t) ** 2 / 2 - mp.log(t)
        for w, m, t in zip(WEIGHTS, MEANS, s, strict=True)
    ]
    return lse(terms) - mp.log(2 * mp.pi) / 2


def stable_mixture(x, s):
    z = (x - MEANS) / s
    constant = np.log(WEIGHTS) - np.float32(0.5 * np.log(2 * np.pi))
    return stable.logsumexp(constant - 0.5 * z**2 - jnp.log(s))


TAILS = (
    Case(
        "probit-by-erf",
        probit,
        (span(-30, 5),),
        (f32(-10),),
        lambda x: mp.log(cdf(x)),
        False,
        ("log", "add"),
        ZERO,
        stable.log_ndtr,
    ),
    Case(
        "truncation",
        truncation,
        (span(5, 20),),
        (f32(8),),
        lambda a: mp.log(cdf(-a) - cdf(-a - 1)),
        False,
        ("log", "sub"),
        ZERO,
        lambda a: stable.logdiffexp(stable.log_ndtr(-a), stable.log_ndtr(-a - 1)),
    ),
    Case(
        "gaussian-mixture",
        mixture,
        (span(-100, 100), span(0.5, 3, 3)),
        (f32(60), f32([1, 0.5, 1])),
        log_mixture,
        False,
        ("log", "exp"),
        ZERO,
        stable_mixture,
    ),
    Case(
        "responsibilities",
        responsibilities,
        (span(-100, 100, 2),),
        (f32([60, 1]),),
        lambda x: [softmax(density(v)) for v in x],
        False,
        ("div", "exp"),
        ZERO,
        None,
    ),
    Case(
        "student-t",
        student_t,
        (span(-1e25, 1e25),),
        (f32(1e20),),
        lambda z: mp.log1p(z**2),
        False,
        ("integer_pow", "square", "mul"),
        HUGE,
        lambda z: 2 * jnp.log(stable.hypot(jnp.ones_like(z), z)),
    ),
    Case(
        "hazard",
        hazard,
        (span(-5, 30),),
        (f32(10),),
        lambda x: pdf(x) / cdf(-x),
        False,
        ("div", "sub"),
        ZERO,
        lambda x: stable.mills_ratio(-x),
    ),
    Case(
        "log-survival",
        log_survival,
        (span(-5, 30),),
        (f32(9),),
        lambda x: mp.log(cdf(-x)),
        False,
        ("log", "sub"),
        ZERO,
        lambda x: stable.log_ndtr(-x),
    ),
    Case(
        "joint-density",
        two_tails,
        (span(-20, 20), span(-20, 20)),
        (f32(11), f32(-12)),
        lambda x, y: -(x * x + y * y) / 2 - mp.log(2 * mp.pi),
        False,
        ("log", "mul"),
        ZERO,
        lambda x, y: norm.logpdf(x) + norm.logpdf(y),
    ),
)

EXPONENTIALS = (*DIFFERENCES, *RATIOS, *TAILS)
