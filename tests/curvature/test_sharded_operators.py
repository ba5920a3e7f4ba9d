"""Products over a mesh of eight devices, in a process of its own."""

import os
import subprocess
import sys

import pytest


PROGRAM = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh
from steepest import InputError
from steepest.curvature import eigenpairs, gauss_newton, hessian

jax.config.update("jax_enable_x64", True)
assert jax.device_count() == 8
mesh = Mesh(np.array(jax.devices()), ("data",))
rng = np.random.default_rng(0)
x, y = jnp.asarray(rng.normal(size=(48, 5))), jnp.asarray(rng.normal(size=(48, 1)))
params = {"W": jnp.asarray(rng.normal(size=(5, 4))), "v": jnp.asarray(rng.normal(size=(4, 1)))}
outputs = lambda p, batch: jnp.tanh(batch[0] @ p["W"]) @ p["v"]
square = lambda z, batch: jnp.mean((z - batch[1]) ** 2)
loss = lambda p, batch: square(outputs(p, batch), batch)

whole = jax.hessian(lambda v: loss(unravel(v), (x, y)))
flat, unravel = jax.flatten_util.ravel_pytree(params)
options = dict(data=(x, y), batch_size=16, mesh=mesh)
H = hessian(loss, params, **options)
np.testing.assert_allclose(H.dense(), whole(flat), rtol=1e-12, atol=1e-14)
G = gauss_newton(outputs, square, params, **options)
one = gauss_newton(outputs, square, params, data=(x, y), batch_size=48)
np.testing.assert_allclose(G.dense(), one.dense(), rtol=1e-12, atol=1e-14)
found = eigenpairs(H, 3, key=jax.random.key(0))
exact = np.linalg.eigvalsh(whole(flat))[::-1][:3]
np.testing.assert_allclose(found.values, exact, rtol=1e-10)
try:
    hessian(loss, params, data=(x, y), batch_size=20, mesh=mesh)
except InputError as error:
    assert "8 devices" in str(error), error
else:
    raise AssertionError("a batch that does not divide was taken")
print("done")
"""


@pytest.mark.slow
def test_products_over_eight_devices_are_those_of_one():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_PLATFORMS": "cpu",
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout.strip() == "done", done.stderr[-3000:]
