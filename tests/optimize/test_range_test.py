"""The range test on quadratics, where the limit is known, and where there is no answer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from steepest import InputError
from steepest.optimize._range_test import range_test


ONES = [jnp.ones(())]  # a list of one batch, which is used again and again


def quadratic(curvature):
    def loss(params, batch):
        return 0.5 * curvature * batch * jnp.sum(params["x"] ** 2)

    return loss


PARAMS = {"x": jnp.ones(3)}


@pytest.mark.parametrize("curvature", [0.1, 3.0, 1e3])
def test_a_quadratic_diverges_soon_after_its_limit(curvature):
    limit = 2 / curvature
    found = range_test(
        quadratic(curvature), PARAMS, ONES, smallest=1e-4 * limit, largest=1e3 * limit
    )
    # Steps grow by 18 %, and the mean of nine is above the least loss.
    assert limit <= found.diverged_at < 3 * limit
    assert limit / 100 < found.suggestion < limit
    assert len(found.losses) < 100 and "diverged at" in str(found)
    assert found.step_sizes[0] == pytest.approx(1e-4 * limit)
    assert found.losses[0] == pytest.approx(1.5 * curvature, rel=1e-6)


def test_every_update_has_the_step_size_of_its_place():
    """θ after k updates is Π (1 − η_k λ), exactly that of float64 but for rounding."""
    found = range_test(
        quadratic(1.0), PARAMS, ONES, smallest=1e-4, largest=1.0, num_steps=20
    )
    theta = np.cumprod(np.concatenate([[1.0], 1 - np.geomspace(1e-4, 1.0, 20)[:-1]]))
    np.testing.assert_allclose(found.losses, 1.5 * theta**2, rtol=1e-5)


def test_momentum_and_adam_are_tested_by_their_factories():
    momentum = lambda rate: optax.sgd(rate, momentum=0.9)
    found = range_test(
        quadratic(1.0), PARAMS, ONES, smallest=1e-5, optimizer=momentum, largest=1e3
    )
    # The loss swings, so the last rise may begin somewhat before the limit 3.8.
    assert 0 < found.suggestion < 3.8 / 2 < found.diverged_at < 3.8 * 3
    with jax.numpy_dtype_promotion("standard"):  # Optax multiplies floats by counts
        adam = range_test(quadratic(1.0), PARAMS, ONES, optimizer=optax.adam)
    assert 1e-3 < adam.suggestion < 1  # steps of η towards a minimum 1 away


def regression(noise):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(640, 4)).astype(np.float32)
    y = x @ np.ones(4) * 2 + noise * rng.normal(size=640)
    return {"x": x, "y": y.astype(np.float32)}


def squares(params, batch):
    return jnp.mean((batch["x"] @ params["w"] - batch["y"]) ** 2)


@pytest.mark.parametrize("noise", [0.1, 2.0])
def test_minibatches_have_an_answer_too(noise):
    found = range_test(
        squares,
        {"w": jnp.zeros(4)},
        regression(noise),
        batch_size=32,
        smallest=1e-5,
        key=jax.random.key(0),
    )
    # The Hessian is about 2, of a batch up to 4.
    assert 0.01 < found.suggestion < 1
    assert 0.4 < found.diverged_at < 6
    assert found.noise > 0


def test_the_parameters_of_the_caller_stay():
    params = {"x": np.ones(3, np.float32)}
    range_test(quadratic(1.0), params, ONES)
    np.testing.assert_array_equal(params["x"], 1)


def test_a_flat_loss_has_no_answer():
    found = range_test(lambda p, b: 1.0 + 0 * jnp.sum(p["x"]) * b, PARAMS, ONES)
    assert found.suggestion is None and found.diverged_at is None
    assert "never fell" in found.reason and "no step size found" in str(found)


def test_noise_without_a_fall_has_no_answer():
    for seed in range(10):
        scatter = 5 + np.random.default_rng(seed).normal(size=100)
        batches = [jnp.float32(s) for s in scatter]
        found = range_test(lambda p, b: b + 0 * jnp.sum(p["x"]), PARAMS, batches)
        assert found.suggestion is None
        # 98 second differences, of which the median is taken.
        assert found.noise == pytest.approx(1, rel=0.4)


def test_a_loss_that_rises_at_once_has_no_answer():
    uphill = lambda rate: optax.scale_by_schedule(rate)
    found = range_test(quadratic(1.0), PARAMS, ONES, optimizer=uphill)
    assert found.suggestion is None and found.diverged_at is not None
    assert "rose and diverged" in found.reason


def test_a_loss_that_rises_slowly_has_no_answer():
    uphill = lambda rate: optax.scale_by_schedule(rate)
    found = range_test(
        quadratic(1.0), PARAMS, ONES, optimizer=uphill, smallest=1e-4, largest=1e-2
    )
    assert found.suggestion is None and found.diverged_at is None
    assert "never fell; it rose: " in found.reason


def test_step_sizes_that_are_all_too_large_have_no_answer():
    found = range_test(quadratic(1e9), PARAMS, ONES, smallest=1e-3)
    assert found.suggestion is None and found.diverged_at < 0.01
    assert "lower `smallest`" in found.reason


def test_step_sizes_that_are_all_too_small_have_no_answer():
    found = range_test(quadratic(1.0), PARAMS, ONES, smallest=1e-5, largest=1e-2)
    assert found.suggestion is None
    assert "raise `largest`" in found.reason


def test_a_loss_that_ends_in_nan_is_stopped_there():
    def barrier(params, batch):
        return batch * jnp.sum(params["x"] - jnp.log(params["x"]))

    found = range_test(barrier, {"x": jnp.full(3, 5.0)}, ONES, largest=1e3)
    assert np.isnan(found.losses[-1]) and np.isfinite(found.losses[:-1]).all()
    # The curvature at the minimum is 1.
    assert found.suggestion < 2 < found.diverged_at < 6


def test_a_negative_loss_is_no_divergence():
    def loss(params, batch):
        return batch * (jnp.sum(params["x"] ** 2) - 10.0)

    found = range_test(loss, PARAMS, ONES, smallest=1e-4, largest=0.9)
    assert found.diverged_at is None and 0.01 < found.suggestion < 0.9


def test_an_iterator_that_ends_early_is_judged_as_far_as_it_went():
    found = range_test(quadratic(1.0), PARAMS, iter([jnp.ones(())] * 5))
    assert len(found.losses) == 5 and "only 5 batches" in found.reason


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"smallest": 0.0}, "must grow"),
        ({"smallest": 1.0, "largest": 0.1}, "must grow"),
        ({"num_steps": 5}, "`num_steps` must be at least 11"),
        ({"smoothing": 4}, "`smoothing` must be odd"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(InputError, match=message):
        range_test(quadratic(1.0), PARAMS, ONES, **settings)


def test_bad_losses_and_batches_are_refused():
    with pytest.raises(InputError, match="loss is nan before the first update"):
        range_test(quadratic(jnp.nan), PARAMS, ONES)
    with pytest.raises(InputError, match="no batch"):
        range_test(quadratic(1.0), PARAMS, [])
    with pytest.raises(InputError, match="give `batch_size` too"):
        range_test(quadratic(1.0), PARAMS, jnp.ones(4))
    with pytest.raises(InputError, match="common first axis"):
        range_test(squares, {"w": jnp.zeros(4)}, regression(0.1), batch_size=1000)
    with pytest.raises(InputError, match="must return one"):
        range_test(lambda p, b: p["x"] * b[None], PARAMS, ONES)
    with pytest.raises(InputError, match="floating-point"):
        range_test(lambda p, b: b, {"x": jnp.ones(3, jnp.int32)}, ONES)
