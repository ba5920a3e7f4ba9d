"""A trained model, ready to predict, to be saved and to be loaded."""

import os
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import PyTree

from ..core import archive, pytree
from ..core.errors import InputError
from .problem import Problem, predictor


SCHEMA = 1


@dataclass(frozen=True)
class Fitted:
    """What `fit` returns beside the record: the model after training, and its state."""

    model: PyTree
    state: PyTree
    problem: Problem

    def __repr__(self) -> str:
        return f"<Fitted {self.problem.name}: {type(self.model).__name__}>"

    def predict(self, x: PyTree) -> PyTree:
        """The model's outputs in evaluation mode.

        Raises `InputError` when the problem has no `predict`.
        """
        run = predictor(self.problem)
        if run is None:
            raise InputError("This problem has no `predict`; give it one to predict.")
        return run(self.model, x, self.state)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters and state to `path`, whole or not at all; no pickle."""
        archive.write(path, "model", SCHEMA, *pack(_parts(self.model, self.state)))

    @classmethod
    def load(cls, path: str | os.PathLike[str], like: Problem) -> "Fitted":
        """Read what `save` wrote into the model of the problem `like`.

        Raises `InputError` when the file is damaged or was written for another model.
        """
        taken = pytree.trainable(like.model)
        old = _parts(like.model, like.state)
        packed = archive.read(path, "model", SCHEMA)
        try:
            params, rest, state = unpack(packed, old, path)
        except InputError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(
                f"`{path}` is damaged: parts of the model are missing."
            ) from error
        return cls(taken.merge(params, rest), state, like)


def _parts(model: PyTree, state: PyTree) -> PyTree:
    taken = pytree.trainable(model)
    return (taken.params, taken.rest, state)


def pack(tree: PyTree) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The leaves of a pytree as arrays by path; random keys as their bits."""
    arrays, keys = {}, {}
    for name, leaf in zip(_names(tree), jax.tree.leaves(tree), strict=True):
        if is_key(leaf):
            keys[name] = str(jax.random.key_impl(leaf))
            leaf = jax.random.key_data(leaf)
        arrays[name] = np.asarray(leaf)
    return arrays, {"keys": keys}


def unpack(packed: archive.Archive, like: PyTree, path: Any) -> PyTree:
    """The inverse of `pack`, in the structure of `like`, which it must fit."""
    arrays, meta = packed
    names, leaves = _names(like), jax.tree.leaves(like)
    extra = sorted(set(arrays) - set(names))
    if extra:
        raise InputError(
            f"`{path}` was written for another model: it has `{extra[0]}`, which the "
            "model here has not."
        )
    new = []
    for name, leaf in zip(names, leaves, strict=True):
        if name not in arrays:
            raise InputError(
                f"`{path}` was written for another model: it has no `{name}`."
            )
        value = arrays[name]
        if name in meta["keys"]:
            bits = jax.numpy.asarray(value)
            new.append(jax.random.wrap_key_data(bits, impl=meta["keys"][name]))
            continue
        if value.shape != np.shape(leaf):
            raise InputError(
                f"`{path}` was written for another model: `{name}` has shape "
                f"{list(value.shape)} there and {list(np.shape(leaf))} here."
            )
        if is_key(leaf) or value.dtype != jax.numpy.asarray(leaf).dtype:
            raise InputError(
                f"`{path}` was written for another model: `{name}` is {value.dtype} "
                f"there and {leaf.dtype} here."
            )
        new.append(jax.numpy.asarray(value))
    return jax.tree.unflatten(jax.tree.structure(like), new)


def is_key(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jax.dtypes.issubdtype(
        leaf.dtype, jax.dtypes.prng_key
    )


def _names(tree: PyTree) -> list[str]:
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    return [jax.tree_util.keystr(keys) for keys, _ in pairs]
