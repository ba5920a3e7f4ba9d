"""The critical points of the catalogue are critical, and of the kind that it says."""

import math
from functools import cache

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from steepest.core.errors import InputError
from steepest.problems import functions


NAMES = functions.names()
DEGENERATE = [
    name
    for name in NAMES
    if any(p.kind.startswith("degenerate") for p in functions.get(name).points)
]
COERCIVE = [  # and all critical points are listed
    "rosenbrock",
    "rosenbrock-4",
    "rosenbrock-5",
    "rosenbrock-6",
    "rosenbrock-7",
    "himmelblau",
    "six-hump-camel",
    "three-hump-camel",
    "freudenstein-roth",
    "wood",
    "goldstein-price",
    "styblinski-tang-1",
    "styblinski-tang-2",
    "styblinski-tang-3",
    "canyon",
    "rank-one",
]


@cache
def measure(name):
    """Value, gradient and Hessian at the labelled points and at the starts."""
    function = functions.get(name)

    def all_three(x):
        return function.fun(x), jax.grad(function.fun)(x), jax.hessian(function.fun)(x)

    with jax.enable_x64(True):
        X = jnp.asarray([*(p.x for p in function.points), *function.starts])
        results = jax.jit(jax.vmap(all_three))(X)
    assert all(a.dtype == jnp.float64 for a in results)
    return tuple(np.asarray(a) for a in results)


def scale(point):
    """Of the curvature at a point, for what rounding its coordinates costs."""
    curvature = max(map(abs, point.spectrum)) if point.spectrum else 1.0
    return (1 + curvature) * (1 + math.hypot(*point.x))


def test_more_than_seventy_points_are_labelled():
    points = [p for name in NAMES for p in functions.get(name).points]
    assert len(points) >= 70
    assert len({p.kind for p in points}) == 5


@pytest.mark.parametrize("name", NAMES)
def test_labelled_points_are_critical_with_the_value_and_spectrum_given(name):
    function, (f, g, H) = functions.get(name), measure(name)
    for i, point in enumerate(function.points):
        # Rounding the coordinates moves the gradient by eps λ ‖x‖, and the terms that
        # cancel in it are up to a hundred times their sum: in all some 1e3 eps.
        assert np.linalg.norm(g[i]) <= 1e-12 * scale(point), point
        assert float(f[i]) == pytest.approx(point.value, rel=1e-12, abs=1e-12)
        if point.spectrum is not None:
            spectrum = np.linalg.eigvalsh(H[i])
            # An eigenvalue is exact to a few eps ‖H‖, and third derivatives times the
            # rounding of x beside it.
            np.testing.assert_allclose(
                spectrum, point.spectrum, rtol=1e-11, atol=1e-12 * scale(point)
            )


@pytest.mark.parametrize("name", NAMES)
def test_kinds_follow_from_spectra_and_points_lie_in_the_domain(name):
    function = functions.get(name)
    lower, upper = map(np.asarray, function.domain)
    assert len({p.x for p in function.points}) == len(function.points)
    for point in function.points:
        assert np.all((lower <= point.x) & (point.x <= upper))
        if point.spectrum is None:
            continue
        low, high = point.spectrum[0], point.spectrum[-1]
        assert list(point.spectrum) == sorted(point.spectrum)
        if point.kind == "minimum":
            assert low > 0
        elif point.kind == "maximum":
            assert high < 0
        elif point.kind == "saddle":
            assert low < 0 < high
        else:
            assert (low >= 0 or high <= 0) and 0 in point.spectrum


