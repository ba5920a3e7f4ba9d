"""`steepest check`: options, exit status, and what goes where."""

import json
import sys

import pytest

from steepest import Record
from steepest.problems import DEFAULT


def test_without_a_target_the_default_problem_is_checked(steepest, checked):
    steepest("check")
    assert checked[0][0].name == DEFAULT


def test_the_recipe_can_be_changed(steepest, checked, program):
    path = program("problem = (make(), steepest.Recipe(epochs=3))")
    changes = ["learning_rate=0.5", "steps=7", "shuffle=false", "optimizer=sgd"]
    changes += ["clip_norm=none"]
    steepest("check", path, *[a for c in changes for a in ("--set", c)])
    recipe = checked[0][1]
    assert (recipe.learning_rate, recipe.steps, recipe.shuffle) == (0.5, 7, False)
    assert (recipe.optimizer, recipe.clip_norm, recipe.epochs) == ("sgd", None, 3)
    steepest("check", path, "--set", "epochs=0.5")
    assert checked[1][1].epochs == 0.5


def test_the_seed_reaches_the_check(steepest, checked, program):
    steepest("check", program(), "--seed", "5")
    assert checked[0][2]["seed"] == 5


def test_status_is_0_when_nothing_is_found_and_the_text_is_shown(
    steepest, checked, program
):
    result = steepest("check", program())
    assert result.status == 0
    assert "It trains" in result.out


@pytest.fixture
def diverged(tmp_path):
    """A record whose loss stopped being a number: a critical finding."""
    record = Record()
    for step in range(20):
        record.log(step, loss=2.0**step if step < 19 else float("nan"))
    record.save(tmp_path / "run.npz")
    return tmp_path / "run.npz"


def test_status_is_1_for_findings_and_for_a_run_that_does_not_train(steepest, diverged):
    result = steepest("check", diverged)
    assert result.status == 1 and "NUM001" in result.out


@pytest.mark.parametrize(("level", "status"), [("critical", 1), ("never", 0)])
def test_the_level_decides_the_status(steepest, diverged, level, status):
    assert steepest("check", diverged, "--fail-on", level).status == status


def test_json_is_all_that_is_on_standard_output(steepest, checked, program):
    path = program("problem = make(); print('hello')")
    result = steepest("check", path, "--json")
    assert json.loads(result.out)["name"] == "train.py:problem"
    assert "hello" in result.err


def test_quiet_is_the_verdict_and_a_line_for_each_finding(steepest, diverged):
    result = steepest("check", diverged, "-q")
    first, *lines = result.out.splitlines()
    assert "does not train" in first
    assert any(line.startswith("CRITICAL  NUM001") for line in lines)


def test_report_and_record_are_written(steepest, checked, program, tmp_path):
    page, record = tmp_path / "report.html", tmp_path / "run.npz"
    result = steepest("check", program(), "--html", page, "--record", record)
    assert result.status == 0 and str(page) in result.out
    assert page.read_text("utf-8").lstrip().lower().startswith("<!doctype html>")
    again = steepest("check", record)
    assert again.status == 0 and "It trains" in again.out


def test_nothing_is_shown_on_a_standard_error_that_is_no_terminal(
    steepest, checked, program
):
    assert steepest("check", program()).err == ""
    assert checked[0][2]["progress"] is None


def test_ctrl_c_before_the_training_is_status_130(steepest, monkeypatch, program):
    def check(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("steepest.checkup.check", check)
    result = steepest("check", program())
    assert result.status == 130 and "stopped by Ctrl-C" in result.err


def test_ctrl_c_while_training_reports_on_what_there_is(steepest, tmp_path):
    record = Record(meta={"ended": "interrupted", "steps": 20})
    for step in range(20):
        record.log(step, loss=1 / (1 + step))
    record.save(tmp_path / "run.npz")
    result = steepest("check", tmp_path / "run.npz")
    assert result.status == 130 and "It trains" in result.out
    assert "after 20 updates" in result.err


def test_a_fault_of_ours_looks_like_one(steepest, monkeypatch, program):
    def check(*args, **options):
        raise ZeroDivisionError

    monkeypatch.setattr("steepest.checkup.check", check)
    result = steepest("check", program())
    assert result.status == 3
    assert "Traceback" in result.err and "please report" in result.err


def test_a_closed_standard_output_is_quiet_and_keeps_the_status(
    monkeypatch, diverged, tmp_path
):
    from steepest.cli.main import main

    class Closed:
        def __init__(self):
            self.file = (tmp_path / "out").open("w")

        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            pass

        def fileno(self):
            return self.file.fileno()

        def isatty(self):
            return False

    closed = Closed()
    monkeypatch.setattr(sys, "stdout", closed)
    assert main(["check", str(diverged)]) == 1
    closed.file.close()


@pytest.mark.slow
def test_nan_in_the_data_is_a_finding_and_not_an_error(steepest, program):
    path = program("x[3, 1] = np.nan; problem = (make(), steepest.Recipe(epochs=5))")
    result = steepest("check", path, "--budget", "20")
    assert result.status == 1 and "DAT001" in result.out, result.err


@pytest.mark.slow
def test_data_that_can_be_read_only_once_are_enough(steepest, program):
    batches = (
        "((x[i : i + 8], y[i : i + 8]) for _ in range(20) for i in range(0, 64, 8))"
    )
    path = program(f"problem = make(data={batches}, validation=(x, y))")
    result = steepest("check", f"{path}:problem", "--budget", "30")
    assert result.status in (0, 1), result.err
    assert "160 updates" in result.out


@pytest.mark.slow
def test_a_small_program_is_checked_for_real(steepest, program, tmp_path):
    path = program("problem = make(validation=(x, y), data=(x[:32], y[:32]))")
    record = tmp_path / "run.npz"
    result = steepest("check", path, "--budget", "20", "--record", record, "--json")
    report = json.loads(result.out)
    assert "DAT006" in {finding["rule"] for finding in report["findings"]}
    assert result.status == 1
    again = json.loads(steepest("check", record, "--json").out)
    assert again["findings"] == report["findings"]
