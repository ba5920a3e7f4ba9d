"""What a noisy series says, against series whose trend and noise are known."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from records import layered, probe, run, scored

from steepest.checkup.rules import trend


def test_a_straight_line_has_its_change_and_no_error():
    s = trend.slope(np.linspace(3.0, 1.0, 800))
    # block means of 100 points each: the ends of the line lie half a point outside
    assert s.change == pytest.approx(-2.0, rel=2e-3)
    assert s.sem == pytest.approx(0.0, abs=1e-9)


def test_the_error_of_a_slope_is_that_of_repeated_draws():
    rng = np.random.default_rng(0)
    draws = [trend.slope(rng.standard_normal(400)) for _ in range(400)]
    scatter = np.std([d.change for d in draws])
    believed = np.sqrt(np.mean([d.sem**2 for d in draws]))
    # a standard deviation from 400 draws is known to 1/√800, about 4 per cent
    assert believed == pytest.approx(scatter, rel=0.15)


def test_two_points_have_no_slope():
    assert trend.slope(np.array([1.0, 2.0])).sem == float("inf")


def test_the_fall_is_read_in_evaluation_mode_where_that_was_measured():
    record = run(np.linspace(5, 4, 100))
    assert trend.fall(record).series == "loss"
    probe(record, "train.loss", [2.0, 0.5, 1.0])
    f = trend.fall(record)
    assert (f.first, f.best, f.last, f.series) == (2.0, 0.5, 1.0, "train.loss")
    assert f.share == pytest.approx(0.5) and f.range == pytest.approx(1.5)


def test_losses_that_never_were_numbers_have_no_fall():
    assert trend.fall(run([np.nan, np.nan, np.inf])) is None


def test_the_early_phase_leaves_the_first_measurement_out():
    assert trend.early(np.arange(0, 1000, 20)).tolist() == list(range(1, 10))
    assert trend.early(np.array([0, 50])).tolist() == [0, 1]


def test_layers_come_in_the_order_of_their_use_and_without_biases():
    record = layered(run([1.0, 1.0]), [1.0, 2.0, 3.0], paths=["head", "bias", "first"])
    record.facts["experiment.depth"] = {"paths": ["first", "head"], "sizes": [9, 9]}
    _, value, paths = trend.layers(record, "layer.gradient_norm")
    assert paths == ["first", "head"]
    assert value[0].tolist() == [3.0, 1.0]


@settings(max_examples=60, deadline=None)
@given(st.floats(1e-12, 1e12))
def test_what_is_prescribed_has_one_digit_and_is_not_above(value):
    new = trend.rounded(value)
    assert 0.5 * value <= new <= value * (1 + 1e-6)
    assert len(f"{new:e}".split("e")[0].replace(".", "").strip("0")) == 1


@settings(max_examples=60, deadline=None)
@given(
    train=st.floats(0, 1),
    linear=st.floats(0, 1),
    constant=st.floats(0, 1),
    last=st.floats(0.001, 5),
)
def test_no_run_both_succeeds_and_fails(train, linear, constant, last):
    record = run(np.linspace(2.0, last, 50))
    assert not (trend.succeeded(record) and trend.failed(record))
    scored(record, train, linear=max(linear, constant), constant=constant)
    if train > constant + trend.MARGIN:
        assert not (trend.succeeded(record) and trend.failed(record))


def test_a_run_that_ended_in_nan_has_failed():
    record = scored(run(np.geomspace(1, 1e-3, 50)), 0.99)
    record.meta["ended"] = "non-finite"
    assert trend.failed(record) and not trend.succeeded(record)


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"train": 0.96}, (True, False)),
        ({"train": 0.5, "linear": 0.9}, (False, True)),
        ({"train": 0.88, "linear": 0.9}, (True, False)),
        ({"train": 0.11, "linear": 0.9}, (False, True)),
        ({"train": 0.11, "linear": 0.12}, (False, False)),
    ],
    ids=["right", "below linear", "as good as linear", "constant", "nothing to learn"],
)
def test_the_simple_models_are_the_measure(facts, expected):
    record = scored(run(np.full(50, 1.0)), **facts)
    assert (trend.succeeded(record), trend.failed(record)) == expected


def test_the_typical_step_size_is_the_median_of_what_was_used():
    record = run([1.0] * 9)
    record.extend("learning_rate", range(9), [0.0, *[0.1] * 7, np.nan])
    assert trend.learning_rate(record) == pytest.approx(0.1)
    assert trend.learning_rate(run([1.0], optimizer="sgd")) == pytest.approx(1e-3)
