"""Running the command line inside of the test, and files for it to read."""

from textwrap import dedent
from typing import NamedTuple

import pytest

from steepest.checkup import review
from steepest.cli.main import main
from steepest.training import Record


class Result(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def steepest(capsys):
    """`steepest("check", "x.py")` as the shell would, in this process."""

    def run(*arguments):
        capsys.readouterr()
        status = main([str(a) for a in arguments])
        return Result(status, *capsys.readouterr())

    return run


@pytest.fixture
def refused(steepest):
    """Run what must be refused: status 2, one sentence, nothing on standard output."""

    def run(*arguments):
        result = steepest(*arguments)
        assert result.status == 2, result
        assert result.out == ""
        assert "Traceback" not in result.err
        assert result.err.count("\n") == 1 and result.err.startswith("steepest: ")
        return result.err

    return run


PROGRAM = """
    import jax, jax.numpy as jnp, numpy as np, optax, steepest

    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 3)).astype(np.float32)
    y = (x[:, 0] > 0).astype(np.int32)
    model = {"W": jnp.asarray(rng.normal(size=(3, 2)), jnp.float32) / 2}

    def apply(model, x):
        return x @ model["W"]

    def loss(model, batch):
        x, y = batch
        z = apply(model, x)
        return optax.softmax_cross_entropy_with_integer_labels(z, y).mean()

    def make(**changes):
        parts = dict(model=model, loss=loss, data=(x, y), predict=apply)
        return steepest.Problem(**parts | changes)
"""


@pytest.fixture
def program(tmp_path):
    """Write a file: a small linear classifier, and what is given after it."""

    def write(more="problem = make()", name="train.py", base=PROGRAM):
        path = tmp_path / name
        path.write_text(dedent(base) + dedent(more) + "\n", "utf-8")
        return path

    return write


@pytest.fixture
def checked(monkeypatch):
    """Replace the check by the review of a short record; the calls are kept."""
    calls = []

    def check(problem, recipe, **options):
        calls.append((problem, recipe, options))
        record = Record(meta={"problem": problem.name})
        for step in range(40):
            record.log(step, loss=1 / (1 + step))
        kept = ("rules", "limits", "silence")
        return review(record, **{k: options[k] for k in kept})

    monkeypatch.setattr("steepest.checkup.check", check)
    return calls
