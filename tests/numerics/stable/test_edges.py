"""The ends of the formats, infinite and empty input, and what is no input at all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest.core.errors import InputError
from steepest.numerics import stable


INF = np.inf
array = jnp.asarray


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("mode", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_lengths_and_directions_are_right_in_the_last_binade(dtype, mode):
    with jax.enable_x64(dtype == "float64"):
        top = float(jnp.finfo(dtype).max)
        x = array([0.0, 0.9 * top], dtype)
        rtol = 4 * float(jnp.finfo(dtype).eps)
        close = lambda got, want: np.testing.assert_allclose(got, want, rtol=rtol)
        close(mode(stable.norm)(x), 0.9 * top)
        close(mode(stable.normalise)(x), [0.0, 1.0])
        close(mode(jax.grad(stable.norm))(x), [0.0, 1.0])
        close(mode(jax.grad(stable.hypot, 1))(x[0], x[1]), 1.0)
        close(mode(stable.standard_deviation)(x), 0.45 * top)
        close(mode(stable.standardise)(x), [-1.0, 1.0])
        close(mode(stable.cosine_similarity)(x, array([0.0, 1.0], dtype)), 1.0)
        close(mode(stable.distances)(x[None], 0 * x[None]), [[0.9 * top]])


@pytest.mark.parametrize("f, args, value", [
    (stable.expm1_minus, (INF,), INF),
    (stable.sqrt_difference, (0.0, INF), -INF),
    (stable.sqrt_difference, (INF, 3.0), INF),
    (stable.sqrt_increment, (1.0, INF), INF),
    (stable.power1pm1, (0.0, INF), 0.0),
    (stable.power1pm1, (0.0, -INF), 0.0),
    (stable.power1pm1, (INF, 0.0), 0.0),
    (stable.power1pm1, (1.0, INF), INF),
])  # fmt: skip
def test_infinite_arguments_make_no_nan(f, args, value):
    assert f(*args) == value


def test_a_sum_beyond_the_format_has_a_root_within():
    big = 3e38
    got = stable.sqrt_increment(big, big)
    np.testing.assert_allclose(got, (np.sqrt(2) - 1) * np.sqrt(big), rtol=1e-6)
    slopes = jax.grad(stable.sqrt_increment)(1e38, 1e38)
    np.testing.assert_allclose(slopes, (np.sqrt(0.5) - 1) / 2e19, rtol=1e-6)


@pytest.mark.parametrize("t, slope, bend", [
    (3.0, 0.0, 0.0),
    (2.0, 0.0, 2.0),
    (1.0, 1.0, 0.0),
    (0.5, INF, -INF),
    (0.0, 0.0, 0.0),
])  # fmt: skip
def test_a_power_of_zero_has_the_derivatives_of_a_power(t, slope, bend):
    f = stable.power1pm1
    for mode in (lambda f: f, jax.jit):
        assert mode(jax.grad(f))(-1.0, t) == slope
        assert mode(jax.grad(jax.grad(f)))(-1.0, t) == bend


@pytest.mark.parametrize("f, slope, bend", [
    (stable.logit, INF, -INF),
    (stable.xlogx, -INF, INF),
    (stable.binary_entropy, INF, -INF),
])  # fmt: skip
def test_minus_zero_is_zero(f, slope, bend):
    for zero in (0.0, -0.0):
        assert jax.grad(f)(zero) == slope
        assert jax.grad(jax.grad(f))(zero) == bend


def test_the_third_derivative_of_log_erfc_is_right_at_zero():
    third = jax.grad(jax.grad(jax.grad(stable.log_erfc)))
    # (log erfc)‴(0) = 4/√π (1 − 4/π), by hand
    truth = 4 / np.sqrt(np.pi) * (1 - 4 / np.pi)
    np.testing.assert_allclose(third(0.0), truth, rtol=1e-5)


def test_equal_infinities_have_the_logarithm_of_no_difference():
    assert stable.logdiffexp(INF, INF) == -INF or np.isnan(stable.logdiffexp(INF, INF))
    assert jax.grad(stable.logdiffexp)(INF, INF) == INF
    assert jax.grad(stable.logdiffexp, 1)(INF, INF) == -INF


def test_the_angle_of_a_subnormal_point_is_that_of_the_origin():
    assert stable.arctan2(1e-45, 1e-45) == 0


def test_a_class_that_cannot_be_is_moved_away_from():
    x, y = jnp.zeros(3), array([-INF, 0.0, 1.0])
    assert stable.kl_of_logits(x, y) == INF
    np.testing.assert_array_equal(
        jax.grad(stable.kl_of_logits)(x, y), [INF, -INF, -INF]
    )


@pytest.mark.parametrize("shape, axis", [
    ((0,), None), ((0, 3), -1), ((0, 3), 0), ((3, 0), 0), ((3, 0), (0, 1)), ((2, 0, 3), 2),
])  # fmt: skip
def test_compensated_sums_of_empty_arrays_are_those_of_the_library(shape, axis):
    x = jnp.zeros(shape)
    got = stable.sum_compensated(x, axis)
    assert got.shape == jnp.sum(x, axis).shape and np.all(got == 0)
    assert (
        jax.grad(lambda x: jnp.sum(stable.sum_compensated(x, axis)))(x).shape == shape
    )


def test_an_axis_may_be_a_number_of_numpy_a_list_or_a_tuple():
    x = jnp.arange(6.0).reshape(2, 3)
    assert stable.norm(x, np.int64(1)).shape == (2,)
    assert stable.norm(x, axis=[0, 1]).shape == ()
    assert stable.logsumexp(x, axis=(0, -1)).shape == ()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_running_sum_and_mean_of_an_infinite_value_are_infinite(dtype):
    state, mean = (
        stable.running_sum(array(0, dtype)),
        stable.running_mean(array(0, dtype)),
    )
    for x in (1.0, INF, 2.0, 3.0):
        state, mean = stable.add_to_sum(state, x), stable.add_to_mean(mean, x)
    assert state.total == INF and mean.mean == INF
    assert np.isnan(stable.add_to_mean(mean, -INF).mean)


STATE = stable.running_sum(np.zeros(3, np.float32))
BAD = {
    "a mask": (lambda: stable.softmax(jnp.ones((2, 3)), where=jnp.ones(2)), "`where` has shape"),
    "weights": (lambda: stable.logsumexp(jnp.ones(3), weights=jnp.ones(2)), "`weights` has shape"),
    "a value of another shape": (lambda: stable.add_to_sum(STATE, jnp.ones(2)), "of shape"),
    "a value to no sum": (lambda: stable.add_to_sum(stable.running_mean(0.0), 1.0), "a RunningMean"),
    "nothing to a sum": (lambda: stable.add_to_sum(STATE, None), "None came"),
    "a string": (lambda: stable.softmax("abc"), "takes an array of numbers; a str came"),
    "nothing": (lambda: stable.norm(None), "takes an array of numbers; None came"),
    "a tree": (lambda: stable.softplus({"a": 1.0}), "takes an array of numbers; a dict"),
    "strings in a list": (lambda: stable.tanh([1.0, "a"]), "takes an array of numbers"),
    "a random key": (lambda: stable.tanh(jax.random.key(0)), "an array of key<fry>"),
    "shapes": (lambda: stable.hypot(jnp.ones(3), jnp.ones(2)), "do not broadcast to one"),
    "an axis twice": (lambda: stable.norm(jnp.ones((2, 2)), (0, 0)), "names an axis twice"),
    "a fraction": (lambda: stable.norm(jnp.ones((2, 2)), 1.5), "is a whole number"),
    "an axis by name": (lambda: stable.norm(jnp.ones((2, 2)), "rows"), "is a whole number"),
    "a number": (lambda: stable.softmax(1.0), "A single number has no axis -1"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_what_is_no_array_costs_one_sentence(name):
    call, message = BAD[name]
    with pytest.raises(InputError, match=message):
        call()
