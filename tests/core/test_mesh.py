"""The batch in parts is the whole batch, to rounding."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import InputError
from steepest.core import mesh as meshes


def test_without_a_mesh_nothing_happens():
    tree = {"a": jnp.ones(3)}
    assert meshes.replicate(tree, None) is tree and meshes.shard(tree, None) is tree
    meshes.check_batch(7, None)


def test_on_one_device_the_values_stay():
    mesh = jax.make_mesh((1,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    x = jnp.arange(6.0).reshape(3, 2)
    np.testing.assert_array_equal(jax.jit(lambda x: meshes.shard(x, mesh))(x), x)
    np.testing.assert_array_equal(meshes.replicate({"a": x}, mesh)["a"], x)
    meshes.check_batch(3, mesh)


def test_a_batch_that_does_not_divide_is_refused_with_the_cure():
    mesh = jax.sharding.AbstractMesh((8,), ("batch",))
    with pytest.raises(InputError, match=r"12 does not divide.*multiple of 8"):
        meshes.check_batch(12, mesh)


EIGHT = """
import jax, jax.numpy as jnp, numpy as np
from steepest import InputError
from steepest.core import mesh as meshes
mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
W, x = jnp.sin(jnp.arange(12.0)).reshape(4, 3), jnp.cos(jnp.arange(64.0)).reshape(16, 4)
loss = lambda W, x, mesh: jnp.mean(jnp.tanh(meshes.shard(x, mesh) @ W) ** 2)
gradient = jax.jit(jax.grad(loss), static_argnums=2)
parts = gradient(meshes.replicate(W, mesh), x, mesh)
np.testing.assert_allclose(parts, gradient(W, x, None), rtol=1e-5, atol=1e-7)
assert len(parts.sharding.device_set) == 8 and parts.sharding.is_fully_replicated
placed = jax.device_put(x, meshes.batch_sharding(mesh))
assert {s.data.shape for s in placed.addressable_shards} == {(2, 4)}
try:
    meshes.check_batch(12, mesh)
except InputError as error:
    print(error)
"""


@pytest.mark.slow
def test_eight_devices_compute_the_gradient_of_one():
    flags = "--xla_force_host_platform_device_count=8"
    run = subprocess.run(
        [sys.executable, "-c", EIGHT],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    assert "A batch of 12 does not divide over 8 devices" in run.stdout
