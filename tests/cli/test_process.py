"""The program as the shell runs it: start, exit status, pipes, Ctrl-C."""

import os
import shlex
import signal
import subprocess
import sys

import pytest


STEEPEST = [sys.executable, "-m", "steepest"]


def run(*arguments, **options):
    return subprocess.run(
        [*STEEPEST, *map(str, arguments)], capture_output=True, text=True, **options
    )


@pytest.mark.parametrize(
    "arguments", ["['--version']", "['--help']", "['check', '--help']"]
)
def test_version_and_help_do_not_wait_for_jax(arguments):
    code = (
        "import sys; from steepest.cli.main import main; "
        f"status = main({arguments}); "
        "sys.exit(status or any(m in sys.modules for m in ('jax', 'numpy', 'sklearn')))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True).returncode
        == 0
    )


def test_status_and_streams(tmp_path):
    result = run("check", tmp_path / "none.py")
    assert result.returncode == 2 and result.stdout == ""
    assert result.stderr.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error():
    command = f"{shlex.quote(sys.executable)} -m steepest rules | true"
    result = subprocess.run(command, shell=True, capture_output=True, text=True)
    assert result.stderr == ""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_standard_output_that_is_full_is_said_in_a_sentence():
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [*STEEPEST, "--version"], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert result.returncode == 2
    assert "Cannot write to standard output" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_standard_output_that_is_closed_is_said_in_a_sentence():
    command = f"{shlex.join(STEEPEST)} --version >&-"
    result = subprocess.run(command, shell=True, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 2
    assert "Standard output is closed" in result.stderr
    assert "Traceback" not in result.stderr


def test_a_terminal_that_knows_only_ascii_is_written_to_all_the_same():
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    result = run("problems", env=environment)
    assert result.returncode == 0 and "8?8" in result.stdout


@pytest.mark.slow
def test_ctrl_c_while_training_leaves_a_report(program):
    more = """
        import itertools, time
        def batches():
            for i in itertools.count():
                if i == 400:  # only the training takes that many
                    print("training", flush=True)
                time.sleep(0.001)
                yield x, y
        problem = (make(data=batches), steepest.Recipe(steps=1_000_000))
    """
    command = [*STEEPEST, "check", f"{program(more)}:problem", "--budget", "500"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not process.stdout.readline().startswith("training"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 130, err
    assert "Ctrl-C after" in err and "updates" in out
