"""Norms, distances, angles, normalisation, one-pass statistics, products under a log."""

from itertools import pairwise

import jax.numpy as jnp
import numpy as np
from jax import lax
from mpmath import matrix, mp, mpf

from steepest.numerics import stable

from .case import HUGE, LOSS, ZERO, Case, dot, f16, f32, lse, mean, span, variance


# -- Norms ---------------------------------------------------------------------------


def norm_rows(v):
    return jnp.sqrt(jnp.sum(v**2, axis=-1))


def norm_library(v):
    return jnp.linalg.norm(v)


def distance_to(w, w0):
    return jnp.linalg.norm(w - w0)


def unit_rows(v):
    return v / jnp.linalg.norm(v, axis=-1, keepdims=True)


def unit_einsum(v):
    return v / jnp.sqrt(jnp.einsum("i,i->", v, v))


def hypotenuse(a, b):
    return jnp.sqrt(a * a + b * b)


def root_mean_square_norm(x):
    return x * lax.rsqrt(jnp.mean(jnp.square(x)) + 1e-5)


def length(v):
    return mp.sqrt(dot(v, v))


def unit(v):
    return [x / length(v) for x in v] if length(v) else [mpf(0) for _ in v]


def rms_normed(x):
    scale = mp.sqrt(mean([v * v for v in x]) + mpf("1e-5"))
    return [v / scale for v in x]


SQUARE = ("integer_pow", "square", "mul")

NORMS = (
    Case(
        "norm-huge",
        norm_rows,
        (span(-1e25, 1e25, 3, 4),),
        (f32([[1e20] * 4, [3e22, 4e22, 0, 0], [1, 2, 3, 4]]),),
        lambda v: [length(row) for row in v],
        False,
        SQUARE,
        HUGE,
        lambda v: stable.norm(v, axis=-1),
    ),
    Case(
        "norm-tiny",
        norm_library,
        (span(-1e-22, 1e-22, 5),),
        (f32([3e-25, 4e-25, 0, 0, 0]),),
        length,
        False,
        (*SQUARE, "sqrt"),
        ZERO,
        stable.norm,
    ),
    Case(
        "norm-grad-at-0",
        distance_to,
        (span(-1, 1, 3), span(-1, 1, 3)),
        (f32([0.5, -0.25, 1]), f32([0.5, -0.25, 1])),
        lambda w, w0: [mpf(0)] * 3,
        True,
        ("div", "mul", "sqrt"),
        (*ZERO, *HUGE),
        lambda w, w0: stable.norm(w - w0),
        "by convention the gradient of a norm at 0 is 0",
    ),
    Case(
        "unit-of-0",
        unit_rows,
        (span(-1, 1, 2, 3),),
        (f32([[0, 0, 0], [1, 2, 2]]) / 3,),
        lambda v: [unit(row) for row in v],
        False,
        ("div",),
        ZERO,
        lambda v: stable.normalise(v, axis=-1),
        "by convention 0 is normalised to 0",
    ),
    Case(
        "unit-huge",
        unit_einsum,
        (span(-1e30, 1e30, 3),),
        (f32([1e25, 2e25, 2e25]),),
        unit,
        False,
        ("dot_general", "mul"),
        HUGE,
        stable.normalise,
    ),
    Case(
        "hypot-tiny",
        hypotenuse,
        (span(-1e-20, 1e-20), span(-1e-20, 1e-20)),
        (f32(3e-25), f32(4e-25)),
        lambda a, b: mp.sqrt(a * a + b * b),
        False,
        ("mul", "sqrt"),
        ZERO,
        stable.hypot,
    ),
    Case(
        "hypot-half",
        hypotenuse,
        (span(-1000, 1000, dtype=jnp.float16), span(-1000, 1000, dtype=jnp.float16)),
        (f16(300), f16(400)),
        lambda a, b: mp.sqrt(a * a + b * b),
        False,
        ("mul",),
        HUGE,
        stable.hypot,
    ),
    Case(
        "rms-norm-half",
        root_mean_square_norm,
        (span(-1000, 1000, 8, dtype=jnp.float16),),
        (f16([300, -300, 150, 75, 0, 600, 10, -600]),),
        rms_normed,
        False,
        ("square", *SQUARE, "convert_element_type"),
        HUGE,
        None,
    ),
)


# -- Distances -----------------------------------------------------------------------


def squared_distances_expanded(a, b):
    return (
        jnp.sum(a * a, axis=1)[:, None]
        - 2 * a @ b.T
        + jnp.sum(b * b, axis=1, keepdims=True).T
    )


def distances_expanded(a):
    squares = jnp.einsum("ij,ij->i", a, a)
    return jnp.sqrt(squares[:, None] + squares[None, :] - 2 * jnp.dot(a, a.T))


