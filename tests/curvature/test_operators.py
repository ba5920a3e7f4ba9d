"""Operators against dense float64 matrices: one network, every matrix, every mode."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from steepest import InputError
from steepest.curvature import (
    blocks,
    curvature_along,
    directional_derivative,
    fisher,
    from_matrix,
    gauss_newton,
    ggn_product,
    hessian,
    hvp,
    jacobian_product,
    preconditioned_operator,
    restricted,
)


RNG = np.random.default_rng(0)
X = RNG.normal(size=(12, 3))
Y = RNG.integers(0, 4, 12)
TIGHT = 1e-10  # float64: a few hundred operations of 1e-16


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def parameters():
    draw = lambda *shape: jnp.asarray(RNG.normal(size=shape))
    return {"hidden": {"w": draw(3, 4), "b": draw(4)}, "out": draw(4, 4)}


PARAMS = None


@pytest.fixture
def params(double):
    global PARAMS
    PARAMS = parameters() if PARAMS is None else PARAMS
    return PARAMS


def logits(params, x=X):
    h = jnp.tanh(jnp.asarray(x) @ params["hidden"]["w"] + params["hidden"]["b"][None])
    return h @ params["out"]


def nll(z, y):
    return jax.nn.logsumexp(z) - z[y]


def mean_nll(z, y=Y):
    return jnp.mean(jax.vmap(nll)(z, jnp.asarray(y)))


def loss(params):
    return mean_nll(logits(params))


def flat(fun, params):
    theta, unravel = ravel_pytree(params)
    return lambda t: fun(unravel(t)), theta


def dense_hessian(params):
    fun, theta = flat(loss, params)
    return np.asarray(jax.hessian(fun)(theta))


def dense_jacobian(params):
    fun, theta = flat(logits, params)
    return np.asarray(jax.jacrev(fun)(theta))  # (examples, classes, n)


def directions(params, count=2):
    theta, unravel = ravel_pytree(params)
    vs = [np.random.default_rng(i).normal(size=theta.size) for i in range(count)]
    return vs, [unravel(jnp.asarray(v)) for v in vs]


@pytest.mark.slow
def test_the_directional_derivative_is_the_inner_product_with_the_gradient(params):
    (v,), (tree,) = directions(params, 1)
    fun, theta = flat(loss, params)
    expected = np.asarray(jax.grad(fun)(theta)) @ v
    np.testing.assert_allclose(
        directional_derivative(loss, params, tree), expected, rtol=TIGHT
    )
    h = 1e-5  # central differences: h² of the third derivative and 1e-16/h of rounding
    moved = [float(fun(theta + s * h * jnp.asarray(v))) for s in (1, -1)]
    np.testing.assert_allclose((moved[0] - moved[1]) / (2 * h), expected, rtol=1e-6)


@pytest.mark.slow
def test_products_and_quadratic_forms_are_those_of_the_dense_hessian(params):
    H, operator = dense_hessian(params), hessian(loss, params)
    np.testing.assert_allclose(operator.dense(), H, rtol=TIGHT, atol=TIGHT)
    for v, tree in zip(*directions(params), strict=True):
        np.testing.assert_allclose(
            ravel_pytree(operator @ tree)[0], H @ v, rtol=TIGHT, atol=TIGHT
        )
        np.testing.assert_allclose(
            ravel_pytree(hvp(loss, params, tree))[0], H @ v, rtol=TIGHT, atol=TIGHT
        )
        for form in (operator.quadratic(tree), curvature_along(loss, params, tree)):
            np.testing.assert_allclose(form, v @ H @ v, rtol=TIGHT)


@pytest.mark.slow
def test_the_gauss_newton_matrix_is_built_from_the_jacobian(params):
    J = dense_jacobian(params)
    z = logits(params)
    Hz = np.asarray(jax.hessian(mean_nll)(z))  # (m, c, m, c)
    G = np.einsum("abi,abcd,cdj->ij", J, Hz, J)
    operator = gauss_newton(logits, mean_nll, params)
    np.testing.assert_allclose(operator.dense(), G, rtol=TIGHT, atol=TIGHT)
    assert np.linalg.eigvalsh(G)[0] > -TIGHT  # a softmax's loss is convex in z
    (v,), (tree,) = directions(params, 1)
    np.testing.assert_allclose(
        ravel_pytree(ggn_product(logits, mean_nll, params, tree))[0],
        G @ v,
        rtol=TIGHT,
        atol=TIGHT,
    )


@pytest.mark.slow
def test_the_gauss_newton_matrix_of_a_linear_model_is_its_hessian():
    w = jnp.asarray(RNG.normal(size=(3, 4)))
    outputs = lambda w: jnp.asarray(X) @ w
    G = gauss_newton(outputs, mean_nll, w).dense()
    H = hessian(lambda w: mean_nll(outputs(w)), w).dense()
    np.testing.assert_allclose(G, H, rtol=TIGHT, atol=TIGHT)
    x = jnp.asarray(X[:, 0])  # mean squared error: 2/N XᵀX
    H = hessian(lambda w: jnp.mean((jnp.asarray(X) @ w - x) ** 2), jnp.ones(3)).dense()
    np.testing.assert_allclose(H, 2 / 12 * X.T @ X, rtol=TIGHT)


def test_the_true_fisher_of_a_softmax_is_its_gauss_newton_matrix(params):
    p = jax.nn.softmax(logits(params)).T  # (classes, examples)
    classes = jnp.broadcast_to(jnp.arange(4)[:, None], (4, 12))
    true = fisher(logits, nll, params, classes, weights=p).dense()
    G = gauss_newton(logits, mean_nll, params).dense()
    np.testing.assert_allclose(true, G, rtol=TIGHT, atol=TIGHT)


@pytest.mark.slow
def test_the_empirical_fisher_is_the_mean_of_outer_products_of_gradients(params):
    one = lambda p, x, y: nll(logits(p, x[None])[0], y)
    per_example = jax.vmap(jax.grad(one), (None, 0, 0))
    g = per_example(params, jnp.asarray(X), jnp.asarray(Y))
    g = np.concatenate([np.asarray(a).reshape(12, -1) for a in jax.tree.leaves(g)], 1)
    operator = fisher(logits, nll, params, jnp.asarray(Y)[None])
    np.testing.assert_allclose(operator.dense(), g.T @ g / 12, rtol=TIGHT, atol=TIGHT)


def test_the_monte_carlo_fisher_comes_near_the_true_one(params):
    z = logits(params)
    draws = jax.random.categorical(jax.random.key(0), z, shape=(4000, 12))
    estimate = np.asarray(fisher(logits, nll, params, draws).dense())
    G = np.asarray(gauss_newton(logits, mean_nll, params).dense())
    # Monte Carlo: 1/√4000 = 1.6 % of the norm, and three times that
    assert np.linalg.norm(estimate - G) < 0.05 * np.linalg.norm(G)


@jax.custom_vjp
def by_hand(x):
    return jnp.tanh(x)


by_hand.defvjp(lambda x: (jnp.tanh(x), x), lambda x, g: (g * inverse_square(x),))


@jax.custom_vjp
def inverse_square(x):
    return 1 / jnp.cosh(x) ** 2


inverse_square.defvjp(
    lambda x: (1 / jnp.cosh(x) ** 2, x),
    lambda x, g: (-2 * g * jnp.tanh(x) / jnp.cosh(x) ** 2,),
)


@pytest.mark.slow
def test_rules_written_for_reverse_mode_alone_are_passed_through(params):
    def outputs(p):
        h = by_hand(jnp.asarray(X) @ p["hidden"]["w"] + p["hidden"]["b"][None])
        return h @ p["out"]

    twin = lambda p: mean_nll(outputs(p))
    H = dense_hessian(params)
    (v,), (tree,) = directions(params, 1)
    np.testing.assert_allclose(hessian(twin, params).dense(), H, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(curvature_along(twin, params, tree), v @ H @ v)
    np.testing.assert_allclose(
        directional_derivative(twin, params, tree),
        directional_derivative(loss, params, tree),
    )
    np.testing.assert_allclose(
        jacobian_product(outputs, params, tree), dense_jacobian(params) @ v
    )
    np.testing.assert_allclose(
        gauss_newton(outputs, mean_nll, params).dense(),
        gauss_newton(logits, mean_nll, params).dense(),
        atol=TIGHT,
    )


@pytest.mark.parametrize("size", [12, 5, 1])
def test_the_hessian_of_a_data_set_is_summed_over_batches_of_any_size(params, size):
    def of_batch(p, batch):
        x, y = batch
        return jnp.mean(jax.vmap(nll)(logits(p, x), y))

    data = (jnp.asarray(X), jnp.asarray(Y))
    operator = hessian(of_batch, params, data=data, batch_size=size)
    np.testing.assert_allclose(
        operator.dense(), dense_hessian(params), rtol=TIGHT, atol=TIGHT
    )


def test_the_gauss_newton_matrix_of_a_data_set_is_that_of_one_batch(params):
    operator = gauss_newton(
        lambda p, b: logits(p, b[0]),
        lambda z, b: jnp.mean(jax.vmap(nll)(z, b[1])),
        params,
        data=(jnp.asarray(X), jnp.asarray(Y)),
        batch_size=7,
    )
    whole = gauss_newton(logits, mean_nll, params).dense()
    np.testing.assert_allclose(operator.dense(), whole, rtol=TIGHT, atol=TIGHT)


@pytest.mark.slow
def test_blocks_are_sections_whose_traces_add_up_and_whose_spectra_interlace(params):
    H = dense_hessian(params)
    parts = blocks(hessian(loss, params))
    assert list(parts) == ["hidden.b", "hidden.w", "out"]
    dense = [np.asarray(part.dense()) for part in parts.values()]
    np.testing.assert_allclose(sum(np.trace(d) for d in dense), np.trace(H))
    for d in dense:
        assert np.linalg.eigvalsh(d)[-1] <= np.linalg.eigvalsh(H)[-1] + TIGHT
    layer = restricted(hessian(loss, params), lambda path: path.startswith("hidden"))
    np.testing.assert_allclose(layer.dense(), H[:16, :16], rtol=TIGHT, atol=TIGHT)


def test_a_preconditioned_operator_is_scaled_from_both_sides(params):
    P = jax.tree.map(lambda a: 1 + jnp.abs(a), params)
    scale = 1 / np.sqrt(np.asarray(ravel_pytree(P)[0]))
    operator = preconditioned_operator(hessian(loss, params), P)
    expected = scale[:, None] * dense_hessian(params) * scale
    np.testing.assert_allclose(operator.dense(), expected, rtol=TIGHT, atol=TIGHT)


BAD = {
    "not scalar": (lambda p: p["w"], {"w": jnp.ones(3)}, "one floating-point number"),
    "a tuple": (lambda p: (0.0, 1), {"w": jnp.ones(3)}, "must return one number"),
    "an integer": (lambda p: jnp.int32(1), {"w": jnp.ones(3)}, "one floating-point"),
    "integer parameters": (
        lambda p: 0.0,
        {"w": jnp.arange(3)},
        "floating-point arrays",
    ),
    "no parameters": (lambda p: 0.0, {}, "no numbers"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_has_no_hessian_is_refused_in_one_sentence(name):
    fun, params, words = BAD[name]
    with pytest.raises(InputError, match=words):
        hessian(fun, params)


def test_data_without_a_common_first_axis_are_refused():
    ragged = (jnp.ones((3, 2)), jnp.ones(4))
    with pytest.raises(InputError, match="common first axis"):
        hessian(lambda p, b: jnp.sum(p), jnp.ones(2), data=ragged)


def square(p):
    return jnp.sum(p["a"] ** 2)


THREE = {"a": jnp.ones(3)}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda H: H @ jnp.ones(4), "shape"),
        (lambda H: H.quadratic(jnp.ones(4)), "shape"),
        (lambda H: H @ {"b": jnp.ones(3)}, "structure"),
        (lambda H: H @ {"a": jnp.ones(2)}, "shape"),
        (lambda H: H @ jnp.ones(3, complex), "complex"),
        (lambda H: preconditioned_operator(H, {"a": jnp.ones(2)}), "shape"),
        (lambda H: preconditioned_operator(H, jnp.ones(3)), "structure"),
        (lambda H: preconditioned_operator(H, {"a": -jnp.ones(3)}), "positive"),
        (lambda H: preconditioned_operator(H, {"a": jnp.zeros(3)}), "positive"),
        (lambda _: hessian(lambda p, b: square(p) * jnp.mean(b), THREE, data=jnp.ones(4), batch_size=0), "whole number"),
        (lambda _: fisher(lambda p: square(p), lambda z, y: z * y, THREE, jnp.ones((1, 3))), "first axis"),
        (lambda _: from_matrix(jnp.asarray([[0.0, 1], [-1, 0]])), "not symmetric"),
        (lambda _: from_matrix(jnp.asarray([[0, 1j], [-1j, 0]])), "complex"),
        (lambda _: from_matrix(jnp.asarray([[jnp.nan]])), "NaN"),
        (lambda _: from_matrix(jnp.ones((2, 3))), "square"),
    ],
)  # fmt: skip
def test_what_no_operator_can_use_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(hessian(square, THREE))


def test_numbers_that_are_no_floats_are_made_so():
    assert from_matrix([[2, 1], [1, 2]]).dense().tolist() == [[2, 1], [1, 2]]
    H = hessian(square, THREE)
    assert (H @ np.arange(3)).tolist() == [0, 2, 4]
    assert (H @ {"a": jnp.arange(3)})["a"].tolist() == [0, 2, 4]
    assert float(H.quadratic({"a": jnp.ones(3)})) == 6
