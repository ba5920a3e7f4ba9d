"""The report for machines: strict, whole, and the same each time."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from steepest.checkup.render.json import document, dumps, series


@pytest.fixture(params=["full", "empty", "foreign", "hostile"])
def report(request):
    return request.getfixturevalue(request.param)


def refuse(constant):
    raise AssertionError(f"{constant} is not JSON")


def test_it_is_strict_and_carries_its_schema(report):
    read = json.loads(dumps(report), parse_constant=refuse)
    assert read["schema"] == 1 and read["kind"] == "steepest.report"


def test_what_is_not_finite_is_null(foreign):
    read = json.loads(dumps(foreign))
    evidence = read["findings"][0]["evidence"][0]
    assert evidence["observed"] is None and evidence["limit"] is None
    summary = read["series"]["loss"]
    assert summary["last"] is None and summary["nonfinite"] == 2
    assert (summary["min"], summary["max"], summary["count"]) == (1.0, 3.0, 5)


def test_it_reads_back_as_what_was_written(full):
    read, written = json.loads(dumps(full)), document(full)
    assert read["verdict"] == written["verdict"]
    assert read["counts"] == {"critical": 1, "high": 1, "medium": 1, "note": 1}
    assert [f["rule"] for f in read["findings"]] == [f.rule for f in full.findings]
    first, last = read["findings"][0], read["findings"][-1]
    assert first["explains"] == ["SIG003"] and last["explained_by"] == "OPT001"
    assert first["prescription"]["recipe"] == {"learning_rate": 0.01}
    assert first["evidence"][0]["steps"] == [10, 20]
    assert read["not_run"][0]["reason"] == "there is no saturating unit"
    assert read["meta"]["seed"] == 7 and read["cost"]["training"] == 3.0
    assert len(read["mistakes"]) == 2


def test_a_series_with_labels_has_a_number_for_each(full):
    summary = json.loads(dumps(full))["series"]["unit.dead"]
    assert len(summary["labels"]) == 3
    np.testing.assert_allclose(summary["last"], [0, 0.3, 0.6])


def test_one_report_gives_one_text(full):
    assert dumps(full) == dumps(full)


def test_large_facts_are_described_and_device_arrays_are_read(full):
    full.record.facts |= {"big": np.zeros(5000), "small": jnp.ones(2)}
    full.record.log(121, **{"train.loss": jnp.asarray(0.5, jnp.bfloat16)})
    read = json.loads(dumps(full), parse_constant=refuse)
    assert read["facts"]["big"] == {"shape": [5000], "dtype": "float64"}
    assert read["facts"]["small"] == [1.0, 1.0]
    assert read["series"]["train.loss"]["last"] == 0.5


def test_the_download_is_thinned_but_keeps_both_ends(full):
    for step in range(121, 5000):
        full.record.log(step, loss=1.0)
    loss = json.loads(series(full.record))["series"]["loss"]
    assert len(loss["step"]) <= 300
    assert (loss["step"][0], loss["step"][-1]) == (0, 4999)
    assert len(loss["value"]) == len(loss["step"])


def test_a_prescription_that_was_made_without_its_cause_is_marked(full):
    made = {f["rule"]: f["prescription"] for f in document(full)["findings"]}
    assert made["SIG003"]["follows"] == "OPT001"
    assert made["SIG003"]["recipe"] and made["OPT001"]["follows"] is None
