"""A rewrite tried out: old and new form at sampled points, both in float64.

The points are drawn where the old form is sound in float64: moderate numbers, and
numbers between 0 and 1 for what must be a probability. What is compared is the whole
array, ‖new − old‖ / ‖old‖ in the maximum norm, and the worst draw is told.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .compute import compute
from .engine import Change
from .expression import Node


class Agreement(NamedTuple):
    """The largest relative difference, and the number of points that it was seen at."""

    difference: float
    points: int

    def __str__(self) -> str:
        return f"{self.difference:.0e} at {self.points} points"


LARGEST = 1 << 16  # elements of one operand that a check may draw
DRAWS = 12


def agreement(change: Change) -> Agreement | None:
    """Old and new form compared, or None where no point could be tried."""
    if change.form is None:
        return None
    leaves = sources(change)
    if any(np.prod(n.shape, dtype=int) > LARGEST for n in leaves):
        return None
    worst, points = 0.0, 0
    with jax.enable_x64(True):
        for k in range(DRAWS):
            rng = np.random.default_rng(k)
            env = {n.id: _draw(rng, n, k) for n in leaves}
            if any(value is None for value in env.values()):
                return None
            old = np.asarray(compute(change.old, dict(env), {}, wide=True))
            new = np.asarray(compute(change.form.node, dict(env), {}, wide=True))
            old, new = np.broadcast_arrays(old, new)
            good = np.isfinite(old) & np.isfinite(new)
            if not good.any():
                continue
            scale = np.abs(old[good]).max()
            gap = np.abs(old[good] - new[good]).max()
            worst = max(worst, float(gap / scale) if scale else float(gap))
            points += int(good.sum())
    return Agreement(worst, points) if points else None


def sources(change: Change) -> list[Node]:
    """The values that old and new form are functions of, none a function of another."""
    cut = {node.id for node in change.cut}
    while True:
        found = _reached(change, cut)
        behind = [_behind(node) for node in found]
        shared = {
            node.id
            for node, mine in zip(found, behind, strict=True)
            if node.id in cut and any(mine & o for o in behind if o is not mine)
        }
        if not shared:
            return found
        cut -= shared


def _reached(change: Change, cut: set[int]) -> list[Node]:
    assert change.form is not None
    found: dict[int, Node] = {}
    seen: set[int] = set()
    pending = [change.old, change.form.node]
    while pending:
        node = pending.pop()
        if node.id in seen or node.op in ("const", "literal"):
            continue
        seen.add(node.id)
        inner = node.id in cut and node is not change.old
        if inner or node.op == "input" or _whole(node):
            found[node.id] = node
        else:
            pending += node.args
    return list(found.values())


SEARCHED = 400  # nodes behind a value that are looked at for what it depends on


def _behind(node: Node) -> set[int]:
    seen: set[int] = set()
    inputs: set[int] = set()
    pending = [node]
    while pending and len(seen) < SEARCHED:
        here = pending.pop()
        if here.id in seen:
            continue
        seen.add(here.id)
        if here.op == "input" or _whole(here):
            inputs.add(here.id)
        else:
            pending += here.args
    return inputs


def _whole(node: Node) -> bool:
    control = node.equation is not None and node.equation.control is not None
    return control and node.fun is None


def _draw(rng: np.random.Generator, node: Node, k: int) -> Any:
    dtype = node.dtype
    if dtype is not None and np.dtype(dtype).kind == "b":
        return jnp.asarray(rng.random(node.shape) < 0.6)
    if dtype is not None and jnp.issubdtype(dtype, jnp.integer):
        return jnp.asarray(rng.integers(0, 2, node.shape)).astype(dtype)
    if not node.floating:
        return None
    if k % 3 == 0:
        return jnp.asarray(rng.uniform(0.05, 0.95, node.shape))
    return jnp.asarray(rng.normal(size=node.shape) * (0.3 if k % 3 == 1 else 2.0))
