"""Eigenpairs against spectra that are known, dense matrices and ARPACK."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse.linalg

from steepest import InputError
from steepest.curvature import Operator, eigenpairs, from_matrix, hessian


KEY = jax.random.key(0)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def matrix(spectrum, seed=0):
    n = len(spectrum)
    Q = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0]
    return from_matrix(jnp.asarray((Q * spectrum) @ Q.T))


def bound(found, truth):
    """Each value lies within its residual of an eigenvalue, or is flagged."""
    for value, residual in zip(found.values, found.residuals, strict=True):
        rounding = 1e-14 * np.abs(truth).max()  # of the matrix itself
        assert np.abs(truth - value).min() <= residual + rounding


SPECTRA = {
    "outliers": np.r_[50.0, 30, 20, np.linspace(-0.1, 1, 397)],
    "indefinite": np.r_[np.linspace(1, 4, 150), -np.linspace(1, 9, 150)],
    "rank three": np.r_[2.57, 1.0, 0.3, np.zeros(297)],
    "identity": np.ones(200),
    "two values": np.r_[np.full(100, 3.0), np.full(100, -1.0)],
    "all negative": -np.linspace(1.0, 3.0, 100),
    "tiny": 1e-200 * np.r_[3.0, np.linspace(0, 1, 99)],
}


@pytest.mark.parametrize("name", SPECTRA)
def test_both_ends_of_a_known_spectrum_are_found(name):
    truth, size = SPECTRA[name], np.abs(SPECTRA[name]).max()
    found = eigenpairs(matrix(truth), 2, "both", key=KEY)
    assert found.converged.all()
    # √eps relative residual, squared over the gap, and the rounding of A itself
    np.testing.assert_allclose(
        found.values, [truth.max(), truth.min()], rtol=1e-9, atol=1e-13 * size
    )
    bound(found, truth)


@pytest.mark.slow
def test_the_largest_ten_agree_with_arpack():
    truth = np.r_[np.linspace(-2, 2, 480), 3.0 + np.arange(20)]
    operator = matrix(truth)
    found = eigenpairs(operator, 10, key=KEY)
    A = np.asarray(operator.dense())
    arpack = scipy.sparse.linalg.eigsh(A, 10, which="LA", return_eigenvectors=False)
    np.testing.assert_allclose(found.values, np.sort(arpack)[::-1], rtol=1e-10)
    for value, v, residual in zip(
        found.values, np.asarray(found.vectors), found.residuals, strict=True
    ):
        np.testing.assert_allclose(np.linalg.norm(v), 1, rtol=1e-12)
        # the certificate, against the residual of the matrix itself
        assert np.linalg.norm(A @ v - value * v) <= 1.01 * residual + 1e-13


@pytest.mark.parametrize("block", [1, 3])
def test_a_multiple_eigenvalue_is_found_as_often_as_it_occurs(block):
    truth = np.r_[5.0, 5, 5, np.linspace(0, 1, 197)]
    found = eigenpairs(matrix(truth), 4, key=KEY, block=block)
    np.testing.assert_allclose(found.values, [5, 5, 5, 1], rtol=1e-8)


def test_copies_are_found_after_the_space_is_exhausted():
    truth = np.r_[np.full(5, 2.0), np.full(45, 1.0)]
    found = eigenpairs(matrix(truth), 7, key=KEY)
    np.testing.assert_allclose(found.values, [2] * 5 + [1] * 2, rtol=1e-12)
    assert found.exhausted


def test_restarts_bound_the_basis_and_still_converge(monkeypatch):
    monkeypatch.setattr("steepest.curvature._eigenpairs.BASIS", 20)
    monkeypatch.setattr("steepest.curvature._eigenpairs.HELD", 0)
    truth = np.r_[np.linspace(0, 10, 300), 11.0, 11.5, 12.5]
    found = eigenpairs(matrix(truth), 3, key=KEY)
    np.testing.assert_allclose(found.values, [12.5, 11.5, 11.0], rtol=1e-10)
    assert found.num_products > 20


@pytest.mark.slow
def test_eigenvalues_inside_of_a_small_spectrum_are_found_or_flagged():
    truth = np.linspace(1, 100, 100)
    found = eigenpairs(matrix(truth), 3, 50.2, key=KEY)
    np.testing.assert_allclose(found.values, [50, 51, 49], rtol=1e-10)
    hard = eigenpairs(
        matrix(np.linspace(1, 100, 1000)), 1, 50.2, key=KEY, max_products=20
    )
    assert not hard.converged.any()


def test_too_few_products_are_said_and_the_residual_still_holds():
    truth = np.linspace(1, 1000, 500)
    found = eigenpairs(matrix(truth), 5, key=KEY, max_products=12)
    assert not found.converged.any()
    assert found.num_products == 12
    bound(found, truth)
    assert found.values[0] <= 1000  # a Ritz value never passes the end


@pytest.mark.slow
def test_the_hidden_part_covers_what_was_missed():
    """The outermost eigenvalue exceeds the Ritz value by at most `beyond`, in all of
    40 random starts (the chance that one fails is 4 %)."""
    truth = np.r_[np.linspace(0, 0.9, 399), 1.0]
    operator = matrix(truth)
    for seed in range(40):
        found = eigenpairs(operator, key=jax.random.key(seed), max_products=40)
        assert truth.max() <= found.values[0] + found.residuals[0] + found.beyond


@pytest.mark.slow
def test_a_warm_start_saves_products():
    truth = np.r_[np.linspace(0, 1, 399), 1.2]
    first = eigenpairs(matrix(truth), key=KEY)
    moved = from_matrix(matrix(truth).dense() + 1e-6 * jnp.eye(400))
    again = eigenpairs(moved, key=KEY, start=first.vectors[0])
    assert again.num_products < first.num_products
    np.testing.assert_allclose(again.values, first.values + 1e-6, rtol=1e-12)


# -- Where others are silently wrong ---------------------------------------------------


def least_squares(active, columns=50):
    X = np.random.default_rng(1).normal(size=(200, columns))
    X[:, active:] = 0
    loss = lambda w: 0.5 * jnp.mean((jnp.asarray(X) @ w - 1) ** 2)
    return hessian(loss, jnp.ones(columns)), X.T @ X / 200


@pytest.mark.parametrize("active", [1, 3, 10])
def test_unused_columns_do_no_harm(active):
    operator, H = least_squares(active)
    found = eigenpairs(operator, 2, "both", key=KEY)
    truth = np.linalg.eigvalsh(H)
    np.testing.assert_allclose(found.values, truth[[-1, 0]], rtol=1e-10, atol=1e-14)


def test_dead_units_do_no_harm_and_the_exhausted_space_is_said():
    rng = np.random.default_rng(2)
    X, y = jnp.asarray(rng.normal(size=(40, 4))), jnp.asarray(rng.normal(size=40))
    bias = np.full(16, -100.0)
    bias[:3] = 0.5
    params = {
        "w": jnp.asarray(rng.normal(size=(4, 16))),
        "b": jnp.asarray(bias),
        "v": jnp.asarray(rng.normal(size=16)),
    }

    def loss(p):
        return jnp.mean((jax.nn.relu(X @ p["w"] + p["b"][None]) @ p["v"] - y) ** 2)

    operator = hessian(loss, params)
    truth = np.linalg.eigvalsh(np.asarray(operator.dense()))
    found = eigenpairs(operator, 40, "both", key=KEY)
    np.testing.assert_allclose(found.values[:20], truth[::-1][:20], atol=1e-12)
    np.testing.assert_allclose(found.values[20:], truth[:20], atol=1e-12)
    assert found.exhausted


def test_rastrigin_has_one_eigenvalue_found_at_the_first_product():
    loss = lambda x: jnp.sum(x**2 - 10 * jnp.cos(2 * jnp.pi * x))
    found = eigenpairs(hessian(loss, jnp.zeros(700)), key=KEY)
    np.testing.assert_allclose(found.values, [2 + 40 * np.pi**2], rtol=1e-14)
    assert found.exhausted and found.num_products == 1


def test_float32_says_where_its_digits_end():
    with jax.enable_x64(False):
        hilbert = 1 / (np.arange(12)[:, None] + np.arange(12) + 1)
        found = eigenpairs(
            from_matrix(jnp.asarray(hilbert, jnp.float32)), 2, "both", key=KEY
        )
    np.testing.assert_allclose(found.values[0], 1.7953720595620, rtol=1e-6)
    assert abs(found.values[1] - 2.6e-16) <= found.floor  # the truth is below the floor


# -- Bad input -------------------------------------------------------------------------


def test_more_pairs_than_parameters_are_refused():
    with pytest.raises(InputError, match="only 3 parameters"):
        eigenpairs(matrix(np.ones(3)), 4, key=KEY)


def test_a_product_that_is_not_finite_is_refused():
    loss = lambda x: jnp.sqrt(jnp.sum(x**2))
    with pytest.raises(InputError, match="not finite"):
        eigenpairs(hessian(loss, jnp.zeros(3)), key=KEY)


def test_an_unknown_end_is_refused():
    with pytest.raises(InputError, match="largest"):
        eigenpairs(matrix(np.ones(3)), which="middle", key=KEY)  # type: ignore[arg-type]


def test_copies_that_no_single_start_can_see_are_looked_for():
    """At W = 0 each eigenvalue of a softmax regression occurs C - 1 times."""
    x = jnp.asarray(np.random.default_rng(0).normal(size=(40, 6)))
    y = jnp.arange(40) % 5
    loss = lambda W: -jnp.mean(jax.nn.log_softmax(x @ W)[jnp.arange(40), y])
    found = eigenpairs(hessian(loss, jnp.zeros((6, 5))), 10, key=KEY)
    inner = np.linalg.eigvalsh(np.asarray(x.T @ x)) / (40 * 5)
    truth = np.repeat(inner[::-1], 4)[:10]
    np.testing.assert_allclose(found.values, truth, rtol=1e-12)
    assert found.complete


def test_a_search_too_short_to_tell_says_that_copies_may_be_missing():
    """Without gaps, a check of a few products cannot exclude a further eigenvalue."""
    values = jnp.asarray(np.linspace(0, 1, 3000))
    line = Operator(lambda v: values * v, jnp.zeros_like(values), lambda v: v, "line")
    found = eigenpairs(line, 3, key=KEY, tolerance=0.05)
    assert not found.complete and "copies of them may be missing" in str(found)
    small = eigenpairs(matrix(np.arange(1.0, 6.0)), 3, key=KEY)  # searched whole
    assert small.complete and "missing" not in str(small)


# -- What a short search cannot know ---------------------------------------------------


def diagonal(values, dtype=jnp.float32):
    d = jnp.asarray(values, dtype)
    return Operator(jax.jit(lambda v: d * v), jnp.zeros_like(d), lambda v: v, "d")


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "bulk", [np.ones(2399), 1 + 1e-4 * np.linspace(-1, 1, 4999)], ids=["flat", "narrow"]
)
def test_a_weak_outlier_of_a_heavy_bulk_is_not_missed(bulk, seed):
    """The first product sees the mean of the spectrum, with a small residual."""
    found = eigenpairs(diagonal(np.r_[bulk, 1.05]), key=jax.random.key(seed))
    assert found.values[0] == pytest.approx(1.05, rel=4e-6)  # the floor of float32


@pytest.mark.parametrize("pairs", [1, 2])
def test_a_block_is_exhausted_only_when_all_of_its_starts_are(pairs):
    operator = diagonal(np.r_[np.ones(2399), 1.01])
    found = eigenpairs(operator, pairs, block=4, key=KEY)
    np.testing.assert_allclose(found.values, [1.01, 1.0][:pairs], rtol=4e-6)


@pytest.mark.parametrize("block, products", [(8, 32), (8, 128), (32, 128)])
def test_what_hides_beyond_a_block_goes_by_products_for_each_start(block, products):
    operator = diagonal(np.linspace(0, 1, 3000))
    found = eigenpairs(operator, block=block, key=KEY, max_products=products)
    assert 1.0 - found.values[0] <= found.beyond


@pytest.mark.parametrize("products", [10, 40, 160])
def test_an_error_estimate_covers_in_a_spectrum_without_gaps(products):
    operator = diagonal(np.linspace(0, 1, 3000), jnp.float64)
    found = eigenpairs(operator, key=KEY, max_products=products)
    near = np.abs(np.linspace(0, 1, 3000) - found.values[0]).min()
    assert near <= found.errors[0]
    assert not found.converged[0] or abs(found.values[0] - 1) < 2e-6


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_residuals_of_narrow_parameters_cover_their_rounding(dtype):
    rng = np.random.default_rng(0)
    A = rng.normal(size=(100, 100)).astype(np.float32)
    A = np.asarray(jnp.asarray((A + A.T) / 20, dtype), np.float64)
    A = (A + A.T) / 2
    found = eigenpairs(from_matrix(jnp.asarray(A, dtype)), 3, key=KEY)
    v = np.asarray(found.vectors, np.float64)
    for value, residual, u in zip(found.values, found.residuals, v, strict=True):
        u = u / np.linalg.norm(u)
        assert np.linalg.norm(A @ u - value * u) <= residual
    assert (np.abs(found.values - np.linalg.eigvalsh(A)[::-1][:3]) < found.floor).all()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"which": float("nan")}, "finite"),
        ({"tolerance": -1.0}, "positive"),
        ({"tolerance": float("nan")}, "positive"),
        ({"start": jnp.ones(3)}, "holds 3 numbers"),
        ({"start": jnp.full(5, jnp.nan)}, "not finite"),
        ({"start": jnp.ones(5, jnp.int32)}, "int32"),
    ],
)
def test_wishes_that_cannot_be_meant_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        eigenpairs(matrix(np.arange(1.0, 6.0)), key=KEY, **options)
