"""Lengths and products of parameters: no overflow, no lost digits, one program."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest.core.vectors import inner, length, moved, on_vector, working_dtype


@pytest.mark.parametrize("array", [np.asarray, jnp.asarray])
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_a_length_neither_overflows_nor_vanishes(array, scale):
    x = array(np.asarray([3, 4], np.float32) * np.float32(scale))
    np.testing.assert_allclose(length(x), 5 * scale, rtol=1e-6)
    assert length(array(np.zeros(2, np.float32))) == 0


def test_an_inner_product_of_half_precision_is_summed_in_single():
    ones = jnp.ones(3000, jnp.bfloat16)
    product = inner({"a": ones, "b": jnp.ones(2)}, {"a": ones, "b": jnp.ones(2)})
    assert product.dtype == jnp.float32 and product == 3002


def test_inner_products_of_numpy_keep_float64():
    assert inner({"a": np.array([1e-20, 1.0])}, {"a": np.array([1e20, 1.0])}) == 2.0


def test_the_working_dtype_is_the_widest():
    assert working_dtype(jnp.float16) == jnp.float32
    with jax.enable_x64(True):
        tree = {"a": jnp.ones(1, jnp.float32), "b": jnp.ones(1, jnp.float64)}
        assert working_dtype(tree) == jnp.float64


def test_a_move_is_rounded_once():
    p = {"x": jnp.ones(1, jnp.bfloat16)}
    d = {"x": jnp.full(1, 2.0**-9, jnp.bfloat16)}
    assert moved(p, d, jnp.float32(4.0))["x"] == 1 + 2.0**-7
    assert moved(p, d, jnp.float32(1.0))["x"] == 1


def test_functions_of_vectors_are_equal_where_one_program_serves_both():
    loss = lambda p: jnp.sum(p["a"]) * p["b"][0, 0]
    params = {"a": jnp.arange(3.0), "b": jnp.full((1, 1), 2.0)}
    one, theta = on_vector(loss, params)
    other, _ = on_vector(loss, jax.tree.map(jnp.ones_like, params))
    assert one == other and hash(one) == hash(other)
    assert one(theta) == loss(params)
    back = one.unravel(theta)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), back, params))
