"""The interval over batches, on data that are drawn anew with a known Hessian.

The loss mean ½(xᵀp)² has the Hessian XᵀX/B on a batch, and E xxᵀ over the population.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

from steepest import InputError
from steepest.curvature._batch_interval import batch_interval, interval


KEY = jax.random.key(0)
D = 8
SCALES = np.r_[3.0, 2.0, np.linspace(1.5, 0.1, D - 2)]  # their squares are the spectrum
ROTATION = np.linalg.qr(np.random.default_rng(5).normal(size=(D, D)))[0]
TRUE = 9.0  # the largest eigenvalue of the population's Hessian


def loss(params, batch):
    return jnp.mean(jnp.square(batch @ params)) / 2


def draw(rng, m, size, tails=False):
    z = rng.normal(size=(m, size, D))
    if tails:  # variance 1, kurtosis 9
        z = rng.standard_t(5, size=(m, size, D)) / np.sqrt(5 / 3)
    return (z * SCALES) @ ROTATION.T


def oracle(x):
    """The two statistics of (3) by dense eigenvalues in float64."""
    H = np.einsum("mbi,mbj->mij", x, x) / x.shape[1]
    half = len(x) // 2
    v = np.linalg.eigh(H[:half].mean(0))[1][:, -1]
    quotients = np.einsum("i,mij,j->m", v, H[half:], v)
    return quotients, np.linalg.eigvalsh(H)[:, -1], np.linalg.eigvalsh(H.mean(0))[-1]


def test_it_is_what_dense_eigenvalues_in_float64_give():
    rng = np.random.default_rng(0)
    for m, size in ((5, 30),):
        x = draw(rng, m, size)
        found = batch_interval(loss, jnp.ones(D), list(x.astype(np.float32)), key=KEY)
        quotients, maxima, pooled = oracle(x)
        # residuals of 0.1 % turn v by as much, and the quotients of a batch with it
        np.testing.assert_allclose(found.quotients, quotients, rtol=2e-3)
        np.testing.assert_allclose(found.maxima, maxima, rtol=1e-3)
        np.testing.assert_allclose(found.pooled, pooled, rtol=1e-3)
        lower, upper = interval(quotients, maxima, 0.95)
        width = upper - lower
        np.testing.assert_allclose(found.lower, lower, atol=0.02 * width)
        # the residuals of the batches, at most 1 % of each, are in the upper side
        assert upper - 0.01 * width <= found.upper <= upper + 0.011 * maxima.max()
        np.testing.assert_allclose(found.bias, maxima.mean() - pooled, atol=0.01)
        assert found.num_examples == m * size and found.num_products > 0


@pytest.mark.parametrize("tails", [False, True])
@pytest.mark.parametrize(("m", "size"), [(4, 16), (8, 16), (10, 64)])
def test_the_interval_covers_the_population_as_often_as_it_says(m, size, tails):
    rng = np.random.default_rng(1)
    draws = 400
    cover = {0.8: 0, 0.95: 0}
    for _ in range(draws):
        quotients, maxima, _ = oracle(draw(rng, m, size, tails))
        for confidence in cover:
            lower, upper = interval(quotients, maxima, confidence)
            cover[confidence] += lower <= TRUE <= upper
    for confidence, count in cover.items():
        # two standard errors of a share of 400; it is conservative on the upper side
        slack = 2 * (confidence * (1 - confidence) / draws) ** 0.5
        assert count / draws >= confidence - slack


def test_batches_are_biased_upwards_and_smaller_ones_more():
    rng = np.random.default_rng(2)
    bias = []
    for size in (8, 32, 128):
        maxima = np.array([oracle(draw(rng, 4, size))[1].mean() for _ in range(100)])
        sem = maxima.std() / 10
        assert maxima.mean() - TRUE > (2 * sem if size < 128 else -2 * sem)
        bias.append(maxima.mean() - TRUE)
    assert bias[0] > 2 * bias[1] > 0  # about as 1/B


def test_the_bias_is_reported_with_the_examples_that_would_do():
    x = draw(np.random.default_rng(3), 24, 16).astype(np.float32)
    found = batch_interval(loss, jnp.ones(D), list(x), key=KEY)
    assert found.bias > 0 and found.lower < found.pooled < found.upper
    # (vᵀx)² is 9 χ²₁, whose standard deviation is √2 of its mean; at 1.96 of them
    # ±10 % takes 2 · 19.6² = 768 examples; twelve quotients know it to a factor of 3
    assert 250 < found.examples_needed < 2300
    assert "at 95%" in str(found) and "24 batches of 16" in str(found)


def test_a_long_tail_lengthens_the_upper_side():
    """Means of 32 squares with log-normal scales, whose population mean is √e."""
    rng = np.random.default_rng(8)
    draws, holds = 2000, {"skewed": 0, "normal": 0}
    for _ in range(draws):
        x = np.exp(0.5 * rng.normal(size=(8, 32))) * rng.normal(size=(8, 32))
        means = np.square(x).mean(axis=1)
        holds["skewed"] += interval(means, means, 0.95)[1] >= np.exp(0.5)
        t = scipy.stats.t.ppf(0.975, 7) * means.std(ddof=1) / 8**0.5
        holds["normal"] += means.mean() + t >= np.exp(0.5)
    # 94.3 % against 92.6 % in 20 000 draws; the standard error of 2000 is 0.5 %
    assert holds["skewed"] > 0.93 * draws > 0 and holds["skewed"] > holds["normal"]


def test_symmetric_values_have_student_s_interval():
    x = np.array([1.0, 2.0, 3.0, 4.0])
    low, high = interval(x, x, 0.9)
    exact = scipy.stats.t.interval(0.9, 3, x.mean(), scipy.stats.sem(x))
    np.testing.assert_allclose([low, high], exact, rtol=1e-9)


def test_few_or_uneven_batches_are_told():
    x = draw(np.random.default_rng(9), 1, 9)[0].astype(np.float32)
    found = batch_interval(loss, jnp.ones(D), [x[:2], x[2:5], x[5:]], key=KEY)
    assert "3 batches of 3 (few batches" in str(found)
    found = found._replace(num_examples=10)
    assert "3 batches of 3.33 on average" in str(found)


@pytest.mark.slow
def test_the_function_itself_covers():
    rng = np.random.default_rng(4)
    cover = 0
    for i in range(60):
        x = draw(rng, 6, 24).astype(np.float32)
        found = batch_interval(
            loss, jnp.ones(D), list(x), key=jax.random.key(i), confidence=0.9
        )
        cover += found.lower <= TRUE <= found.upper
    assert cover >= 60 * 0.9 - 2 * (60 * 0.09) ** 0.5


def test_data_are_cut_into_batches_without_replacement():
    x = draw(np.random.default_rng(6), 1, 100)[0].astype(np.float32)
    seen = []

    def noting(params, batch):
        seen.append(batch.shape)
        return loss(params, batch)

    found = batch_interval(
        noting, jnp.ones(D), data=x, batch_size=24, num_batches=4, key=KEY
    )
    assert found.num_examples == 96 and len(found.maxima) == 4
    assert set(seen) == {(24, D)}
    once = batch_interval(
        loss, jnp.ones(D), data=x, batch_size=25, num_batches=4, key=KEY
    )
    # all examples are in: the pooled Hessian is that of the data
    exact = np.linalg.eigvalsh(x.astype(np.float64).T @ x / 100)[-1]
    np.testing.assert_allclose(once.pooled, exact, rtol=1e-3)


BATCHES = list(draw(np.random.default_rng(7), 4, 8).astype(np.float32))


@pytest.mark.parametrize(
    ("function", "params", "batches", "options", "message"),
    [
        (loss, jnp.ones(D), BATCHES[:2], {}, "at least 3"),
        (loss, jnp.ones(D), None, {}, "Give either"),
        (loss, jnp.ones(D), BATCHES, {"data": BATCHES[0]}, "Give either"),
        (loss, jnp.ones(D), BATCHES, {"confidence": 1.0}, "between 0 and 1"),
        (loss, jnp.arange(D), BATCHES, {}, "floating-point arrays only"),
        (lambda p, b: b @ p, jnp.ones(D), BATCHES, {}, "one floating-point number"),
        (loss, jnp.ones(D), None, {"data": BATCHES[0]}, "`data` has 8"),
        (loss, jnp.ones(D), [b * np.float32("nan") for b in BATCHES], {}, "not finite"),
        (
            loss,
            jnp.ones(D),
            [*BATCHES[:3], BATCHES[3] * np.float32("nan")],
            {},
            "not finite",
        ),
    ],
)
def test_what_gives_no_interval_is_refused(function, params, batches, options, message):
    with pytest.raises(InputError, match=message):
        batch_interval(function, params, batches, key=KEY, **options)
