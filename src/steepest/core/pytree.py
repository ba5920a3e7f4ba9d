"""Models of any framework as arrays that train, arrays that do not, and a way back.

    params, rest, merge = trainable(model)
    model = merge(params, rest)

`params` is a pytree of floating-point arrays alone, so that `jax.grad`, Optax and every
analysis here work on it as it is. `rest` holds the other arrays (integer tables,
normalisation statistics, random counters), which travel through `jit` but are not
trained. What is not an array stays inside `merge`.

What trains is, for a Flax NNX module, its `Param` variables; for any other pytree (a
dict, an Equinox module, a dataclass), its floating-point and complex arrays. One array
that stands twice in a dict is two parameters; a model that ties weights says so in its
structure (`eqx.nn.Shared`, NNX's shared variables), and then they stay tied.
"""

import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from .errors import InputError


class Trainable(NamedTuple):
    """A model taken apart."""

    params: PyTree  # arrays that train
    rest: PyTree  # arrays that do not
    merge: Callable[[PyTree, PyTree], PyTree]  # (params, rest) -> model
    split: Callable[[PyTree], tuple[PyTree, PyTree]]  # model -> (params, rest)


def trainable(model: PyTree) -> Trainable:
    """Take a model apart; see the module docstring.

    `split` reads the same two parts from another model of this structure, for instance
    from one whose normalisation statistics a forward pass has changed in place.

    Raises `InputError` when the model has no floating-point array.
    """
    taken = _nnx(model) if _is_nnx(model) else _plain(model)
    if not jax.tree.leaves(taken.params):
        raise InputError(
            "The model has no floating-point arrays, so there is nothing to train. "
            "Pass the pytree that holds the parameters (a dict of arrays, an Equinox "
            "or a Flax NNX module)."
        )
    return taken


def evaluation_mode(model: PyTree) -> PyTree:
    """The model as it predicts: dropout off, normalisation by running statistics.

    Equinox and Flax NNX say what that means; any other model is returned as it is.
    """
    if _is_nnx(model):
        nnx = sys.modules["flax.nnx"]
        graphdef, state = nnx.split(model)  # a copy: `eval` changes in place
        model = nnx.merge(graphdef, state)
        model.eval()
        return model
    return eqx.nn.inference_mode(model)


def paths(tree: PyTree) -> tuple[str, ...]:
    """A readable path for every leaf: `"layers[0].weight"`."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return tuple(_path(keys) for keys, _ in leaves)


def _path(keys: Any) -> str:
    parts = []
    for key in keys:
        match key:
            case jax.tree_util.SequenceKey(idx):
                parts.append(f"[{idx}]")
            case jax.tree_util.FlattenedIndexKey(idx):
                parts.append(f"[{idx}]")
            case jax.tree_util.DictKey(name) if isinstance(name, int):
                parts.append(f"[{name}]")
            case jax.tree_util.DictKey(name) | jax.tree_util.GetAttrKey(name):
                parts.append(f".{name}")
            case _:
                parts.append(str(key))
    text = "".join(parts).removeprefix(".").removesuffix(".value")
    return text or "parameters"


def _plain(model: PyTree) -> Trainable:
    arrays, static = eqx.partition(model, _is_array)
    arrays = jax.tree.map(jnp.asarray, arrays)

    def split(model: PyTree) -> tuple[PyTree, PyTree]:
        return eqx.partition(eqx.filter(model, _is_array), eqx.is_inexact_array)

    def merge(params: PyTree, rest: PyTree) -> PyTree:
        return eqx.combine(params, rest, static)

    return Trainable(*split(arrays), merge, split)


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array | np.ndarray | np.generic)


def _is_nnx(model: Any) -> bool:
    nnx = sys.modules.get("flax.nnx")
    return nnx is not None and isinstance(model, nnx.Module)


def _nnx(model: Any) -> Trainable:
    nnx: Any = sys.modules["flax.nnx"]
    graphdef, params, rest = nnx.split(model, nnx.Param, ...)

    def split(model: Any) -> tuple[PyTree, PyTree]:
        _, params, rest = nnx.split(model, nnx.Param, ...)
        return nnx.to_pure_dict(params), nnx.to_pure_dict(rest)

    def merge(new_params: PyTree, new_rest: PyTree) -> Any:
        # States are filled afresh: NNX writes into the variables that it is given.
        p, r = jax.tree.map(lambda x: x, (params, rest))
        nnx.replace_by_pure_dict(p, new_params)
        nnx.replace_by_pure_dict(r, new_rest)
        return nnx.merge(graphdef, p, r)

    return Trainable(nnx.to_pure_dict(params), nnx.to_pure_dict(rest), merge, split)
