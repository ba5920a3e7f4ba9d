"""The compiled calls of a run: one update, or a number of them.

Whatever an update needs is on the device before it is called, the number of the update
and the order of the examples included, and what it reports is left there too, in a log
of the last updates. So the host has nothing to do but call. `several` runs the same body
in a loop whose length is not known to the compiler, so that one program serves all.

The number of an update decides its examples and its random key; how updates are grouped
into calls changes nothing.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int, PyTree, UInt

from .step import Carry, Outcome, Program, make_step


class Block(NamedTuple):
    """The inputs of the updates between two looks at the losses."""

    first: UInt[Any, ""]  # the number of the first update
    batches: PyTree  # indices (update, accumulate, batch); or the arrays of one update


class Log(NamedTuple):
    """What the updates of a block reported."""

    step: UInt[Array, ""]  # the number of the next update
    outcome: Outcome  # with a leading axis for the update


class Calls(NamedTuple):
    """`single(carry, log, data, block)`, and `several` with a count behind."""

    single: Callable[[Carry, Log, PyTree, Block], tuple[Carry, Log]]
    several: Callable[[Carry, Log, PyTree, Block, Any], tuple[Carry, Log]]
    empty: Callable[[PyTree, int, int], Log]  # (carry, step, length) -> a new log


def make_calls(
    program: Program, key: Any, batch: PyTree, indexed: bool, mesh: Mesh | None
) -> Calls:
    """Compile-on-demand calls; `batch` has the shape of the input of one update.

    With `indexed`, `data` holds all examples and a block the indices into them.
    """
    step = make_step(program)

    def one(carry: Carry, log: Log, data: PyTree, block: Block) -> tuple[Carry, Log]:
        at = (log.step - block.first).astype(jnp.int32)
        batch = block.batches
        if indexed:
            # The order holds no index outside, so the gather need not check.
            chosen = batch[at]
            batch = jax.tree.map(
                lambda a: a.at[chosen].get(mode="promise_in_bounds"), data
            )
        batch = _split(batch, mesh)
        carry, out = step(carry, batch, jax.random.fold_in(key, log.step))
        written = jax.tree.map(lambda a, v: a.at[at].set(v), log.outcome, out)
        return _whole((carry, Log(log.step + 1, written)), mesh)

    def several(
        carry: Carry, log: Log, data: PyTree, block: Block, count: Int[Array, ""]
    ) -> tuple[Carry, Log]:
        def body(_: Any, now: tuple[Carry, Log]) -> tuple[Carry, Log]:
            return one(*now, data, block)

        return jax.lax.fori_loop(0, count, body, (carry, log))

    def empty(carry: Carry, step_number: int, length: int) -> Log:
        _, out = jax.eval_shape(step, carry, batch, key)
        zeros = jax.tree.map(lambda o: jnp.zeros((length, *o.shape), o.dtype), out)
        log = Log(jnp.asarray(np.uint32(step_number)), zeros)
        return _place(log, mesh)

    donated = (0, 1)
    return Calls(
        jax.jit(one, donate_argnums=donated),
        jax.jit(several, donate_argnums=donated),
        empty,
    )


def _split(batch: PyTree, mesh: Mesh | None) -> PyTree:
    """The second axis of (accumulate, batch, …) over the devices of the mesh."""
    if mesh is None:
        return batch
    spec = NamedSharding(mesh, PartitionSpec(None, mesh.axis_names[0]))
    return jax.lax.with_sharding_constraint(batch, spec)


def _whole(tree: PyTree, mesh: Mesh | None) -> PyTree:
    if mesh is None:
        return tree
    return jax.lax.with_sharding_constraint(tree, NamedSharding(mesh, PartitionSpec()))


def _place(tree: PyTree, mesh: Mesh | None) -> PyTree:
    if mesh is None:
        return tree
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


@jax.jit
def copy(tree: PyTree) -> PyTree:
    """A copy that outlives the memory of the original; one call for all arrays."""
    return jax.tree.map(jnp.copy, tree)


def same(a: PyTree, b: PyTree) -> bool:
    """Whether two pytrees of arrays agree bit for bit."""

    def bits(x: Any) -> bytes:
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x = jax.random.key_data(x)
        return np.asarray(x).tobytes()

    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(bits(x) == bits(y) for x, y in pairs)


def deleted(tree: PyTree) -> bool:
    """Whether the memory of any array has been given away."""
    leaves = jax.tree.leaves(tree)
    return any(hasattr(x, "is_deleted") and x.is_deleted() for x in leaves)
