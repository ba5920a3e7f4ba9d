"""What the parameters and the inputs of a program may become: the specs of an audit.

The data that a program was given are a sample, and its first parameters are where it
starts. Each input feature therefore ranges over its values in the data and half their
width beyond them, each parameter array over `REACH` times its largest entry (or the
largest of any array, for one that starts at zero), both ways. Targets and everything
that is no floating-point number stay as they are.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ...numerics.intervals import Interval
from ...training import Problem
from ...training.problem import split
from .reading import batch_of, objective


REACH = 8.0  # weights of trained networks against those of their initialisation
BEYOND = 0.5  # of the width of the data, on either side
EXAMPLES = 8


def ranges(
    problem: Problem, examples: int = EXAMPLES
) -> tuple[Callable[[PyTree, PyTree], Any], tuple[PyTree, PyTree]]:
    """The loss as a function of parameters and batch, and the specs of both."""
    params, loss = objective(problem)
    batch = batch_of(problem, examples)
    inputs, _ = split(problem, batch)
    free = {id(leaf) for leaf in jax.tree.leaves(inputs)}

    def data(leaf: Any) -> Any:
        if id(leaf) not in free or not jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf
        low, high = finite_ends(leaf)
        width = BEYOND * (high - low)
        return interval(low - width, high + width, leaf)

    sizes = [np.abs(finite_ends(leaf)).max() for leaf in jax.tree.leaves(params)]
    most = max(sizes, default=0.0) or 1.0

    def weights(leaf: Any) -> Any:
        size = REACH * (float(np.abs(finite_ends(leaf)).max()) or most)
        return interval(-size, size, leaf)

    return loss, (jax.tree.map(weights, params), jax.tree.map(data, batch))


def finite_ends(leaf: Any) -> tuple[float, float]:
    values = np.asarray(leaf).astype(np.float64)
    values = values[np.isfinite(values)]
    return (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)


def interval(low: float, high: float, leaf: Any) -> Interval:
    """An `Interval` like an array, its ends inside of the array's format."""
    info = jnp.finfo(leaf.dtype)
    low, high = max(low, float(info.min)), min(high, float(info.max))
    return Interval(low, high, tuple(leaf.shape), leaf.dtype)
