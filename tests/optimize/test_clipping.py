"""Clipping against Optax's, and its counts against what was put in."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from steepest import InputError
from steepest.optimize.clipping import (
    ClippingState,
    clip_by_norm,
    clip_by_value,
    clipping_summary,
)


RNG = np.random.default_rng(0)
TREE = {"w": jnp.asarray(RNG.normal(size=(7, 3)), jnp.float32), "b": jnp.ones(5)}
BIN = 2 ** (1 / 32)  # half a bin of the histogram, as a factor


def apply(tx, g, state=None):
    return jax.jit(tx.update)(g, tx.init(g) if state is None else state)


def leaves(tree):
    return [np.asarray(x) for x in jax.tree.leaves(tree)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "ours, theirs",
    [(clip_by_norm, optax.clip_by_global_norm), (clip_by_value, optax.clip)],
)
@pytest.mark.parametrize("threshold", [0.01, 4.9])
def test_finite_gradients_are_clipped_as_by_optax(ours, theirs, threshold):
    a, b = ours(threshold), theirs(threshold)
    # The same rounding in both only where XLA fuses neither.
    for scale in (1e-12, 1e-3, 1.0, 1e9):
        g = jax.tree.map(lambda x, s=scale: x * jnp.float32(s), TREE)
        x, y = (leaves(tx.update(g, tx.init(g))[0]) for tx in (a, b))
        for u, v in zip(x, y, strict=True):
            np.testing.assert_array_max_ulp(u, v, maxulp=1)


def test_the_worked_example_three_four():
    g = jnp.array([3.0, 4.0])
    # One rounding of a division and of a product each.
    np.testing.assert_allclose(apply(clip_by_norm(1.0), g)[0], [0.6, 0.8], rtol=2e-7)
    np.testing.assert_array_equal(apply(clip_by_value(1.0), g)[0], [1.0, 1.0])


@pytest.mark.parametrize("scale", [1e-36, 1e-25, 1.0, 1e30, 1e38])
def test_the_direction_is_kept_and_the_norm_is_bounded_at_every_scale(scale):
    direction = RNG.normal(size=50)
    g = jnp.asarray(direction / np.abs(direction).max() * scale, jnp.float32)
    threshold = 0.5 * scale
    clipped, state = apply(clip_by_norm(threshold), g)
    a, b = np.asarray(g, np.float64), np.asarray(clipped, np.float64)
    norms = np.linalg.norm(a / scale), np.linalg.norm(b / scale)
    # Sums of 50 squares in float32; at 1e-36 small entries are subnormal.
    rtol = 1e-6 if scale > 1e-30 else 0.02
    assert norms[1] == pytest.approx(0.5, rel=rtol)
    if scale > 1e-30:
        np.testing.assert_allclose(b / scale / norms[1], a / scale / norms[0], 1e-5)
    if scale < 1e38:
        assert float(state.last) == pytest.approx(norms[0] * scale, rel=rtol)
    assert int(state.nonfinite) == 0


def test_a_value_clip_bounds_every_entry_and_counts_them():
    g = {"a": jnp.array([0.1, -5.0, 2.0]), "b": jnp.array([[3.0]])}
    clipped, state = apply(clip_by_value(2.0), g)
    assert max(np.abs(x).max() for x in leaves(clipped)) == 2.0
    summary = clipping_summary(state)
    assert summary.share_entries == 0.5
    length = np.sqrt(0.01 + 4 + 4 + 4) / np.sqrt(0.01 + 25 + 4 + 9)
    assert summary.mean_scale == pytest.approx(length, rel=1e-6)
    assert summary.quantiles[0.9] == pytest.approx(5.0, rel=BIN - 1)


def test_what_was_clipped_is_counted_under_scan():
    sizes = np.exp(RNG.normal(size=2000))
    g = jnp.asarray(sizes[:, None] * [0.6, 0.8], jnp.float32)
    tx = optax.chain(clip_by_norm(1.5), optax.trace(0.9))

    @jax.jit
    def run(g):
        step = lambda state, g: tx.update(g, state)[::-1]
        return jax.lax.scan(step, tx.init(g[0]), g)[0]

    summary = clipping_summary(run(g))
    assert summary.num_updates == 2000
    assert summary.share_clipped == np.mean(sizes >= 1.5)
    # A running mean of 2000 numbers in float32.
    assert summary.mean_scale == pytest.approx(
        np.minimum(1, 1.5 / sizes).mean(), rel=1e-4
    )
    for q, value in summary.quantiles.items():
        # Half a bin, and what one order statistic is from the next.
        assert value == pytest.approx(np.quantile(sizes, q), rel=0.03)
    assert summary.suggestion == summary.quantiles[0.9]
    assert "acted on" in str(summary) and "norm at 1.5" in str(summary)


@pytest.mark.parametrize("make", [clip_by_norm, clip_by_value])
def test_gradients_that_are_not_finite_are_counted_apart(make):
    passing, skipping = (
        jax.jit(make(0.5, skip_nonfinite=skip).update) for skip in (False, True)
    )
    for bad in (np.nan, np.inf, -np.inf):
        g = {"a": jnp.array([bad, 1.0]), "b": jnp.ones(2)}
        passed, state = passing(g, make(0.5).init(g))
        np.testing.assert_array_equal(passed["a"], g["a"])
        zeros, state = skipping(g, state)
        assert not any(x.any() for x in leaves(zeros))
        _, state = passing(jax.tree.map(jnp.zeros_like, g), state)
        summary = clipping_summary(state)
        assert (summary.num_updates, summary.num_nonfinite) == (3, 2)
        assert (summary.share_clipped, summary.mean_scale) == (0.0, 1.0)
        assert summary.quantiles[0.9] == 0.0
        assert "Not finite: 2" in str(summary)


def test_an_infinite_threshold_only_counts():
    clipped, state = apply(clip_by_norm(np.inf), TREE)
    for a, b in zip(leaves(clipped), leaves(TREE)):
        np.testing.assert_array_equal(a, b)
    assert int(state.clipped) == 0 and int(state.count) == 1


def test_leaves_may_be_missing_and_of_several_dtypes():
    g = {
        "a": jnp.full(3, 2.0, jnp.bfloat16),
        "b": None,
        "c": optax.MaskedNode(),
        "d": jnp.full(1, 2.0),
    }
    clipped, _ = apply(clip_by_norm(1.0), g)
    assert clipped["b"] is None and clipped["a"].dtype == jnp.bfloat16
    # Four entries of 2: the norm is 4.
    assert float(clipped["d"][0]) == 0.5 and float(clipped["a"][0]) == 0.5
    nothing, state = apply(clip_by_norm(1.0), {"b": None})
    assert nothing == {"b": None} and int(state.count) == 0


def test_a_zero_gradient_is_left_alone_whatever_the_threshold():
    g = jnp.zeros(3)
    clipped, state = apply(clip_by_norm(1e-45), g)  # below the smallest normal float32
    assert not np.any(clipped) and int(state.clipped) == 0


def test_double_precision_stays_double():
    with jax.enable_x64(True):
        g = jnp.array([3e200, 4e200])
        clipped, state = apply(clip_by_norm(1.0), g)
        assert clipped.dtype == jnp.float64 and state.mean_scale.dtype == jnp.float64
        np.testing.assert_allclose(clipped, [0.6, 0.8], rtol=1e-15)


def test_bad_thresholds_and_states_are_refused():
    with pytest.raises(InputError, match="`max_norm` must be positive"):
        clip_by_norm(0.0)
    with pytest.raises(InputError, match="`limit` must be positive"):
        clip_by_value(float("nan"))
    with pytest.raises(InputError, match="0 counts of clipping"):
        clipping_summary(optax.adam(0.1).init(TREE))
    both = optax.chain(clip_by_norm(1.0), clip_by_value(1.0))
    with pytest.raises(InputError, match="2 counts of clipping"):
        clipping_summary(both.init(TREE))
    fresh = clip_by_norm(1.0).init(TREE)
    assert isinstance(fresh, ClippingState)
    assert clipping_summary(fresh).suggestion is None
    assert "No finite gradient" in str(clipping_summary(fresh))
