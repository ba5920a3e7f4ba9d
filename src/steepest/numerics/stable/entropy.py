"""Entropy and divergence, from probabilities and from logits.

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
from jaxtyping import Array

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
from ._softmax import (
    Axes,
    centred,
    log_softmax_of,
    over,
    softmax_of,
    top_of,
)
from .differences import expm1_minus_of
from .logistic import logit_of


def _xlogx(x: Array) -> Array:
    return jnp.where(x == 0, 0.0, x * jnp.log(jnp.where(x == 0, 1.0, x)))


xlogx_of = derivatives(_xlogx, lambda x: jnp.log(x) + 1, lambda x: 1 / jnp.abs(x))


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
    never = jnp.where(u == jnp.inf, jnp.inf, -jnp.inf)  # where q = 0 < p somewhere
    rate = jnp.where(value == jnp.inf, never, u - value)
    of_p, of_q = lambda: product(p, rate), lambda: _excess(p, q, u)
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
    """KL(softmax(x) ‖ softmax(y)) ≥ 0; inf where q = 0 < p.

    There the derivative by x is inf for the classes of q = 0, and −inf for the others.
    """
    axis = axes(x, axis)
    return squeezed(_kl(axis, x, y), axis, False)
