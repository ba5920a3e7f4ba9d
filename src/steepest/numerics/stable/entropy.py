"""Entropy, divergence and cross-entropy, from probabilities and from logits.

With p and q the softmax of two rows of logits x and y, and u = log p − log q,

    H(p) = −Σ p log p,        ∂H/∂xᵢ = −pᵢ (xᵢ − Σ pⱼxⱼ)
    KL(p, q) = Σ p (e⁻ᵘ − 1 + u),        ∂KL/∂xᵢ = pᵢ(uᵢ − KL),    ∂KL/∂yᵢ = qᵢ − pᵢ.

The second line equals Σ p u, since Σ p e⁻ᵘ = Σ q = 1, and is a sum of terms that are all
≥ 0, where Σ p u cancels from the order of u to that of u² when p and q are close.

Convention: 0 log 0 = 0, and a class of probability 0 adds nothing. The derivative of
x log x at 0 is its limit, −inf.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from ...core.errors import InputError
from ._forms import (
    Axis,
    along,
    axes,
    derivatives,
    divide,
    log1p_of,
    rounded_once,
    squeezed,
)
from .differences import expm1_minus_of
from .logistic import logistic, logit_of, softplus_of
from .softmax import (
    Axes,
    centred,
    log1m_softmax_of,
    log_softmax_of,
    over,
    softmax_of,
    top_of,
)


def _xlogx(x: Array) -> Array:
    return jnp.where(x == 0, 0.0, x * jnp.log(jnp.where(x == 0, 1.0, x)))


xlogx_of = derivatives(_xlogx, lambda x: jnp.log(x) + 1)


@jax.custom_jvp
def xlogy_of(x: Array, y: Array) -> Array:
    empty = (x == 0) & ~jnp.isnan(y)
    return jnp.where(empty, 0.0, x * jnp.log(jnp.where(empty, 1.0, y)))


@partial(xlogy_of.defjvp, symbolic_zeros=True)
def _(primals: Any, tangents: Any) -> Any:
    (x, y), (tx, ty) = primals, tangents
    slope = along((lambda: jnp.log(y), tx), (lambda: divide(x, y), ty))
    return xlogy_of(x, y), slope


def product(weight: Array, value: Array) -> Array:
    """weight · value, where a weight of 0 silences an infinite value."""
    silent = (weight == 0) & jnp.isinf(value)
    return weight * jnp.where(silent, 0.0, value)


@over
def _entropy(axis: Axes, x: Array) -> Array:
    p = softmax_of(axis, x)
    return -jnp.sum(product(p, log_softmax_of(axis, x)), axis, keepdims=True)


@_entropy.defjvp
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    p, top = softmax_of(axis, x), top_of(axis, x)
    finite = jnp.where(jnp.isinf(x), 0.0, x)
    weight = p * centred(axis, p, top, finite)
    return _entropy(axis, x), -jnp.sum(weight * t, axis, keepdims=True)


@over
def _log_ratio(axis: Axes, x: Array, y: Array) -> Array:
    """log softmax(x) − log softmax(y), with the digits of x − y where they are close."""
    log_p, log_q = log_softmax_of(axis, x), log_softmax_of(axis, y)
    absent = (log_p == -jnp.inf) & (log_q == -jnp.inf)
    far = jnp.where(absent, 0.0, log_p) - jnp.where(absent, 0.0, log_q)
    q, top = softmax_of(axis, y), top_of(axis, y)
    d = centred(axis, q, top, x - y)
    close = jnp.max(jnp.abs(d), axis, keepdims=True, initial=0.0) < 1
    bend = jnp.sum(q * expm1_minus_of(jnp.where(close, d, 0.0)), axis, keepdims=True)
    return jnp.where(close, d - log1p_of(bend), far)


@_log_ratio.defjvp
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x, y), (tx, ty) = primals, tangents
    of_p = centred(axis, softmax_of(axis, x), top_of(axis, x), tx)
    of_q = centred(axis, softmax_of(axis, y), top_of(axis, y), ty)
    return _log_ratio(axis, x, y), of_p - of_q


def _excess(p: Array, q: Array, u: Array) -> Array:
    """q − p = p (e⁻ᵘ − 1)."""
    near = jnp.abs(u) < 0.5
    return jnp.where(near, p * jnp.expm1(-jnp.where(near, u, 0.0)), q - p)


@over
def _kl(axis: Axes, x: Array, y: Array) -> Array:
    p, q, u = softmax_of(axis, x), softmax_of(axis, y), _log_ratio(axis, x, y)
    near = jnp.abs(u) < 0.5
    close = p * expm1_minus_of(-jnp.where(near, u, 0.0))
    each = jnp.where(near, close, (q - p) + product(p, u))
    return jnp.sum(each, axis, keepdims=True)


@partial(_kl.defjvp, symbolic_zeros=True)
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x, y), (tx, ty) = primals, tangents
    p, q, u = softmax_of(axis, x), softmax_of(axis, y), _log_ratio(axis, x, y)
    value = _kl(axis, x, y)
    of_p, of_q = lambda: product(p, u - value), lambda: _excess(p, q, u)
    slope = along((of_p, tx), (of_q, ty))
    return value, jnp.sum(slope, axis, keepdims=True)


@rounded_once()
def xlogx(x: Array, /) -> Array:
    """x log x: 0 at 0, where the derivative log x + 1 is −inf; NaN below 0."""
    return xlogx_of(x)


@rounded_once(2)
def xlogy(x: Array, y: Array, /) -> Array:
    """x log y, and 0 where x = 0 whatever y is (a NaN passes).

    The derivatives are log y and x/y; at (0, 0) they are −inf and 0.
    """
    return xlogy_of(x, y)


@rounded_once()
def binary_entropy(p: Array, /) -> Array:
    """−p log p − (1 − p) log(1 − p), 0 at 0 and 1; derivative −logit(p)."""
    return _binary_entropy(p)


def _binary_entropy_value(p: Array) -> Array:
    rest = 1 - p
    of_rest = jnp.where(rest == 0, 0.0, rest * log1p_of(-jnp.where(rest == 0, 0.0, p)))
    return -_xlogx(p) - of_rest


_binary_entropy = derivatives(_binary_entropy_value, lambda p: -logit_of(p))


@rounded_once(static=("axis",))
def entropy_of_logits(x: Array, /, axis: Axis = -1) -> Array:
    """The entropy −Σ p log p of softmax(x), in nats."""
    axis = axes(x, axis)
    return squeezed(_entropy(axis, x), axis, False)


@rounded_once(2, static=("axis",))
def kl_of_logits(x: Array, y: Array, /, axis: Axis = -1) -> Array:
    """KL(softmax(x) ‖ softmax(y)) ≥ 0; inf where q = 0 < p."""
    axis = axes(x, axis)
    return squeezed(_kl(axis, x, y), axis, False)


def _of_label(values: Array, labels: Array, axis: Axes) -> Array:
    (a,) = axis
    index = jnp.expand_dims(labels, a)
    return jnp.squeeze(jnp.take_along_axis(values, index, a), a)


def _check_labels(logits: Array, labels: Array, axis: Axes) -> bool:
    """Whether the labels are class numbers; `InputError` if they are nothing of use."""
    rest = tuple(n for a, n in enumerate(logits.shape) if a not in axis)
    if jnp.issubdtype(labels.dtype, jnp.integer) and labels.shape == rest:
        return True
    if labels.shape != logits.shape:
        raise InputError(
            f"The labels have shape {labels.shape} and the logits {logits.shape}; give "
            f"class numbers of shape {rest}, or distributions of the shape of the logits."
        )
    return False


@rounded_once(static=("axis",))
def cross_entropy(
    logits: Array,
    labels: ArrayLike,
    /,
    *,
    label_smoothing: ArrayLike = 0.0,
    axis: int = -1,
) -> Array:
    """−Σ y log softmax(x) for class numbers or distributions y, one number a row.

    With `label_smoothing` α, y becomes (1 − α)y + α/n. A class of weight 0 adds
    nothing, even when its logit is −inf.
    """
    over_axis = axes(logits, axis)
    labels = jnp.asarray(labels)
    log_p = log_softmax_of(over_axis, logits)
    alpha = jnp.asarray(label_smoothing, logits.dtype)
    if _check_labels(logits, labels, over_axis):
        loss = -_of_label(log_p, labels, over_axis)
    else:
        weights = labels.astype(logits.dtype)
        loss = -jnp.sum(product(weights, log_p), over_axis)
    if isinstance(label_smoothing, int | float) and label_smoothing == 0:
        return loss
    return (1 - alpha) * loss - product(alpha, jnp.mean(log_p, over_axis))


@rounded_once(static=("axis",))
def focal_loss(
    logits: Array, labels: ArrayLike, /, gamma: ArrayLike = 2.0, *, axis: int = -1
) -> Array:
    """−(1 − p)^γ log p for the class numbers `labels`, with p = softmax(logits).

    1 − p is what the other classes have together, from `log1m_softmax`. Lin et al.
    (2017), Focal loss for dense object detection.
    """
    over_axis = axes(logits, axis)
    labels = jnp.asarray(labels)
    if not _check_labels(logits, labels, over_axis):
        raise InputError("`focal_loss` takes class numbers as labels.")
    log_p = _of_label(log_softmax_of(over_axis, logits), labels, over_axis)
    log_rest = _of_label(log1m_softmax_of(over_axis, logits), labels, over_axis)
    power = product(jnp.asarray(gamma).astype(logits.dtype), log_rest)
    return product(jnp.exp(power), -log_p)


@jax.custom_jvp
def _binary_cross_entropy(x: Array, y: Array) -> Array:
    return product(y, softplus_of(-x)) + product(1 - y, softplus_of(x))


@partial(_binary_cross_entropy.defjvp, symbolic_zeros=True)
def _(primals: Any, tangents: Any) -> Any:
    (x, y), (tx, ty) = primals, tangents
    of_x = lambda: (1 - y) * logistic(x) - y * logistic(-x)
    return _binary_cross_entropy(x, y), along((of_x, tx), (lambda: -x, ty))


@rounded_once(2)
def binary_cross_entropy(logit: Array, target: Array, /) -> Array:
    """y softplus(−x) + (1 − y) softplus(x), for a target y in [0, 1].

    Two terms ≥ 0, where softplus(x) − xy is a difference that is 0 for y = 1, x > 17.
    """
    return _binary_cross_entropy(logit, target)
