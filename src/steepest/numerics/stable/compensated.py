"""Sums and running means that keep what rounding takes away.

    s = a + b,    e = (a − (s − (s − a))) + (b − (s − a))

gives a + b = s + e exactly (Knuth's two-sum), so that the errors can be added up beside
the sum. A sum of n terms then has an error of about one unit, whatever n is, where
a plain sum in bfloat16 stops at 256 ones. The compiler keeps these differences: it
does not re-associate sums of variables.

Ogita, Rump and Oishi (2005), Accurate sum and dot product.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Int

from ...core.errors import InputError, type_name
from ._forms import Axis, axes, count, refuse, rounded_once, squeezed
from ._softmax import Axes, over


def two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """s and e with a + b = s + e, s the rounded sum."""
    s = a + b
    part = s - a
    return s, (a - (s - part)) + (b - part)


def _add(one: tuple[Array, Array], two: tuple[Array, Array]) -> tuple[Array, Array]:
    s, e = two_sum(one[0], two[0])
    return s, one[1] + two[1] + e


def _joined(s: Array, e: Array) -> Array:
    return jnp.where(jnp.isfinite(s), s + e, s)


@over
def _sum(axis: Axes, x: Array) -> Array:
    moved = jnp.moveaxis(x, axis, tuple(range(len(axis))))
    rows = jnp.reshape(moved, (count(x, axis), *moved.shape[len(axis) :]))
    pair = (rows, jnp.zeros_like(rows))
    while (n := len(pair[0])) > 1:
        if n % 2:
            pair = tuple(jnp.concatenate([y, jnp.zeros_like(y[:1])]) for y in pair)
        half = (n + 1) // 2
        (s, e), (s2, e2) = ((y[:half] for y in pair), (y[half:] for y in pair))
        pair = _add((s, e), (s2, e2))
    total = _joined(*pair)[0] if len(rows) else jnp.zeros(rows.shape[1:], x.dtype)
    return jnp.expand_dims(total, axis)


@_sum.defjvp
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return _sum(axis, x), jnp.sum(t, axis, keepdims=True)


@over
def _cumsum(axis: int, x: Array) -> Array:
    pair = lax.associative_scan(_add, (x, jnp.zeros_like(x)), axis=axis)
    return _joined(*pair)


@_cumsum.defjvp
def _(axis: int, primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return _cumsum(axis, x), jnp.cumsum(t, axis)


@rounded_once(static=("axis", "keepdims"))
def sum_compensated(x: Array, /, axis: Axis = None, *, keepdims: bool = False) -> Array:
    """Σ x over `axis` (all axes if None), as if summed in twice the digits.

    >>> from steepest.numerics import stable
    >>> print(stable.sum_compensated([1e8, 1.0, -1e8]))
    1.0
    """
    axis = axes(x, axis)
    return squeezed(_sum(axis, x), axis, keepdims)


@rounded_once(static=("axis",))
def cumsum_compensated(x: Array, /, axis: int = -1) -> Array:
    """The partial sums along `axis`, each as if summed in twice the digits."""
    return _cumsum(axes(x, axis)[0], x)


class RunningSum(NamedTuple):
    """total + lost is the sum; `total` alone is its rounding."""

    total: Array
    lost: Array


class RunningMean(NamedTuple):
    """mean + lost is the mean of `count` values; `mean` alone is its rounding."""

    mean: Array
    lost: Array
    count: Int[Array, ""]


def _zeros(like: ArrayLike) -> Array:
    refuse("running_sum", like)
    zeros = jnp.zeros_like(jnp.asarray(like))
    if not jnp.issubdtype(zeros.dtype, jnp.floating):
        raise InputError(
            f"A running sum of {zeros.dtype} is exact as it is; give floating numbers."
        )
    return zeros


def running_sum(like: ArrayLike) -> RunningSum:
    """A sum of nothing, for values of the shape and type of `like`."""
    zeros = _zeros(like)
    return RunningSum(zeros, zeros)


def running_mean(like: ArrayLike) -> RunningMean:
    """A mean of nothing, for values of the shape and type of `like`."""
    zeros = _zeros(like)
    return RunningMean(zeros, zeros, jnp.zeros((), jnp.int32))


def add_to_sum(state: RunningSum, x: ArrayLike) -> RunningSum:
    """Add one value. The state may be half precision: what it rounds off is kept."""
    return _add_to_sum(state, _checked("add_to_sum", RunningSum, state, x))


def add_to_mean(state: RunningMean, x: ArrayLike) -> RunningMean:
    """Add one value: the mean moves by (x − mean)/count. An infinite mean stays."""
    return _add_to_mean(state, _checked("add_to_mean", RunningMean, state, x))


def _checked(name: str, kind: Any, state: Any, x: ArrayLike) -> Array:
    """One value of the shape and type of the state; `InputError` if it is none."""
    if not isinstance(state, kind):
        raise InputError(
            f"`{name}` adds to a {kind.__name__}; {type_name(state)} came."
        )
    refuse(name, x)
    value, like = jnp.asarray(x), state[0]
    try:
        return jnp.broadcast_to(value, like.shape).astype(like.dtype)
    except ValueError:
        raise InputError(
            f"A value of shape {value.shape} was added to a {kind.__name__} of shape "
            f"{like.shape}; start with `running_sum` or `running_mean` of one value."
        ) from None


@jax.jit
def _add_to_sum(state: RunningSum, x: Array) -> RunningSum:
    return RunningSum(*_moved(state.total, state.lost, x, jnp.ones((), jnp.float32)))


@jax.jit
def _add_to_mean(state: RunningMean, x: Array) -> RunningMean:
    n = state.count + 1
    wide = _wide(state.mean)
    mean, x = state.mean.astype(wide), x.astype(wide)
    away = jnp.where(jnp.isinf(mean) & ~jnp.isnan(x) & (x != -mean), 0.0, x - mean)
    step = away - state.lost.astype(wide)
    return RunningMean(*_moved(state.mean, state.lost, step, 1 / n), n)


def _wide(x: Array) -> Any:  # a dtype
    return jnp.float32 if jnp.finfo(x.dtype).bits < 32 else x.dtype


def _moved(total: Array, lost: Array, step: Array, by: Array) -> tuple[Array, Array]:
    """total + lost + step·by, split again into a rounded part and the rest.

    A narrow type is rounded explicitly: the compiler may keep more digits than it has.
    """
    info, wide = jnp.finfo(total.dtype), _wide(total)
    step = step.astype(wide) * by.astype(wide)
    if info.bits >= 32:
        s, e = two_sum(total, step)
        high, low = two_sum(s, lost + jnp.where(jnp.isfinite(s), e, 0.0))
    else:
        exact = total.astype(wide) + (lost.astype(wide) + step)
        high = lax.reduce_precision(exact, info.nexp, info.nmant)
        low = exact - high
    finite = jnp.isfinite(high)
    return high.astype(total.dtype), jnp.where(finite, low, 0.0).astype(total.dtype)
