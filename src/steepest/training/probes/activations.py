"""The units of every non-linearity on the probe batch: dead, saturated, their spread.

A unit is *dead* when its derivative is zero for every example of the probe batch, so
that nothing it is fed can revive it. For ReLU, with input z:

    dead ⇔ maxᵢ zᵢ ≤ 0.                                                       (1)

That most activations of a ReLU net are zero is no fault; that a unit's are zero on all
data is. A unit is *saturated* when tanh′ or σ′ is below 10⁻³ of its greatest value for
more than 95 % of the examples. A unit is a component of the last axis, for images a
channel.

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §§6.3.1, 6.3.2.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ...core import Site, capture
from ..step import Carry, loss_of
from ._probe import Context, Measure, Probe, Snapshot


ONE_SIDED = ("relu", "relu6")
# Beyond this |z| the derivative is below 1e-3 of its greatest value:
# 1 - tanh² z = 1e-3 at 4.15, and 4σ(z)(1 - σ(z)) = 1e-3 at 8.29.
BOUND = {"tanh": 4.15, "logistic": 8.29, "sigmoid": 8.29}
SHARE = 0.95


def prepare(context: Context) -> Measure:
    """Compile one run of the loss that looks at every non-linearity."""
    program = context.program

    @jax.jit
    def measure(carry: Carry, batch: PyTree, key: Any) -> dict[str, dict[str, Array]]:
        def objective(params: PyTree, batch: PyTree) -> Any:
            return loss_of(program, params, carry.rest, carry.state, batch, key)[0]

        return capture(objective, "nonlinearity.input", unit_statistics)(
            carry.params, batch
        )[1]

    def run(snapshot: Snapshot) -> dict[str, Any]:
        sites = measure(snapshot.carry, context.batch, context.key)
        result: dict[str, Any] = {}
        for name in ("dead", "saturated", "mean", "std"):
            having = {s: v[name] for s, v in sites.items() if name in v}
            if having:
                room = "unit" if name in ("dead", "saturated") else "activation"
                values = jnp.stack(list(having.values()))
                result[f"{room}.{name}"] = (values, tuple(having))
        return result

    return run


def unit_statistics(site: Site, z: Array) -> dict[str, Array]:
    """What the probe keeps of the input z of a non-linearity."""
    z = z.astype(jnp.float32)
    mean = jnp.mean(z)
    result = {"mean": mean, "std": jnp.sqrt(jnp.mean((z - mean) ** 2))}
    axes = example_axes(z.shape)
    if site.name in ONE_SIDED:
        result["dead"] = jnp.mean((jnp.max(z, axis=axes) <= 0).astype(jnp.float32))
    if site.name in BOUND:
        beyond = (jnp.abs(z) > BOUND[site.name]).astype(jnp.float32)
        stuck = jnp.mean(beyond, axis=axes) > SHARE
        result["saturated"] = jnp.mean(stuck.astype(jnp.float32))
    return result


def example_axes(shape: tuple[int, ...]) -> tuple[int, ...]:
    """All axes but that of the units: the last; for square images the channel's.

    Channels come last, except in (n, channels, k, k) with channels ≠ k.
    """
    unit = len(shape) - 1
    if len(shape) == 4 and shape[2] == shape[3] != shape[1]:
        unit = 1
    return tuple(axis for axis in range(len(shape)) if axis != unit or len(shape) == 1)


ACTIVATIONS = Probe("activations", prepare)
