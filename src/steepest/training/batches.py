"""Where batches come from: an order of examples, or the user's own iterable.

Arrays are read along one endless sequence of indices: every epoch's permutation, one
after the other, cut into batches. So no example is dropped and every batch has one
shape. The permutation of an epoch is a function of (seed, epoch), and the batches of
step t of t alone, which makes a resumed run see what an unbroken one would have seen.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int, PyTree

from ..core.errors import InputError
from .problem import Problem, batches_of
from .recipe import Recipe
from .stream import Stream


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
        return self.block(step, 1)[0]

    def block(
        self, first: int, count: int
    ) -> Int[np.ndarray, "count accumulate batch"]:
        """The indices of `count` updates from `first` on."""
        per_update = self.size * self.accumulate
        begin, end = first * per_update, (first + count) * per_update
        parts, n = [], self.examples
        for epoch in range(begin // n, -(-end // n)):
            low, high = max(begin - epoch * n, 0), min(end - epoch * n, n)
            parts.append(self.permutation(epoch)[low:high])
        flat = np.concatenate(parts).astype(np.int32)
        return flat.reshape(count, self.accumulate, self.size)

    def permutation(self, epoch: int) -> Int[np.ndarray, " n"]:
        """The order of the examples in an epoch."""
        if not self.shuffle:
            return np.arange(self.examples)
        if epoch not in self._epochs:
            if len(self._epochs) > 1:
                del self._epochs[next(iter(self._epochs))]
            generator = np.random.default_rng((self.seed, epoch))
            self._epochs[epoch] = generator.permutation(self.examples)
        return self._epochs[epoch]


def stacked(
    problem: Problem, recipe: Recipe, model: Callable[[], PyTree]
) -> Iterator[PyTree]:
    """Batches of an iterable, `accumulate` at a time, stacked on a new first axis.

    A source that makes a new iterable for each call is asked again when it ends, with
    the model as it is then; an iterator ends the run.
    """
    group: list[Any] = []
    source = problem.data
    while True:
        empty = True
        if isinstance(source, Stream):
            batches = source.take()
        else:
            batches = batches_of(source, model() if callable(source) else None)
        for batch in batches:
            empty = False
            group.append(jax.tree.map(on_host, batch))
            if len(group) == recipe.accumulate:
                yield jax.tree.map(_stack, *group)
                group = []
        if empty or isinstance(source, Stream):
            return


def on_host(leaf: Any) -> Any:
    """An array of any library (a torch tensor, a list of numbers) as JAX takes it."""
    return leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)


def _stack(*leaves: Any) -> Any:
    if len({leaf.shape for leaf in leaves}) > 1:
        raise InputError(
            f"Batches of different shapes cannot be accumulated: "
            f"{sorted({leaf.shape for leaf in leaves})}. Drop the last, smaller batch."
        )
    host = all(isinstance(leaf, np.ndarray) for leaf in leaves)
    return np.stack(leaves) if host else jnp.stack(leaves)


def examples_in(source: PyTree) -> int:
    """The number of examples in a pytree of arrays."""
    sizes = {leaf.shape[0] for leaf in jax.tree.leaves(source)}
    if len(sizes) != 1:
        raise InputError(f"The arrays have different numbers of examples: {sizes}.")
    return sizes.pop()