@pytest.mark.parametrize(
    "name",
    [
        # Where the Hessian decides, the spectra above say the same.
        name if name in DEGENERATE else pytest.param(name, marks=pytest.mark.slow)
        for name in NAMES
    ],
)
def test_the_neighbourhood_of_every_point_is_as_its_kind_says(name):
    """Points round it lie above, below or on both sides, derivatives or not."""
    function, rng = functions.get(name), np.random.default_rng(0)
    directions = rng.normal(size=(1000, function.n))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    fun = jax.jit(jax.vmap(function.fun))
    for point, H in zip(function.points, measure(name)[2]):
        # By chance no direction may lie near that of a small negative eigenvalue.
        axes = np.linalg.eigh(H)[1].T
        around = np.concatenate([directions, axes, -axes])
        # Where there is curvature, so near that it decides; else far enough to see.
        radius = 1e-3 if point.spectrum and any(point.spectrum) else 0.1
        if point.kind == "degenerate saddle":
            radius = 0.1
        with jax.enable_x64(True):
            values = np.asarray(fun(jnp.asarray(point.x + radius * around)))
        noise = 1e-13 * (1 + abs(point.value))
        if point.kind.endswith("minimum"):
            assert values.min() >= point.value - noise, point
        elif point.kind == "maximum":
            assert values.max() < point.value, point
        else:
            assert values.min() < point.value - noise, point
            assert values.max() > point.value + noise, point


@pytest.mark.parametrize("name", COERCIVE)
def test_of_a_function_that_grows_without_limit_the_indices_add_up_to_one(name):
    """Σ (−1)^(number of negative eigenvalues) = 1 (Morse): no point is missing."""
    points = functions.get(name).points
    assert sum((-1) ** sum(s < 0 for s in p.spectrum) for p in points) == 1


def _mueller_brown(x, y):
    rows = [
        (-200, "-1", "0", "-10", "1", "0"),
        (-100, "-1", "0", "-10", "0", "0.5"),
        (-170, "-6.5", "11", "-6.5", "-0.5", "1.5"),
        (15, "0.7", "0.6", "0.7", "-1", "1"),
    ]
    total = mpmath.mpf(0)
    for A, *rest in rows:
        a, b, c, x0, y0 = map(mpmath.mpf, rest)
        total += A * mpmath.exp(
            a * (x - x0) ** 2 + b * (x - x0) * (y - y0) + c * (y - y0) ** 2
        )
    return total


def _six_hump_camel(x, y):
    return 4 * x**2 - mpmath.mpf("2.1") * x**4 + x**6 / 3 + x * y - 4 * y**2 + 4 * y**4


def _branin(x, y):
    pi = mpmath.pi
    bracket = y - mpmath.mpf("5.1") / (4 * pi**2) * x**2 + 5 * x / pi - 6
    return bracket**2 + 10 * (1 - 1 / (8 * pi)) * mpmath.cos(x) + 10


def _beale(x, y):
    terms = (mpmath.mpf(c) - x + x * y**k for k, c in enumerate((1.5, 2.25, 2.625), 1))
    return sum(t**2 for t in terms)


def _himmelblau(x, y):
    return (x * x + y - 11) ** 2 + (y * y + x - 7) ** 2


@pytest.mark.parametrize(
    "name, fun",
    [
        ("mueller-brown", _mueller_brown),
        ("six-hump-camel", _six_hump_camel),
        ("branin", _branin),
        ("beale", _beale),
        ("himmelblau", _himmelblau),
    ],
)
def test_every_digit_agrees_with_differences_in_forty_digits(name, fun):
    with mpmath.workdps(40):
        h = mpmath.mpf(10) ** -10
        for point in functions.get(name).points:
            x, y = map(mpmath.mpf, point.x)
            f = {
                (i, j): fun(x + i * h, y + j * h)
                for i in (-1, 0, 1)
                for j in (-1, 0, 1)
            }
            xx = (f[1, 0] - 2 * f[0, 0] + f[-1, 0]) / h**2
            yy = (f[0, 1] - 2 * f[0, 0] + f[0, -1]) / h**2
            xy = (f[1, 1] - f[1, -1] - f[-1, 1] + f[-1, -1]) / (4 * h**2)
            middle, radius = (xx + yy) / 2, mpmath.hypot((xx - yy) / 2, xy)
            gx, gy = (f[1, 0] - f[-1, 0]) / (2 * h), (f[0, 1] - f[0, -1]) / (2 * h)
            # The point is rounded once: eps/2 of its size, times the curvature. The
            # differences are exact to h², 1e-20.
            assert mpmath.hypot(gx, gy) <= 2.3e-16 * scale(point)
            # At a minimum of zero, squares of what rounding leaves, some 1e-15.
            assert float(f[0, 0]) == pytest.approx(point.value, rel=4e-16, abs=1e-28)
            # Third derivatives times the rounding of the point.
            assert point.spectrum == pytest.approx(
                (float(middle - radius), float(middle + radius)), rel=1e-13, abs=1e-12
            )


