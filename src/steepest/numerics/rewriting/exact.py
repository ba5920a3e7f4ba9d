"""The constants of a program before they were rounded to its format.

In log(1e-10 + 1 − p) Python adds the constants, and JAX makes the float32 number 1 of
the sum: the ε is gone from the program. Traced once more for float64 inputs, the same
function shows it. Only constants whose rounding matters are looked for: a sum or a
difference with a number that is 1 in the format of the program, or 0 in it.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ...core import jaxpr


Exact = dict[tuple[int, ...], tuple[float | None, ...]]


def exact_constants(
    fun: Callable[..., Any], args: Any, kwargs: Any, closed: jaxpr.Closed
) -> Exact:
    """Addresses of equations, and their constants where rounding changed them."""
    sums = [e for e in jaxpr.equations(closed) if e.primitive in ("add", "sub")]
    suspects = {
        e.address: jaxpr.literals(e)
        for e in sums
        if any(c in (0.0, 1.0, -1.0) for c in jaxpr.literals(e))
    }
    if not suspects:
        return {}
    try:
        with jax.enable_x64(True):
            wide_args, wide_kwargs = jax.tree.map(_wide, (args, kwargs))
            wide = jaxpr.trace(fun, *wide_args, **wide_kwargs).closed
    except Exception:  # a program that is not for float64 keeps its constants
        return {}
    found: Exact = {}
    for e in jaxpr.equations(wide):
        narrow = suspects.get(e.address)
        values = jaxpr.literals(e)
        if narrow is None or len(narrow) != len(values):
            continue
        if e.primitive not in ("add", "sub"):
            continue
        if any(_lost(a, b) for a, b in zip(narrow, values, strict=True)):
            found[e.address] = values
    return found


def _lost(narrow: float | None, wide: float | None) -> bool:
    return narrow is not None and wide is not None and narrow != wide


def _wide(leaf: Any) -> Any:
    if not hasattr(leaf, "dtype") or not jnp.issubdtype(leaf.dtype, jnp.floating):
        return leaf
    weak = bool(getattr(leaf, "weak_type", False))
    return jax.ShapeDtypeStruct(leaf.shape, jnp.float64, weak_type=weak)
