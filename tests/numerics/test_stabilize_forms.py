"""Each form, at points where the formula as written fails, against exact arithmetic.

The oracle is the formula itself in numbers of as many digits as it takes. What the
result may err is measured by the condition of the function: by how much it moves when
its inputs move by one unit in the last place.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.scipy.special import gammaln, logsumexp

from steepest import stabilize
from steepest.numerics import exact


f32 = np.float32
FORMS = {
    "a logarithm of a softmax, from the library's logsumexp": (
        lambda x: x - logsumexp(x, axis=-1, keepdims=True),
        [[[20, -10, -12], [0.5, 1, 18]]],
    ),
    "a logarithm of a softmax, from a sum": (
        lambda x: x - jnp.log(jnp.sum(jnp.exp(x), axis=1, keepdims=True)),
        [[[20, -10, -12], [0.5, 1, 18]]],
    ),
    "log1p of expm1": (lambda x: jnp.log1p(jnp.expm1(x)), [[-3, 2, 95]]),
    "a difference of tanh": (
        lambda x: jnp.tanh(x + 1e-4) - jnp.tanh(x),
        [[0.5, 2.5, -1.5]],
    ),
    "a difference of sigmoids": (
        lambda x, d: jax.nn.sigmoid(x + d) - jax.nn.sigmoid(x),
        [[0.5, 4, -3], [1e-4, 2e-4, 1e-3]],
    ),
    "log1p(x) over x": (lambda x: jnp.log1p(x) / x, [[1e-30, 1e-5, 3]]),
    "tanh over its argument": (lambda x: jnp.tanh(3 * x) / (3 * x), [[1e-30, 0.1, 9]]),
    "sinh over its argument": (lambda x: jnp.sinh(x) / x, [[1e-30, 0.1, 5]]),
    "Box and Cox": (lambda x, t: (x**t - 1) / t, [[2, 0.5, 3], [1e-6, 1e-4, 1.5]]),
    "a power near 1": (lambda x, t: x**t - 1, [[2, 0.5, 3], [1e-6, 1e-4, 1.5]]),
    "a geometric sum": (lambda r: (1 - r**12) / (1 - r), [[0.9999, 1.0001, 0.5]]),
    "the slope of a chord of exp": (
        lambda a, b: (jnp.exp(a) - jnp.exp(b)) / (a - b),
        [[1, -2], [1.0001, -2.0005]],
    ),
    "the logarithmic mean": (
        lambda a, b: (a - b) / (jnp.log(a) - jnp.log(b)),
        [[1, 300], [1.0001, 300.01]],
    ),
    "a root of a quadratic": (
        lambda b, c: (jnp.sqrt(b**2 - 4 * c) - b) / 2,
        [[1000, 50], [1, 0.01]],
    ),
    "a falling factorial": (
        lambda n, k: gammaln(n + k) - gammaln(n),
        [[2000, 30.5], [2, 0.01]],
    ),
    "Student's t": (
        lambda z: jnp.log(1 + z**2 / 5),
        [[1e22, 3, 1e-12]],
    ),
    "Hill's curve": (lambda x: x**9 / (x**9 + 2.0**9), [[1e5, 1.5, 0.01]]),
    "a share of powers": (lambda x: x**20 / (1 + x**20), [[1e3, 1.01, 0.5]]),
    "a geometric mean": (lambda x: jnp.prod(x) ** 0.25, [[1e11, 1e9, 3e10, 1e10]]),
    "shares of products": (
        lambda p: jnp.prod(p, 1) / jnp.prod(p, 1).sum(),
        [[[1e-20, 1e-25, 1e-8], [3e-20, 1e-25, 2e-8]]],
    ),
    "cosine similarity by one root": (
        lambda a, b: a @ b / jnp.sqrt((a @ a) * (b @ b)),
        [[1e-15, 2e-15, 1e-15], [3e-15, 1e-15, 2e-15]],
    ),
    "a root mean square normalisation": (
        lambda x: x / jnp.sqrt(jnp.mean(x**2)),
        [[1e-25, 3e-25, -2e-25]],
    ),
    "one minus a cosine similarity": (
        lambda a, b: 1 - a @ b / (jnp.linalg.norm(a) * jnp.linalg.norm(b)),
        [[3, 4, 5], [3, 4, 5.001]],
    ),
    "squared distances of rows": (
        lambda a, b: (a**2).sum(1) + (b**2).sum(1) - 2 * (a * b).sum(1),
        [[[500, 300], [20, 1]], [[500.01, 300], [20, 1.001]]],
    ),
    "a covariance of two": (
        lambda x, y: (x * y).mean() - x.mean() * y.mean(),
        [[1000, 1000.5, 999.75, 1000], [500, 500.5, 499.75, 501]],
    ),
    "a covariance of all columns": (
        lambda x: x.T @ x / 4 - jnp.outer(x.mean(0), x.mean(0)),
        [[[1000, 1], [1000.5, 2], [999.75, 1], [1000.25, 3]]],
    ),
    "sums of windows": (
        lambda x: jnp.cumsum(x)[3:] - jnp.cumsum(x)[:-3],
        [[1e7, 0.5, 0.25, 1.5, 0.75, 3.25]],
    ),
    "one minus a sigmoid that was written out": (
        lambda x: jnp.log(1 - 1 / (1 + jnp.exp(-x))),
        [[95, -100, 0.5]],
    ),
    "log1p of such": (
        lambda x: jnp.log1p(-1 / (1 + jnp.exp(-x))),
        [[95, -100, 0.5]],
    ),
    "a focal loss of probabilities": (
        lambda x: jnp.log(
            jnp.where(jnp.arange(4) % 2, 1 / (1 + jnp.exp(-x)), 1 - jax.nn.sigmoid(x))
        ),
        [[95, -95, -120, 110]],
    ),
    "a branch of which the slope is infinite where it is hidden": (
        lambda x: jnp.log(jnp.where(x < 0, 1 - jnp.exp(x), jnp.exp(x))),
        [[-1e-20, 0, 2, 100]],
    ),
    "a contrastive loss by the diagonal": (
        lambda s: jnp.log(jnp.diag(jnp.exp(s)) / jnp.exp(s).sum(-1)),
        [[[120, 20, 100], [0, -110, -100], [5, 3, 90]]],
    ),
    "the diagonal of a softmax": (
        lambda s: jnp.log(jnp.diagonal(jax.nn.softmax(s))),
        [[[120, 20, 100], [0, -110, 0], [5, 3, 90]]],
    ),
    "a root less 1": (lambda x: jnp.sqrt(1 + x**2) - 1, [[1e25, 1e-10, 3]]),
    "a versine over a square": (
        lambda x: (1 - jnp.cos(2 * x)) / x**2,
        [[1e-6, 1e-3, 2]],
    ),
    "entropy of two": (
        lambda p: -p * jnp.log(p) - (1 - p) * jnp.log(1 - p),
        [[1e-30, 0.25, 0.999]],
    ),
    "a product of probabilities over time": (
        lambda p: jnp.log(jnp.cumprod(p, axis=0)),
        [[[1e-20, 0.5], [1e-25, 0.25], [0.5, 0.125]]],
    ),
}


def arrays(values):
    return [jnp.asarray(v, f32) for v in values]


def slope(fun):
    return jax.grad(lambda *xs: jnp.sum(fun(*xs)))


@functools.cache
def measure(name, steep):
    """The truth of a form, or of its slope, and the unit that errors are counted in.

    A unit is one in the last place, times the condition of the function. A value that
    is 0 is measured by the largest beside it; below the normal numbers, which hardware
    may flush, there are no digits to keep.
    """
    fun, values = FORMS[name]
    fun, inputs = slope(fun) if steep else fun, arrays(values)
    (truth,), (condition,) = exact.evaluate(fun, *inputs), exact.condition(fun, *inputs)
    truth, info = np.asarray(truth, np.float64), np.finfo(f32)
    size = np.where(truth == 0, np.abs(truth).max() or 1.0, np.abs(truth))
    size = np.maximum(size, info.tiny / info.eps)
    return truth, info.eps * size * np.maximum(np.nan_to_num(condition, posinf=1), 1)


def units(name, found, steep=False):
    truth, unit = measure(name, steep)
    return np.max(np.abs(np.asarray(found, np.float64) - truth) / unit)


# Twelve units: a form has a few operations, and each rounds.
LIMIT = 12


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_a_form_has_the_digits_that_its_inputs_have(name):
    fun, values = FORMS[name]
    inputs, stable = arrays(values), stabilize(fun)
    assert units(name, stable(*inputs)) < LIMIT
    assert units(name, jax.jit(stable)(*inputs)) < LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_the_slope_of_a_form_has_the_digits_that_its_inputs_have(name):
    fun, values = FORMS[name]
    result = jax.jit(slope(stabilize(fun)))(*arrays(values))
    assert units(name, result, steep=True) < LIMIT


@pytest.mark.slow
@pytest.mark.parametrize("name", FORMS)
def test_a_formula_without_its_form_has_lost_its_digits(name):
    fun, values = FORMS[name]
    inputs = arrays(values)
    naive = units(name, fun(*inputs))
    steep = units(name, slope(fun)(*inputs), steep=True)
    assert not (naive < 4 * LIMIT and steep < 4 * LIMIT)


# -- Sixteen bits ----------------------------------------------------------------------


def test_a_running_sum_in_a_while_loop_is_carried_in_float32():
    def count(x):
        def going(state):
            return state[1] < 3000

        return lax.while_loop(going, lambda s: (s[0] + x, s[1] + 1), (x * 0, 0))[0]

    x = jnp.bfloat16(0.5)
    assert stabilize(count)(x) == 1500 != count(x)
    assert stabilize(count)(x).dtype == jnp.bfloat16


def test_the_condition_of_a_loop_sees_what_is_carried_in_its_own_format():
    def until(x):
        return lax.while_loop(lambda s: s < 300, lambda s: s + x, x * 0)

    assert stabilize(until)(jnp.bfloat16(0.5)) == 300


def test_a_short_loop_and_a_loop_without_a_sum_stay_as_they_are():
    def residual(x):
        return lax.scan(lambda h, _: (h + jnp.tanh(h), None), x, None, length=24)[0]

    def recurrent(x):
        return lax.scan(lambda h, _: (jnp.tanh(h), h), x, None, length=4096)[0]

    for fun in (residual, recurrent):
        assert not stabilize(fun).rewrites(jnp.bfloat16(0.5))


def test_the_sequence_that_a_loop_gives_out_keeps_its_format():
    def sums(x):
        return lax.scan(lambda s, v: (s + v, s), jnp.zeros((), x.dtype), x)[1]

    x = jnp.ones(1024, jnp.bfloat16)
    result = stabilize(sums)(x)
    assert result.dtype == jnp.bfloat16
    # half a unit in the last place of bfloat16
    np.testing.assert_allclose(result.astype(f32), np.arange(1024), rtol=2**-8)


def test_the_gradient_of_a_sum_in_float32_has_the_format_of_its_input():
    def total(x):
        return lax.scan(lambda s, v: (s + v * v, None), jnp.zeros((), x.dtype), x)[0]

    x = jnp.full(1024, 0.5, jnp.bfloat16)
    slope = jax.grad(stabilize(total))(x)
    assert slope.dtype == jnp.bfloat16
    np.testing.assert_array_equal(slope.astype(f32), np.ones(1024))