def test_closed_forms():
    get = functions.get
    low, high = get("rosenbrock").points[0].spectrum
    # The Hessian is [[802, −400], [−400, 200]]: trace and determinant.
    assert (low + high, low * high) == (pytest.approx(1002), pytest.approx(400))
    camel = next(p for p in get("six-hump-camel").points if p.x == (0.0, 0.0))
    assert camel.spectrum == pytest.approx((-math.sqrt(65), math.sqrt(65)), rel=1e-15)
    heights = sorted(p.x[1] for p in get("freudenstein-roth").points)
    roots = [(2 - math.sqrt(22)) / 3, (2 + math.sqrt(22)) / 3, 4.0]
    assert heights == pytest.approx(roots, rel=1e-15)
    bowl = get("rastrigin-10").points[0]
    assert bowl.spectrum == pytest.approx((2 + 40 * math.pi**2,) * 10, rel=1e-15)
    for depth in (2, 3, 4):
        top = get(f"deep-scalar-{depth}").points[0].spectrum[-1]
        assert top == pytest.approx(depth * 2 ** (2 - 2 / depth), rel=1e-14)


def test_a_linear_network_has_a_saddle_for_every_set_of_modes_but_the_best():
    points = functions.get("two-layer-linear").points
    losses = {p.value: p for p in points}
    assert set(losses) == {6.625, 2.125, 4.625, 6.5, 0.125, 2.0, 4.5}
    negative = {v: sum(s < 0 for s in p.spectrum) for v, p in losses.items()}
    assert (negative[6.625], negative[2.125], negative[4.625]) == (6, 2, 3)
    assert (negative[0.125], negative[2.0], negative[4.5]) == (0, 1, 2)
    assert [p.kind for p in points if p.kind != "saddle"] == ["degenerate minimum"]
    assert losses[2.125].spectrum[0] == -2 and losses[2.125].spectrum[-1] == 6


def test_minima_come_with_the_lowest_first():
    minima = functions.get("rosenbrock-4").minima
    assert [p.value for p in minima] == [0.0, pytest.approx(3.70142861043)]


@pytest.mark.parametrize("name", NAMES)
def test_functions_keep_the_precision_of_their_input(name):
    function = functions.get(name)
    double = measure(name)[0][len(function.points) :]
    for start, value in zip(function.starts, double):
        assert len(start) == function.n == len(function.domain[0])
        single = jax.jit(function.fun)(jnp.asarray(start, jnp.float32))
        assert single.dtype == jnp.float32 and single.shape == ()
        # Large terms cancel in some; none loses more than three digits of seven.
        assert float(single) == pytest.approx(float(value), rel=1e-3, abs=1e-3)


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(InputError, match=r"'rosenbrok'.*rosenbrock"):
        functions.get("rosenbrok")


@pytest.mark.parametrize(
    "x, message",
    [
        (jnp.ones(3), r"vector of shape \(2,\), not of \(3,\)"),
        (jnp.ones((5, 2)), "vmap"),
        (jnp.ones(2, int), "floating-point numbers, not int32"),
        ([1.0, 2.0], "not a list"),
    ],
)
def test_input_of_another_kind_is_refused(x, message):
    with pytest.raises(InputError, match=message):
        functions.get("himmelblau").fun(x)
