"""The functions that rewritten programs call: those of `stable`, and a few compounds."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.scipy.special import erfc as erfc

from .. import stable as library


logical_not = jnp.logical_not
logistic = library.sigmoid  # jax.nn.sigmoid: the slope s(1 − s) loses its digits


def stable(name: str) -> Callable[..., Any]:
    """A function of `steepest.numerics.stable`."""
    return getattr(library, name)


def log_softmax(
    x: Any, T: Any = None, *, axis: Any = -1, tempered: bool = False
) -> Any:
    """log softmax(x / T); the maximum is taken out before the division."""
    if T is None:
        return library.log_softmax(x, axis=axis)
    top = lax.stop_gradient(jnp.max(x, axis=axis, keepdims=True))
    return library.log_softmax((x - top) / T, axis=axis)


def masked_log_softmax(x: Any, mask: Any, *, axis: Any = -1) -> Any:
    return library.log_softmax(x, axis=axis, where=mask)


def softmax_of(node: Any) -> Callable[..., Any]:
    """The softmax whose logarithm is this node."""

    def softmax(x: Any, other: Any = None, *, axis: Any = -1, tempered: Any = 0) -> Any:
        if other is None:
            return library.softmax(x, axis=axis)
        if tempered:
            top = lax.stop_gradient(jnp.max(x, axis=axis, keepdims=True))
            return library.softmax((x - top) / other, axis=axis)
        return library.softmax(x, axis=axis, where=other)

    return softmax


def weighted_logsumexp(x: Any, weights: Any, *, axis: Any = None) -> Any:
    return library.logsumexp(x, axis=axis, weights=weights)


def logcumsumexp(x: Any, *, axis: int, reverse: bool) -> Any:
    return lax.cumlogsumexp(x, axis=axis, reverse=reverse)


def cumsum(x: Any, *, axis: int, reverse: bool) -> Any:
    return lax.cumsum(x, axis=axis, reverse=reverse)


def total(x: Any, *, axis: Any) -> Any:
    return jnp.sum(x, axis=axis)


def log_dot(u: Any, w: Any, v: Any, z: Any, *, dims: Any, weighted: bool) -> Any:
    """log of the contraction of w·exp u with z·exp v."""
    (ca, cb), (ba, bb) = dims

    def aligned(x: Any, contract: Any, batch: Any, before: int, after: int) -> Any:
        free = [k for k in range(x.ndim) if k not in contract and k not in batch]
        x = jnp.transpose(x, (*batch, *free, *contract))
        shape, n = x.shape, len(batch)
        m = n + len(free)
        ones = (1,) * before, (1,) * after
        return x.reshape(shape[:n] + ones[0] + shape[n:m] + ones[1] + shape[m:])

    free_a = u.ndim - len(ca) - len(ba)
    free_b = v.ndim - len(cb) - len(bb)
    left = [aligned(x, ca, ba, 0, free_b) for x in (u, w)]
    right = [aligned(x, cb, bb, free_a, 0) for x in (v, z)]
    exponent = left[0] + right[0]
    axes = tuple(range(exponent.ndim - len(ca), exponent.ndim))
    weights = left[1] * right[1] if weighted else None
    return library.logsumexp(exponent, axis=axes, weights=weights)


# -- Differences and quotients with a removable or a saturating part -------------------


def exp_difference(a: Any, b: Any) -> Any:
    """exp a − exp b = exp(max)·(−expm1(−|a − b|)) with the sign of a − b."""
    over = a >= b
    d = jnp.where(over, b - a, jnp.zeros_like(a))
    e = jnp.where(over, jnp.zeros_like(a), a - b)
    return jnp.where(over, -jnp.exp(a) * jnp.expm1(d), jnp.exp(b) * jnp.expm1(e))


@jax.custom_jvp
def reciprocal_expm1(u: Any) -> Any:
    """1 / (exp u − 1), the Bose–Einstein function f; f′(u) = f(u)·f(−u)."""
    return 1 / jnp.expm1(u)


@reciprocal_expm1.defjvp
def _reciprocal_expm1_jvp(primals: Any, tangents: Any) -> Any:
    (u,), (du,) = primals, tangents
    f = reciprocal_expm1(u)
    # far out f underflows and the other factor is −1; at 0 both are poles
    return f, du * (f * reciprocal_expm1(-u))


def conjugate(d: Any, a: Any, b: Any) -> Any:
    """√a − √b = d / (√a + √b), d = a − b; 0 where all three are 0."""
    below = jnp.sqrt(a) + jnp.sqrt(b)
    safe = jnp.where(below == 0, jnp.ones_like(below), below)
    return d / safe


def log_quotient(d: Any, a: Any, b: Any) -> Any:
    """log(a / b) = log1p(d / b), d = a − b, where a and b are close."""
    near = jnp.abs(d) < jnp.abs(b) / 2
    one = jnp.ones_like(b)
    close = jnp.log1p(jnp.where(near, d, 0 * one) / jnp.where(near, b, one))
    a, b = jnp.where(near, one, a), jnp.where(near, one, b)
    return jnp.where(near, close, jnp.log(a) - jnp.log(b))


def log_near_one(d: Any, a: Any) -> Any:
    """log a = log1p(d), d = a − 1, where a is near 1."""
    near = jnp.abs(d) < 0.5
    close = jnp.log1p(jnp.where(near, d, jnp.zeros_like(d)))
    return jnp.where(near, close, jnp.log(jnp.where(near, jnp.ones_like(a), a)))


def power_near_one(d: Any, a: Any, t: Any) -> Any:
    """aᵗ = exp(t·log1p d), d = a − 1, where a is near 1."""
    near = jnp.abs(d) < 0.5
    close = jnp.exp(t * jnp.log1p(jnp.where(near, d, jnp.zeros_like(d))))
    return jnp.where(near, close, jnp.where(near, jnp.ones_like(a), a) ** t)


def power_minus_one(d: Any, a: Any, t: Any) -> Any:
    """aᵗ − 1 = expm1(t·log1p d), d = a − 1, where a is near 1."""
    near = jnp.abs(d) < 0.5
    close = jnp.expm1(t * jnp.log1p(jnp.where(near, d, jnp.zeros_like(d))))
    return jnp.where(near, close, jnp.where(near, jnp.ones_like(a), a) ** t - 1)


def difference_of_sines(a: Any, b: Any, d: Any) -> Any:
    return 2 * jnp.cos(b + d / 2) * jnp.sin(d / 2)


def difference_of_cosines(a: Any, b: Any, d: Any) -> Any:
    return -2 * jnp.sin(b + d / 2) * jnp.sin(d / 2)


def difference_of_tangents(a: Any, b: Any, d: Any) -> Any:
    return jnp.sin(d) / (jnp.cos(a) * jnp.cos(b))


def difference_of_arctangents(a: Any, b: Any, d: Any) -> Any:
    """arctan a − arctan b, with 1 + ab scaled so that it does not overflow."""
    s = jnp.maximum(jnp.maximum(jnp.abs(a), jnp.abs(b)), 1)
    s = lax.stop_gradient(s)
    return jnp.arctan2(d / s, 1 / s + (a / s) * b)


def difference_of_reciprocals(a: Any, b: Any, d: Any) -> Any:
    """1/a − 1/b."""
    return -(d / a) / b


def difference_of_roots(a: Any, b: Any, d: Any) -> Any:
    """∛a − ∛b."""
    p, q = jnp.cbrt(a), jnp.cbrt(b)
    below = p * p + p * q + q * q
    return d / jnp.where(below == 0, jnp.ones_like(below), below)


def difference_of_sigmoids(a: Any, b: Any, d: Any) -> Any:
    """σ(a) − σ(b) = −σ(a)·σ(−b)·(e^(−d) − 1), d = a − b."""
    near = jnp.abs(d) < 1
    close = -logistic(a) * logistic(-b) * jnp.expm1(jnp.where(near, -d, 0.0))
    return jnp.where(near, close, logistic(a) - logistic(b))


def difference_of_tanh(a: Any, b: Any, d: Any) -> Any:
    return 2 * difference_of_sigmoids(2 * a, 2 * b, 2 * d)


def root_less(P: Any, b: Any, e: Any) -> Any:
    """√P − b, e = P − b²: e/(√P + b) where b is positive."""
    positive = (b > 0) & (P > 0)
    p, c = jnp.where(positive, P, 1.0), jnp.where(positive, b, 1.0)
    close = jnp.where(positive, e, 0.0) / (jnp.sqrt(p) + c)
    P, b = jnp.where(positive, 1.0, P), jnp.where(positive, 1.0, b)
    return jnp.where(positive, close, jnp.sqrt(P) - b)


def apart(x: Any) -> Any:
    """The value, kept as it is: the compiler may not merge it with what follows."""
    return lax.optimization_barrier(x)


erf = jax.scipy.special.erf
log1p = jnp.log1p
arctanh = jnp.arctanh
sinh = jnp.sinh
cosh = jnp.cosh
tanh = jnp.tanh


def cross_moment(x: Any, y: Any, *, axis: Any) -> Any:
    """The mean over `axis` of (x − mean x)·(y − mean y)."""
    p = x - jnp.mean(x, axis=axis, keepdims=True)
    return jnp.mean(p * (y - jnp.mean(y, axis=axis, keepdims=True)), axis=axis)


def covariance(x: Any, y: Any, *, contract: tuple[int, int]) -> Any:
    """The covariances of all columns of x with all of y."""
    ca, cb = contract
    p = x - jnp.mean(x, axis=ca, keepdims=True)
    q = y - jnp.mean(y, axis=cb, keepdims=True)
    return lax.dot_general(p, q, (((ca,), (cb,)), ((), ()))) / x.shape[ca]


def sum_of_windows(x: Any, *, axis: int, start: Any, width: int, shape: Any) -> Any:
    """Σ of `width` entries along an axis, the first window just behind `start`."""
    first = [s + (k == axis) for k, s in enumerate(start)]
    sizes = [n + (width - 1) * (k == axis) for k, n in enumerate(shape)]
    last = [s + n for s, n in zip(first, sizes, strict=True)]
    ones = (1,) * x.ndim
    window = tuple(width if k == axis else 1 for k in range(x.ndim))
    kept = lax.slice(x, first, last)
    return lax.reduce_window(
        kept, np.zeros((), x.dtype), lax.add, window, ones, "VALID"
    )


def log_ndtr_difference(a: Any, b: Any) -> Any:
    """log(Φ(a) − Φ(b)), in the tail on whose side the two are."""
    flip = b > 0
    p, q = jnp.where(flip, -b, a), jnp.where(flip, -a, b)
    return library.logdiffexp(library.log_ndtr(p), library.log_ndtr(q))


def weighted_softmax(x: Any, w: Any, *, axis: Any) -> Any:
    """w·exp x / Σ w·exp x; entries without weight do not set the scale."""
    counted = jnp.where(w == 0, -jnp.inf, x)
    top = lax.stop_gradient(jnp.max(counted, axis=axis, keepdims=True))
    e = w * jnp.exp(x - jnp.where(jnp.isfinite(top), top, 0))
    return e / jnp.sum(e, axis=axis, keepdims=True)


def at_most_zero(x: Any) -> Any:
    return x <= 0


def is_zero(x: Any) -> Any:
    return x == 0


def log_abs_product(x: Any, *, axis: Any) -> Any:
    return jnp.sum(jnp.log(jnp.abs(x)), axis=axis)


def log_determinant(a: Any) -> Any:
    """log det a, NaN where it is negative."""
    sign, log_abs = jnp.linalg.slogdet(a)
    return jnp.where(sign < 0, jnp.nan, log_abs).astype(a.dtype)


def log_abs_determinant(a: Any) -> Any:
    return jnp.linalg.slogdet(a)[1]


#: Library functions with derivatives of their own, in whatever format they are given.
WIDE = {
    "det": jnp.linalg.det,
    "logaddexp": jnp.logaddexp,
    "logit": jax.scipy.special.logit,
    "relu": jax.nn.relu,
}
