"""The measured table against what is known of each format."""

import json

import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest

from steepest.core.errors import InputError
from steepest.numerics import formats


@pytest.fixture(scope="module")
def table():
    return {f.name: f for f in formats.table("cpu")}


BOTH = pytest.mark.parametrize("name", formats.NAMES)


@BOTH
def test_limits_are_those_of_the_definition(table, name):
    f, info = table[name], jnp.finfo(name)
    assert f.bits == info.bits and f.max == float(info.max)
    assert f.smallest_normal == float(info.tiny) and f.eps == float(info.eps)
    assert f.smallest_subnormal == float(info.smallest_subnormal)
    assert f.integers_exact_to == 2 / float(info.eps)
    assert f.overflow_to == ("nan" if name == "float8_e4m3fn" else "inf")


@BOTH
def test_exponentials_overflow_where_their_logarithm_says(table, name):
    f = table[name]
    limit = mp.log(mp.mpf(f.max) * (1 + mp.mpf(f.eps) / 4))  # what still rounds to max
    step = float(limit) * f.eps  # the gap of the format near the limit
    assert abs(f.exp_overflows_above - limit) <= step
    assert abs(f.expm1_overflows_above - limit) <= step
    assert abs(f.log_of_max - mp.log(f.max)) <= step


@BOTH
def test_powers_overflow_at_the_roots_of_the_maximum(table, name):
    f = table[name]
    for k, limit in ((2, f.square_overflows_above), (3, f.cube_overflows_above)):
        with mp.workdps(40):
            root = float(mp.mpf(f.max) ** (mp.mpf(1) / k))
        assert (1 - 2 * f.eps) * root <= limit <= (1 + 2 * f.eps) * root


@BOTH
def test_small_results_vanish_at_the_least_number_that_the_device_keeps(table, name):
    f = table[name]
    least = f.smallest_normal if f.flushes_subnormals else f.smallest_subnormal
    exponent = mp.log(least)
    # rounding: half of the least number is still kept; the grid of the format is coarse
    slack = 0.7 + float(abs(exponent)) * f.eps
    assert abs(f.exp_vanishes_below - exponent) <= slack
    assert abs(f.log_of_smallest - exponent) <= slack
    for k, limit in ((2, f.square_vanishes_below), (3, f.cube_vanishes_below)):
        assert 0.6 * mp.mpf(least) ** (mp.mpf(1) / k) <= limit
        assert limit <= 1.3 * mp.mpf(least) ** (mp.mpf(1) / k)


@pytest.mark.parametrize("name", formats.NAMES[:4])
def test_saturation_is_where_half_a_gap_is_left(table, name):
    f = table[name]
    half = float(-mp.log(f.eps / 2))  # e^−x is half of the gap after 1
    slack = half * f.eps + 0.01
    assert abs(f.one_plus_exp_is_one_below + half) <= slack
    assert abs(f.sigmoid_is_one_above - half) <= 0.7 + slack  # the gap before 1 is half
    assert abs(f.softmax_is_one_beyond - half) <= 0.7 + slack
    assert f.eps / 2 <= f.one_plus_x_is_one_below <= f.eps / 2 * (1 + 2 * f.eps)
    # 1 − tanh x ≈ 2e^−2x; implementations saturate a little earlier or later
    assert abs(f.tanh_is_one_above - float(mp.log(8 / f.eps)) / 2) <= 1.6


def test_known_figures_of_float32_on_a_cpu(table):
    f = table["float32"]
    assert f.flushes_subnormals and f.integers_exact_to == 16_777_216
    np.testing.assert_allclose(f.exp_overflows_above, 88.72, atol=0.01)
    np.testing.assert_allclose(f.exp_vanishes_below, -87.34, atol=0.01)
    np.testing.assert_allclose(f.softmax_vanishes_beyond, 87.34, atol=0.01)
    np.testing.assert_allclose(f.sigmoid_is_one_above, 16.64, atol=0.01)


def test_float16_keeps_its_subnormal_numbers(table):
    f = table["float16"]
    assert not f.flushes_subnormals
    np.testing.assert_allclose(f.exp_vanishes_below, -17.33, atol=0.01)
    np.testing.assert_allclose(f.reciprocal_overflows_below, 1.53e-5, rtol=1e-2)


def test_float8_says_in_what_it_was_computed(table):
    assert table["float8_e5m2"].computed_in == "float32"
    assert table["bfloat16"].computed_in == "bfloat16"


def test_the_table_is_text_html_and_json():
    table = formats.table(names=("float16",))
    assert "65504" in str(table) and "<td>65504</td>" in table._repr_html_()
    assert json.loads(table.as_json())[0]["name"] == "float16"


def test_a_type_that_is_no_format_is_refused_with_those_that_are():
    with pytest.raises(InputError, match=r"int32.*float8_e5m2"):
        formats.measure("int32")
    with pytest.raises(InputError, match="abacus"):
        formats.measure("float32", "abacus")
