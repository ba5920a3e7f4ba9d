"""What the gradient can reach, and affine maps with nothing between them.

A parameter learns if a path of differentiable operations leads from it to the loss. Two
affine maps in a row, W₂(W₁x + b₁) + b₂, are one.

Reference: Goodfellow, Bengio & Courville (2016), Deep Learning, §§6.1, 6.5.
"""

import jax
import numpy as np

from ...core import pytree
from ...core.graph import MOVES, Node, Value
from ...training import Problem
from .reading import AFFINE, CUTS, SIZES, Fact, Reading, batch_of, objective, where


def without_gradient(problem: Problem, r: Reading) -> Fact:
    """Parameters that the loss does not depend on through anything differentiable.

    A function may bring a derivative of its own (a straight-through rounding), so what
    the program seems to cut must also have a gradient of exactly zero.
    """
    frozen = tuple(problem.notes.get("frozen", ()))
    ends = {v.id for v in r.graph.outputs}
    alive = set(ends)
    for node in reversed(r.graph.nodes):
        if node.primitive not in CUTS and any(v.id in alive for v in node.outputs):
            alive.update(v.id for v in node.inputs if _differentiable(v))
    found = []
    for leaf, path in zip(r.leaves, r.paths, strict=True):
        if leaf.id in alive or any(_within(path, f) for f in frozen):
            continue
        cut = [n for n in r.graph.nodes if n.primitive in CUTS and leaf.id in _ids(n)]
        kind = (
            cut[0].primitive
            if cut
            else ("unused" if leaf.id not in r.graph.users else "cut")
        )
        place = where(cut[0]) if cut else ""
        found.append({"path": path, "by": kind, "place": place, "size": leaf.size})
    if not found:
        return found
    moved = _has_gradient(problem)
    return [f for f in found if f["path"] not in moved]


def _within(path: str, parent: str) -> bool:
    """Whether a parameter's path is `parent` or lies inside of it."""
    return path == parent or path.startswith((f"{parent}.", f"{parent}["))


def _has_gradient(problem: Problem) -> set[str]:
    """Paths of the parameters whose gradient on a small batch is not zero."""
    params, loss = objective(problem)
    gradient = jax.jit(jax.grad(loss))(params, batch_of(problem, SIZES[0]))
    pairs = zip(pytree.paths(params), jax.tree.leaves(gradient), strict=True)
    return {path for path, g in pairs if np.asarray(g).any()}


def _ids(node: Node) -> set[int]:
    return {v.id for v in node.inputs}


def _differentiable(value: Value) -> bool:
    return value.dtype is not None and jax.numpy.issubdtype(
        value.dtype, jax.numpy.inexact
    )


def linear_stack(problem: Problem, r: Reading) -> Fact:
    """Affine maps that feed one another with nothing between them.

    Both have weights of their own. A bottleneck (a map to fewer units than both its
    ends have) and a convolution by channel before one by pixel are factorisations that
    someone meant, and are left out.
    """
    found = []
    for node in r.graph.nodes:
        if node.primitive not in AFFINE or not _weighted(r, node):
            continue
        data = _data_side(r, node)
        value = data
        for _ in range(12):
            value = r.graph.origin(value, MOVES)
            behind = r.graph.maker.get(value.id)
            if behind is None or len(r.graph.users.get(value.id, [])) > 1:
                break
            if behind.primitive in AFFINE:
                factors = _bottleneck(r, behind, node) or _by_channel(behind, node)
                if _weighted(r, behind) and not factors:
                    found.append({"place": where(node), "first": where(behind)})
                break
            side = [i for i in behind.inputs if i.id in r.inputs]
            if behind.primitive != "add" or len(side) != 1:
                break
            value = side[0]
    return found


def _weighted(r: Reading, node: Node) -> bool:
    """One operand is parameters alone, the other depends on the inputs."""
    a, b = node.inputs[:2]
    pure = [v.id in r.params and v.id not in r.inputs for v in (a, b)]
    return sum(pure) == 1 and any(v.id in r.inputs for v in (a, b))


def _data_side(r: Reading, node: Node) -> Value:
    a, b = node.inputs[:2]
    return a if a.id in r.inputs else b


def _bottleneck(r: Reading, first: Node, second: Node) -> bool:
    inner = first.outputs[0].size
    return inner < _data_side(r, first).size and inner < second.outputs[0].size


def _by_channel(*nodes: Node) -> bool:
    """Whether one of the maps is a grouped convolution, as in a separable one."""
    return any(n.equation.params.get("feature_group_count", 1) > 1 for n in nodes)
