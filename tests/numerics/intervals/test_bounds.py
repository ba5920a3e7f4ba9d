"""Bounds that need a relation between values, and what they must come out as."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.scipy.special import logsumexp

from steepest.core import jaxpr
from steepest.numerics.intervals import Analysis, Interval, analyse


def bounds(fun, *specs) -> Analysis:
    shaped = [
        jax.ShapeDtypeStruct(s.shape, s.dtype) if isinstance(s, Interval) else s
        for s in specs
    ]
    return analyse(jaxpr.trace(fun, *shaped).closed, specs)


def ends(fun, *specs) -> tuple[float, float]:
    """The bounds of the one output, of a program without candidates."""
    analysis = bounds(fun, *specs)
    assert [(c.equation.primitive, c.kind) for c in analysis.candidates] == []
    (out,) = analysis.outputs
    return out.least, out.most


ROWS = Interval(-1e4, 1e4, (3, 8))
ALL = Interval(-1e30, 1e30, (4,))


def by_hand(x):
    e = jnp.exp(x - jnp.max(x, axis=-1, keepdims=True))
    return e / jnp.sum(e, axis=-1, keepdims=True)


@pytest.mark.parametrize("softmax", [jax.nn.softmax, by_hand])
def test_a_softmax_lies_between_0_and_1(softmax):
    assert ends(softmax, ROWS) == (0.0, 1.0)


def test_logsumexp_lies_between_the_maximum_and_log_n_above():
    low, high = ends(lambda x: logsumexp(x, axis=-1), Interval(-3, 5, (3, 8)))
    assert low >= -3.0
    assert high == pytest.approx(5 + np.log(8), rel=1e-5)  # roundings of the sum


def test_log_softmax_is_not_above_0():
    assert ends(jax.nn.log_softmax, ROWS)[1] <= 0.0


def test_a_masked_softmax_has_a_sum_that_is_not_0():
    mask = jnp.arange(8) % 3 == 0
    assert ends(lambda x: jax.nn.softmax(x, where=mask), ROWS) == (0.0, 1.0)


def normalised(x):
    centred = x - x.mean(-1, keepdims=True)
    return centred * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)


@pytest.mark.parametrize(
    "norm",
    [
        normalised,
        lambda x: x * jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6),
        lambda x: x / jnp.sqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6),
    ],
)
def test_a_normalised_element_is_not_above_the_root_of_their_number(norm):
    low, high = ends(norm, Interval(-1e6, 1e6, (3, 16)))
    assert low > -4.1 and high < 4.1  # √16, and a hundredth for rounding


def test_the_gradient_of_a_layer_norm_is_bounded_by_the_scale_it_divides_by():
    slope = jax.grad(lambda x, c: jnp.sum(normalised(x) * c))
    spec, weights = Interval(-1e6, 1e6, (3, 16)), Interval(-1, 1, (3, 16))
    low, high = ends(slope, spec, weights)
    assert max(-low, high) < 3 * 16 * 10**2.5  # 3 terms, 16 elements, 1/√ε


def test_attention_stays_within_the_hull_of_its_values():
    attend = lambda q, k, v: jax.nn.softmax(q @ k.T) @ v
    q = k = Interval(-5, 5, (6, 4))
    low, high = ends(attend, q, k, Interval(2, 3, (6, 4)))
    assert low == pytest.approx(2, abs=1e-4) and high == pytest.approx(3, abs=1e-4)


@pytest.mark.parametrize(
    ("fun", "low", "high"),
    [
        (lambda x: x / (1 + jnp.abs(x)), -1.01, 1.01),
        (lambda x: jnp.exp(-jnp.abs(x)), 0.0, 1.0),
        (lambda x: jnp.exp(-jax.nn.relu(x)) + jnp.exp(x - jax.nn.relu(x)), 0.0, 2.0),
        (lambda x: jnp.log1p(jnp.exp(-jnp.abs(x))), 0.0, 0.6931473),
        (lambda x: x - x, 0.0, 0.0),
        (lambda x: jnp.maximum(x, 0) - x, 0.0, 1e30),
        (jax.nn.sigmoid, 0.0, 1.0),
        (jnp.tanh, -1.0, 1.0),
        (lambda x: jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1.0)), 0.0), -88, 70),
    ],
)
def test_a_function_of_one_source_is_bounded_piece_by_piece(fun, low, high):
    least, most = ends(fun, ALL)
    assert low <= least and most <= high * (1 + 1e-6)


@pytest.mark.parametrize("name", ["silu", "mish", "softplus", "elu", "selu", "celu"])
def test_a_unit_and_its_slope_are_bounded_over_all_numbers(name):
    unit = getattr(jax.nn, name)
    low, high = ends(unit, ALL)
    assert low > -2 and high < 1.1e30
    least, most = ends(jax.grad(lambda x: jnp.sum(unit(x))), Interval(-1e4, 1e4, (4,)))
    assert least > -0.2 and most < 1.8


def test_a_variance_is_not_negative_but_a_difference_of_moments_may_be():
    assert ends(lambda x: jnp.var(x, -1), ROWS)[0] >= 0
    moments = lambda x: jnp.mean(x * x, -1) - jnp.mean(x, -1) ** 2
    assert ends(moments, ROWS)[0] < 0


def test_a_scan_over_many_turns_is_bounded_by_what_one_turn_adds():
    def cell(carry, x):
        memory, gate = carry
        memory = jax.nn.sigmoid(x) * memory + jax.nn.sigmoid(gate) * jnp.tanh(x)
        return (memory, x), jnp.tanh(memory)

    def run(xs):
        start = jnp.zeros(4), jnp.zeros(4)
        return jax.lax.scan(cell, start, xs)[0][0]

    low, high = ends(run, Interval(-3, 3, (3000, 4)))
    assert low > -3300 and high < 3300


def test_a_loop_that_diverges_is_a_candidate_and_none_of_what_follows_is_blamed():
    double = lambda x: jax.lax.fori_loop(0, 5000, lambda i, c: c * 2.0, x)
    found = bounds(lambda x: double(x) + 1.0, Interval(-1, 1, (2,))).candidates
    own = [(c.equation.primitive, c.kind) for c in found if not c.derived]
    assert own == [("mul", "overflow")]


def test_what_lies_behind_an_overflow_is_derived():
    found = bounds(lambda x: jnp.exp(x) - jnp.exp(x + 1), Interval(-200, 200, (2,)))
    own = {(c.equation.primitive, c.kind) for c in found.candidates if not c.derived}
    behind = {(c.equation.primitive, c.kind) for c in found.candidates if c.derived}
    assert own == {("exp", "overflow")}
    assert ("sub", "inf-inf") in behind


def test_infinities_that_never_meet_are_no_candidate():
    found = bounds(lambda x: 1 / jnp.exp(x) - jnp.exp(x), Interval(-200, 200, (2,)))
    kinds = {(c.equation.primitive, c.kind) for c in found.candidates}
    assert kinds == {("exp", "overflow"), ("div", "pole")}


def test_a_primitive_without_a_rule_is_named_and_its_result_unknown():
    analysis = bounds(jnp.linalg.cholesky, Interval(-1, 1, (3, 3)))
    assert "cholesky" in {n.primitive for n in analysis.not_analysed}


def test_results_of_equations_are_found_by_their_addresses():
    analysis = bounds(lambda x: jnp.exp(x) + 1, Interval(0, 1, (2,)))
    exp, add = (analysis.results[0, i][0] for i in range(2))
    assert exp.least == 1.0 and add.least == 2.0
    assert exp.holds(np.exp(np.linspace(0, 1, 5)))


def test_an_index_in_range_fills_nothing_in():
    labels = Interval(0, 4, (3,), jnp.int32)
    pick = lambda x, i: jnp.take_along_axis(x, i[:, None], axis=1)
    assert ends(pick, Interval(1, 2, (3, 5)), labels) == (1.0, 2.0)
    found = bounds(pick, Interval(1, 2, (3, 5)), Interval(0, 5, (3,), jnp.int32))
    assert [c.kind for c in found.candidates] == ["domain"]


def test_all_of_a_softmax_with_equal_rows_adds_up_to_the_number_of_rows():
    low, high = ends(lambda x: jax.nn.softmax(x).sum(), Interval(2, 2, (3, 4)))
    assert low == pytest.approx(3, rel=1e-5) and high == pytest.approx(3, rel=1e-5)


def test_two_blocks_of_attention_share_a_mask():
    causal = jnp.tril(jnp.ones((4, 4), bool))

    def attend(x):
        scores = jnp.where(causal, x @ x.T, -jnp.inf)
        return jax.nn.softmax(scores, axis=-1) @ x

    low, high = ends(lambda x: attend(attend(attend(x))), Interval(-3, 2, (4, 5)))
    assert low >= -3.1 and high <= 3.1  # within the hull, but for roundings


def test_the_bits_of_a_number_from_0_up_are_in_its_order():
    def without_last_bits(x):
        x = jnp.minimum(jnp.abs(x), 11.0)
        bits = jax.lax.bitcast_convert_type(x, jnp.uint32) & jnp.uint32(0xFFFFF000)
        return jax.lax.bitcast_convert_type(bits, jnp.float32)

    assert ends(without_last_bits, ALL) == (0.0, 11.0)
