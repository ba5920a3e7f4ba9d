"""Functions of a vector: value, gradient and Hessian against many digits."""

import functools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from steepest.numerics import stable

from .oracle import excess


STEP = mp.mpf(10) ** -40


def lse(x):
    return mp.log(mp.fsum(mp.exp(v) for v in x))


def probabilities(x):
    total = mp.fsum(mp.exp(v) for v in x)
    return [mp.exp(v) / total for v in x]


def entropy(x):
    return -mp.fsum(p * mp.log(p) for p in probabilities(x))


def kl(z):
    p, q = probabilities(z[: len(z) // 2]), probabilities(z[len(z) // 2 :])
    return mp.fsum(a * mp.log(a / b) for a, b in zip(p, q, strict=True))


def length(x):
    return mp.sqrt(mp.fsum(v * v for v in x))


def cosine(z):
    a, b = z[: len(z) // 2], z[len(z) // 2 :]
    return mp.fsum(v * w for v, w in zip(a, b, strict=True)) / (length(a) * length(b))


def variance(x):
    mean = mp.fsum(x) / len(x)
    return mp.fsum((v - mean) ** 2 for v in x) / len(x)


def halves(f):
    return lambda z: f(*jnp.split(z, 2))


def smoothed(x):
    rows = [0.9 * (k == 0) + 0.1 / len(x) for k in range(len(x))]
    return -mp.fsum(y * (v - lse(x)) for y, v in zip(rows, x, strict=True))


LOGITS = (
    (0.0, -20.0),
    (200.0, 0.0),
    (0.0, 0.0, 0.0),
    (1e-6, 0.0),
    (-200.0, -201.0),
    (3.0, 1.0, -50.0),
    (80.0, 79.5, 0.0),
    (-2e-9, -20.0),
)
PAIRS = (
    (0.0, 1e-4, 0.0, 0.0),
    (0.0, 1.0, 200.0, 0.0),
    (0.3, 0.1, -0.2, 0.3, 0.1001, -0.2),
    (0.0, -20.0, 0.0, -21.0),
    (5.0, -3.0, 2.0, -4.0),
)
VECTORS = (
    (3e30, 4e30),
    (3e-30, -4e-30),
    (1.0, 1e-5),
    (1.0, 2.0, 3.0),
    (1e4, 1e-3, -7.0),
    (1.0, 1.0),
    (-0.5, 1e20, 3.0),
)
SAMPLES = (
    (1.0, 2.0, 4.0),
    (1e4, 1e4 + 1, 1e4 + 3),
    (1e18, -1e18, 3e17),
    (1e-18, 3e-18, -2e-18),
    (0.25, 0.5, 0.75, 1.5),
)
DIRECTIONS = (
    (1.0, 0.0, 1.0, 1e-3),
    (1.0, 2.0, -3.0, 0.5),
    (3e20, 1e20, 1e-20, 2e-20),
    (1.0, 1e-4, -1.0, 0.0),
)
# near 0 and π the second derivatives are differences of the order of 1/θ
ANGLES = (DIRECTIONS[1], DIRECTIONS[2], (1.0, 0.3, 1.0, 0.0), (1.0, 0.3, -1.0, 0.0))
WEIGHTED = ((0.0, -3.0, 0.25, 0.75), (200.0, 100.0, 0.5, 0.5), (-9.0, 2.0, 1e-6, 1.0))
FACTORS = ((1e-3, 2e30, 5.0), (1e-20, 1e20, 1.5), (-2.0, -3.0), (1e10, 1e-10, 1.25))


def of(i, f):
    return lambda x: f(x)[i]


COMPONENTS = {
    # the second derivative of a probability near 1/2 passes through 0: a difference
    "softmax": (stable.softmax, probabilities, [x for x in LOGITS if x[0] != 1e-6]),
    "log_softmax": (stable.log_softmax, lambda x: [v - lse(x) for v in x], LOGITS),
    "log1m_softmax": (
        stable.log1m_softmax,
        lambda x: [
            mp.log(mp.fsum(mp.exp(w) for w in rest(x, k))) - lse(x) for k in N(x)
        ],
        LOGITS,
    ),
    "cross_entropy": (
        lambda x: jnp.stack([stable.cross_entropy(x, jnp.asarray(k)) for k in N(x)]),
        lambda x: [lse(x) - v for v in x],
        LOGITS,
    ),
    "focal_loss": (
        lambda x: jnp.stack([stable.focal_loss(x, jnp.asarray(k)) for k in N(x)]),
        lambda x: [-((1 - p) ** 2) * mp.log(p) for p in probabilities(x)],
        LOGITS,
    ),
    "normalise": (stable.normalise, lambda x: [v / length(x) for v in x], VECTORS),
    "standardise": (
        stable.standardise,
        lambda x: [(v - mp.fsum(x) / len(x)) / mp.sqrt(variance(x)) for v in x],
        SAMPLES,
    ),
}
N = lambda x: range(len(x))
rest = lambda x, k: [v for j, v in enumerate(x) if j != k]
SCALARS = {
    "logsumexp": (stable.logsumexp, lse, LOGITS),
    "logmeanexp": (stable.logmeanexp, lambda x: lse(x) - mp.log(len(x)), LOGITS),
    "entropy_of_logits": (stable.entropy_of_logits, entropy, LOGITS),
    "label smoothing": (
        lambda x: stable.cross_entropy(x, jnp.asarray(0), label_smoothing=0.1),
        smoothed,
        LOGITS,
    ),
    "kl_of_logits": (halves(stable.kl_of_logits), kl, PAIRS),
    "log_mixture": (
        halves(stable.log_mixture),
        lambda z: mp.log(z[2] * mp.exp(z[0]) + z[3] * mp.exp(z[1])),
        WEIGHTED,
    ),
    "norm": (stable.norm, length, VECTORS),
    "variance": (stable.variance, variance, SAMPLES),
    "standard_deviation": (
        stable.standard_deviation,
        lambda x: mp.sqrt(variance(x)),
        SAMPLES,
    ),
    "cosine_similarity": (halves(stable.cosine_similarity), cosine, DIRECTIONS),
    "angle": (halves(stable.angle), lambda z: mp.acos(cosine(z)), ANGLES),
    "log_product": (stable.log_product, lambda x: mp.log(mp.fprod(x)), FACTORS),
    "sum_compensated": (stable.sum_compensated, mp.fsum, VECTORS),
    "log_determinant": (
        lambda x: stable.log_determinant(x.reshape(2, 2)),
        lambda x: mp.log(abs(x[0] * x[3] - x[1] * x[2])),
        ((2.0, 1.0, 1.0, 3.0), (1e-18, 0.0, 3e-19, 5e-18)),
    ),
}


def slope(f, i):
    """∂f/∂xᵢ by central differences."""

    def at(x):
        h = (abs(x[i]) or 1) * STEP
        up, down = list(x), list(x)
        up[i], down[i] = x[i] + h, x[i] - h
        return (f(up) - f(down)) / (2 * h)

    return at


def with_change(f, x):
    """f(x), and Σ |xₖ ∂f/∂xₖ|."""
    return f(x), mp.fsum(abs(x[k] * slope(f, k)(x)) for k in N(x) if x[k])


@functools.cache
def exactly(kind, name, i, x):
    """Value, gradient and Hessian with their changes: numbers for one output."""
    f = {"scalar": SCALARS, "component": COMPONENTS}[kind][name][1]
    g = f if i is None else of(i, f)
    with mp.workdps(320):
        x = [mp.mpf(v) for v in x]
        results = {(): with_change(g, x)}
        for a in N(x):
            results[(a,)] = with_change(slope(g, a), x)
            for b in range(a + 1):
                results[a, b] = with_change(slope(slope(g, a), b), x)
        return results


UNITS = {"focal_loss": 2}  # a product of two functions, each with its error
NORMWISE = ("angle",)  # its Hessian is right in the norm, not entry by entry


def wrong(kind, name, f, points, dtype):
    found = []
    largest = float(jnp.finfo(dtype).max)
    for point in points:
        if max(map(abs, point)) >= largest:
            continue
        with jax.enable_x64(dtype == "float64"):
            x = jnp.asarray(point, dtype)
            exact_point = tuple(float(v) for v in x)
            if len(set(exact_point)) < len(set(point)) or not any(exact_point):
                continue  # rounding makes another, singular, point of it
            for mode in ("eager", "jit"):
                run = jax.jit if mode == "jit" else lambda g: g
                orders = run(f)(x), run(jax.jacrev(f))(x), run(jax.hessian(f))(x)
                orders = [np.asarray(o, np.float64) for o in orders]
                for i in N(point) if kind == "component" else [None]:
                    truths = exactly(kind, name, i, exact_point)
                    reach = [
                        max(abs(t) + c for k, (t, c) in truths.items() if len(k) <= n)
                        for n in range(3)
                    ]
                    for index, (t, change) in truths.items():
                        if reach[len(index)] > largest:
                            continue  # beyond the range
                        where = index if i is None else (i, *index)
                        got = float(orders[len(index)][where])
                        scale = reach[len(index)] if name in NORMWISE else change
                        noise = 1e-70 * reach[len(index)]  # of the differences
                        if abs(t) <= noise and abs(got) <= noise:
                            continue
                        e = excess(got, t, scale, dtype)
                        if e > UNITS.get(name, 1):
                            found.append((e, mode, where, exact_point, got, float(t)))
    return sorted(found, reverse=True)[:4]


FAST = ("logsumexp", "cross_entropy")


def cases(functions):
    for name in functions:
        for dtype in ("float32", "float16", "float64"):
            slow = name not in FAST or dtype != "float32"
            yield pytest.param(name, dtype, marks=pytest.mark.slow if slow else ())


@pytest.mark.slow
@pytest.mark.parametrize("name, dtype", [*cases(SCALARS)])
def test_a_number_with_its_gradient_and_hessian_is_right(name, dtype):
    f, _, points = SCALARS[name]
    assert wrong("scalar", name, f, points, dtype) == []


@pytest.mark.slow
@pytest.mark.parametrize("name, dtype", [*cases(COMPONENTS)])
def test_every_component_with_its_gradient_and_hessian_is_right(name, dtype):
    f, _, points = COMPONENTS[name]
    assert wrong("component", name, f, points, dtype) == []