def sum_of_distances(x):
    difference = x[:, None, :] - x[None, :, :]
    return jnp.sqrt((difference**2).sum(-1)).sum()


def inverse_distance_mean(d, y):
    w = 1 / d
    return jnp.sum(w * y) / jnp.sum(w)


def apart(a, b):
    return [x - y for x, y in zip(a, b, strict=True)]


def squared_between(a, b):
    return [[dot(apart(u, v), apart(u, v)) for v in b] for u in a]


def attraction(x):
    """The gradient of the sum of all distances, that of a point to itself being 0."""
    pulls = [[unit(apart(u, v)) for v in x] for u in x]
    return [[2 * sum(column) for column in zip(*row, strict=True)] for row in pulls]


POINTS = np.random.default_rng(3).uniform(-500, 500, (4, 3)).astype(np.float32)
NEAR = f32(400 + 0.03 * np.random.default_rng(4).normal(size=(4, 3)))
LINE = f32([[0.0, 0.0], [1.0, 2.0], [1.0, 2.0]])

DISTANCES = (
    Case(
        "distances-squared",
        squared_distances_expanded,
        (span(-1000, 1000, 4, 3), span(-1000, 1000, 4, 3)),
        (POINTS, POINTS + f32(0.0625)),
        squared_between,
        False,
        ("add", "sub"),
        LOSS,
        stable.squared_distances,
    ),
    Case(
        "distances-of-self",
        distances_expanded,
        (span(-1000, 1000, 4, 3),),
        (NEAR,),
        lambda a: [[mp.sqrt(s) for s in row] for row in squared_between(a, a)],
        False,
        ("sub", "sqrt"),
        (*LOSS, "domain"),
        lambda a: stable.distances(a, a),
    ),
    Case(
        "distances-grad",
        sum_of_distances,
        (span(-3, 3, 3, 2),),
        (LINE,),
        attraction,
        True,
        ("div", "mul", "sqrt"),
        (*ZERO, *HUGE),
        lambda x: stable.distances(x, x).sum(),
    ),
    Case(
        "inverse-distances",
        inverse_distance_mean,
        (span(0, 10, 4), span(-1, 1, 4)),
        (f32([0, 1, 2, 3]), f32([0.5, 1, 0, -1])),
        lambda d, y: y[0],
        False,
        ("div",),
        (*ZERO, *HUGE),
        None,
        "the limit of the weighted mean is the value of the point that is met",
    ),
)


# -- Angles --------------------------------------------------------------------------


def angle_by_arccos(u, v):
    return jnp.arccos(jnp.sum(u * v) / (jnp.linalg.norm(u) * jnp.linalg.norm(v)))


def great_circle(f1, f2, dl):
    inner = jnp.sin(f1) * jnp.sin(f2) + jnp.cos(f1) * jnp.cos(f2) * jnp.cos(dl)
    return jnp.arccos(inner)


def versine(x):
    return 1 - jnp.cos(x)


def versine_over_square(x):
    return (1.0 - jnp.cos(x)) / x**2


def cosine_loss(u, v):
    a = u / jnp.linalg.norm(u)
    b = v / jnp.linalg.norm(v)
    return 1 - a @ b


def haversine(f1, f2, dl):
    half = mp.sin((f1 - f2) / 2) ** 2 + mp.cos(f1) * mp.cos(f2) * mp.sin(dl / 2) ** 2
    return 2 * mp.asin(mp.sqrt(half))


def haversine_plainly(f1, f2, dl):
    half = (
        jnp.sin((f1 - f2) / 2) ** 2 + jnp.cos(f1) * jnp.cos(f2) * jnp.sin(dl / 2) ** 2
    )
    return 2 * jnp.arcsin(jnp.sqrt(half))


def angle(u, v):
    a, b = unit(u), unit(v)
    plus = [x + y for x, y in zip(a, b, strict=True)]
    return 2 * mp.atan2(length(apart(a, b)), length(plus))


