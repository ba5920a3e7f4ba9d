"""A killed run goes on where it was, to the bit."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from steepest import Problem, Recipe, Record, fit
from steepest.core import archive
from steepest.core.errors import InputError
from steepest.training import Fitted, checkpoint as checkpoints
from steepest.training.probes import EVALUATION, NORMS

from .conftest import (
    assert_bitwise_equal,
    assert_same_series,
    network,
    regression,
    squared,
)


RECIPE = Recipe(steps=100, batch_size=16, learning_rate=1e-2)
PROBES = [NORMS._replace(every=7), EVALUATION._replace(every=15)]


def train(problem, directory, steps=100, **options):
    options = {"probes": PROBES, "every": 10} | options
    recipe = replace(RECIPE, steps=steps)
    return fit(problem, recipe, checkpoint=directory, **options)


@pytest.mark.parametrize("stop", [1, 37, 60])
def test_a_resumed_run_is_the_unbroken_one(problem, tmp_path, stop):
    unbroken = fit(problem, RECIPE, probes=PROBES)
    train(problem, tmp_path, steps=stop, probes=())
    for path in tmp_path.glob("best.npz"):
        path.unlink()
    resumed = train(problem, tmp_path, probes=())
    assert_bitwise_equal(unbroken.fitted.model, resumed.fitted.model)
    for name in ("loss", "gradient_norm", "learning_rate"):
        mine, theirs = resumed.record[name], unbroken.record[name]
        np.testing.assert_array_equal(mine.step, theirs.step)
        assert mine.value.tobytes() == theirs.value.tobytes()


def test_the_last_few_and_the_best_are_kept(problem, tmp_path):
    train(problem, tmp_path, keep=2)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["best.npz", "step-000000090.npz", "step-000000100.npz"]
    like = _carry(problem)
    best = checkpoints.load(tmp_path / "best.npz", like)
    series = best.record["validation.loss"]
    assert series.step[-1] == best.step
    assert series.value[-1] == series.value.min()


def test_the_best_stays_the_best_after_resuming(tmp_path):
    """The rate is such that the loss grows: the start is the best there is."""
    x, y = regression()
    problem = Problem(network(), squared, (x, y), (x, y))
    worse = replace(RECIPE, optimizer="sgd", learning_rate=1.2, steps=20)
    probes = [EVALUATION._replace(every=5)]
    options = {"probes": probes, "every": 5, "checkpoint": tmp_path}
    fit(problem, worse, **options)
    (tmp_path / "best.npz").rename(tmp_path / "kept")
    _, record = fit(problem, replace(worse, steps=30), **options)
    seen = record["validation.loss"]
    improved = seen.value[seen.step > 20].min() < seen.value[seen.step <= 20].min()
    assert (tmp_path / "best.npz").exists() == improved


def test_a_damaged_newest_falls_back_to_the_one_before(problem, tmp_path):
    unbroken = fit(problem, RECIPE, probes=())
    train(problem, tmp_path, steps=50)
    newest = tmp_path / "step-000000050.npz"
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 0xFF
    newest.write_bytes(data)
    resumed = train(problem, tmp_path)
    assert_bitwise_equal(unbroken.fitted.model, resumed.fitted.model)
    assert "step-000000050" in resumed.record.meta["damaged_checkpoint"]
    assert len(resumed.record["loss"].step) == 100


def test_all_damaged_is_said(problem, tmp_path):
    train(problem, tmp_path, steps=20)
    for path in tmp_path.glob("step-*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match="not a readable checkpoint"):
        train(problem, tmp_path)
    assert len(train(problem, tmp_path, resume=False).record["loss"].step) == 100


def test_starting_afresh_replaces_what_was_there(problem, tmp_path):
    train(problem, tmp_path, steps=90)
    train(problem, tmp_path, steps=30, resume=False)
    steps = [checkpoints._step_of(path) for path in checkpoints.steps(tmp_path)]
    assert steps == [10, 20, 30]


def test_a_checkpoint_of_another_model_is_refused(problem, tmp_path):
    train(problem, tmp_path, steps=20)
    wide, fewer, narrow = network(), network(), network()
    wide["first"]["W"] = np.zeros((3, 9), np.float32)
    wide["first"]["b"] = np.zeros(9, np.float32)
    wide["last"]["W"] = np.zeros((9, 1), np.float32)
    with pytest.raises(
        InputError, match=r"another model.*shape \[3, 8\] there and \[3, 9\]"
    ):
        train(replace(problem, model=wide), tmp_path)
    fewer["last"].pop("b")
    loss = lambda model, batch: (model["first"]["W"] ** 2).mean()
    with pytest.raises(InputError, match="another model: it has"):
        train(Problem(fewer, loss, problem.data), tmp_path)
    narrow["last"]["b"] = jnp.zeros(1, jnp.bfloat16)
    loss = lambda model, batch: (model["first"]["W"] ** 2).mean()
    with pytest.raises(InputError, match=r"another model.*float32 there and bfloat16"):
        train(Problem(narrow, loss, problem.data), tmp_path)


def test_a_checkpoint_of_another_recipe_is_refused(problem, tmp_path):
    train(problem, tmp_path, steps=20)
    with pytest.raises(InputError, match=r"learning_rate=0.01, not 0.1.*resume=False"):
        fit(problem, replace(RECIPE, learning_rate=0.1), checkpoint=tmp_path)


def test_a_directory_that_cannot_be_made_is_refused(problem, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="Cannot make the checkpoint directory"):
        train(problem, tmp_path / "file" / "run")


def test_what_a_killed_writer_left_is_removed(problem, tmp_path):
    part = tmp_path / ".step-000000010.npz.x7"
    part.write_bytes(b"half")
    train(problem, tmp_path, steps=10)
    assert not part.exists()


def test_a_finished_run_is_not_run_again(problem, tmp_path):
    first = train(problem, tmp_path)
    again = train(problem, tmp_path)
    assert_bitwise_equal(first.fitted.model, again.fitted.model)
    assert_same_series(first.record, again.record)
    assert again.record.meta["ended"] == "completed"
    assert np.isfinite(again.record.meta["overhead"])


def test_a_fitted_model_is_saved_and_loaded(problem, tmp_path):
    fitted, _ = fit(problem, replace(RECIPE, steps=20), probes=())
    fitted.save(tmp_path / "model.npz")
    loaded = Fitted.load(tmp_path / "model.npz", problem)
    assert_bitwise_equal(fitted.model, loaded.model)
    x, _ = problem.data
    np.testing.assert_array_equal(fitted.predict(x), loaded.predict(x))
    other = Problem({"w": jnp.zeros(3)}, lambda m, b: m["w"].sum(), problem.data)
    with pytest.raises(InputError, match="another model"):
        Fitted.load(tmp_path / "model.npz", other)


def _carry(problem):
    from steepest.training._run import Run

    return Run(problem, RECIPE, None, 1, Record()).carry


# -- Killed --------------------------------------------------------------------------------


PROGRAM = """
import sys
sys.path.insert(0, {here!r})
import numpy as np
from tests.training.conftest import network, noisy, regression
from steepest import Problem, Recipe, fit
from steepest.core import archive
from steepest.training.probes import EVALUATION, NORMS

