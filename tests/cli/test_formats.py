"""`steepest formats`: the table as text and as JSON, and a format that is none."""

import json


def test_a_format_is_measured_and_shown(steepest):
    result = steepest("formats", "--format", "float16")
    assert result.status == 0
    lines = {
        " ".join(line.split()[:-1]): line.split()[-1]
        for line in result.out.splitlines()
    }
    assert lines["max"] == "65504" and lines["integers exact to"] == "2048"


def test_the_table_as_json(steepest):
    result = steepest(
        "formats", "--json", "--format", "float16", "--format", "bfloat16"
    )
    rows = json.loads(result.out)
    assert [row["name"] for row in rows] == ["float16", "bfloat16"]
    assert rows[1]["integers_exact_to"] == 256


def test_an_unknown_format_is_named_with_those_that_there_are(steepest):
    result = steepest("formats", "--format", "float12")
    assert result.status == 2
    assert "float12" in result.err and "bfloat16" in result.err


def test_an_unknown_backend_is_named(steepest):
    result = steepest("formats", "--backend", "abacus")
    assert result.status == 2 and "abacus" in result.err
