"""Points stay inside their boxes, and reach the corners and every order of magnitude."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

from steepest.numerics.auditing.points import Box, points


def box(low, high, shape=(4,), dtype=jnp.float32):
    return Box(np.asarray(low), np.asarray(high), shape, jnp.dtype(dtype))


def drawn(*boxes, n=300, seed=0):
    return list(itertools.islice(points(boxes, seed), n))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("ends", [(-300.0, 300.0), (0.1, 0.7), (-0.3, -1e-4), (2, 2)])
def test_no_point_leaves_its_box(dtype, ends):
    """0.1 is no bfloat16: rounding to the nearest one would leave the box."""
    for (value,) in drawn(box(*ends, dtype=dtype)):
        assert value.dtype == dtype and value.shape == (4,)
        wide = value.astype(np.float64)
        if ends[0] < ends[1]:
            assert (wide >= ends[0]).all() and (wide <= ends[1]).all()


def test_both_ends_and_zero_are_reached():
    values = np.concatenate([p[0] for p in drawn(box(-300, 300))])
    assert {-300.0, 300.0, 0.0} <= set(values.tolist())


def test_every_order_of_magnitude_is_reached():
    values = np.abs(np.concatenate([p[0] for p in drawn(box(-1e30, 1e30))]))
    orders = set(np.floor(np.log10(values[values > 0])).astype(int).tolist())
    assert set(range(-36, 30, 6)) <= {6 * (o // 6) for o in orders}


def test_one_element_dwarfs_the_others():
    gaps = [np.ptp(p[0]) for p in drawn(box(-300, 300))]
    assert sum(gap == 600 for gap in gaps) > 5


def test_arrays_of_one_shape_are_sometimes_nearly_equal():
    pairs = drawn(box(-10, 10), box(-10, 10))
    with np.errstate(all="ignore"):
        near = [np.abs(a - b).max() / np.abs(a).max() for a, b in pairs]
    assert sum(0 < n < 1e-3 for n in near) >= 3


def test_whole_numbers_are_whole_and_reach_their_ends():
    values = np.concatenate([p[0] for p in drawn(box(0, 9, dtype=jnp.int32), n=60)])
    assert values.dtype == np.int32 and values.min() == 0 and values.max() == 9


def test_a_given_array_stays_as_it_is():
    given = np.arange(3.0, dtype=np.float32)
    fixed = box(0, 0, (3,))._replace(fixed=given)
    assert all(p[1] is given for p in drawn(box(-1, 1), fixed, n=40))


def test_infinite_ends_are_reached_only_where_they_are_allowed():
    values = np.concatenate([p[0] for p in drawn(box(-np.inf, 0))])
    assert np.isneginf(values).any() and not np.isposinf(values).any()
    assert np.isfinite(np.concatenate([p[0] for p in drawn(box(-1, 0))])).all()


def test_the_same_seed_draws_the_same_points():
    for (a,), (b,) in zip(drawn(box(-1, 1), seed=3), drawn(box(-1, 1), seed=3)):
        np.testing.assert_array_equal(a, b)
