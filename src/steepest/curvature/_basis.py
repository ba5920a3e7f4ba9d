"""Orthonormal rows that grow in number, held in tiles.

What it costs to keep a Krylov basis orthogonal is the traffic of its rows through the
memory. With the rows Q in tiles Q₁, Q₂, … of a few megabytes each,

    w ← w − Qₜᵀ Qₜ w    for t = 1, 2, …                                      (1)

reads every row once, since a tile is still in the cache when it is used for the second
time, and touches no row that is not there yet. The coordinates of w are the sums of
those of all passes.

References
    Jalby & Philippe (1991), Stability analysis and improvement of the block
    Gram-Schmidt algorithm.                                                  -- (1)
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


TILE = 2**22  # numbers in a tile, about
LEAST, MOST = 16, 256  # rows in a tile


Tiles = tuple[Float[Array, "height n"], ...]  # rows that are not there yet are zero


def height(n: int) -> int:
    """How many rows of n numbers a tile has."""
    return int(np.clip(TILE // max(n, 1), LEAST, MOST))


def row(tiles: Tiles, index: int) -> Float[Array, " n"]:
    """One of the rows."""
    tile, at = divmod(index, len(tiles[0]))
    return pick(tiles[tile], np.int32(at))


def appended(tiles: Tiles, q: Float[Array, " n"], count: int) -> Tiles:
    """The rows, of which there are `count`, and q; the last of `tiles` is given away."""
    rows = len(tiles[0]) if tiles else height(q.size)
    at = count % rows
    if at == 0:
        return (*tiles, put(jnp.zeros((rows, q.size), q.dtype), q, np.int32(0)))
    return (*tiles[:-1], put(tiles[-1], q, np.int32(at)))


def take_out(
    tiles: Tiles, w: Float[Array, " n"], first: int = 0
) -> tuple[Float[Array, " n"], list[Float[Array, " height"]]]:
    """(1) on the tiles from the one that holds row `first`; w, and its coordinates."""
    start = first // len(tiles[0])
    parts = [jnp.zeros(len(tiles[0]), w.dtype)] * start
    for tile in tiles[start:]:
        w, c = without(tile, w)
        parts.append(c)
    return w, parts


def combined(S: Float[np.ndarray, "j k"], tiles: Tiles) -> Float[Array, "k n"]:
    """SᵀQ: k combinations of the first j rows."""
    rows = len(tiles[0])
    parts = [
        product(jnp.asarray(S[i : i + rows].T, tile.dtype), tile[: len(S) - i])
        for i, tile in zip(range(0, len(S), rows), tiles, strict=False)
    ]
    return jax.tree.reduce(jnp.add, parts)


product = partial(jnp.matmul, precision="highest")  # TF32 would cost half the digits


@jax.jit
def without(tile: Any, w: Any) -> tuple[Array, Array]:
    """What of w is outside of the rows of a tile, and its coordinates in them."""
    c = product(tile, w)
    return w - product(c, tile), c


@jax.jit
def pick(tile: Any, at: Any) -> Array:
    return jax.lax.dynamic_index_in_dim(tile, at, keepdims=False)


@partial(jax.jit, donate_argnums=0)
def put(tile: Any, q: Any, at: Any) -> Array:
    return jax.lax.dynamic_update_index_in_dim(tile, q, at, 0)
