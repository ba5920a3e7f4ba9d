"""Functions of two numbers: value, gradient and Hessian, and the singular points."""

import itertools

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from steepest.numerics import stable

from .oracle import DTYPES, excess


STEP = mp.mpf(10) ** -40
SIZES = (1e-30, 1e-7, 0.3, 1.0, 1.001, 17.0, 90.0, 1e25)
SIGNED = tuple(s * x for x in SIZES for s in (-1, 1))

FUNCTIONS = {  # truth, values of either argument, and which pairs are in the domain
    "logaddexp": (lambda a, b: mp.log(mp.exp(a) + mp.exp(b)), SIGNED, SIGNED, None),
    "logdiffexp": (
        lambda a, b: mp.log(mp.exp(a) - mp.exp(b)),
        SIGNED,
        SIGNED,
        lambda a, b: b < a,
    ),
    "xlogy": (lambda x, y: x * mp.log(y), SIGNED, SIZES, None),
    "hypot": (mp.hypot, SIGNED, SIGNED, None),
    "arctan2": (mp.atan2, SIGNED, SIGNED, None),
    "binary_cross_entropy": (
        lambda x, y: y * mp.log(1 + mp.exp(-x)) + (1 - y) * mp.log(1 + mp.exp(x)),
        SIGNED,
        (1e-6, 0.25, 0.999),
        None,
    ),
    "difference_of_squares": (lambda a, b: a * a - b * b, SIGNED, SIGNED, None),
    "sqrt_difference": (lambda a, b: mp.sqrt(a) - mp.sqrt(b), SIZES, SIZES, None),
    "sqrt_increment": (lambda x, d: mp.sqrt(x + d) - mp.sqrt(x), SIZES, SIZES, None),
    "power1pm1": (
        lambda x, t: (1 + x) ** t - 1,
        (-0.9, -0.5, -1e-8, 1e-30, 1e-8, 0.3, 10.0),
        (-2.0, 1e-6, 0.5, 1.0, 3.0, 1000.0),
        None,
    ),
}


def shifted(f, x, y, i, j):
    return f(x * (1 + i * STEP), y * (1 + j * STEP))


def derivatives(f, x, y):
    """f, ∂f and ∂∂f at (x, y), each with its change |x ∂ₓ| + |y ∂ᵧ|."""
    with mp.workdps(300):
        x, y = mp.mpf(x), mp.mpf(y)
        v = {
            (i, j): shifted(f, x, y, i, j)
            for i in range(-2, 3)
            for j in range(-2, 3)
            if abs(i) + abs(j) <= 3
        }
        rates = {  # in relative steps: x ∂ₓ and so on
            (0, 0): v[0, 0],
            (1, 0): (v[1, 0] - v[-1, 0]) / 2,
            (0, 1): (v[0, 1] - v[0, -1]) / 2,
            (2, 0): v[1, 0] - 2 * v[0, 0] + v[-1, 0],
            (0, 2): v[0, 1] - 2 * v[0, 0] + v[0, -1],
            (1, 1): (v[1, 1] - v[1, -1] - v[-1, 1] + v[-1, -1]) / 4,
            (3, 0): (v[2, 0] - 2 * v[1, 0] + 2 * v[-1, 0] - v[-2, 0]) / 2,
            (0, 3): (v[0, 2] - 2 * v[0, 1] + 2 * v[0, -1] - v[0, -2]) / 2,
            (2, 1): (
                v[1, 1] - 2 * v[0, 1] + v[-1, 1] - v[1, -1] + 2 * v[0, -1] - v[-1, -1]
            )
            / 2,
            (1, 2): (
                v[1, 1] - 2 * v[1, 0] + v[1, -1] - v[-1, 1] + 2 * v[-1, 0] - v[-1, -1]
            )
            / 2,
        }
        rates = {k: r / STEP ** sum(k) for k, r in rates.items()}
        found = {}
        for i, j in [k for k in rates if sum(k) <= 2]:
            around = abs(rates[i + 1, j]) + abs(rates[i, j + 1])
            noise = mp.mpf(10) ** -160 * abs(v[0, 0])
            r = rates[i, j] if abs(rates[i, j]) > noise else mp.mpf(0)
            scale = x**i * y**j
            found[i, j] = r / scale, abs(around / scale)
        return found


def pairs(name, dtype):
    _, xs, ys, within = FUNCTIONS[name]
    largest = float(jnp.finfo(dtype).max)
    for x, y in itertools.product(xs, ys):
        if max(abs(x), abs(y)) < largest and (within is None or within(x, y)):
            yield float(jnp.asarray(x, dtype)), float(jnp.asarray(y, dtype))


FAST = ("binary_cross_entropy",)


