"""Hessian-vector products against the dense Hessian and each other."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import InputError
from steepest.curvature import (
    curvature_along,
    directional_derivative,
    gauss_newton,
    ggn_product,
    hessian,
    hvp,
    sharpness,
    taylor,
)


def two_layers(params, x):
    return jnp.tanh(x @ params["W"]) @ params["v"]


X = np.random.default_rng(0).normal(size=(7, 3)).astype(np.float32)
PARAMS = {
    "W": np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32),
    "v": np.random.default_rng(2).normal(size=(4,)).astype(np.float32),
}


def loss(params):
    return jnp.mean(jnp.square(two_layers(params, X)))


def dense(loss, params):
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    return jax.jit(jax.hessian(lambda p: loss(unravel(p))))(flat)


def test_the_product_equals_the_dense_hessian_times_the_vector():
    v = jax.tree.map(
        lambda a: jnp.cos(jnp.arange(a.size, dtype=jnp.float32)).reshape(a.shape),
        PARAMS,
    )
    H = dense(loss, PARAMS)
    flat = jax.flatten_util.ravel_pytree(v)[0]
    ours = jax.flatten_util.ravel_pytree(hvp(loss, PARAMS, v))[0]
    # a dozen operations deep: 50 eps of the largest entry
    np.testing.assert_allclose(ours, H @ flat, atol=50 * 1.2e-7 * float(abs(H).max()))


def test_the_quadratic_form_has_its_matrix_as_hessian():
    A = jnp.array([[2.0, 1.0], [1.0, -3.0]])
    v = jnp.array([1.0, 2.0])
    np.testing.assert_allclose(
        hvp(lambda p: 0.5 * p @ A @ p, jnp.ones(2), v), A @ v, rtol=1e-6
    )


@pytest.mark.parametrize("nested", [False, True])
def test_a_rule_written_for_reverse_mode_alone_is_no_obstacle(nested):
    @jax.custom_vjp
    def cube(x):
        return x**3

    def forward(x):
        return cube(x), x

    def backward(x, g):
        # nested: the rule calls the function itself, which forward mode refuses
        return (g * (3 * x**2 if not nested else 3 * square(x)),)

    @jax.custom_vjp
    def square(x):
        return x**2

    square.defvjp(lambda x: (square(x), x), lambda x, g: (2 * g * x,))
    cube.defvjp(forward, backward)
    x = jnp.array([1.0, 2.0])
    v = jnp.array([1.0, -1.0])
    np.testing.assert_allclose(
        hvp(lambda x: jnp.sum(cube(x)), x, v), 6 * x * v, rtol=1e-6
    )


def test_a_true_type_error_is_not_swallowed():
    with pytest.raises(TypeError):
        hvp(lambda p: jnp.sum(p) + "a", jnp.ones(2), jnp.ones(2))


def fixed(x):
    return jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, jnp.sin(c[1])), (0, x))[1].sum()  # fmt: skip


def square(x):
    return jnp.sum(x**2)


ONES = jnp.ones(3)


@pytest.mark.parametrize("product", [directional_derivative, curvature_along, hvp])
@pytest.mark.parametrize(
    ("function", "params", "v", "message"),
    [
        (lambda x: x**2, ONES, ONES, "mean or a sum"),
        (lambda x: (square(x), x), ONES, ONES, "Return the loss alone"),
        (square, ONES, jnp.ones(4), r"shape \(4,\)"),
        (lambda p: square(p["a"]), {"a": ONES}, {"b": ONES}, "structure"),
        (square, ONES.astype(jnp.bfloat16), ONES, "convert it"),
        (square, jnp.arange(3), jnp.arange(3), "floating-point arrays only"),
    ],
)
@pytest.mark.parametrize("compiled", [False, True])
def test_what_cannot_be_multiplied_is_refused(
    product, function, params, v, message, compiled
):
    run = lambda p, v: product(function, p, v)
    with pytest.raises(InputError, match=message):
        (jax.jit(run) if compiled else run)(params, v)


def test_the_checks_leave_nothing_in_a_compiled_program():
    ours = jax.make_jaxpr(lambda x, v: hvp(square, x, v))(ONES, ONES)
    plain = jax.make_jaxpr(lambda x, v: jax.jvp(jax.grad(square), (x,), (v,))[1])(
        ONES, ONES
    )
    assert str(ours) == str(plain)


def test_a_gauss_newton_product_of_a_vector_loss_is_refused():
    with pytest.raises(InputError, match="mean or a sum"):
        ggn_product(lambda p: p, lambda z: z, ONES, ONES)
    with pytest.raises(InputError, match="shape"):
        ggn_product(lambda p: p, square, ONES, jnp.ones(2))


def test_a_while_loop_is_named_with_what_to_write_instead():
    for ask in (
        lambda: hvp(fixed, ONES, ONES),
        lambda: hessian(fixed, ONES),
        lambda: gauss_newton(lambda p: fixed(p)[None], square, ONES),
        lambda: sharpness(fixed, ONES, key=jax.random.key(0)),
        lambda: taylor.optimal_step(fixed, ONES),
    ):
        with pytest.raises(InputError, match="fixed number of iterations"):
            ask()
    with pytest.raises(InputError, match="`fixed` has"):
        hvp(fixed, ONES, ONES)
    # forward mode goes through it: sin(sin(sin 1)) three times over
    slope = jnp.cos(ONES) * jnp.cos(jnp.sin(ONES)) * jnp.cos(jnp.sin(jnp.sin(ONES)))
    found = directional_derivative(fixed, ONES, ONES)
    np.testing.assert_allclose(found, jnp.sum(slope), rtol=1e-5)
