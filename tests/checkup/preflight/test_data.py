"""What is measured of the data, in every form in which data come."""

import numpy as np
import pytest
from records import judge
from small import classes, numbers

from steepest import Problem, Recipe, Record
from steepest.checkup.finding import Severity
from steepest.checkup.preflight import data


def loss(model, batch):  # never called: the data are looked at alone
    return 0.0


def measured(train, held=None, recipe=None, **more):
    record = Record()
    problem = Problem({"w": np.ones(2, np.float32)}, loss, train, held, **more)
    data.measure(problem, recipe or Recipe(batch_size=16), record)
    return record


# -- Forms ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        lambda x, y: (x, y),
        lambda x, y: {"image": x, "label": y},
        lambda x, y: [{"x": x, "y": y}],
        lambda x, y: lambda: iter([(x, y)]),
        lambda x, y: lambda model: iter([(x, y)]),
    ],
    ids=["pair", "dict", "list of batches", "factory", "factory that reads the model"],
)
def test_arrays_and_iterables_give_the_same_facts(form):
    x, y = classes(64)
    record = measured(form(x, y))
    assert record.facts["data.task"] == "classification"
    assert record.facts["data.examples"] == 64
    assert record.facts["data.rms"] == pytest.approx(np.sqrt((x**2).mean()), rel=1e-5)
    assert sum(record.facts["data.class_counts"].values()) == 64


def test_whether_an_iterable_is_shuffled_is_not_known():
    x, y = classes()
    assert measured((x, y)).facts["data.shuffled"] is True
    assert measured(lambda: iter([(x, y)])).facts["data.shuffled"] is None


def test_batches_whose_parts_have_no_names_are_left_alone():
    x, y = classes()
    record = measured({"a": x, "b": y})
    assert record.missing["data.rms"] == "the inputs are not an array of floats"
    assert "targets" in record.missing["data.class_counts"]


def test_functions_that_take_a_batch_apart_are_used():
    x, y = classes()
    parts = {"inputs": lambda b: b["a"], "targets": lambda b: b["b"]}
    assert measured({"a": x, "b": y}, **parts).facts["data.classes"] == 3


# -- Values that are not numbers -------------------------------------------------------------


def test_values_that_are_no_numbers_are_counted_by_row_and_set():
    x, y = numbers()
    x = x.copy()
    x[3, 0], x[3, 1], x[9, 2] = np.nan, np.inf, -np.inf
    record = measured((x, y), (x[10:], y[10:]))
    assert record.facts["data.nonfinite"] == {
        "count": 3,
        "rows": 2,
        "first": 3,
        "where": "inputs",
    }
    assert judge("DAT001", record) is not None


def test_held_out_targets_are_looked_at_too():
    x, y = numbers()
    bad = y.copy()
    bad[5] = np.nan
    fact = measured((x, y), (x, bad)).facts["data.nonfinite"]
    assert (fact["where"], fact["first"]) == ("validation targets", 5)


# -- Inputs ------------------------------------------------------------------------------------


def test_a_feature_in_another_unit_stands_out():
    x, y = numbers()
    x = x * np.array([1, 1, 1, 1000], np.float32)
    record = measured((x, y))
    assert record.facts["data.scale_ratio"] == pytest.approx(1000, rel=0.5)
    assert judge("DAT002", record) is not None


@pytest.mark.parametrize(
    "inputs",
    [
        np.random.default_rng(0).random((60, 8, 8, 3)).astype(np.float32),
        np.eye(10, dtype=np.float32)[np.arange(60) % 10],
        (np.random.default_rng(0).random((60, 500)) < 0.02).astype(np.float32),
        np.random.default_rng(0).poisson(2.0, (60, 9)).astype(np.float32),
    ],
    ids=["images in [0, 1]", "one-hot", "sparse", "counts"],
)
def test_inputs_of_usual_scales_draw_nothing(inputs):
    assert judge("DAT002", measured((inputs, classes()[1]))) is None


def test_bytes_of_an_image_are_not_scaled():
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (60, 8, 8, 1), dtype=np.uint8)
    record = measured((pixels, classes()[1]))
    assert judge("DAT002", record) is not None


@pytest.mark.parametrize("dtype", [np.int32, np.int64, np.uint16, np.uint32])
def test_tokens_have_no_scale(dtype):
    tokens = np.random.default_rng(0).integers(0, 5000, (60, 12)).astype(dtype)
    record = measured((tokens, classes()[1]))
    assert "data.rms" in record.missing


