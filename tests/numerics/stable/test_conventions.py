"""Singular points, masks and non-finite input; and where the usual functions fail."""

from functools import partial

import jax
import jax.numpy as jnp
import jax.scipy.special as special
import numpy as np
import pytest

from steepest.core.errors import InputError
from steepest.numerics import stable


INF, NAN = np.inf, np.nan
array = jnp.asarray


def close(got, want, rtol=1e-6):
    np.testing.assert_allclose(got, want, rtol=rtol)


ROW = (
    stable.logsumexp,
    stable.logmeanexp,
    lambda x: stable.softmax(x)[0],
    lambda x: stable.log_softmax(x)[0],
    lambda x: stable.log1m_softmax(x)[0],
    stable.entropy_of_logits,
    lambda x: stable.kl_of_logits(x, jnp.zeros_like(x)),
    lambda x: stable.cross_entropy(x, array(0)),
    lambda x: stable.focal_loss(x, array(0)),
    stable.norm,
    lambda x: stable.normalise(x)[0],
    stable.variance,
    stable.standard_deviation,
    lambda x: stable.standardise(x)[0],
    stable.sum_compensated,
    stable.log_product,
)


@pytest.mark.parametrize("f", ROW)
@pytest.mark.parametrize("mode", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_nan_passes_through(f, mode):
    assert np.isnan(mode(f)(array([1.0, NAN, 2.0])))


@pytest.mark.parametrize("f, value, slope", [
    (stable.logsumexp, -INF, 0.0),
    (stable.logmeanexp, -INF, 0.0),
    (stable.softmax, 0.0, 0.0),
    (stable.log_softmax, -INF, 0.0),
    (stable.log1m_softmax, 0.0, 0.0),
])  # fmt: skip
@pytest.mark.parametrize("mode", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_row_of_minus_infinity_is_an_empty_row(f, value, slope, mode):
    x = array([-INF, -INF])
    np.testing.assert_array_equal(mode(f)(x), np.full_like(f(x), value))
    for jacobian in (jax.jacrev(f), jax.jacfwd(f), jax.hessian(f)):
        got = mode(jacobian)(x)
        np.testing.assert_array_equal(got, np.full(got.shape, slope))


@pytest.mark.parametrize("f", [stable.softmax, stable.log_softmax, stable.logsumexp])
def test_a_masked_row_is_an_empty_row_and_what_is_masked_has_no_gradient(f):
    x = array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    mask = array([[True, True, False], [False, False, False]])
    options = {"axis": -1, "where": mask}
    total = lambda x: jnp.sum(jnp.where(mask, stable.softmax(x, **options), 0.0) ** 2)
    y = f(x, **options)
    np.testing.assert_allclose(y[0], np.asarray(
        jnp.append(f(x[0, :2]), 0.0 if f is stable.softmax else -INF)
        if y.ndim == 2
        else f(x[0, :2])
    ), rtol=1e-6)  # fmt: skip
    assert np.all(y[1] == (0.0 if f is stable.softmax else -INF))
    slope = jax.grad(total)(x)
    assert np.all(np.isfinite(slope))
    assert np.all(slope[1] == 0) and slope[0, 2] == 0 and slope[0, 0] != 0


def test_plus_infinity_takes_all_the_probability():
    x = array([INF, 0.0, INF])
    np.testing.assert_array_equal(stable.softmax(x), [0.5, 0.0, 0.5])
    assert stable.logsumexp(x) == INF
    np.testing.assert_array_equal(stable.softmax(array([INF, 0.0])), [1.0, 0.0])


@pytest.mark.slow
def test_the_temperature_divides_after_the_maximum_is_subtracted():
    f = lambda x, T: stable.softmax(x, temperature=T)
    np.testing.assert_array_equal(f(array([1e30, 0.0]), 1e-10), [1.0, 0.0])
    x, T = array([0.3, -0.1, 0.8]), 0.7
    plain = lambda x, T: jax.nn.softmax(x / T)
    for k in (0, 1):
        close(jax.jacrev(f, k)(x, T), jax.jacrev(plain, k)(x, T), 1e-5)


def test_weights_of_zero_add_nothing_and_have_a_derivative():
    f = lambda w: stable.logsumexp(array([0.0, -1.0]), weights=w)
    close(f(array([1.0, 0.0])), 0.0)
    close(jax.grad(f)(array([1.0, 0.0])), [1.0, np.exp(-1)])
    assert np.isnan(f(array([-1.0, 0.5])))
    close(f(array([1.0, -1.0])), np.log1p(-np.exp(-1.0)))
    g = lambda x: stable.log_mixture(x, array([0.0, 1.0]))
    np.testing.assert_array_equal(jax.grad(g)(array([0.0, -200.0])), [0.0, 1.0])


def test_labels_of_weight_zero_silence_an_impossible_class():
    logits, y = array([0.0, -INF]), array([1.0, 0.0])
    assert stable.cross_entropy(logits, y) == 0
    np.testing.assert_array_equal(jax.grad(stable.cross_entropy)(logits, y), [0.0, 0.0])


@pytest.mark.slow
def test_class_numbers_and_distributions_agree():
    x = array([[0.2, -1.0, 3.0], [5.0, 1.0, 0.0]])
    labels = array([2, 1])
    for smoothing in (0.0, 0.1):
        a = stable.cross_entropy(x, labels, label_smoothing=smoothing)
        b = stable.cross_entropy(
            x, jax.nn.one_hot(labels, 3), label_smoothing=smoothing
        )
        close(a, b)
    moved = stable.cross_entropy(x.T, labels, axis=0)
    close(moved, stable.cross_entropy(x, labels))


@pytest.mark.parametrize("f", [stable.norm, stable.standard_deviation, stable.sqrt])
def test_the_derivative_of_a_root_at_zero_is_zero(f):
    x = array(0.0) if f is stable.sqrt else jnp.zeros(3)
    assert f(x) == 0
    np.testing.assert_array_equal(jax.grad(f)(x), jnp.zeros_like(x))
    np.testing.assert_array_equal(jax.hessian(f)(x), np.zeros(2 * x.shape))


@pytest.mark.slow
def test_constant_rows_have_no_spread_and_no_gradient():
    x = jnp.full((7,), 0.1)
    for f in (stable.variance, stable.standard_deviation, stable.standardise):
        np.testing.assert_array_equal(f(x), jnp.zeros_like(f(x)))
        np.testing.assert_array_equal(
            jax.jacrev(f)(x), jnp.zeros_like(jax.jacrev(f)(x))
        )


def test_distances_of_equal_points_are_zero_with_gradient_zero():
    a = array([[1e4, 1.0], [1e4, 2.0]])
    assert np.all(np.diag(stable.squared_distances(a, a)) == 0)
    close(stable.distances(a, a), [[0.0, 1.0], [1.0, 0.0]])
    slope = jax.grad(lambda x: jnp.sum(stable.distances(x, x)))(a)
    np.testing.assert_array_equal(slope, [[0.0, -2.0], [0.0, 2.0]])


def test_angles_near_zero_and_pi_keep_their_digits():
    u = array([1.0, 0.0])
    close(stable.angle(u, array([1.0, 1e-6])), 1e-6)
    np.testing.assert_allclose(
        jax.grad(stable.angle)(u, array([1.0, 1e-6])), [0.0, -1.0], atol=1e-6
    )
    close(jnp.pi - stable.angle(u, array([-1.0, 0.01])), np.arctan(0.01), 1e-5)
    assert stable.angle(u, 3 * u) == 0 and stable.angle(u, jnp.zeros(2)) == jnp.float32(
        jnp.pi / 2
    )
    for v in (u, jnp.zeros(2)):
        assert np.all(jax.grad(stable.angle)(u, v) == 0)


def test_a_singular_matrix_has_log_determinant_minus_infinity_and_gradient_zero():
    A = jnp.ones((2, 2))
    assert stable.log_determinant(A) == -INF
    assert np.all(jax.grad(stable.log_determinant)(A) == 0)
    assert np.isnan(stable.log_determinant(-jnp.eye(2), positive=True))


def test_both_factorisations_give_the_log_determinant_of_a_positive_matrix():
    A = array([[4.0, 1.0], [1.0, 3.0]]) * 1e-3
    for positive in (False, True):
        f = partial(stable.log_determinant, positive=positive)
        close(f(A), np.linalg.slogdet(np.asarray(A, np.float64))[1])
        close(jax.grad(f)(A), np.linalg.inv(np.asarray(A)).T, 1e-5)
    close(stable.log_determinant(1e-3 * jnp.eye(200)), 200 * np.log(1e-3))


def test_a_product_under_a_logarithm_keeps_sign_zero_and_digits():
    close(stable.log_product(jnp.full(500, 1e-3)), 500 * np.log(1e-3))
    assert np.isnan(stable.log_product(array([-1.0, 2.0])))
    assert stable.log_product(array([0.0, 2.0])) == -INF
    close(stable.log_abs_product(array([-1.0, 2.0])), np.log(2.0))


LIBRARY = {  # where the function in common use is wrong, its result, ours, the truth
    "logsumexp": (lambda f: f(array([0.0, -20.0])), jax.nn.logsumexp, stable.logsumexp, 2.0611537e-9),
    "gradient of logsumexp": (
        lambda f: jax.grad(f)(array([-INF, -INF])), jax.nn.logsumexp, stable.logsumexp, 0.0,
    ),
    "log_softmax": (lambda f: f(array([0.0, -20.0]))[0], jax.nn.log_softmax, stable.log_softmax, -2.0611537e-9),
    "curvature of softplus": (
        lambda f: jax.grad(jax.grad(f))(20.0), jax.nn.softplus, stable.softplus, 2.0611537e-9,
    ),
    "slope of sigmoid": (lambda f: jax.grad(f)(20.0), jax.nn.sigmoid, stable.sigmoid, 2.0611537e-9),
    "slope of tanh": (lambda f: jax.grad(f)(10.0), jnp.tanh, stable.tanh, 8.2446145e-9),
    "slope of expm1": (lambda f: jax.grad(f)(-20.0), jnp.expm1, stable.expm1, 2.0611537e-9),
    "norm": (lambda f: f(array([3e20, 4e20])), jnp.linalg.norm, stable.norm, 5e20),
    "gradient of norm": (lambda f: jax.grad(f)(jnp.zeros(2)), jnp.linalg.norm, stable.norm, 0.0),
    "standard deviation": (lambda f: f(array([1e20, -1e20])), jnp.std, stable.standard_deviation, 1e20),
    "gradient of std": (lambda f: jax.grad(f)(jnp.ones(3)), jnp.std, stable.standard_deviation, 0.0),
    "gradient of gelu": (lambda f: jax.grad(f)(-1e30), jax.nn.gelu, lambda x: stable.gelu(x, approximate=True), 0.0),
    "gradient of xlogy": (
        lambda f: jax.grad(f, 1)(0.0, 0.0), special.xlogy, stable.xlogy, 0.0,
    ),
    "slope of log_ndtr": (lambda f: jax.grad(f)(-1e4), special.log_ndtr, stable.log_ndtr, 1e4),
    "hypot": (lambda f: jax.grad(f)(0.0, 0.0), jnp.hypot, stable.hypot, 0.0),
    "sum": (lambda f: f(array([1e8, 1.0, -1e8])), jnp.sum, stable.sum_compensated, 1.0),
}  # fmt: skip


@pytest.mark.parametrize("name", LIBRARY)
def test_ours_is_right_where_the_usual_function_is_not(name):
    call, usual, ours, truth = LIBRARY[name]
    with np.errstate(all="ignore"):
        assert not np.allclose(call(usual), truth, rtol=1e-3, atol=0)
    close(call(ours), np.full(np.shape(call(ours)), truth))


def test_sums_in_half_precision_do_not_stagnate():
    ones = jnp.ones(5000, jnp.bfloat16)
    step = lambda state, x: (stable.add_to_sum(state, x), None)
    state, _ = jax.lax.scan(step, stable.running_sum(ones[0]), ones)
    assert float(state.total) + float(state.lost) == 5000
    assert stable.sum_compensated(ones) == jnp.bfloat16(5000)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("mode", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_running_mean_is_the_mean(dtype, mode):
    x = jnp.asarray(np.random.default_rng(0).uniform(0, 1, 3000), dtype)
    step = lambda state, x: (stable.add_to_mean(state, x), None)
    run = mode(lambda x: jax.lax.scan(step, stable.running_mean(x[0]), x)[0])
    state = run(x)
    exact = np.asarray(x, np.float64).mean()
    # mean + lost is known to the square of the unit, or to float32, after 3000 steps
    eps = max(float(jnp.finfo(dtype).eps) ** 2, 1e-7) * 100
    assert abs(float(state.mean) + float(state.lost) - exact) < eps
    assert state.mean.dtype == dtype and int(state.count) == 3000


@pytest.mark.slow
@pytest.mark.parametrize("mode", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_compensated_sums_are_those_of_twice_the_digits(mode):
    rng = np.random.default_rng(1)
    x = (rng.normal(size=999) * 10.0 ** rng.uniform(-3, 6, 999)).astype(np.float32)
    exact = np.cumsum(x.astype(np.float64))
    got = mode(stable.cumsum_compensated)(x)
    np.testing.assert_allclose(got, exact, rtol=2**-23, atol=1e-7)
    np.testing.assert_allclose(mode(stable.sum_compensated)(x), exact[-1], rtol=2**-23)
    assert np.all(jax.grad(stable.sum_compensated)(x) == 1)


@pytest.mark.slow
def test_functions_map_over_axes():
    x = jnp.arange(24.0).reshape(2, 3, 4)
    for f in (stable.logsumexp, stable.logmeanexp, stable.norm, stable.variance):
        whole = f(x, axis=(0, 2))
        each = jax.vmap(f)(jnp.moveaxis(x, 1, 0))
        close(whole, each)
        assert f(x, axis=-1, keepdims=True).shape == (2, 3, 1)
    close(stable.softmax(x, axis=1).sum(1), np.ones((2, 4)))


def test_halves_are_computed_in_float32_and_keep_their_type():
    x = jnp.asarray([10.0, -10.0], "float16")
    for f in (stable.softplus, stable.softmax, stable.tanh, stable.norm):
        assert f(x).dtype == jnp.float16
        assert jax.vjp(f, x)[1](f(x))[0].dtype == jnp.float16


def test_input_that_cannot_be_used_costs_one_sentence():
    with pytest.raises(InputError, match="real numbers"):
        stable.logsumexp(array([1j]))
    with pytest.raises(InputError, match="no axis 3"):
        stable.softmax(jnp.ones(2), axis=3)
    with pytest.raises(InputError, match="class numbers of shape"):
        stable.cross_entropy(jnp.ones((2, 3)), array([0.0, 1.0]))
    with pytest.raises(InputError, match="square matrices"):
        stable.log_determinant(jnp.ones((2, 3)))
    with pytest.raises(InputError, match="points in rows"):
        stable.distances(jnp.ones(3), jnp.ones(3))
    with pytest.raises(InputError, match="exact as it is"):
        stable.running_sum(1)
