"""The strong Wolfe search against its own conditions and against SciPy's."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from steepest import InputError
from steepest.optimize.wolfe import strong_wolfe


def rosenbrock(x):
    return 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2


def beale(x):
    a, b = x
    return (
        (1.5 - a + a * b) ** 2
        + (2.25 - a + a * b**2) ** 2
        + (2.625 - a + a * b**3) ** 2
    )


def wood(x):
    _, b, c, d = x
    return (
        rosenbrock(x[:2])
        + 90 * (d - c**2) ** 2
        + (1 - c) ** 2
        + 10.1 * ((b - 1) ** 2 + (d - 1) ** 2)
        + 19.8 * (b - 1) * (d - 1)
    )


def powell(x):
    a, b, c, d = x
    return (a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4


def himmelblau(x):
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


def exponential(x):
    return jnp.sum(jnp.exp(x) + jnp.exp(-2 * x))


def quartic(x):
    return jnp.sum(x**4)


LOSSES = {
    rosenbrock: 2,
    beale: 2,
    wood: 4,
    powell: 4,
    himmelblau: 2,
    exponential: 3,
    quartic: 3,
}
NAMED = [pytest.param(f, n, id=f.__name__) for f, n in LOSSES.items()]


def downhill_rays(loss, n, count, seed=0):
    """Starts, and directions of steepest descent, of unit length and at random."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-3, 3, (count, n))
    g = np.asarray(jax.jit(jax.vmap(jax.grad(loss)))(x))
    d = rng.normal(size=(count, n))
    d *= -np.sign(np.sum(d * g, 1, keepdims=True))
    third = count // 3
    d[:third] = -g[:third]
    d[third : 2 * third] = -g[third : 2 * third] / np.linalg.norm(
        g[third : 2 * third], axis=1, keepdims=True
    )
    return x, d


def assert_strong_wolfe(loss, x, d, size, c1, c2):
    value_and_grad = jax.jit(jax.vmap(jax.value_and_grad(loss)))
    start, g = value_and_grad(x)
    value, gradient = value_and_grad(x + size[:, None] * d)
    slope, slope_there = np.sum(g * d, 1), np.sum(gradient * d, 1)
    eps = np.finfo(np.float64).eps
    assert np.all(value - start <= c1 * size * slope + 16 * eps * np.abs(start))
    # the slope is summed anew here: a few eps of its terms
    assert np.all(np.abs(slope_there) <= c2 * np.abs(slope) * (1 + 1e-10))


