"""Nodes as numbers: an expression evaluated from the values of its leaves."""

from collections.abc import Mapping, MutableMapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...core import jaxpr
from .expression import Node


def compute(
    node: Node,
    env: MutableMapping[int, Any],
    replaced: Mapping[int, Node],
    wide: bool = False,
    busy: frozenset[int] = frozenset(),
) -> Any:
    """The value of `node`; `env` holds what is known, by the number of the node.

    A node with a stable form in `replaced` is computed by it. With `wide`, what was
    float32 or shorter is computed in float64.
    """
    if node.id in env:
        return env[node.id]
    if node.op == "const":
        return _constant(node, wide)
    if node.op == "literal":
        return _widened(jnp.asarray(node.array)) if wide else node.array
    form = replaced.get(node.id)
    if form is not None and node.id not in busy:
        value = compute(form, env, replaced, wide, busy | {node.id})
        value = fit(value, node, wide)
    else:
        args = [compute(a, env, replaced, wide, busy) for a in node.args]
        value = _apply(node, args, wide)
    env[node.id] = value
    return value


def _constant(node: Node, wide: bool) -> Any:
    dtype = np.float64 if wide and node.floating else node.dtype
    value = np.asarray(node.value).astype(dtype)
    return jnp.full(node.shape, value) if node.shape else jnp.asarray(value)


def _apply(node: Node, args: list[Any], wide: bool) -> Any:
    if wide and node.op in ("convert_element_type", "float32", "float16", "bfloat16"):
        (x,) = args
        wanted = jnp.float64 if node.floating else node.dtype
        return x.astype(wanted)
    if node.fun is not None:
        return node.fun(*args)
    assert node.equation is not None, f"{node.op} has nothing to compute it"
    if not wide:
        return node.equation.bind(*args)[node.result]
    args = [_widened(jnp.asarray(a)) for a in args]
    return jaxpr.bind_wide(node.equation, *args)[node.result]


def _widened(x: Any) -> Any:
    return x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x


def fit(value: Any, node: Node, wide: bool = False) -> Any:
    """The value in the shape and dtype of the node that it stands for."""
    value = jnp.asarray(value)
    if not wide and value.dtype != node.dtype:
        value = value.astype(node.dtype)
    if value.shape != node.shape:
        value = jnp.broadcast_to(value, node.shape)
    return value
