"""A probe that measures nothing and keeps the last state of a run, moments and all.

What looks back on a run needs more than the model that came out of it: the update that
the optimiser would make next depends on its moments, and a measurement is comparable
with those of the run only on their probe batch. A step gives the memory of its input
away, so that only the state of the last look is still there at the end.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax

from ._probe import Context, Measure, Probe, Snapshot


NEVER = 2**62  # updates: a probe measures at the beginning and at the end all the same


class End(NamedTuple):
    """Where a run ended, and what its probes had measured with."""

    context: Context
    snapshot: Snapshot


def keep_end() -> tuple[Probe, Callable[[], End | None]]:
    """A probe for one run, and a function that gives what it kept.

    None where the run was interrupted, so that its last state was given away.
    """
    kept: list[End] = []

    def prepare(context: Context) -> Measure:
        def measure(snapshot: Snapshot) -> dict[str, Any]:
            kept[:] = [End(context, snapshot)]
            return {}

        return measure

    def end() -> End | None:
        if not kept:
            return None
        leaves = jax.tree.leaves(kept[0].snapshot.carry)
        gone = any(isinstance(x, jax.Array) and x.is_deleted() for x in leaves)
        return None if gone else kept[0]

    return Probe("end", prepare, every=NEVER), end
