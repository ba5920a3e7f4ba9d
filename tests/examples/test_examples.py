"""Every example runs as it stands, is short, and says what it should."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


EXAMPLES = Path(__file__).parents[2] / "examples"
SAYS = {
    "check_plain_jax": ("DAT002", "It trains and generalises"),
    "check_equinox": ("It trains",),
    "check_flax_nnx": ("It trains",),
    "foreign_loop": ("does not train",),
}


def test_every_example_is_listed_here():
    assert {path.stem for path in EXAMPLES.glob("*.py")} == set(SAYS)


@pytest.mark.parametrize("name", SAYS)
def test_an_example_is_short_and_in_cells(name):
    lines = (EXAMPLES / f"{name}.py").read_text("utf-8").splitlines()
    assert lines[0] == "# %% [markdown]" and lines.count("# %%") >= 2
    assert len(lines) < 70


@pytest.mark.slow
@pytest.mark.parametrize("name", SAYS)
def test_an_example_runs(name):
    result = subprocess.run(
        [sys.executable, EXAMPLES / f"{name}.py"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "error::UserWarning"},
    )
    assert result.returncode == 0, result.stderr
    for text in SAYS[name]:
        assert text in result.stdout
