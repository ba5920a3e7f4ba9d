"""Where batches come from: an order of examples, or the user's own iterable.

Arrays are read along one endless sequence of indices: every epoch's permutation, one
after the other, cut into batches. So no example is dropped and every batch has one
shape. The permutation of an epoch is a function of (seed, epoch), and the batches of
step t of t alone, which makes a resumed run see what an unbroken one would have seen.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PyTree

from ..core.errors import InputError
from .problem import Problem, batches_of
from .recipe import Recipe


class Order:
    """The endless sequence of example indices; `take(step)` is a batch of it."""

    def __init__(self, examples: int, recipe: Recipe) -> None:
        self.examples = examples
        self.size = min(recipe.batch_size, examples)
        self.accumulate = recipe.accumulate
        self.shuffle, self.seed = recipe.shuffle, recipe.seed
        self._epochs: dict[int, Int[np.ndarray, " n"]] = {}

    def take(self, step: int) -> Int[np.ndarray, "accumulate batch"]:
        """The indices of the batches of update `step`."""
        per_update = self.size * self.accumulate
        at = np.arange(step * per_update, (step + 1) * per_update, dtype=np.int64)
        epoch, place = np.divmod(at, self.examples)
        parts = [self.permutation(int(e))[place[epoch == e]] for e in np.unique(epoch)]
        flat = np.concatenate(parts).astype(np.int32)
        return flat.reshape(self.accumulate, self.size)

    def permutation(self, epoch: int) -> Int[np.ndarray, " n"]:
        """The order of the examples in an epoch."""
        if not self.shuffle:
            return np.arange(self.examples)
        if epoch not in self._epochs:
            generator = np.random.default_rng((self.seed, epoch))
            self._epochs = {e: p for e, p in self._epochs.items() if e >= epoch - 1} | {
                epoch: generator.permutation(self.examples)
            }
        return self._epochs[epoch]


def stacked(problem: Problem, recipe: Recipe, model: PyTree) -> Iterator[PyTree]:
    """Batches of an iterable, `accumulate` at a time, stacked on a new first axis.

    A source that makes a new iterable for each call is asked again when it ends; a
    plain iterator ends the run.
    """
    group: list[Any] = []
    while True:
        empty = True
        for batch in batches_of(problem.data, model):
            empty = False
            group.append(jax.tree.map(jnp.asarray, batch))
            if len(group) == recipe.accumulate:
                yield jax.tree.map(lambda *a: jnp.stack(a), *group)
                group = []
        if empty:
            return
        if iter_is_spent(problem):
            return


def iter_is_spent(problem: Problem) -> bool:
    """Whether the data are an iterator, which can be read only once."""
    data = problem.data
    return not callable(data) and iter(data) is data


def examples_in(source: PyTree) -> int:
    """The number of examples in a pytree of arrays."""
    sizes = {leaf.shape[0] for leaf in jax.tree.leaves(source)}
    if len(sizes) != 1:
        raise InputError(f"The arrays have different numbers of examples: {sizes}.")
    return sizes.pop()
