"""Back to the last good state, and where the NaN or the infinity began.

Losses are looked at in bulk, so a bad one is noticed late. The run is put back to the
last look and replayed, one update a call, to the first bad one; that one's loss and
gradient are then evaluated operation by operation.
"""

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jaxtyping import PyTree

from ..numerics import locate_in_loss
from ._calls import copy
from .step import loss_of


if TYPE_CHECKING:
    from ._run import Run


def wind_back(run: "Run", step: int) -> None:
    """Put `run` before the bad update `step` and note the origin in `run.nonfinite`."""
    first, carry = run.good.step, copy(run.good.carry)
    log = run.calls.empty(carry, first, run.length)
    for at in range(first, step):
        carry, log = run.calls.single(carry, log, run.data, run.block_of(at))
    run.carry, run.step = carry, step
    run.good = run.good._replace(step=step, carry=copy(carry))
    run.seen = run.seen[step - first :]
    run.log = None
    run.nonfinite = {"step": step, "sentence": "The origin was not found."}
    origin = _origin(run, step)
    if origin is not None:
        run.nonfinite |= origin._asdict() | {"step": step, "turn": origin.step}


def _origin(run: "Run", step: int) -> Any:
    """The first operation to blame, among the batches of an update."""
    carry, batches = run.carry, run.batches(step)
    count = jax.tree.leaves(batches)[0].shape[0]
    key = jax.random.fold_in(run.key, np.uint32(step))
    keys = [key] if count == 1 else list(jax.random.split(key, count))
    rest, state = carry.rest, carry.state
    for i in range(count):
        batch = jax.tree.map(lambda a, i=i: a[i], batches)

        def loss(
            params: PyTree, batch: PyTree, rest: Any = rest, state: Any = state, i=i
        ) -> Any:
            return loss_of(run.program, params, rest, state, batch, keys[i])[0]

        origin = locate_in_loss(loss, carry.params, batch)
        if origin is not None:
            return origin
        after = loss_of(run.program, carry.params, rest, state, batch, keys[i])[1]
        rest, state = after[:2]
    return None
