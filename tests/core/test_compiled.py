"""A program compiled operation by operation gives the bits of the eager run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest.core.compiled import op_by_op


FOLDED = {
    "log of exp": (lambda x: jnp.log(jnp.exp(x)), (100.0,)),
    "absorbed epsilon": (lambda p: jnp.log((1 - p) + 1e-10), (1.0,)),
    "re-associated constants": (lambda x: x * 1e30 * 1e30, (0.0,)),
    "root of a square": (lambda x: jnp.sqrt(x * x), (1e30,)),
    "product of exps": (lambda x: jnp.exp(x) * jnp.exp(-x), (100.0,)),
}


@pytest.mark.parametrize("name", FOLDED)
def test_what_xla_folds_is_computed_as_written(name):
    fun, args = FOLDED[name]
    args = [jnp.float32(a) for a in args]
    with jax.disable_jit():
        expected = fun(*args)
    np.testing.assert_array_equal(op_by_op(fun)(*args), expected)


def test_products_and_sums_are_rounded_one_by_one():
    rng = np.random.default_rng(0)
    a, b, c = (jnp.asarray(rng.normal(size=1000), jnp.float32) for _ in range(3))
    fun = lambda a, b, c: jnp.sin(a * b + c) * b
    with jax.disable_jit():
        expected = fun(a, b, c)
    np.testing.assert_array_equal(op_by_op(fun)(a, b, c), expected)


def test_a_scatter_compiles():
    fun = lambda x: x.at[jnp.array([1, 1])].add(2.0)
    np.testing.assert_array_equal(op_by_op(fun)(jnp.ones(3)), [1, 5, 1])
