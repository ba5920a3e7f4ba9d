"""What a case of the corpus is, and the short words that its tables are written in.

A case is a formula as users write it, ranges of its inputs that a user would state, one
input where it fails, and the truth there: a formula of its own in mpmath, written by
hand and not read off the program. Failing points of which no finite truth exists (a
true pole) have `truth=None`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
import ml_dtypes
import numpy as np
from mpmath import mp, mpf

from steepest.numerics.intervals import Interval


class Case(NamedTuple):
    id: str
    fun: Callable  # the naive form; one output array
    specs: tuple  # Interval or array: realistic, with the failing region inside
    witness: tuple  # one failing input
    truth: Callable | None  # of the witness in mpf (nested lists for arrays)
    gradient: bool  # what fails is the gradient of sum(fun) by its first argument
    blame: tuple[str, ...]  # acceptable primitives
    kinds: tuple[str, ...]  # acceptable kinds
    stable: Callable | None  # the right form
    note: str = ""


LOSS = ("cancellation", "absorption", "saturation", "sensitivity", "accumulation")
"""Kinds of a loss of digits: what one reader calls by one name, another calls by two."""
INFINITE = ("inf/inf", "inf-inf", "0*inf", "∞/∞", "∞−∞", "0·∞")
ZERO = ("underflow", "pole", "0/0", *INFINITE, *LOSS)
"""What an exact zero where none should be leads to."""
HUGE = ("overflow", "pole", *INFINITE)
"""What an infinity where none should be leads to."""


def span(low: float, high: float, *shape: int, dtype: Any = jnp.float32) -> Interval:
    """All arrays of this shape with entries in [low, high]."""
    return Interval(low, high, shape, dtype)


def f32(value: Any) -> np.ndarray:
    return np.asarray(value, np.float32)


def f16(value: Any) -> np.ndarray:
    return np.asarray(value, np.float16)


def bf16(value: Any) -> np.ndarray:
    return np.asarray(value, ml_dtypes.bfloat16)


def exactly(value: Any) -> Any:
    """An array as nested lists of mpf, each the exact value of its float."""
    array = np.asarray(value)
    if array.ndim:
        return [exactly(row) for row in array]
    return mpf(float(array))


def true(case: Case, witness: tuple | None = None, digits: int = 200) -> Any:
    """The truth of a case as a float64 array, at its witness or at another input."""
    assert case.truth is not None
    with mp.workdps(digits):
        values = case.truth(*map(exactly, witness or case.witness))
        return np.asarray(_floats(values), np.float64)


def _floats(value: Any) -> Any:
    return [_floats(v) for v in value] if isinstance(value, list) else float(value)


# -- Mathematics that many truths need -----------------------------------------------


def lse(values: list) -> Any:
    """log Σ exp v."""
    top = max(values)
    return top + mp.log(sum(mp.exp(v - top) for v in values))


def softmax(values: list) -> list:
    total = lse(values)
    return [mp.exp(v - total) for v in values]


def sigmoid(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def cdf(x: Any) -> Any:
    """Φ(x), with the digits of its tail."""
    return mp.erfc(-x / mp.sqrt(2)) / 2


def pdf(x: Any) -> Any:
    return mp.exp(-x * x / 2) / mp.sqrt(2 * mp.pi)


def dot(a: list, b: list) -> Any:
    return sum(x * y for x, y in zip(a, b, strict=True))


def mean(values: list) -> Any:
    return sum(values) / len(values)


def variance(values: list) -> Any:
    centre = mean(values)
    return mean([(v - centre) ** 2 for v in values])
