"""Running a case as its user would: its value or its gradient, eagerly or compiled."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from .case import Case, true


def program(case: Case, fun: Callable | None = None) -> Callable:
    """What the case computes: `fun`, or the gradient of its sum by the first argument."""
    fun = fun or case.fun
    if not case.gradient:
        return fun
    return jax.grad(lambda *args: jnp.sum(fun(*args)))


def run(case: Case, fun: Callable | None = None, *, jit: bool = False) -> np.ndarray:
    """The result at the witness, in float64."""
    f = program(case, fun)
    f = jax.jit(f) if jit else f
    return np.asarray(f(*map(jnp.asarray, case.witness)), np.float64)


def error(case: Case, result: np.ndarray) -> float:
    """The greatest error of an element, relative to the truth.

    Below the smallest normal number of the result's format, to which hardware that
    flushes subnormals has a right, errors are relative to that number. Infinite where
    the result is not finite.
    """
    if not np.isfinite(result).all():
        return np.inf
    if case.truth is None:
        return 0.0
    truth = true(case)
    assert truth.shape == result.shape, (truth.shape, result.shape)
    format = jnp.finfo(case.witness[0].dtype)
    scale = np.maximum(np.abs(truth), float(format.tiny) / float(format.eps))
    return float(np.max(np.abs(result - truth) / scale, initial=0.0))
