"""The units of every non-linearity on the probe batch: dead, saturated, their spread.

A unit is *dead* when its derivative is zero for every example of the probe batch, so
that nothing it is fed can revive it. For ReLU, with input z:

    dead ⇔ maxᵢ zᵢ ≤ 0.                                                       (1)

That most activations of a ReLU net are zero is no fault; that a unit's are zero on all
data is. A unit is *saturated* when tanh′ or σ′ is below 10⁻³ of its greatest value for
more than 95 % of the examples. A unit is a component of the axis that the weights
before it made: a feature, for images a channel (`core.sites`).

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §§6.3.1, 6.3.2.
"""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from ...core import Site, capture, statistics, unit_statistics
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
    order: list[str] = []  # of the program; a dictionary leaves `jit` sorted by name

    @jax.jit
    def measure(carry: Carry, batch: PyTree, key: Any) -> dict[str, dict[str, Array]]:
        def objective(params: PyTree, batch: PyTree) -> Any:
            return loss_of(program, params, carry.rest, carry.state, batch, key)[0]

        found = capture(objective, "nonlinearity.input", unit_health)(
            carry.params, batch
        )[1]
        order[:] = found
        return found

    def run(snapshot: Snapshot) -> dict[str, Any]:
        sites = measure(snapshot.carry, context.batch, context.key)
        result: dict[str, Any] = {}
        for name in ("dead", "saturated", "mean", "std"):
            having = {s: sites[s][name] for s in order if name in sites[s]}
            if having:
                room = "unit" if name in ("dead", "saturated") else "activation"
                # in a loop there is a value for every turn
                values = jnp.stack([jnp.mean(v) for v in having.values()])
                result[f"{room}.{name}"] = (values, tuple(having))
        return result

    return run


def unit_health(site: Site, z: Array) -> dict[str, Array]:
    """What the probe keeps of the input z of a non-linearity."""
    values = statistics(site, z)
    result = {"mean": values["mean"], "std": values["std"]}
    if site.name in ONE_SIDED:
        dead = unit_statistics(site, z)["max"] <= 0
        result["dead"] = jnp.mean(dead.astype(jnp.float32))
    if site.name in BOUND:
        beyond = (jnp.abs(z) > BOUND[site.name]).astype(jnp.float32)
        stuck = unit_statistics(site, beyond)["mean"] > SHARE
        result["saturated"] = jnp.mean(stuck.astype(jnp.float32))
    return result


ACTIVATIONS = Probe("activations", prepare)
