"""A value of a program and its shadow in float64."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from .wide import widened


class Pair(NamedTuple):
    """A value of the program and its shadow; one and the same if it is no float."""

    native: Any
    wide: Any


def paired(x: Any) -> Pair:
    extended = jax.dtypes.issubdtype(getattr(x, "dtype", None), jax.dtypes.extended)
    x = x if extended else jnp.asarray(x)
    return Pair(x, widened(x))