if {slow}:  # a writer that is often caught in the middle
    import os, time
    honest = os.fsync
    def fsync(handle):
        time.sleep(0.02)
        honest(handle)
    archive.os.fsync = fsync

problem = Problem(network(), noisy, regression(), regression(32, seed=1))
recipe = Recipe(steps={steps}, batch_size=16, learning_rate=1e-2, schedule="cosine")
probes = [NORMS._replace(every=70), EVALUATION._replace(every=150)]
print("ready", flush=True)
fitted, record = fit(
    problem, recipe, probes=probes, checkpoint={directory!r}, every={every}
)
fitted.save({result!r})
record.save({result!r} + ".record")
print(record.meta["ended"], record.meta["steps"], flush=True)
"""


def program(directory, result, steps=3000, every=20, slow=True):
    here = str(Path(__file__).parents[2])
    text = PROGRAM.format(
        here=here,
        directory=str(directory),
        result=str(result),
        steps=steps,
        every=every,
        slow=slow,
    )
    return [sys.executable, "-c", text]


@pytest.mark.slow
def test_a_run_killed_at_random_moments_ends_as_an_unbroken_one(tmp_path):
    """SIGKILL while updating, measuring and writing, until the run gets to its end."""
    whole = tmp_path / "whole.npz"
    subprocess.run(program(tmp_path / "a", whole, slow=False), check=True, timeout=300)
    broken, chance = tmp_path / "broken.npz", random.Random(0)
    directory, killed, reached = tmp_path / "b", 0, set()
    for _ in range(30):
        run = subprocess.Popen(
            program(directory, broken), stdout=subprocess.PIPE, text=True
        )
        assert run.stdout is not None
        run.stdout.readline()
        before = _newest(directory)
        limit = time.monotonic() + 120
        # wait until this process has written something, then a random moment more
        while run.poll() is None and _newest(directory) == before:
            assert time.monotonic() < limit
            time.sleep(0.01)
        try:
            run.wait(timeout=chance.uniform(0.0, 1.2))
        except subprocess.TimeoutExpired:
            os.kill(run.pid, signal.SIGKILL)
            killed += 1
        run.stdout.close()
        run.wait()
        reached.add(_newest(directory))
        if run.returncode == 0:
            break
    assert run.returncode == 0, "the run never got to its end"
    assert killed >= 3 and len(reached) >= 3
    problem = Problem(network(), squared, regression())
    assert_bitwise_equal(
        Fitted.load(whole, problem).model, Fitted.load(broken, problem).model
    )
    assert_same_series(Record.load(f"{whole}.record"), Record.load(f"{broken}.record"))


def _newest(directory):
    return max((path.name for path in Path(directory).glob("step-*.npz")), default="")


@pytest.mark.slow
def test_a_real_ctrl_c_leaves_a_record_and_a_checkpoint(tmp_path):
    result = tmp_path / "result.npz"
    run = subprocess.Popen(
        program(tmp_path / "run", result, steps=10**7, every=1000, slow=False),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert run.stdout is not None
    run.stdout.readline()
    limit = time.monotonic() + 120
    while not _newest(tmp_path / "run"):
        assert time.monotonic() < limit and run.poll() is None
        time.sleep(0.02)
    run.send_signal(signal.SIGINT)
    out, _ = run.communicate(timeout=120)
    ended, steps = out.split()
    assert run.returncode == 0 and ended == "interrupted"
    record = Record.load(f"{result}.record")
    assert len(record["loss"].step) == int(steps) > 0
    assert _newest(tmp_path / "run") == f"step-{int(steps):09d}.npz"


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        {"step": "ten"},
        {"step": -3},
        {"carry": {}},
        {"carry": "x"},
        {"record": []},
        {"plan": "x"},
        {"recipe": [1]},
    ],
)
def test_a_checkpoint_with_parts_missing_is_passed_over(problem, tmp_path, change):
    whole = train(problem, tmp_path, keep=3)
    newest = tmp_path / "step-000000100.npz"
    arrays, meta = archive.read(newest, "checkpoint", 1)
    archive.write(newest, "checkpoint", 1, arrays, meta | change)
    with pytest.raises(InputError, match="damaged"):
        checkpoints.load(newest, _carry(problem))
    again = train(problem, tmp_path)
    assert_bitwise_equal(whole.fitted.model, again.fitted.model)


@pytest.mark.parametrize("keys", [None, 5, {}])
def test_a_model_with_parts_missing_is_refused(problem, tmp_path, keys):
    path = tmp_path / "model.npz"
    fit(problem, replace(RECIPE, steps=1), probes=()).fitted.save(path)
    arrays, _ = archive.read(path, "model", 1)
    keys = dict.fromkeys(arrays, "nosuch") if isinstance(keys, dict) else keys
    archive.write(path, "model", 1, arrays, {"keys": keys})
    with pytest.raises(InputError, match="damaged"):
        Fitted.load(path, problem)