ANGLES = (
    Case(
        "angle-small",
        angle_by_arccos,
        (span(-1, 1, 3), span(-1, 1, 3)),
        (f32([1, 0, 0]), f32([1, 1e-4, 0])),
        angle,
        False,
        ("acos", "div", "reduce_sum", "mul", "sqrt"),
        (*LOSS, "domain", "0/0", "underflow"),
        stable.angle,
    ),
    Case(
        "angle-grad-parallel",
        angle_by_arccos,
        (span(-1, 1, 3), span(-1, 1, 3)),
        (f32([1, 0, 0]), f32([1, 0, 0])),
        None,
        True,
        ("acos", "div", "mul", "rsqrt", "sqrt", "sub", "pow"),
        (*ZERO, *HUGE, "domain"),
        stable.angle,
    ),
    Case(
        "great-circle",
        great_circle,
        (span(-1.5, 1.5), span(-1.5, 1.5), span(-3, 3)),
        (f32(0.7), f32(0.7), f32(1e-4)),
        haversine,
        False,
        ("acos", "add", "cos"),
        (*LOSS, "domain"),
        haversine_plainly,
    ),
    Case(
        "versine",
        versine,
        (span(-1, 1),),
        (f32(1e-4),),
        lambda x: 2 * mp.sin(x / 2) ** 2,
        False,
        ("sub", "cos"),
        LOSS,
        stable.one_minus_cos,
    ),
    Case(
        "versine-ratio",
        versine_over_square,
        (span(1e-6, 1),),
        (f32(1e-4),),
        lambda x: 2 * (mp.sin(x / 2) / x) ** 2,
        False,
        ("sub", "cos"),
        LOSS,
        lambda x: 2 * (jnp.sin(x / 2) / x) ** 2,
    ),
    Case(
        "cosine-loss",
        cosine_loss,
        (span(-1, 1, 3), span(-1, 1, 3)),
        (f32([1, 2, 2]) / 3, f32([1, 2, 2.001]) / 3),
        lambda u, v: 2 * mp.sin(angle(u, v) / 2) ** 2,
        False,
        ("sub", "dot_general", "div"),
        (*LOSS, "0/0"),
        None,
    ),
)


# -- Statistics ----------------------------------------------------------------------


def standardised(x):
    return (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)


def deviation(x):
    return jnp.std(x)


def min_max(x):
    return (x - x.min()) / (x.max() - x.min())


def one_pass_variance(x):
    return jnp.mean(x**2) - jnp.mean(x) ** 2


def one_pass_deviation(x):
    n = x.shape[0]
    return jnp.sqrt((x * x).sum() / n - (x.sum() / n) ** 2)


def one_pass_covariance(x):
    n = x.shape[0]
    centre = jnp.mean(x, axis=0)
    return jnp.einsum("ni,nj->ij", x, x) / n - jnp.outer(centre, centre)


def running_variance(x):
    def update(carry, value):
        n, total, squares = carry
        return (n + 1, total + value, squares + value**2), None

    (n, total, squares), _ = lax.scan(update, (0.0, 0.0, 0.0), x)
    return squares / n - (total / n) ** 2


def moving_average(x):
    c = jnp.cumsum(x)
    return (c[2:] - c[:-2]) / 2


def covariance(rows):
    columns = list(zip(*rows, strict=True))
    centred = [[v - mean(list(c)) for v in c] for c in columns]
    return [[dot(a, b) / len(rows) for b in centred] for a in centred]


SERIES = f32(1000 + 0.25 * np.sin(np.arange(16)))

STATISTICS = (
    Case(
        "standardise-constant",
        standardised,
        (span(-1, 1, 2, 4),),
        (f32([[0.5, 0.5, 0.5, 0.5], [1, -1, 1, -1]]),),
        lambda x: [[mpf(0)] * 4, x[1]],
        False,
        ("div",),
        ZERO,
        lambda x: stable.standardise(x, axis=1),
        "by convention a constant row is standardised to 0",
    ),
    Case(
        "deviation-grad-constant",
        deviation,
        (span(-1, 1, 4),),
        (f32([0.5] * 4),),
        lambda x: [mpf(0)] * 4,
        True,
        ("div", "mul", "sqrt"),
        (*ZERO, *HUGE),
        stable.standard_deviation,
    ),
    Case(
        "deviation-huge",
        deviation,
        (span(-1e25, 1e25, 4),),
        (f32([1e22, -1e22, 3e22, -3e22]),),
        lambda x: mp.sqrt(variance(x)),
        False,
        SQUARE,
        HUGE,
        stable.standard_deviation,
    ),
    Case(
        "min-max-constant",
        min_max,
        (span(0, 255, 6),),
        (f32([7] * 6),),
        None,
        False,
        ("div",),
        ZERO,
        None,
    ),
    Case(
        "variance-one-pass",
        one_pass_variance,
        (span(990, 1010, 16),),
        (SERIES,),
        variance,
        False,
        ("sub",),
        LOSS,
        stable.variance,
    ),
    Case(
        "deviation-one-pass",
        one_pass_deviation,
        (span(990, 1010, 16),),
        (f32([1000.1] * 16),),
        lambda x: mpf(0),
        False,
        ("sub", "sqrt"),
        (*LOSS, "domain"),
        stable.standard_deviation,
    ),
    Case(
        "covariance-one-pass",
        one_pass_covariance,
        (span(90, 110, 8, 3),),
        (f32(100 + 0.1 * np.random.default_rng(5).normal(size=(8, 3))),),
        covariance,
        False,
        ("sub",),
        LOSS,
        None,
    ),
    Case(
        "variance-running",
        running_variance,
        (span(990, 1010, 16),),
        (SERIES,),
        variance,
        False,
        ("sub",),
        LOSS,
        stable.variance,
    ),
    Case(
        "moving-average",
        moving_average,
        (span(0, 1e8, 8),),
        (f32([1e8, 0.3, 0.7, 0.2, 0.9, 0.4, 0.6, 0.8]),),
        lambda x: [(a + b) / 2 for a, b in pairwise(x[1:])],
        False,
        ("sub", "cumsum"),
        LOSS,
        lambda x: (x[1:-1] + x[2:]) / 2,
    ),
)


