"""Exact evaluation against mpmath by hand, and against float64 where that is right."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from jax import lax
from mpmath import mpf

from steepest.core.errors import InputError
from steepest.numerics import exact
from steepest.numerics.shadowing.program import in_float64


f32 = jnp.float32
key = jax.random.key(0)
A = jax.random.normal(key, (3, 4))
B = jax.random.normal(jax.random.key(1), (4, 2))
P = jax.random.uniform(jax.random.key(2), (3, 4), minval=0.1, maxval=0.9)
IMAGE = jax.random.normal(jax.random.key(3), (2, 4, 3, 2))
KERNEL = jax.random.normal(jax.random.key(4), (2, 3, 2, 2))
ROWS = jnp.asarray([2, 0, 2, 1])


def conv(x, w, **options):
    names = ("NHWC", "HWIO", "NHWC")
    return lax.conv_general_dilated(x, w, dimension_numbers=names, **options)


def pooled(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "SAME")


def averaged(x):
    return lax.reduce_window(x, 0.0, lax.add, (1, 3, 2, 1), (1, 1, 2, 1), "SAME")


def spd(x):
    return x @ x.T + jnp.eye(3, dtype=x.dtype)


def attention(x):
    scores = jnp.where(jnp.tril(jnp.ones((3, 3), bool)), x @ x.T, -jnp.inf)
    return jax.nn.softmax(scores, axis=-1) @ x


#: Programs that float64 computes to a dozen digits, and their inputs.
PROGRAMS = {
    "arithmetic": (lambda x: (x + 1) * x / (x - 3) - x**3 + x**-2, A),
    "power": (lambda p: p**1.7 + 2.0**p, P),
    "exponentials": (lambda x: jnp.exp(x) + jnp.expm1(x) + jnp.exp2(x), A),
    "logarithms": (lambda p: jnp.log(p) * jnp.log1p(p) + jnp.log2(p), P),
    "trigonometry": (lambda p: jnp.sin(p) * jnp.cos(p) + jnp.tan(p), P),
    "inverses": (lambda p: jnp.arcsin(p) * jnp.arccos(p) + jnp.arctan(p), P),
    "hyperbolic": (lambda p: jnp.sinh(p) / jnp.cosh(p) + jnp.tanh(p), P),
    "areas": (lambda p: jnp.arcsinh(p) + jnp.arctanh(p) + jnp.arccosh(1 + p), P),
    "roots": (lambda p: jnp.sqrt(p) + lax.rsqrt(p) + jnp.cbrt(p - 0.5), P),
    "errors": (lambda p: lax.erf(p) + lax.erfc(p) + lax.erf_inv(p), P),
    "gammas": (lambda p: lax.lgamma(p) + lax.digamma(p), P),
    "incomplete": (lambda p: jax.scipy.special.gammainc(p, 2 * p), P),
    "rounding": (lambda x: jnp.round(3 * x) + jnp.floor(x) + jnp.ceil(x), A),
    "angle": (lambda x: jnp.arctan2(x, x[::-1]), A),
    "remainder": (lambda x: jnp.fmod(5 * x, 0.75), A),
    "choices": (lambda x: jnp.where(x > 0, x, 2 * x) + jnp.clip(x, -0.5, 0.5), A),
    "extremes": (lambda x: jnp.maximum(x, -x) + jnp.minimum(x, 0.1), A),
    "sums": (lambda x: x.sum(0) + x.max(0) * x.min(0) + x.prod(0), A),
    "means": (lambda x: (x.mean(1), x.var(1), x.std(1)), A),
    "prefixes": (lambda x: jnp.cumsum(x, 0) * jnp.cumprod(x, 1), A),
    "running": (lambda x: lax.cummax(x, 1) + lax.cumlogsumexp(x, 0), A),
    "reversed": (lambda x: lax.cumsum(x, 1, reverse=True), A),
    "order": (lambda x: jnp.sort(x, 0) + jnp.sort(x, 1), A),
    "argsort": (lambda x: jnp.take_along_axis(x, jnp.argsort(x, 1), 1), A),
    "largest": (lambda x: lax.top_k(x, 2)[0] + x.argmax(1)[:, None], A),
    "matrices": (lambda x: x @ B.astype(x.dtype), A),
    "einsum": (lambda x: jnp.einsum("ij,kj,k->ik", x, x, x[:, 0]), A),
    "moves": (lambda x: jnp.pad(x.T[::-1, 1:].reshape(2, 4), 1)[None], A),
    "joined": (lambda x: jnp.concatenate([x, x[:1]], 0).squeeze(), A),
    "stacked": (lambda x: jnp.stack(jnp.split(x, 2, 1)), A),
    "gathered": (lambda x: x[ROWS] + x[jnp.asarray([0, 9, 1, 2])], A),
    "written": (lambda x: x.at[ROWS].add(2.0).at[1].mul(3.0).at[0, 1].set(7.0), A),
    "sliced": (lambda x: lax.dynamic_slice(x, (1, 1), (2, 2)), A),
    "updated": (lambda x: lax.dynamic_update_slice(x, x[:1, :2], (2, 1)), A),
    "convolution": (
        lambda x: conv(
            x, KERNEL.astype(x.dtype), window_strides=(1, 2), padding="SAME"
        ),
        IMAGE,
    ),
    "dilated": (
        lambda x: conv(
            x,
            KERNEL.astype(x.dtype),
            window_strides=(1, 1),
            padding=((1, 0), (2, 2)),
            lhs_dilation=(2, 1),
            rhs_dilation=(1, 2),
        ),
        IMAGE,
    ),
    "grouped": (
        lambda x: conv(
            x,
            KERNEL[:, :, :1].astype(x.dtype),
            window_strides=(1, 1),
            padding="VALID",
            feature_group_count=2,
        ),
        IMAGE,
    ),
    "pooling": (lambda x: pooled(x).sum() + averaged(x).sum(), IMAGE),
    "cholesky": (lambda x: jnp.linalg.cholesky(spd(x)), A),
    "solve": (lambda x: jnp.linalg.solve(spd(x), x), A),
    "determinant": (lambda x: jnp.linalg.slogdet(spd(x)), A),
    "softmax": (lambda x: jax.nn.softmax(x) * jax.nn.log_softmax(x, 0), A),
    "logsumexp": (lambda x: jax.nn.logsumexp(100 * x, 1), A),
    "activations": (lambda x: jax.nn.gelu(x) + jax.nn.silu(x) * jax.nn.softplus(x), A),
    "normalised": (lambda x: jax.nn.standardize(x), A),
    "attention": (attention, A),
    "loop": (lambda x: lax.fori_loop(0, 3, lambda i, y: jnp.sin(y + i), x), A),
    "scan": (lambda x: lax.scan(lambda c, r: (c * r, c + r), x[0], x, reverse=True), A),
    "branch": (lambda x: lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x), A),
    "while": (
        lambda x: lax.while_loop(lambda y: y.sum() < 50, lambda y: 2 * y, x + 2),
        A,
    ),
    "complex": (
        lambda x: jnp.abs(jnp.exp(1j * x) + lax.complex(x, x)) + jnp.angle(1j * x),
        A,
    ),
    "integers": (lambda x: x * jnp.arange(4) + (x * 3).astype(jnp.int32), A),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_exact_results_are_those_of_float64_where_that_is_good(name):
    fun, x = PROGRAMS[name]
    with in_float64():
        wide = jnp.asarray(np.asarray(x), jnp.float64)
        expected = jax.tree.leaves(fun(wide))
        results = exact.evaluate(fun, wide)
    for y, z in zip(results, expected, strict=True):
        z = np.asarray(z)
        np.testing.assert_allclose(y.astype(z.dtype), z, rtol=1e-11, atol=1e-13)


FAST = ("softmax", "power", "gathered", "scan")
NO_GRADIENT = ("while", "largest", "incomplete")


@pytest.mark.parametrize(
    "name",
    [
        n if n in FAST else pytest.param(n, marks=pytest.mark.slow)
        for n in PROGRAMS
        if n not in NO_GRADIENT
    ],
)
def test_exact_gradients_are_those_of_float64(name):
    fun, x = PROGRAMS[name]
    with in_float64():
        wide = jnp.asarray(np.asarray(x), jnp.float64)

        def loss(x):
            outs = [y for y in jax.tree.leaves(fun(x)) if y.dtype == jnp.float64]
            return sum(jnp.sum(jnp.cos(y)) for y in outs)

        (result,) = exact.gradient(loss, size=200_000)(wide)
        expected = jax.grad(loss)(wide)
    np.testing.assert_allclose(result.astype(float), expected, rtol=1e-9, atol=1e-11)


def test_a_program_that_cancels_everything_float64_has():
    (y,) = exact.evaluate(lambda x: jnp.log(1 + jnp.exp(x)) - x, f32(50))
    assert float(y) == pytest.approx(1.9287498479639178e-22, rel=1e-15)


def test_digits_that_only_hundreds_of_digits_show():
    def fun(x):
        return (1 + jnp.exp(-x)) - 1

    (y,) = exact.evaluate(fun, f32(1000))
    assert abs(y[()] / mpmath.exp(-1000) - 1) < mpf(10) ** -20


def test_a_difference_of_equal_numbers_is_zero():
    (y,) = exact.evaluate(lambda x: jnp.exp(x) - jnp.exp(x), f32(0.3))
    assert y[()] == 0


def test_inputs_and_constants_are_the_numbers_of_their_format():
    (y,) = exact.evaluate(lambda x: x * 0.1, f32(0.3))
    assert y[()] == mpf(float(np.float32(0.3))) * mpf(float(np.float32(0.1)))


@pytest.mark.parametrize(
    ("fun", "x", "expected"),
    [
        (jnp.log, 0.0, "-inf"),
        (jnp.log, -1.0, "nan"),
        (jnp.sqrt, -1.0, "nan"),
        (lambda x: 1 / x, 0.0, "inf"),
        (lambda x: x / x, 0.0, "nan"),
        (lambda x: x * jnp.inf, 0.0, "nan"),
        (lambda x: x - x, np.inf, "nan"),
        (lax.rsqrt, 0.0, "inf"),
        (lambda x: x**-2.0, 0.0, "inf"),
        (lambda x: x**0.0, np.nan, "1"),
        (jnp.log1p, -1.0, "-inf"),
        (jnp.arctanh, 1.0, "inf"),
        (jnp.arccos, 2.0, "nan"),
        (lax.lgamma, 0.0, "inf"),
        (lax.erf_inv, 1.0, "inf"),
        (jnp.exp, -np.inf, "0"),
        (jnp.tanh, np.inf, "1"),
        (lambda x: jnp.maximum(x, 1.0), np.nan, "nan"),
        (lambda x: jnp.exp(jnp.exp(jnp.exp(x))), 100.0, "inf"),
    ],
)
def test_singular_points_are_those_of_ieee_754(fun, x, expected):
    (y,) = exact.evaluate(fun, f32(x))
    assert mpmath.nstr(y[()], 5) in (expected, f"{expected}.0", f"+{expected}")


def test_what_overflows_every_format_is_a_number():
    (y,) = exact.evaluate(lambda x: jnp.log(jnp.exp(x * x)), f32(1e4))
    assert float(y) == 1e8


def test_integers_and_keys_stay_what_they_are():
    def fun(key, n):
        return n + 1, jax.random.uniform(key, (3,)), jax.random.bits(key, (2,))

    out = exact.evaluate(fun, key, jnp.arange(2))
    np.testing.assert_array_equal(out[0], [1, 2])
    np.testing.assert_array_equal(out[1].astype(float), jax.random.uniform(key, (3,)))
    assert out[2].dtype == np.uint32


def test_a_traced_program_is_evaluated_at_flat_values():
    closed = jax.make_jaxpr(lambda t: t["a"] * t["b"])({"a": f32(2), "b": f32(3)})
    assert exact.evaluate(closed, f32(4), f32(5))[0][()] == 20


def test_the_condition_of_a_difference():
    x, y = f32(1.0), f32(1.001)
    (kappa,) = exact.condition(lambda x, y: x - y, x, y)
    assert kappa == pytest.approx((1 + float(y)) / (float(y) - 1), rel=1e-12)


def test_the_condition_of_each_output():
    x = jnp.asarray([0.5, 2.0])
    (kappa,) = exact.condition(lambda x: jnp.exp(x) * x[::-1] ** 3, x)
    np.testing.assert_allclose(kappa, [3.5, 5.0], rtol=1e-12)


def test_large_programs_are_refused():
    with pytest.raises(InputError, match="more than 20000 scalar operations"):
        exact.evaluate(lambda x: x @ x, jnp.ones((64, 64)))


def test_a_primitive_without_a_rule_is_named():
    with pytest.raises(InputError, match=r"`eigh` at test_evaluate.py.* no rule"):
        exact.evaluate(lambda x: jnp.linalg.eigvalsh(x), jnp.eye(2))


def test_without_floats_there_is_no_gradient():
    with pytest.raises(InputError, match="nothing to derive by"):
        exact.gradient(lambda n: n)(jnp.arange(3))


def test_a_loop_ends_for_each_example_at_its_own_turn():
    halve = lambda x: jax.lax.while_loop(lambda y: y > 0.3, lambda y: y / 2, x)
    (got,) = exact.evaluate(jax.vmap(halve), jnp.asarray([0.25, 1.0, 4.0]))
    assert [float(v) for v in got] == [0.25, 0.25, 0.25]
