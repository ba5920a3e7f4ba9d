"""Data parallelism on eight host devices gives what one device gives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


PROGRAM = """
import sys
sys.path.insert(0, {here!r})
import jax, numpy as np
from jax.sharding import Mesh
from tests.training.conftest import network, regression, squared
from steepest import Problem, Recipe, fit

assert len(jax.devices()) == 8
mesh = Mesh(np.array(jax.devices()), ("data",))
x, y = regression()
problem = Problem(network(), squared, (x, y), (x[:32], y[:32]))
batches = Problem(
    network(), squared, lambda: [(x[i : i + 48], y[i : i + 48]) for i in (0, 48)]
)
for accumulate, calls in ((1, 1), (2, None), (1, 50)):
    recipe = Recipe(
        steps=60, batch_size=16, accumulate=accumulate, learning_rate=1e-2
    )
    options = dict(steps_per_call=calls)
    one = fit(problem, recipe, **options)
    eight = fit(problem, recipe, mesh=mesh, **options)
    for a, b in zip(*(jax.tree.leaves(run.fitted.model) for run in (one, eight))):
        assert b.sharding.is_fully_replicated and len(b.sharding.device_set) == 8
        # The mean of 16 is a sum of 8 sums: a few ulp an update, over 60.
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        one.record["loss"].value, eight.record["loss"].value, rtol=1e-4
    )
    assert set(one.record.series) == set(eight.record.series)

recipe = Recipe(steps=20, learning_rate=1e-2)
one, eight = fit(batches, recipe, probes=()), fit(batches, recipe, probes=(), mesh=mesh)
np.testing.assert_allclose(
    one.record["loss"].value, eight.record["loss"].value, rtol=1e-4
)

import tempfile
with tempfile.TemporaryDirectory() as directory:
    options = dict(mesh=mesh, checkpoint=directory, probes=())
    whole = fit(batches, recipe, probes=(), mesh=mesh)
    fit(batches, Recipe(steps=9, learning_rate=1e-2), **options)
    resumed = fit(batches, recipe, **options)
for a, b in zip(*(jax.tree.leaves(run.fitted.model) for run in (whole, resumed))):
    np.testing.assert_array_equal(a, b)

for refused, what in ((problem, Recipe(batch_size=20)), (ragged := Problem(
    network(), squared, lambda: [(x[:12], y[:12])]), Recipe(steps=3))):
    try:
        fit(refused, what, mesh=mesh, probes=())
    except ValueError as error:
        assert "does not divide over 8 devices" in str(error), error
    else:
        raise AssertionError("a batch that does not divide was taken")
print("done")
"""


@pytest.mark.slow
def test_eight_devices_give_what_one_gives():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    here = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(here=here)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.strip() == "done", done.stderr[-3000:]
