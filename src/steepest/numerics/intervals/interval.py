"""What a user states about an argument: it holds numbers between two ends."""

import operator
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...core.errors import InputError


@dataclass(frozen=True)
class Interval:
    """Every array of this shape and dtype with all elements between `low` and `high`.

    The ends may be infinite, and then the elements may be so too; they may be arrays
    that broadcast to the shape.

    >>> Interval(-1, 1, (2, 3))
    Interval(low=-1.0, high=1.0, shape=(2, 3), dtype=dtype('float32'))
    """

    low: Any
    high: Any
    shape: tuple[int, ...] = ()
    dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        dtype, shape = _dtype(self.dtype), _shape(self.shape)
        low, high = _end(self.low, dtype, shape), _end(self.high, dtype, shape)
        wrong = low > high
        if wrong.any():
            i = int(np.argmax(wrong))
            pair = [float(np.broadcast_to(e, wrong.shape).flat[i]) for e in (low, high)]
            raise InputError(
                f"The interval [{pair[0]:g}, {pair[1]:g}] is empty; give the lower "
                "end first."
            )
        for name, value in (("low", low), ("high", high)):
            object.__setattr__(self, name, value.item() if not value.ndim else value)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "dtype", dtype)


def _dtype(dtype: Any) -> np.dtype:
    try:
        known = jnp.dtype(dtype)
    except TypeError as error:
        raise InputError(f"{dtype!r} is no dtype; give jnp.float32.") from error
    kinds = (jnp.floating, jnp.integer, jnp.bool_)
    if not any(jnp.issubdtype(known, kind) for kind in kinds):
        raise InputError(f"An interval of {known} is not ordered; give real numbers.")
    if known.itemsize == 8 and not getattr(jax.config, "jax_enable_x64"):  # noqa: B009
        raise InputError(
            f"{known} needs jax.config.update('jax_enable_x64', True), or give a "
            "32-bit dtype."
        )
    return known


def _shape(shape: Any) -> tuple[int, ...]:
    try:
        sizes = tuple(map(operator.index, shape))
    except TypeError as error:
        raise InputError(
            f"The shape of an interval is a tuple of integers; {shape!r} came."
        ) from error
    if any(n < 0 for n in sizes):
        raise InputError(f"The shape {sizes} has a negative size; use sizes above 0.")
    if 0 in sizes:
        raise InputError(f"The shape {sizes} holds no element; use sizes above 0.")
    return sizes


def _end(end: Any, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    try:
        value = np.asarray(end, np.float64)
        np.broadcast_to(value, shape)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The ends of an interval are numbers; {end!r} does not fit {shape}."
        ) from error
    if np.isnan(value).any():
        raise InputError("The ends of an interval are numbers; NaN came.")
    if jnp.issubdtype(dtype, jnp.floating):
        top = float(jnp.finfo(dtype).max)
        if (np.isfinite(value) & (abs(value) > top)).any():
            raise InputError(
                f"{float(np.max(abs(value))):g} does not fit {dtype}, which ends at "
                f"{top:g}; give a smaller end, or infinity."
            )
        return value
    least, most = (0, 1) if jnp.issubdtype(dtype, jnp.bool_) else _integers(dtype)
    whole = np.asarray(end)
    if not (np.isfinite(value) & (value == np.floor(value))).all():
        raise InputError(
            f"The ends of an interval of {dtype} are integers; {end} came."
        )
    if (value < least).any() or (value > most).any():
        raise InputError(f"{end} does not fit {dtype}, [{least}, {most}].")
    return whole.astype(np.int64 if dtype != np.uint64 else np.uint64)


def _integers(dtype: np.dtype) -> tuple[int, int]:
    info = jnp.iinfo(dtype)
    return int(info.min), int(info.max)
