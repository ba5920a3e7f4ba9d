"""Data parallelism: the batch in parts, the parameters whole on every device.

With the batch split over the devices of a mesh and the parameters replicated, each
device computes the gradient of its part, and the mean over the batch becomes a sum over
devices that the compiler inserts. The result is that of one device but for the order of
that sum.
"""

from typing import Any

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec
from jaxtyping import PyTree

from .errors import InputError


def replicate(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """Put a whole copy of every array on every device of the mesh."""
    if mesh is None:
        return tree
    return jax.device_put(tree, NamedSharding(mesh, PartitionSpec()))


def shard(batch: PyTree, mesh: Mesh | None) -> PyTree:
    """Split the first axis of every array over the mesh's first axis."""
    if mesh is None:
        return batch
    return jax.lax.with_sharding_constraint(batch, batch_sharding(mesh))


def batch_sharding(mesh: Mesh) -> Any:
    """The sharding of a batch: first axis over the mesh's first axis."""
    return NamedSharding(mesh, PartitionSpec(mesh.axis_names[0]))


def check_batch(size: int, mesh: Mesh | AbstractMesh | None) -> None:
    """Raise `InputError` unless a batch of `size` divides evenly over the mesh."""
    if mesh is not None and size % mesh.shape[mesh.axis_names[0]]:
        parts = mesh.shape[mesh.axis_names[0]]
        raise InputError(
            f"A batch of {size} does not divide over {parts} devices. Choose a batch "
            f"size that is a multiple of {parts}."
        )
