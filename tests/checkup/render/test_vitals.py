"""Vital signs are what the record says, with the limit of theory."""

import numpy as np
import pytest
from handmade import recorded

from steepest import Record
from steepest.checkup.finding import Chart
from steepest.checkup.render.vitals import chart, vitals


def by_title(record: Record) -> dict:
    return {v.title: v for v in vitals(record)}


def test_step_size_times_sharpness_is_their_product_with_the_limit_2():
    record = recorded()
    vital = by_title(record)["Step size × sharpness"]
    np.testing.assert_allclose(
        vital.lines[0].value, 0.05 * record["sharpness"].value, rtol=1e-6
    )
    assert vital.limit == 2.0  # gradient descent on a quadratic


def test_the_update_ratio_is_update_over_weight_in_its_band():
    vital = by_title(recorded())["Update ÷ weight norm of each layer"]
    for line in vital.lines:
        np.testing.assert_allclose(line.value, 1e-3, rtol=1e-5)  # float32 norms
    assert vital.healthy == (1e-4, 1e-2)


def test_a_layer_of_zero_weights_has_no_ratio():
    record = Record()
    record.add("layer.update_norm", 0, [1.0, 1.0], ["a", "b"])
    record.add("layer.weight_norm", 0, [0.0, 2.0], ["a", "b"])
    vital = by_title(record)["Update ÷ weight norm of each layer"]
    assert [(n.name, n.value.tolist()) for n in vital.lines] == [("b", [0.5])]


def test_without_accuracy_the_gap_is_that_of_the_losses():
    record = Record()
    for step in range(3):
        record.log(step, **{"train.loss": 1.0, "validation.loss": 1.5})
    vital = by_title(record)["Train/validation gap"]
    np.testing.assert_array_equal(vital.lines[0].value, [0.5] * 3)


def test_what_was_not_measured_is_named_with_its_reason():
    record = Record(missing={"sharpness": "second derivatives are not defined here"})
    missing = {v.title: v.missing for v in vitals(record) if v.missing}
    assert missing["Step size × sharpness"] == "second derivatives are not defined here"
    assert missing["Loss"] == "not measured"


def test_a_learning_rate_is_shown_where_it_changes():
    record = recorded()
    assert "Learning rate" not in by_title(record)
    record.log(121, learning_rate=0.01)
    assert "Learning rate" in by_title(record)


@pytest.mark.parametrize(
    "series",
    ["loss", "train.accuracy", "layer.gradient_norm", "layer.update_norm", "sharpness"],
)
def test_a_finding_gets_the_chart_it_asks_for(series):
    picture = chart(recorded(), Chart(series, limit=7.0, healthy=(1.0, 2.0)))
    assert picture is not None and picture.lines
    assert picture.limit == 7.0 and picture.healthy == (1.0, 2.0)


def test_a_chart_of_what_was_not_measured_is_left_out():
    assert chart(Record(), Chart("loss")) is None
    assert chart(recorded(), Chart("never.heard")) is None


def test_steps_out_of_order_are_put_in_order():
    record = Record()
    for step in (2, 0, 1):
        record.log(step, loss=float(step))
    line = by_title(record)["Loss"].lines[0]
    assert line.value.tolist() == [0.0, 1.0, 2.0]
