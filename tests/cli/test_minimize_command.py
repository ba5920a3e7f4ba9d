"""`steepest minimize`: verdicts, exit status, lists, pictures and JSON."""

import json
import subprocess
import sys

import jax
import numpy as np
import pytest

from steepest.problems import functions


def test_a_minimum_is_a_success(steepest):
    result = steepest("minimize", "rosenbrock")
    assert result.status == 0
    assert "minimum: the eigenvalues lie between 0.3994 and 1002" in result.out
    assert "The point: (1, 1)" in result.out


def test_what_is_no_minimum_is_status_1(steepest):
    result = steepest("minimize", "quartic", "--start", "0,0")
    assert result.status == 1 and "inconclusive" in result.out
    result = steepest("minimize", "rosenbrock", "--steps", "2")
    assert result.status == 1 and "not critical" in result.out


def test_json_holds_the_trajectory_and_the_verdict(steepest):
    result = steepest("minimize", "beale", "--method", "dogleg", "--json")
    data = json.loads(result.out)
    assert data["success"] and data["verdict"]["kind"] == "minimum"
    np.testing.assert_allclose(data["params"], [3, 0.5], rtol=1e-8)
    with jax.enable_x64(True):
        loss = functions.mgh.get("beale").loss
        values = [float(loss(np.asarray(x))) / 2 for x in data["path"]]
    # residuals round at 1e-16, so that values below 1e-8 have fewer digits
    np.testing.assert_allclose(values, data["values"], rtol=1e-10, atol=1e-17)


def test_without_a_name_all_are_listed(steepest):
    out = steepest("minimize").out
    for name in (*functions.names(), *functions.mgh.names()):
        assert f"\n{name} " in out


def test_the_list_is_json_too(steepest):
    data = json.loads(steepest("minimize", "--json").out)
    assert [f["name"] for f in data["functions"]] == list(functions.names())
    assert [f["name"] for f in data["sums_of_squares"]] == list(functions.mgh.names())
    assert {"name": "wood", "variables": 4, "residuals": 6, "number": 14} in data[
        "sums_of_squares"
    ]


def test_a_name_in_both_lists_can_be_told_apart(steepest):
    four = steepest("minimize", "mgh/wood", "--json", "--from", "far", "--steps", "1")
    values = json.loads(four.out)["values"]
    problem = functions.mgh.get("wood")
    with jax.enable_x64(True):
        start = float(problem.loss(np.asarray(problem.starts[1], float)))
    assert values[0] == start


def test_the_path_is_drawn_over_contours(steepest, tmp_path):
    pytest.importorskip("matplotlib", reason="pictures need matplotlib")
    file = tmp_path / "path.svg"
    result = steepest("minimize", "six-hump-camel", "--start", "0,0", "--picture", file)
    assert result.status == 0 and "1 escape" in result.out
    assert file.read_text("utf-8").startswith("<svg")


def test_bad_input_is_refused(refused, tmp_path):
    assert "Did you mean" in refused("minimize", "rosenbruck")
    assert "Did you mean cubic" in refused("minimize", "beale", "--method", "cubik")
    assert "no sum of squares" in refused(
        "minimize", "six-hump-camel", "--method", "dogleg"
    )
    assert "2 variables" in refused("minimize", "beale", "--start", "1,2,3")
    assert "leave one of them out" in refused(
        "minimize", "beale", "--start", "1,2", "--from", "far"
    )
    assert "commas" in refused("minimize", "beale", "--start", "one,two")
    assert "standard or far" in refused("minimize", "beale", "--from", "near")
    assert "two variables" in refused(
        "minimize", "wood", "--picture", tmp_path / "a.svg"
    )
    assert ".svg" in refused("minimize", "beale", "--picture", tmp_path / "a.png")
    assert "max_steps" in refused("minimize", "beale", "--steps", "0")


def test_help_has_examples(steepest):
    result = steepest("minimize", "--help")
    assert result.status == 0 and "Examples\n" in result.out


def test_help_does_not_wait_for_jax():
    code = (
        "import sys; from steepest.cli.main import main; "
        "status = main(['minimize', '--help']); "
        "sys.exit(status or any(m in sys.modules for m in ('jax', 'numpy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.returncode == 0
