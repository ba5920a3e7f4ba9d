"""Gradient noise on linear regression, where the mean and the covariance are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import InputError
from steepest.core.student import student_quantile
from steepest.optimize.noise import (
    _fieller,
    _jackknife,
    _Sums,
    gradient_noise,
)


KEY = jax.random.key(0)
OFFSET = np.array([0.6, -0.8, 0.3])  # θ − θ*
NOISE = 0.7  # of the targets
NORM = float(OFFSET @ OFFSET)
# g = x (xᵀd − e) with x normal: E g = d, E‖g‖² = (n + 2)‖d‖² + nσ².
TRACE = (3 + 2) * NORM + 3 * NOISE**2 - NORM


def regression(seed, rows):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, 3))
    y = x @ (1.0 - OFFSET) + NOISE * rng.normal(size=rows)
    return {"x": x.astype(np.float32), "y": y.astype(np.float32)}


def loss(params, batch):
    prediction = batch["x"] @ params["w"]
    return 0.5 * jnp.mean((prediction - batch["y"]) ** 2)


PARAMS = {"w": jnp.ones(3)}


def dense(data, rows=None):
    """(2) from all gradients in float64."""
    x, y = (data[k].astype(np.float64) for k in "xy")
    g = x * (x @ np.ones(3) - y)[:, None]
    g = g if rows is None else g.reshape(-1, rows, 3).mean(1)
    T = g.var(axis=0, ddof=1).sum()
    return T, (g.mean(0) ** 2).sum() - T / len(g), g


def test_the_estimates_are_those_of_the_table_of_all_gradients():
    data = regression(0, 500)
    found = gradient_noise(loss, PARAMS, data, batch_size=32, key=KEY)
    T, M, g = dense(data)
    assert found.per_example and found.num_samples == 500
    # Sums of 500 terms in float32; M is a difference of a few digits.
    assert found.trace == pytest.approx(T, rel=1e-5)
    assert found.squared_norm == pytest.approx(M, rel=1e-4)
    assert found.noise_scale == pytest.approx(T / M, rel=1e-4)
    assert found.variance == found.trace / 32
    assert found.signal_to_noise == pytest.approx(32 * M / T, rel=1e-4)
    # The jackknife, one example left out at a time.
    left = [np.delete(g, i, 0) for i in range(500)]
    Ts = np.array([h.var(axis=0, ddof=1).sum() for h in left])
    Ms = np.array([(h.mean(0) ** 2).sum() for h in left]) - Ts / 499
    assert found.trace_sem == pytest.approx(Ts.std() * np.sqrt(499), rel=1e-3)
    assert found.squared_norm_sem == pytest.approx(Ms.std() * np.sqrt(499), rel=1e-3)


def test_the_estimates_approach_the_closed_form():
    data = regression(1, 20_000)
    found = gradient_noise(
        loss, PARAMS, data, batch_size=8, key=KEY, num_examples=20_000, chunk=1000
    )
    # Four standard errors.
    assert abs(found.trace - TRACE) < 4 * found.trace_sem
    assert abs(found.squared_norm - NORM) < 4 * found.squared_norm_sem
    assert found.interval[0] < TRACE / NORM < found.interval[1]
    assert found.suggested_batch_size == 4  # next to 5.35
    assert "noise scale is 5" in str(found)


def test_the_variance_of_a_batch_gradient_falls_as_its_size_grows():
    data = regression(2, 64 * 400)
    gradients = jax.jit(jax.vmap(lambda b: jax.grad(loss)(PARAMS, b)["w"]))
    for m in (4, 64):
        x, y = data["x"].reshape(-1, m, 3), data["y"].reshape(-1, m)
        batches = {"x": x[:400], "y": y[:400]}
        G = gradients(batches)
        measured = np.mean(np.sum((np.asarray(G) - OFFSET) ** 2, axis=1))
        found = gradient_noise(loss, PARAMS, data, batch_size=m, key=KEY)
        # 400 batches of three components, and 1024 examples.
        assert measured == pytest.approx(TRACE / m, rel=0.2)
        assert found.variance == pytest.approx(TRACE / m, rel=0.2)


@pytest.mark.parametrize("offset", [1.0, 0.1, 0.03])
@pytest.mark.parametrize("n", [30, 200])
def test_the_interval_holds_the_noise_scale_as_often_as_it_says(offset, n):
    rng = np.random.default_rng(3)
    d, draws, hits = offset * OFFSET, 400, 0
    truth = (4 * (d @ d) + 3 * NOISE**2) / (d @ d)
    for _ in range(draws):
        x, e = rng.normal(size=(n, 3)), NOISE * rng.normal(size=n)
        g = x * (x @ d - e)[:, None]
        c = g[:8].mean(0)
        h = g - c
        total = h.sum(0)
        T, M, var = _jackknife(
            _Sums(
                squares=(h**2).sum(1),
                along=h @ total,
                shift=h @ c,
                square=float(c @ c),
                total=float(total @ total),
                across=float(c @ total),
            )
        )
        low, high = _fieller(T, M, var, student_quantile(0.975, n - 1))
        hits += low <= truth <= high
    # The normal law of so few heavy-tailed examples is an approximation.
    assert hits >= 0.9 * draws


def test_where_the_mean_gradient_drowns_the_noise_scale_is_infinite_in_words():
    x = np.repeat(regression(5, 32)["x"], 2, axis=0)
    y = x.sum(1) + np.where(np.arange(64) % 2, 1, -1)
    data = {"x": x, "y": y.astype(np.float32)}
    found = gradient_noise(loss, PARAMS, data, batch_size=8, key=KEY)
    # Each gradient has its opposite: the mean is 0, and M = −T/n.
    assert found.squared_norm == pytest.approx(-found.trace / 64, rel=1e-4)
    assert found.noise_scale == np.inf and found.interval[1] == np.inf
    assert found.interval[0] > 1 and found.signal_to_noise == 0
    assert found.suggested_batch_size is None
    assert "cannot be told from its noise" in str(found)


def test_examples_that_agree_keep_their_small_differences():
    rng = np.random.default_rng(6)
    target = (-1000 + 1e-2 * rng.normal(size=(128, 3))).astype(np.float32)

    def linear(params, batch):
        return -jnp.mean(batch @ params["w"])

    found = gradient_noise(linear, PARAMS, target, batch_size=8, key=KEY)
    # The variance is 1e-10 of the squared mean, below the digits of float32.
    truth = target.astype(np.float64).var(axis=0, ddof=1).sum()
    assert found.trace == pytest.approx(truth, rel=1e-3)
    assert found.suggested_batch_size == 1


def normalised(params, batch):
    """The examples meet in a batch normalisation."""
    h = batch["x"] * params["w"][None]
    h = (h - h.mean(0, keepdims=True)) / jnp.sqrt(h.var(0, keepdims=True) + 1e-3)
    return jnp.mean((h @ params["v"] - batch["y"]) ** 2)


@pytest.mark.slow
def test_a_loss_that_couples_its_examples_is_measured_in_batches():
    data = regression(7, 640)
    params = {"w": jnp.ones(3), "v": jnp.ones(3)}
    found = gradient_noise(
        normalised, params, data, batch_size=16, key=KEY, num_examples=640
    )
    assert not found.per_example and found.num_samples == 40
    order = np.asarray(jax.random.permutation(KEY, 640)).reshape(40, 16)
    gradient = jax.jit(jax.grad(normalised))
    grads = [gradient(params, jax.tree.map(lambda a, i=i: a[i], data)) for i in order]
    g = np.array([np.concatenate([t["v"], t["w"]]) for t in grads], np.float64)
    T = g.var(axis=0, ddof=1).sum()
    # Gradients in float32, compiled in two ways.
    assert found.variance == pytest.approx(T, rel=1e-4)
    assert found.trace == pytest.approx(16 * T, rel=1e-4)
    assert found.squared_norm == pytest.approx(
        (g.mean(0) ** 2).sum() - T / 40, rel=1e-3
    )
    assert "batches of 16" in str(found)


@pytest.mark.slow
def test_batches_and_examples_of_an_ordinary_loss_agree():
    data = regression(8, 4096)
    both = [
        gradient_noise(
            loss,
            PARAMS,
            data,
            batch_size=8,
            key=KEY,
            num_examples=4096,
            per_example=way,
        )
        for way in (True, False)
    ]
    assert both[1].num_samples == 512
    # Within four standard errors of the coarser one.
    gap = both[0].trace - both[1].trace
    assert abs(gap) < 4 * both[1].trace_sem
    np.testing.assert_allclose(both[0].squared_norm, both[1].squared_norm, rtol=0.05)


def test_a_rule_for_reverse_mode_alone_is_no_obstacle():
    @jax.custom_vjp
    def square(x):
        return x * x

    square.defvjp(lambda x: (x * x, x), lambda x, g: (2 * x * g,))

    def guarded(params, batch):
        return 0.5 * jnp.mean(square(batch["x"] @ params["w"] - batch["y"]))

    data = regression(0, 100)
    a, b = (
        gradient_noise(f, PARAMS, data, batch_size=8, key=KEY) for f in (loss, guarded)
    )
    assert a.trace == pytest.approx(b.trace, rel=1e-5)
    assert a.trace_sem == pytest.approx(b.trace_sem, rel=1e-4)


@pytest.mark.slow
def test_double_precision_is_used_where_the_parameters_have_it():
    with jax.enable_x64(True):
        data = jax.tree.map(lambda a: a.astype(np.float64), regression(0, 100))
        found = gradient_noise(
            loss, {"w": jnp.ones(3)}, data, batch_size=8, key=KEY, chunk=32
        )
        T, M, _ = dense(data)
        assert found.trace == pytest.approx(T, rel=1e-12)
        assert found.squared_norm == pytest.approx(M, rel=1e-11)


@pytest.mark.slow
def test_sums_over_half_precision_parameters_are_taken_in_single():
    data = regression(0, 500)
    half = jax.tree.map(lambda a: jnp.asarray(a, jnp.bfloat16), data)
    rounded = jax.tree.map(lambda a: np.asarray(a, np.float32), half)
    params = {"w": jnp.ones(3, jnp.bfloat16)}
    found = gradient_noise(loss, params, half, batch_size=8, key=KEY)
    # Gradients have three digits; the sums of 500 keep them.
    assert found.trace == pytest.approx(dense(rounded)[0], rel=0.02)
    assert found.squared_norm == pytest.approx(dense(rounded)[1], rel=0.05)
    assert found.trace_sem < found.trace


@pytest.mark.parametrize("M", [3.0, 0.5, 0.0, -0.5])
def test_the_interval_holds_just_the_ratios_that_the_data_allow(M):
    T, var, z = 4.0, np.array([[0.09, 0.01], [0.01, 0.16]]), 1.96
    low, high = _fieller(T, M, var, z)
    for B in np.geomspace(1e-3, 1e3, 200):
        spread = var[0, 0] - 2 * B * var[0, 1] + B**2 * var[1, 1]
        if M > 0:
            assert (low <= B <= high) == (abs(T - B * M) <= z * np.sqrt(spread))
        elif low > B:
            assert abs(T - B * M) > z * np.sqrt(spread)


@pytest.mark.slow
@pytest.mark.parametrize(
    "data, message",
    [
        ({"x": np.ones((1, 3)), "y": np.ones(1)}, "at least 4 examples"),
        ({"x": np.ones((0, 3)), "y": np.ones(0)}, "holds no examples"),
        ({"x": np.ones((9, 3)), "y": np.ones(8)}, r"first axes of \[8, 9\]"),
        ({"x": np.full((9, 3), np.nan), "y": np.ones(9)}, "9 of 9 gradients"),
        ({}, "holds no examples"),
    ],
)
def test_data_that_tell_nothing_are_refused(data, message):
    data = jax.tree.map(lambda a: a.astype(np.float32), data)
    with pytest.raises(InputError, match=message):
        gradient_noise(loss, PARAMS, data, batch_size=2, key=KEY)


def test_other_bad_input_is_refused():
    data = regression(0, 10)
    with pytest.raises(InputError, match="`batch_size` must be at least 1"):
        gradient_noise(loss, PARAMS, data, batch_size=0, key=KEY)
    with pytest.raises(InputError, match="`level`"):
        gradient_noise(loss, PARAMS, data, batch_size=1, key=KEY, level=1.0)
    with pytest.raises(InputError, match="must return one"):
        gradient_noise(lambda p, b: p["w"], PARAMS, data, batch_size=1, key=KEY)
    with pytest.raises(InputError, match="disjoint batches of 4, and there are 2"):
        gradient_noise(loss, PARAMS, data, batch_size=4, key=KEY, per_example=False)