def test_a_constant_feature_is_no_other_scale():
    x, y = numbers()
    x = np.concatenate([x, np.zeros((60, 3), np.float32)], axis=1)
    assert judge("DAT002", measured((x, y))) is None


# -- Targets -----------------------------------------------------------------------------------


def test_one_hot_targets_are_classes():
    x, y = classes()
    record = measured((x, np.eye(3, dtype=np.float32)[y]))
    counts = record.facts["data.class_counts"]
    assert counts == {str(c): int((y == c).sum()) for c in range(3)}


def test_the_scale_of_a_regression_is_measured():
    x, y = numbers()
    record = measured((x, 7 * y + 100))
    assert record.facts["data.target_mean"] == pytest.approx(
        100 + 7 * y.mean(), rel=1e-5
    )
    assert record.facts["data.target_std"] == pytest.approx(7 * y.std(), rel=1e-4)
    assert "not a classification" in record.missing["data.class_counts"]


def test_targets_that_are_pictures_are_neither():
    x, _ = numbers()
    record = measured((x, np.zeros((60, 4, 4, 1), np.float32)))
    assert record.facts["data.task"] == "other"
    assert "plain numbers" in record.missing["data.target_std"]


# -- Order -------------------------------------------------------------------------------------


def entropy_ratio(y, size=16):
    record = measured(
        (np.zeros((len(y), 2), np.float32), y), recipe=Recipe(batch_size=size)
    )
    return record.facts["data.batch_entropy"]


def test_batches_of_one_class_have_no_entropy():
    assert entropy_ratio(np.repeat(np.arange(4), 16)) == 0.0


def test_batches_in_a_random_order_have_the_entropy_of_any_other():
    y = np.random.default_rng(1).integers(0, 4, 4096)
    # two shuffles of 256 batches: the ratio of their means scatters by a per cent
    assert entropy_ratio(y) == pytest.approx(1.0, abs=0.03)


def test_small_batches_of_many_classes_are_no_order():
    y = np.random.default_rng(1).integers(0, 100, 2048)
    assert entropy_ratio(y, 8) == pytest.approx(1.0, abs=0.03)


def test_one_batch_has_no_order():
    x, y = classes(12)
    assert measured((x, y)).missing["data.batch_entropy"] == "there is only one batch"


# -- Both sides of the split ---------------------------------------------------------------------


def test_rows_on_both_sides_are_counted():
    x, y = numbers(80)
    held = np.concatenate([x[60:], x[:5]])
    fact = measured((x[:60], y[:60]), (held, np.zeros(25, np.float32))).facts[
        "data.overlap"
    ]
    assert (fact["shared"], fact["held_out"], fact["first"]) == (5, 25, 20)
    assert fact["within"] == 0.0


def test_rows_of_another_float_type_are_the_same_rows():
    x, y = numbers(80)
    fact = measured((x, y), (x[:5].astype(np.float64), y[:5])).facts["data.overlap"]
    assert fact["shared"] == 5


def test_discrete_rows_repeat_on_both_sides_and_within():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (200, 3)).astype(np.float32)
    record = measured((x[:150], classes(150)[1]), (x[150:], classes(50)[1]))
    assert record.facts["data.overlap"]["share"] > 0.9
    assert judge("DAT006", record) is None


def test_groups_on_both_sides_are_counted_and_may_be_names():
    x, y = numbers(80)
    groups = (np.array(["a", "b"] * 30), np.array(["b", "c"] * 10))
    record = measured((x[:60], y[:60]), (x[60:], y[60:]), groups=groups)
    assert record.facts["data.overlap"]["groups"] == 1
    assert judge("DAT006", record) is not None


def test_without_held_out_arrays_there_is_nothing_to_compare():
    x, y = numbers()
    assert "no two sets" in measured((x, y)).missing["data.overlap"]
    other = measured((x, y), (x[:, :2], y))
    assert "same shape" in other.missing["data.overlap"]


def test_the_notes_of_a_problem_are_heard():
    x = np.random.default_rng(0).standard_normal((400, 4)).astype(np.float32)
    y = (np.arange(400) < 4).astype(np.int32)
    assert judge("DAT004", measured((x, y))).severity == Severity.MEDIUM
    weighted = measured((x, y), notes={"class_weights": True})
    assert judge("DAT004", weighted).severity == Severity.NOTE
