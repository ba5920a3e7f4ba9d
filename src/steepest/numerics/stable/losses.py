"""Cross-entropy from logits: by class numbers, by distributions, focal, and binary.

    −log pₗ = log1p(r) − zₗ,    with z and r as in `softmax`,

never from probabilities, which lose their gradient where they round to 0 or 1.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike

from ...core.errors import InputError
from ._forms import along, axes, rounded_once
from ._softmax import (
    Axes,
    centred,
    log1m_softmax_of,
    log_softmax_of,
    log_total,
    over,
    shifted,
    softmax_of,
    top_of,
)
from .entropy import product
from .logistic import logistic, softplus_of


def surprisal(axis: Axes, x: Array, labels: Array) -> Array:
    """−log softmax(x) of the class `labels`; NaN for a class that there is not."""
    index = jnp.expand_dims(labels, axis)
    n = x.shape[axis[0]]
    return jnp.squeeze(
        _surprisal(axis, x, jnp.where(index < 0, index + n, index)), axis
    )


@over
def _surprisal(axis: Axes, x: Array, index: Array) -> Array:
    _, z = shifted(axis, x)
    return log_total(axis, z) - jnp.take_along_axis(z, index, axis[0])


@_surprisal.defjvp
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x, index), (t, _) = primals, tangents
    p, top = softmax_of(axis, x), top_of(axis, x)
    chosen = lax.broadcasted_iota(index.dtype, x.shape, axis[0]) == index
    rate = jnp.where(chosen, centred(axis, p, top, t), 0.0)
    empty = jnp.max(x, axis, keepdims=True, initial=-jnp.inf) == -jnp.inf
    slope = -jnp.sum(rate, axis, keepdims=True)
    return _surprisal(axis, x, index), jnp.where(empty, 0.0, slope)


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
    alpha = jnp.asarray(label_smoothing, logits.dtype)
    if _check_labels(logits, labels, over_axis):
        loss = surprisal(over_axis, logits, labels)
    else:
        weights = labels.astype(logits.dtype)
        loss = -jnp.sum(product(weights, log_softmax_of(over_axis, logits)), over_axis)
    if isinstance(label_smoothing, int | float) and label_smoothing == 0:
        return loss
    even = jnp.mean(log_softmax_of(over_axis, logits), over_axis)
    return (1 - alpha) * loss - product(alpha, even)


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
    index = jnp.expand_dims(labels, over_axis)
    rest = jnp.take_along_axis(log1m_softmax_of(over_axis, logits), index, over_axis[0])
    log_rest = jnp.squeeze(rest, over_axis)
    power = product(jnp.asarray(gamma).astype(logits.dtype), log_rest)
    return product(jnp.exp(power), surprisal(over_axis, logits, labels))


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