@pytest.mark.parametrize(
    "c2",
    [
        0.9,
        pytest.param(0.1, marks=pytest.mark.slow),
        pytest.param(0.001, marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize(("loss", "n"), NAMED)
def test_both_conditions_hold_at_every_returned_point(loss, n, c2):
    with jax.enable_x64(True):
        x, d = downhill_rays(loss, n, 300)
        found = jax.jit(
            jax.vmap(lambda x, d: strong_wolfe(loss, x, d, c2=c2, max_evaluations=40))
        )(x, d)
        # exponents of up to 1e3 overflow along −g: those trials are shrunk
        assert np.all(found.success)
        assert_strong_wolfe(loss, x, d, np.asarray(found.size), 1e-4, c2)


@pytest.mark.slow
@pytest.mark.parametrize("c2", [0.9, 0.1])
def test_it_takes_no_more_evaluations_than_scipy_and_fails_no_more_often(c2):
    ours = theirs = failures = 0
    with jax.enable_x64(True):
        for loss, n in LOSSES.items():
            x, d = downhill_rays(loss, n, 150, seed=1)
            search = lambda x, d, loss=loss: strong_wolfe(loss, x, d, c2=c2)
            found = jax.jit(jax.vmap(search))(x, d)
            f, g = jax.jit(loss), jax.jit(jax.grad(loss))
            sizes, kept = [], []
            for i, (start, direction) in enumerate(zip(x, d)):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")  # what it failed at is counted
                    size, calls, grads, *_ = scipy.optimize.line_search(
                        lambda v, f=f: float(f(v)),
                        lambda v, g=g: np.asarray(g(v)),
                        start,
                        direction,
                        c2=c2,
                        maxiter=25,
                    )
                if size is None:
                    failures += 1
                    continue
                sizes.append(size)
                kept.append(i)
                theirs += max(calls, grads)
                ours += int(found.num_evaluations[i])
            assert np.all(found.success)
            assert_strong_wolfe(loss, x[kept], d[kept], np.array(sizes), 1e-4, c2)
    print(f"c2 {c2}: ours {ours}, SciPy {theirs} and {failures} failures")
    assert ours <= theirs


def test_the_scale_of_the_loss_and_of_the_first_trial_hardly_matters():
    def search(scale, initial):
        loss = lambda x: scale * (x[0] ** 2 + 10 * x[1] ** 2)
        x = jnp.array([3.0, -1.0])
        return strong_wolfe(loss, x, -jax.grad(loss)(x), initial=initial, c2=0.1)

    scale = jnp.repeat(jnp.array([1e-10, 1.0, 1e10]), 3)
    found = jax.jit(jax.vmap(search))(scale, jnp.tile(jnp.array([1e-6, 1.0, 1e6]), 3))
    assert np.all(found.success)
    # on a quadratic the exact size is gᵀg/gᵀHg; c2 = 0.1 is 10 % of it
    exact = (9 + 100) / (9 + 1000) / (2 * scale)
    np.testing.assert_allclose(found.size, exact, rtol=0.1 + 1e-5)


@pytest.mark.slow
def test_what_is_returned_belongs_to_the_returned_size():
    params = {"a": jnp.array([-1.2]), "b": jnp.array(1.0)}
    loss = lambda p: 100 * (p["b"] - p["a"][0] ** 2) ** 2 + (1 - p["a"][0]) ** 2
    direction = jax.tree.map(jnp.negative, jax.grad(loss)(params))
    search = jax.jit(lambda known: strong_wolfe(loss, params, direction, known=known))
    found = search(None)
    there = jax.tree.map(lambda p, d: p + found.size * d, params, direction)
    value, gradient = jax.value_and_grad(loss)(there)
    assert found.success and found.value < loss(params)
    # the compiler may contract the products of the two programs differently
    np.testing.assert_allclose(found.value, value, rtol=1e-4)
    for leaf in "ab":
        np.testing.assert_allclose(found.gradient[leaf], gradient[leaf], rtol=1e-3)
    slope = gradient["a"][0] * direction["a"][0] + gradient["b"] * direction["b"]
    np.testing.assert_allclose(found.slope, slope, rtol=1e-3)
    known = jax.value_and_grad(loss)(params)
    again = search(known)
    np.testing.assert_allclose(again.size, found.size, rtol=1e-5)
    assert again.num_evaluations == found.num_evaluations


@pytest.mark.parametrize(
    "loss", [lambda x: -x[0], lambda x: -x[0] - x[0] ** 3, lambda x: -jnp.exp(x[0])]
)
def test_a_fall_without_end_is_no_success_and_gives_the_lowest_point(loss):
    found = jax.jit(lambda x: strong_wolfe(loss, x, jnp.ones(1)))(jnp.zeros(1))
    assert not found.success
    assert jnp.isfinite(found.value) and found.value < -10
    np.testing.assert_allclose(loss(found.size * jnp.ones(1)), found.value, rtol=1e-5)
    assert found.num_evaluations <= 25


def test_trials_beyond_the_domain_of_the_loss_are_shrunk():
    barrier = lambda x: jnp.sum(x - jnp.log(x))  # NaN below 0, least at 1
    x = jnp.array([[4.0], [0.5], [1e-3]])
    d = jnp.array([[-1e6], [1e8], [1e6]])
    search = jax.vmap(lambda x, d: strong_wolfe(barrier, x, d, c2=0.1))
    found = jax.jit(search)(x, d)
    assert np.all(found.success) and np.all(np.isfinite(found.value))


def test_a_kink_hides_the_second_condition_and_the_lowest_point_is_returned():
    found = jax.jit(lambda x: strong_wolfe(lambda x: jnp.abs(x[0]), x, -jnp.ones(1)))(
        jnp.array([0.3])
    )
    assert not found.success
    assert found.value < 1e-3


def test_close_to_a_minimum_the_slopes_decide():
    # in float32 values around 1e4 are 1e-3 apart: the fall of 5e-5 is not seen
    loss = lambda x: 1e4 + 0.5 * (x[0] ** 2 + 10 * x[1] ** 2)

    @jax.jit
    def search(x):
        return strong_wolfe(loss, x, -jax.grad(loss)(x), c2=0.5)

    for seed in range(20):
        x = jax.random.normal(jax.random.key(seed), (2,)) * 1e-2
        found = search(x)
        assert found.success
        a, b = np.asarray(x, np.float64)
        exact = (a**2 + 100 * b**2) / (a**2 + 1000 * b**2)
        # |φ′(t)| ≤ ½ |φ′(0)| on a parabola: within half of its minimiser
        assert 0.5 * exact * 0.999 <= found.size <= 1.5 * exact * 1.001


def test_gradient_descent_with_it_reaches_the_rounding_of_the_loss():
    def advance(x, _):
        value, g = jax.value_and_grad(himmelblau)(x)
        step = strong_wolfe(himmelblau, x, -g, initial=0.01, c2=0.1)
        return x - step.size * g, step.value - value

    x, falls = jax.jit(lambda x: jax.lax.scan(advance, x, length=60))(jnp.zeros(2))
    np.testing.assert_allclose(x, [3.0, 2.0], atol=1e-4)
    assert np.all(falls <= 1e-6)


def test_inside_jit_an_uphill_direction_or_a_bad_start_is_no_success():
    search = jax.jit(lambda x, d: strong_wolfe(himmelblau, x, d))
    for x, d in (
        ([0.0, 0.0], [-1.0, -1.0]),
        ([0.0, 0.0], [0.0, 0.0]),
        ([jnp.nan, 0.0], [1.0, 1.0]),
        ([jnp.inf, 0.0], [1.0, 1.0]),
        ([0.0, 0.0], [jnp.nan, 1.0]),
    ):
        found = search(jnp.array(x), jnp.array(d))
        assert not found.success and found.size == 0 and found.num_evaluations == 1


X = jnp.zeros(2)
UP = jnp.array([-1.0, -1.0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: strong_wolfe(himmelblau, X, UP), "leads uphill"),
        (lambda: strong_wolfe(himmelblau, X, 0 * UP), "is zero"),
        (lambda: strong_wolfe(himmelblau, X + jnp.nan, -UP), "not finite"),
        (lambda: strong_wolfe(himmelblau, X, -UP, c1=0.5, c2=0.4), "c1 < c2"),
        (lambda: strong_wolfe(himmelblau, X, -UP, max_evaluations=1), "at least 2"),
        (lambda: strong_wolfe(himmelblau, X, -UP, initial=-1.0), "`initial`"),
        (lambda: strong_wolfe(jnp.sin, X, -UP), "take its mean"),
        (lambda: strong_wolfe(himmelblau, X, jnp.ones(3)), "structure and the shapes"),
        (lambda: strong_wolfe(himmelblau, {}, {}), "no numbers"),
    ],
)
def test_what_cannot_be_searched_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