def cases():
    for name in FUNCTIONS:
        for dtype in DTYPES[1:]:
            slow = name not in FAST or dtype != "float32"
            yield pytest.param(name, dtype, marks=pytest.mark.slow if slow else ())


@pytest.mark.slow
@pytest.mark.parametrize("name, dtype", [*cases()])
def test_value_gradient_and_hessian_are_right(name, dtype):
    truth, f = FUNCTIONS[name][0], getattr(stable, name)
    _, _, _, within = FUNCTIONS[name]
    points = [
        p
        for p in pairs(name, dtype)
        if min(map(abs, p)) > 0 and (not within or within(*p))
    ]
    x, y = (jnp.asarray(v, dtype) for v in zip(*points, strict=True))
    gradient = jax.vmap(jax.grad(f, (0, 1)))
    hessian = jax.vmap(jax.hessian(f, (0, 1)))
    wrong = []
    for mode, compiled in (("eager", lambda g: g), ("jit", jax.jit)):
        values, slopes = compiled(f)(x, y), compiled(gradient)(x, y)
        bends = compiled(hessian)(x, y)
        got = {
            (0, 0): values,
            (1, 0): slopes[0],
            (0, 1): slopes[1],
            (2, 0): bends[0][0],
            (1, 1): bends[0][1],
            (0, 2): bends[1][1],
        }
        for k, p in enumerate(points):
            exact = derivatives(truth, *p)
            reach = [  # the largest of each order: 0, 1, 2
                max(abs(t) + c for k, (t, c) in exact.items() if sum(k) <= n)
                for n in range(3)
            ]
            for order, (t, change) in exact.items():
                if reach[sum(order)] > jnp.finfo(dtype).max:
                    continue  # beyond the range
                e = excess(float(got[order][k]), t, change, dtype)
                if e > 1:
                    wrong.append((e, mode, order, p, float(got[order][k]), float(t)))
    assert sorted(wrong, reverse=True)[:5] == []


INF = np.inf
POINTS = [  # function, point, value, gradient: by the conventions of the docstrings
    ("logaddexp", (-INF, -INF), -INF, (0, 0)),
    ("logaddexp", (-INF, 1.0), 1.0, (0, 1)),
    ("logaddexp", (INF, -INF), INF, (1, 0)),
    ("logaddexp", (INF, INF), INF, (0.5, 0.5)),
    ("logaddexp", (1e4, 1e4), 1e4 + np.log(2), (0.5, 0.5)),
    ("logdiffexp", (-INF, -INF), -INF, (0, 0)),
    ("logdiffexp", (-1.0, -INF), -1.0, (1, 0)),
    ("logdiffexp", (2.0, 2.0), -INF, (INF, -INF)),
    ("logdiffexp", (-INF, -1.0), np.nan, None),
    ("xlogy", (0.0, 0.0), 0.0, (-INF, 0)),
    ("xlogy", (0.0, 1.0), 0.0, (0, 0)),
    ("xlogy", (0.0, INF), 0.0, (INF, 0)),
    ("hypot", (0.0, 0.0), 0.0, (0, 0)),
    ("hypot", (INF, 1.0), INF, (1, 0)),
    ("arctan2", (0.0, 0.0), 0.0, (0, 0)),
    ("binary_cross_entropy", (50.0, 1.0), 1.92875e-22, (-1.92875e-22, -50)),
    ("binary_cross_entropy", (INF, 1.0), 0.0, (0, None)),
    ("binary_cross_entropy", (-INF, 0.0), 0.0, (0, None)),
    ("sqrt_difference", (0.0, 0.0), 0.0, (0, 0)),
    ("sqrt_increment", (0.0, 0.0), 0.0, (0, 0)),
    ("sqrt_increment", (1e8, 1.0), 5e-5, (-2.5e-13, 5e-5)),
    ("difference_of_squares", (2e38, 2e38), 0.0, None),
    ("power1pm1", (-1.0, 2.0), -1.0, (0, 0)),
    ("power1pm1", (0.0, 0.0), 0.0, (0, 0)),
]


@pytest.mark.parametrize("name, point, value, gradient", POINTS)
def test_singular_points_follow_the_stated_convention(name, point, value, gradient):
    f = getattr(stable, name)
    np.testing.assert_allclose(f(*point), value, rtol=1e-5)
    for k, slope in enumerate(gradient or ()):
        if slope is None:
            continue
        of_one = (lambda t: f(t, point[1])) if k == 0 else (lambda t: f(point[0], t))
        forward = jax.jvp(of_one, (point[k],), (1.0,))[1]
        np.testing.assert_allclose(jax.grad(f, k)(*point), slope, rtol=1e-5)
        np.testing.assert_allclose(forward, slope, rtol=1e-5)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_nan_passes_through(name):
    f = getattr(stable, name)
    assert np.isnan(f(np.nan, 0.5)) and np.isnan(f(0.5, np.nan))
