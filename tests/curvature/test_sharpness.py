"""Sharpness against known spectra, dense float64 Hessians and ARPACK."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg

from steepest import InputError
from steepest.curvature import hvp, lanczos, preconditioned, sharpness


KEY = jax.random.key(0)
EPS = 1.2e-7  # float32


def rotation(n, seed=0):
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]


def ravel(tree):
    return jax.flatten_util.ravel_pytree(tree)[0]


def quadratic(A):
    A = jnp.asarray(A, jnp.float32)
    return lambda p: 0.5 * p @ A @ p


@jax.jit
def all_products(A):
    return sharpness(quadratic(A), jnp.ones(40), key=KEY, num_products=40)


SPECTRA = {
    "outliers": np.r_[10.0, 5.0, np.linspace(-0.1, 0.1, 38)],
    "all negative": -np.linspace(1.0, 3.0, 40),
    "rank three": np.r_[2.57, 1.0, 0.3, np.zeros(37)],
    "identity": np.ones(40),
    "zero": np.zeros(40),
    "indefinite": np.r_[np.linspace(1, 4, 20), -np.linspace(1, 9, 20)],
    "tiny": 1e-12 * np.r_[3.0, np.linspace(0, 1, 39)],
    "huge": 1e12 * np.r_[3.0, np.linspace(0, 1, 39)],
}


@pytest.mark.parametrize("rotated", [True, False])
@pytest.mark.parametrize("name", SPECTRA)
def test_known_spectra_are_found_to_rounding_error(name, rotated):
    spectrum = SPECTRA[name]
    Q = rotation(40) if rotated else np.eye(40)
    found = all_products(jnp.asarray((Q * spectrum) @ Q.T, jnp.float32))
    scale = np.abs(spectrum).max()
    # A is rounded to float32 and has 40 terms a product: 40 eps of its norm
    np.testing.assert_allclose(found.value, spectrum.max(), atol=40 * EPS * scale)
    np.testing.assert_allclose(found.lowest, spectrum.min(), atol=40 * EPS * scale)
    assert found.residual <= 40 * EPS * scale


@pytest.mark.slow
def test_unused_parameters_do_not_disturb():
    """Exact zero rows: where a Lanczos without a guard divides by rounding noise."""
    x = np.zeros((30, 50), np.float32)
    x[:, :3] = np.random.default_rng(0).normal(size=(30, 3))
    exact = np.linalg.eigvalsh(x.astype(np.float64).T @ x / 30)[-1]
    for num_products in (4, 40):
        found = sharpness(
            lambda p: 0.5 * jnp.mean(jnp.square(x @ p)),
            jnp.ones(50), key=KEY, num_products=num_products,
        )  # fmt: skip
        np.testing.assert_allclose(found.value, exact, rtol=40 * EPS)
        np.testing.assert_allclose(found.lowest, 0, atol=40 * EPS * exact)
        assert bool(found.exhausted)


def network(dead=0):
    rng = np.random.default_rng(3)
    params = {
        "W": rng.normal(size=(4, 16)) / 2,
        "b": np.r_[-100 * np.ones(dead), np.zeros(16 - dead)],
        "V": rng.normal(size=(16, 3)) / 4,
    }
    x, y = rng.normal(size=(64, 4)), rng.integers(0, 3, 64)

    def loss(p):
        x_ = jnp.asarray(x, p["W"].dtype)
        z = jax.nn.relu(x_ @ p["W"] + p["b"][None]) @ p["V"]
        return jnp.mean(jax.nn.logsumexp(z, -1) - z[jnp.arange(64), y])

    return loss, params


@pytest.fixture(scope="module", params=[0, 13])
def case(request):
    """A ReLU network, healthy or with dead units, and its Hessian in float64."""
    loss, params = network(request.param)
    with jax.enable_x64(True):
        double = jax.tree.map(lambda a: jnp.asarray(a, jnp.float64), params)
        flat, unravel = jax.flatten_util.ravel_pytree(double)
        H = np.asarray(jax.jit(jax.hessian(lambda p: loss(unravel(p))))(flat))
    return loss, jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), params), H


@pytest.mark.slow
def test_a_network_agrees_with_its_dense_hessian_in_float64_and_with_arpack(case):
    loss, params, H = case
    exact = np.linalg.eigvalsh(H)
    arpack = scipy.sparse.linalg.eigsh(H, k=1, which="LA", return_eigenvectors=False)
    np.testing.assert_allclose(arpack, exact[-1], rtol=1e-8)
    for num_products in (60,):
        found = sharpness(loss, params, key=KEY, num_products=num_products)
        # the float32 product itself is good to some 20 eps of the norm
        np.testing.assert_allclose(found.value, exact[-1], rtol=1e-5)
        assert found.lowest >= exact[0] - 1e-5 * exact[-1]
    np.testing.assert_allclose(found.lowest, exact[0], atol=1e-4 * exact[-1])


def test_arpack_on_the_same_products_finds_the_same(case):
    """A twin that never sees the matrix either: implicitly restarted Lanczos."""
    loss, params, H = case
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    product = jax.jit(lambda v: ravel(hvp(loss, params, unravel(v))))
    operator = scipy.sparse.linalg.LinearOperator(
        H.shape, lambda v: np.asarray(product(jnp.asarray(v.ravel(), jnp.float32))),
        dtype=np.float32,
    )  # fmt: skip
    start = np.asarray(jax.random.normal(KEY, flat.shape))
    (twin,) = scipy.sparse.linalg.eigsh(operator, k=1, which="LA", v0=start, return_eigenvectors=False)  # fmt: skip
    found = sharpness(loss, params, key=KEY, num_products=40)
    np.testing.assert_allclose(found.value, twin, rtol=1e-5)


@pytest.mark.slow
def test_with_every_unit_dead_only_the_last_bias_has_curvature():
    """Rank deficiency at its worst: of 80 parameters three have any effect."""
    params = {
        "W": jnp.ones((4, 16)) / 8,
        "b": jnp.full(16, -100.0),
        "V": jnp.ones((16, 3)),
        "c": jnp.array([0.5, 0.0, -0.5]),
    }
    x = jnp.asarray(np.random.default_rng(0).normal(size=(32, 4)), jnp.float32)

    def loss(p):
        z = jax.nn.relu(x @ p["W"] + p["b"][None]) @ p["V"] + p["c"][None]
        return jnp.mean(jax.nn.logsumexp(z, -1) - z[:, 0])

    q = np.exp([0.5, 0.0, -0.5])
    q /= q.sum()
    exact = np.linalg.eigvalsh(np.diag(q) - np.outer(q, q))[-1]  # softmax's Hessian
    for k in (3, 16):
        found = sharpness(loss, params, key=KEY, num_products=k)
        np.testing.assert_allclose(found.value, exact, rtol=1e-5)
        np.testing.assert_allclose(found.lowest, 0, atol=1e-6)
    np.testing.assert_allclose(jnp.linalg.norm(found.direction["c"]), 1, rtol=1e-4)


@pytest.mark.parametrize(
    ("loss", "value"),
    [
        (lambda p: jnp.sum(p["a"]) + 2 * jnp.sum(p["b"]), 0.0),  # linear: H = 0
        (lambda p: jnp.zeros(()), 0.0),
        (lambda p: -jnp.sum(p["a"] ** 2) - 3 * jnp.sum(p["b"] ** 2), -2.0),
    ],
    ids=["linear", "constant", "negative definite"],
)
@pytest.mark.parametrize("k", [1, 5])
def test_flat_and_concave_losses_have_no_or_negative_sharpness(loss, value, k):
    params = {"a": jnp.ones(3), "b": jnp.ones((2, 2))}
    found = sharpness(loss, params, key=KEY, num_products=k)
    if k > 1:
        np.testing.assert_allclose(found.value, value, atol=6 * 4 * EPS)
    assert found.value <= value + 6 * 4 * EPS and found.lowest <= found.value
    assert np.isfinite(ravel(found.direction)).all()
    np.testing.assert_allclose(jnp.linalg.norm(ravel(found.direction)), 1, rtol=1e-5)


@pytest.mark.slow
def test_the_residual_is_what_it_says_and_bounds_the_distance_to_an_eigenvalue(case):
    loss, params, H = case
    exact = np.linalg.eigvalsh(H)
    for k in (2, 8):
        found = sharpness(loss, params, key=KEY, num_products=k)
        v = ravel(found.direction)
        Hv = ravel(jax.jit(lambda v: hvp(loss, params, v))(found.direction))
        measured = float(jnp.linalg.norm(Hv - found.value * v))
        slack = 1e-5 * exact[-1]
        assert abs(measured - float(found.residual)) <= slack
        assert np.abs(exact - float(found.value)).min() <= float(found.residual) + slack
        assert found.value <= exact[-1] + slack


@pytest.mark.slow
def test_more_products_never_lower_the_value(case):
    loss, params, _ = case
    values = [
        float(sharpness(loss, params, key=KEY, num_products=k).value)
        for k in (2, 8, 16)
    ]
    assert np.all(np.diff(values) >= -1e-5 * values[-1])


@pytest.mark.slow
def test_a_warm_start_saves_products_and_still_finds_a_new_top():
    Q = rotation(40)
    before = (Q * np.r_[3.0, 1.0, np.linspace(0, 0.5, 38)]) @ Q.T
    after = (Q * np.r_[3.0, 6.0, np.linspace(0, 0.5, 38)]) @ Q.T  # the second overtakes
    old = sharpness(quadratic(before), jnp.ones(40), key=KEY, num_products=12)
    warm = sharpness(
        quadratic(before), jnp.ones(40), key=KEY, num_products=3, start=old.direction
    )
    cold = sharpness(quadratic(before), jnp.ones(40), key=KEY, num_products=3)
    assert abs(warm.value - 3) < 1e-3 < abs(cold.value - 3)
    new = sharpness(
        quadratic(after), jnp.ones(40), key=KEY, num_products=6, start=old.direction
    )
    np.testing.assert_allclose(new.value, 6.0, rtol=1e-3)


def test_a_start_that_is_an_eigenvector_is_not_taken_for_the_whole_space():
    """Breakdown in the first step; the iteration goes on elsewhere."""
    A = jnp.diag(jnp.r_[1.0, 2.0, 3.0, 4.0, 5.0])
    T = lanczos(lambda v: A @ v, jnp.eye(5)[0], 5, key=KEY)
    assert bool(T.exhausted)
    np.testing.assert_allclose(T.Q @ T.Q.T, np.eye(5), atol=10 * EPS)
    t = np.diag(T.alpha) + np.diag(T.beta[:-1], 1) + np.diag(T.beta[:-1], -1)
    np.testing.assert_allclose(np.linalg.eigvalsh(t), [1, 2, 3, 4, 5], rtol=20 * EPS)


def test_the_basis_stays_orthonormal_after_the_eigenvalues_have_converged():
    A = jnp.asarray(
        (rotation(60) * np.logspace(-6, 3, 60)) @ rotation(60).T, jnp.float32
    )
    T = lanczos(lambda v: A @ v, jnp.ones(60), 60, key=KEY)
    assert np.abs(T.Q @ T.Q.T - np.eye(60)).max() < 20 * EPS


def test_a_weak_true_coupling_is_kept():
    """A guard at √eps·‖A‖ would cut this one, and lose the largest eigenvalue."""
    A = np.diag([100.0, 1.0, 101.0]).astype(np.float32)
    A[0, 1] = A[1, 0] = A[1, 2] = A[2, 1] = 0.01  # √eps · ‖A‖ = 0.035
    T = lanczos(lambda v: jnp.asarray(A) @ v, jnp.eye(3)[0], 3, key=KEY)
    np.testing.assert_allclose(T.beta[:2], 0.01, rtol=1e-6)  # none was cut
    t = np.diag(T.alpha) + np.diag(T.beta[:-1], 1) + np.diag(T.beta[:-1], -1)
    exact = np.linalg.eigvalsh(A.astype(np.float64))
    np.testing.assert_allclose(np.linalg.eigvalsh(t), exact, rtol=1e-5)


def test_the_preconditioned_sharpness_is_that_of_the_scaled_matrix():
    A = (rotation(6) * np.arange(1.0, 7.0)) @ rotation(6).T
    P = np.linspace(0.5, 4.0, 6)
    exact = np.linalg.eigvalsh(A / np.sqrt(P)[:, None] / np.sqrt(P))[-1]
    scaled, at = preconditioned(quadratic(A), jnp.ones(6), jnp.asarray(P, jnp.float32))
    found = sharpness(scaled, at, key=KEY, num_products=6)
    np.testing.assert_allclose(found.value, exact, rtol=1e-5)


def test_it_can_be_compiled_and_mapped_over():
    def f(scale):
        return sharpness(
            lambda p: scale * jnp.sum(jnp.square(p)), jnp.ones(3), key=KEY
        ).value

    np.testing.assert_allclose(
        jax.jit(jax.vmap(f))(jnp.array([1.0, 2.0])), [2.0, 4.0], rtol=1e-6
    )


@pytest.mark.parametrize(
    ("params", "options", "message"),
    [
        (jnp.ones(3), {"num_products": 0}, "num_products"),
        ({}, {}, "no numbers"),
        (jnp.arange(3), {}, "floating-point"),
    ],
)
def test_what_has_no_curvature_is_refused(params, options, message):
    with pytest.raises(InputError, match=message):
        sharpness(lambda p: jnp.zeros(()), params, key=KEY, **options)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: sharpness(lambda x: x**2, x, key=jax.random.key(0)), "mean or a sum"),
        (lambda x: sharpness(lambda x: jnp.sum(jnp.abs(x) ** 1.5), 0 * x, key=jax.random.key(0)), "not finite"),
        (lambda x: preconditioned(jnp.sum, x, -x), "positive"),
        (lambda x: preconditioned(jnp.sum, x, jnp.ones(2)), "shape"),
    ],
)  # fmt: skip
def test_what_has_no_sharpness_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(jnp.ones(3))


def test_inside_jit_a_hessian_that_is_not_finite_makes_nan():
    kinked = lambda x: jnp.sum(jnp.abs(x) ** 1.5)
    found = jax.jit(lambda x: sharpness(kinked, x, key=jax.random.key(0)))(jnp.zeros(3))
    assert jnp.isnan(found.value)