# -- Products and determinants -------------------------------------------------------


def likelihood(p):
    return jnp.log(jnp.prod(p))


LABELS = np.arange(200) % 3 == 0


def bernoulli(p):
    return jnp.log(jnp.where(LABELS, p, 1 - p).prod())


def survival(alpha):
    return jnp.log(jnp.cumprod(1 - alpha))[-1]


def log_det(a):
    return jnp.log(jnp.abs(jnp.linalg.det(a)))


def normal_density(x):
    k = x.shape[-1]
    density = jnp.exp(-0.5 * x @ x) / jnp.sqrt((2 * jnp.pi) ** k)
    return jnp.log(density)


def naive_bayes(p):
    scores = 0.5 * jnp.prod(p, axis=1)
    return scores / jnp.sum(scores)


def geometric_mean(x):
    return jnp.prod(x) ** (1 / x.shape[0])


def log_abs_det(rows):
    return mp.log(abs(mp.det(matrix(rows))))


def sum_of_logs(values):
    return sum(map(mp.log, values))


def posterior(p):
    logs = [sum_of_logs(row) for row in p]
    return [mp.exp(v - lse(logs)) for v in logs]


PRODUCTS = (
    Case(
        "product-of-probabilities",
        likelihood,
        (span(1e-3, 1, 64),),
        (f32([0.01] * 64),),
        sum_of_logs,
        False,
        ("log", "reduce_prod"),
        ZERO,
        lambda p: jnp.sum(jnp.log(p)),
    ),
    Case(
        "bernoulli-likelihood",
        bernoulli,
        (span(0.01, 0.99, 200),),
        (f32([0.5] * 200),),
        lambda p: sum(
            mp.log(v if y else 1 - v) for v, y in zip(p, LABELS, strict=True)
        ),
        False,
        ("log", "reduce_prod"),
        ZERO,
        lambda p: jnp.sum(jnp.log(jnp.where(LABELS, p, 1 - p))),
    ),
    Case(
        "cumulative-product",
        survival,
        (span(0, 0.9, 100),),
        (f32([0.75] * 100),),
        lambda alpha: sum(mp.log(1 - a) for a in alpha),
        False,
        ("log", "cumprod"),
        ZERO,
        lambda alpha: jnp.sum(jnp.log1p(-alpha)),
    ),
    Case(
        "log-determinant",
        log_det,
        (span(-0.01, 0.01, 16, 16),),
        (f32(1e-3 * np.eye(16)),),
        log_abs_det,
        False,
        ("log", "reduce_prod", "mul", "lu"),
        ZERO,
        lambda a: jnp.linalg.slogdet(a)[1],
    ),
    Case(
        "log-of-density",
        normal_density,
        (span(-50, 50, 3),),
        (f32([10, -20, 5]),),
        lambda x: -dot(x, x) / 2 - 3 * mp.log(2 * mp.pi) / 2,
        False,
        ("log",),
        ZERO,
        lambda x: -0.5 * x @ x - 1.5 * jnp.log(2 * jnp.pi),
    ),
    Case(
        "naive-bayes",
        naive_bayes,
        (span(1e-3, 1, 3, 100),),
        (f32([[0.25] * 100, [0.2501] * 100, [0.1] * 100]),),
        posterior,
        False,
        ("div", "reduce_prod"),
        ZERO,
        None,
    ),
    Case(
        "geometric-mean",
        geometric_mean,
        (span(0.1, 1e6, 16),),
        (f32([1e4] * 16),),
        lambda x: mp.exp(sum_of_logs(x) / 16),
        False,
        ("reduce_prod",),
        HUGE,
        None,
    ),
)

MAGNITUDES = (*NORMS, *DISTANCES, *ANGLES, *STATISTICS, *PRODUCTS)
