"""Losses along lines and planes against direct evaluations and closed forms."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import InputError
from steepest.curvature import hessian
from steepest.curvature.landscape import (
    between,
    gradient_direction,
    line,
    plane,
    random_direction,
    trajectory_plane,
)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def quadratic(spectrum):
    lam = jnp.asarray(spectrum, float)
    return lambda x: 0.5 * jnp.sum(lam * x**2)


def model(dtype=float):
    """Arrays of one to four axes, in the layouts of JAX: units last."""
    keys = jax.random.split(jax.random.key(0), 3)
    shapes = {"kernel": (3, 3, 2, 4), "dense": (5, 7), "bias": (7,)}
    return {
        name: jax.random.normal(k, shape, dtype)
        for k, (name, shape) in zip(keys, shapes.items())
    }


START = (-1.2, 1.0)
FLAT = lambda x: jnp.asarray(3.0)


# -- Values ----------------------------------------------------------------------------


@pytest.mark.parametrize("chunk", [None, 1, 4, 100])
def test_a_line_holds_the_losses_of_its_points_whatever_the_chunk(chunk):
    x, d = np.array(START), np.array([1.0, -0.5])
    seen = line(
        rosenbrock, jnp.array(x), jnp.array(d), reach=2.0, points=9, chunk=chunk
    )
    np.testing.assert_array_equal(seen.distances, np.linspace(-2, 2, 9))
    direct = [float(rosenbrock(x + t * d)) for t in seen.distances]
    np.testing.assert_allclose(seen.losses, direct, rtol=1e-13)  # some operations' eps
    g = np.array([-215.6, -88.0])  # of Rosenbrock at its usual start, exactly
    H = np.array([[1330.0, 480.0], [480.0, 200.0]])
    np.testing.assert_allclose(seen.value, 24.2, rtol=1e-13)
    np.testing.assert_allclose(seen.slope, g @ d, rtol=1e-13)
    np.testing.assert_allclose(seen.curvature, d @ H @ d, rtol=1e-13)


def test_distances_of_ones_own_are_sorted_and_kept():
    x, d = jnp.asarray(START), jnp.asarray([0.0, 1.0])
    seen = line(rosenbrock, x, d, distances=[0.5, -1.0, 0.1])
    np.testing.assert_array_equal(seen.distances, [-1.0, 0.1, 0.5])
    np.testing.assert_allclose(seen.losses[2], rosenbrock([-1.2, 1.5]), rtol=1e-13)


def test_the_parabola_is_exact_on_a_quadratic_and_said_to_hold_everywhere():
    loss, x = quadratic([1, -4, 10]), jnp.asarray([1.0, -2.0, 0.5])
    seen = line(loss, x, jnp.asarray([0.3, 1.0, -1.0]), reach=5.0)
    # Each is a sum of terms of some hundreds: 1e-12 is some thousand eps of them.
    np.testing.assert_allclose(seen.taylor, seen.losses, rtol=0, atol=1e-12)
    assert seen.trusted == (-5.0, 5.0)
    assert "all of this line" in str(seen)


def test_the_parabola_of_a_quartic_holds_where_the_quartic_term_is_a_tenth():
    # L = t² + t⁴: the parabola is t², its own terms are t², so it holds for t² ≤ 0.1.
    seen = line(
        lambda x: jnp.sum(x**2 + x**4),
        jnp.zeros(1),
        jnp.ones(1),
        reach=1.0,
        points=2001,
    )
    edge = np.sqrt(0.1)
    low, high = seen.trusted
    assert low == -high and edge - 1e-3 < high <= edge  # the spacing is 1e-3
    assert f"{high:.4g}" in str(seen) and "do not tell" in str(seen)


def test_beyond_the_first_failure_the_parabola_is_not_trusted_again():
    # sin t crosses its parabola t at 0 only, and comes within a tenth nowhere later;
    # 1 − cos t meets t²/2 again nowhere: both end at the first failure.
    seen = line(
        lambda x: jnp.sum(jnp.sin(x)),
        jnp.zeros(1),
        jnp.ones(1),
        reach=20.0,
        points=4001,
    )
    # sin t = 0.9 t at t = 0.78668...
    np.testing.assert_allclose(seen.trusted[1], 0.78668, atol=0.01)


def test_one_program_serves_all_points_and_the_next_line():
    traced = []

    def loss(x):
        traced.append(x)
        return jnp.sum(x**4)

    x, d = jnp.ones(3), jnp.ones(3)
    line(loss, x, d, points=11, chunk=8)
    once = len(traced)
    line(loss, x, d, points=801, chunk=8)
    line(loss, 2 * x, 3 * d, points=802, chunk=8)
    # Nothing is compiled again; a look at what the loss is now takes two traces a line.
    assert len(traced) - once <= 4
    once = len(traced)
    plane(loss, x, jnp.array([1.0, 0, 0]), jnp.array([0, 1.0, 0]), points=3)
    few = len(traced) - once
    plane(loss, x, jnp.array([1.0, 0, 0]), jnp.array([0, 1.0, 0]), points=40)
    assert len(traced) - once - few <= few


def test_a_plane_holds_the_losses_of_its_grid():
    x = np.array(START)
    u, v = np.array([1.0, 0.5]), np.array([0.0, 2.0])
    seen = plane(
        rosenbrock, jnp.array(x), jnp.array(u), jnp.array(v), reach=(1.0, 0.5), points=5
    )
    np.testing.assert_array_equal(seen.alphas, np.linspace(-1, 1, 5))
    np.testing.assert_array_equal(seen.betas, np.linspace(-0.5, 0.5, 5))
    direct = [
        [float(rosenbrock(x + a * u + b * v)) for b in seen.betas] for a in seen.alphas
    ]
    np.testing.assert_allclose(seen.losses, direct, rtol=1e-13)
    assert seen.value == seen.losses[2, 2]
    assert "lowest" in str(seen)


def test_orthogonal_directions_keep_their_lengths():
    x = jnp.zeros(3)
    u, v = jnp.asarray([1.0, 2.0, 2.0]), jnp.asarray([3.0, 0.0, 1.0])
    loss = quadratic([1, 2, 3])
    p, q = plane(loss, x, u, v, points=2, orthogonal=True).directions
    np.testing.assert_array_equal(p, u)
    np.testing.assert_allclose(p @ q, 0, atol=1e-14)
    np.testing.assert_allclose(q @ q, v @ v, rtol=1e-14)
    # v lies in the plane of the two: its part along u is (u·v)/(u·u) u.
    span = np.linalg.matrix_rank(np.stack([p, q, v]))
    assert span == 2


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_narrow_parameters_are_moved_in_float32_and_then_rounded(dtype):
    x = jnp.asarray([1.0, 2.0], dtype)
    d = jnp.asarray([1.0, -1.0], dtype)
    loss = lambda p: jnp.sum(p.astype(jnp.float32) ** 2)
    seen = line(loss, x, d, distances=[-0.3, 0.7])
    for t, value in zip(seen.distances, seen.losses):
        exact = np.asarray(x, np.float32) + np.float32(t) * np.asarray(d, np.float32)
        rounded = np.asarray(jnp.asarray(exact, dtype), np.float64)
        np.testing.assert_allclose(value, np.sum(rounded**2), rtol=1e-6)  # float32


def test_large_programs_are_evaluated_in_smaller_chunks():
    from steepest.curvature import landscape

    small = landscape._fitting(quadratic([1, 2]), jnp.zeros(2))
    data = jnp.ones((1000, 500))
    large = landscape._fitting(lambda x: jnp.sum((data * x[0]) ** 2), jnp.zeros(2))
    assert large == 2**27 // (8 * 500_000)  # the largest array has 4 MB
    assert small > 1000 * large
    image = jnp.ones((1, 4, 4, 1))
    convolved = lambda k: jnp.sum(jax.lax.conv(image, k, (1, 1), "SAME"))
    alone = landscape._fitting(convolved, jnp.ones((3, 4, 2, 2)))
    assert alone == 1 or jax.default_backend() != "cpu"


# -- Holes and plains ------------------------------------------------------------------


def test_losses_that_are_not_finite_are_kept_as_holes():
    loss = lambda x: jnp.sum(jnp.log(x))  # NaN below 0, −inf at 0
    seen = line(loss, jnp.ones(1), jnp.ones(1), distances=[-2.0, -1.0, 0.0, 1.0])
    np.testing.assert_array_equal(seen.losses, [np.nan, -np.inf, 0.0, np.log(2.0)])
    assert "At 2 of 4 points" in str(seen)
    flat = plane(loss, jnp.ones(2), jnp.array([1.0, 0]), jnp.array([0, 1.0]), reach=2.0)
    assert np.isnan(flat.losses[0, 0]) and "not finite" in str(flat)
    # Even where it starts from: nothing is known there, and nothing raised.
    start = line(loss, -jnp.ones(1), jnp.ones(1), reach=2.0, points=5)
    assert np.isnan(start.value) and start.trusted == (0.0, 0.0) and str(start)


def test_a_constant_loss_is_a_line_and_a_plane_like_any_other():
    seen = line(FLAT, jnp.ones(2), jnp.ones(2))
    assert (seen.losses == 3).all() and seen.trusted == (-1.0, 1.0)
    assert seen.slope == seen.curvature == 0
    around = plane(FLAT, jnp.ones(2), jnp.array([1.0, 0.0]), jnp.array([0.0, 1.0]))
    assert (around.losses == 3).all() and str(around)


# -- Between two models ----------------------------------------------------------------


def test_the_barrier_of_a_double_well_is_the_height_of_its_hill():
    well = lambda x: (x[0] ** 2 - 1) ** 2 + x[1] ** 2  # minima at ±1, 1 between
    a, b = jnp.asarray([-1.0, 0.0]), jnp.asarray([1.0, 0.0])
    seen = between(well, a, b, points=51, beyond=0.25)
    np.testing.assert_allclose(seen.barrier, 1.0, rtol=1e-14)  # t = ½ is on the grid
    assert seen.distances[0] <= -0.25 and seen.distances[-1] >= 1.25
    x = -1 + 2 * seen.distances
    np.testing.assert_allclose(seen.losses, (x**2 - 1) ** 2, atol=1e-14)
    assert str(seen).startswith("A barrier of 1 at t = 0.5")
    # d = (2, 0), and the wells have the curvature 8: dᵀHd = 32.
    np.testing.assert_allclose([seen.slope, seen.curvature], [0, 32], atol=1e-12)


def test_a_tilted_double_well_is_measured_from_the_straight_line():
    tilted = lambda x: (x[0] ** 2 - 1) ** 2 + 3 * x[0]
    seen = between(tilted, -jnp.ones(1), jnp.ones(1))
    np.testing.assert_allclose(seen.barrier, 1.0, rtol=1e-14)


def test_both_ends_are_the_models_to_the_last_bit():
    keys = jax.random.split(jax.random.key(1))
    a, b = jax.random.normal(keys[0], (50,)), 1e6 * jax.random.normal(keys[1], (50,))
    loss = lambda x: jnp.max(jnp.abs(x))  # exact, whatever the order of operations
    seen = between(loss, a, b, points=7, beyond=0.0)
    assert (seen.losses[0], seen.losses[-1]) == (float(loss(a)), float(loss(b)))


def test_models_in_one_basin_have_no_barrier():
    seen = between(quadratic([1, 9]), jnp.array([1.0, 1]), jnp.array([-2.0, 0.5]))
    assert seen.barrier == 0 and "No barrier" in str(seen)


def test_a_barrier_behind_a_hole_is_unknown_and_behind_infinity_infinite():
    a, b = -jnp.ones(1), jnp.ones(1)
    hole = lambda x: jnp.sum(jnp.sqrt(x**2 - 0.5))
    seen = between(hole, a, b)
    assert np.isnan(seen.barrier) and "cannot be told" in str(seen)
    assert between(lambda x: jnp.sum(1 / x**2), a, b).barrier == np.inf


# -- Directions ------------------------------------------------------------------------


@pytest.mark.parametrize("axis", [-1, 0])
def test_filters_of_a_random_direction_have_the_norms_of_the_weights(axis):
    params = model()
    params["dense"] = params["dense"].at[..., 0].set(0.0).at[0].set(0.0)
    d = random_direction(params, key=jax.random.key(3), axis=axis)
    assert (d["bias"] == 0).all()
    for name in ("kernel", "dense"):
        others = tuple(
            k for k in range(params[name].ndim) if k != axis % params[name].ndim
        )
        norms = [np.sqrt(np.sum(np.square(x[name]), axis=others)) for x in (params, d)]
        np.testing.assert_allclose(norms[1], norms[0], rtol=1e-14)
    # Another key is another direction; the same key is the same.
    again, other = (
        random_direction(params, key=jax.random.key(k), axis=axis) for k in (3, 4)
    )
    assert (again["dense"] == d["dense"]).all()
    assert not jnp.allclose(other["kernel"], d["kernel"])


def test_layers_are_scaled_as_a_whole_and_nothing_without_a_scale():
    params = model(jnp.float32)
    d = random_direction(params, key=jax.random.key(0), normalize="layer")
    for name in ("kernel", "dense"):
        # sums of some tens of squares in float32
        np.testing.assert_allclose(
            jnp.linalg.norm(d[name].ravel()),
            jnp.linalg.norm(params[name].ravel()),
            rtol=1e-5,
        )
        assert d[name].dtype == jnp.float32
    assert (d["bias"] == 0).all()
    plain = random_direction(params, key=jax.random.key(0), normalize=None)
    assert (plain["bias"] != 0).all()


def test_the_mean_curvature_along_random_directions_is_the_trace_over_n():
    lam = jnp.linspace(-1.0, 9.0, 40)
    values = []
    for k in range(200):
        d = random_direction(jnp.ones(40), key=jax.random.key(k), normalize=None)
        values.append(float(jnp.sum(lam * d**2) / jnp.sum(d**2)))
    error = np.std(values, ddof=1) / np.sqrt(len(values))
    assert abs(np.mean(values) - 4.0) < 4 * error  # tr H / n = 4


def test_the_gradient_direction_is_a_unit_vector_downhill():
    x = jnp.asarray(START)
    d = gradient_direction(rosenbrock, x)
    g = np.array([-215.6, -88.0])
    np.testing.assert_allclose(d, -g / np.linalg.norm(g), rtol=1e-14)
    slope = line(rosenbrock, x, d).slope
    np.testing.assert_allclose(slope, -np.linalg.norm(g), rtol=1e-13)
    tiny = gradient_direction(lambda x: 1e-200 * jnp.sum(x), jnp.ones(4))
    np.testing.assert_allclose(tiny, -0.5)  # its square is below every float64


def test_a_line_along_an_eigenvector_has_its_eigenvalue_for_curvature():
    A = hessian(rosenbrock, jnp.asarray(START)).dense()
    values, vectors = np.linalg.eigh(np.asarray(A))
    for value, q in zip(values, vectors.T):
        seen = line(rosenbrock, jnp.asarray(START), jnp.asarray(q))
        np.testing.assert_allclose(seen.curvature, value, rtol=1e-10)


# -- Paths -----------------------------------------------------------------------------


def test_a_path_in_a_plane_is_found_with_its_coordinates():
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.normal(size=(10, 2)))[0]
    flat = rng.normal(size=(8, 2)) * [5.0, 1.0]
    iterates = [{"a": jnp.asarray(x[:4]), "b": jnp.asarray(x[4:])} for x in flat @ Q.T]
    path = trajectory_plane(iterates)
    np.testing.assert_allclose(sum(path.explained), 1, rtol=1e-12)
    for p, (alpha, beta) in zip(iterates, path.coordinates):
        for name in "ab":
            u, v = (d[name] for d in path.directions)
            placed = path.origin[name] + alpha * u + beta * v
            np.testing.assert_allclose(placed, p[name], atol=1e-12)
    np.testing.assert_array_equal(path.coordinates[-1], 0)
    # The shares are those of the singular values of the centred path.
    s = np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False) ** 2
    np.testing.assert_allclose(path.explained, s / s.sum(), rtol=1e-10)
    u, v = (np.concatenate([d["a"], d["b"]]) for d in path.directions)
    np.testing.assert_allclose([u @ u, v @ v, u @ v], [1, 1, 0], atol=1e-12)
    assert (path.coordinates[0] >= 0).all()
    assert (np.abs(path.coordinates) <= path.reach).all()


def test_a_random_walk_shows_61_and_15_per_cent():
    steps = np.random.default_rng(1).normal(size=(100, 5000))
    path = trajectory_plane([jnp.asarray(x) for x in np.cumsum(steps, axis=0)])
    # 6/π² and 6/4π² hold for many steps and dimensions; here to 2 %.
    expected = [6 / np.pi**2, 6 / (4 * np.pi**2)]
    np.testing.assert_allclose(path.explained, expected, atol=0.02)
    assert "random walk" in str(path)


def test_a_plane_around_a_path_shows_the_losses_of_its_iterates():
    x, iterates = jnp.asarray(START), []
    for _ in range(6):
        iterates.append(x)
        x = x - 1e-3 * jax.grad(rosenbrock)(x)
    path = trajectory_plane(iterates)
    seen = plane(rosenbrock, path.origin, *path.directions, reach=path.reach, points=3)
    np.testing.assert_allclose(seen.value, rosenbrock(iterates[-1]), rtol=1e-13)
    u, v = path.directions
    first = path.origin + path.coordinates[0, 0] * u + path.coordinates[0, 1] * v
    np.testing.assert_allclose(rosenbrock(first), 24.2, rtol=1e-10)


# -- Pages and bad input ---------------------------------------------------------------


def test_pages_hold_the_sentence_and_the_picture():
    x = jnp.asarray(START)
    u, v = jnp.asarray([1.0, 0.0]), jnp.asarray([0.0, 1.0])
    for seen in (line(rosenbrock, x, u), plane(rosenbrock, x, u, v, points=4)):
        page = seen._repr_html_()
        assert page.startswith("<p>") and page.count("<svg") == 1


def test_without_matplotlib_pages_are_text(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    page = line(rosenbrock, jnp.asarray(START), jnp.ones(2))._repr_html_()
    assert page.startswith("<p>") and "<svg" not in page


X, E1, E2 = np.ones(2), np.array([1.0, 0.0]), np.array([0.0, 1.0])


def ask(fun, *arrays, **rest):
    """Arrays of JAX are made inside of the test, in its precision."""
    as_jax = lambda tree: jax.tree.map(jnp.asarray, tree)
    loss = [arrays[0]] if callable(arrays[0]) else []
    return fun(*loss, *(as_jax(x) for x in arrays[len(loss) :]), **rest)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ask(line, rosenbrock, X, 0 * E1), "length zero"),
        (lambda: ask(line, rosenbrock, X, np.ones(3)), "shape (3,)"),
        (lambda: ask(line, rosenbrock, X, {"a": E1}), "structure"),
        (lambda: ask(line, rosenbrock, X, np.nan * E1), "The direction holds NaN"),
        (lambda: ask(line, rosenbrock, np.nan * X, E1), "`params` holds NaN"),
        (lambda: ask(line, lambda x: x, X, E1), "one floating-point number"),
        (lambda: ask(line, rosenbrock, X, E1, reach=0.0), "`reach`"),
        (lambda: ask(line, rosenbrock, X, E1, reach=np.nan), "`reach`"),
        (lambda: ask(line, rosenbrock, X, E1, points=1), "`points`"),
        (lambda: ask(line, rosenbrock, X, E1, chunk=0), "`chunk`"),
        (lambda: ask(line, rosenbrock, X, E1, distances=[1.0]), "`distances`"),
        (lambda: ask(line, rosenbrock, X, E1, distances=[1.0, 1.0]), "different"),
        (lambda: ask(between, rosenbrock, X, X), "equal"),
        (lambda: ask(between, rosenbrock, X, np.inf * X), "The second model"),
        (lambda: ask(between, rosenbrock, X, E1, beyond=-1.0), "`beyond`"),
        (lambda: ask(plane, rosenbrock, X, E1, -2 * E1), "parallel"),
        (lambda: ask(plane, rosenbrock, X, E1, E2, reach=(1.0, 0.0)), "`reach`"),
        (lambda: ask(trajectory_plane, [X, E1]), "three iterates"),
        (lambda: ask(trajectory_plane, [X, 2 * X, 3 * X]), "one line"),
        (lambda: ask(trajectory_plane, [X, X, X]), "one line"),
        (lambda: ask(gradient_direction, FLAT, X), "is zero"),
        (
            lambda: ask(gradient_direction, lambda x: jnp.sum(jnp.log(x - 1)), X),
            "not finite",
        ),
        (
            lambda: random_direction(jnp.ones(3), key=jax.random.key(0)),
            "normalize=None",
        ),
        (
            lambda: random_direction(jnp.ones((3, 2)), key=jax.random.key(0), axis=2),
            "`axis`",
        ),
    ],
)
def test_bad_input_is_refused_in_a_sentence(call, message):
    with pytest.raises(InputError, match=re.escape(message)):
        call()


def test_integers_and_empty_parameters_are_refused():
    from jaxtyping import TypeCheckError

    whole = jnp.arange(3)
    for bad in (whole, jnp.zeros(0)):
        # Run-time types, where they are on, are faster than the sentence.
        with pytest.raises((InputError, TypeCheckError)):
            line(lambda x: jnp.sum(x * 1.0), bad, bad)
