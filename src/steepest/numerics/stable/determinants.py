"""Logarithms of determinants and of long products.

    log|det A| = Σ log|diag U|,    ∂ log|det A| = tr(A⁻¹ ∂A)
    log Π x = (Σ e) log 2 + Σ log f    with x = f · 2ᵉ, f in [1/√2, √2),

since the product itself overflows or vanishes after a few factors. In the second
form the large parts are integers, added without error, so that factors whose
product is near 1 leave their digits.

Convention: a singular matrix has log-determinant −inf with derivative 0.
"""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike

from ...core.errors import InputError
from ._forms import Axis, axes, rounded_once, squeezed
from ._softmax import Axes, masked, over


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _log_determinant(positive: bool, A: Array) -> Array:
    if positive:
        L = jnp.linalg.cholesky(A)
        diagonal = jnp.diagonal(L, axis1=-2, axis2=-1)
        return 2 * _log_of_product((diagonal.ndim - 1,), diagonal)[..., 0]
    _, logarithm = jnp.linalg.slogdet(A)
    return logarithm


@_log_determinant.defjvp
def _(positive: bool, primals: Any, tangents: Any) -> Any:
    (A,), (T,) = primals, tangents
    value = _log_determinant(positive, A)
    singular = jnp.isinf(value)[..., None, None]
    regular = jnp.where(singular, jnp.eye(A.shape[-1], dtype=A.dtype), A)
    slope = jnp.trace(jnp.linalg.solve(regular, T), axis1=-2, axis2=-1)
    return value, jnp.where(jnp.isinf(value), 0.0, slope)


def _log_of_product(axis: Axes, x: Array) -> Array:
    """log Π|x|."""
    fraction, exponent = jnp.frexp(jnp.abs(x))
    low = fraction < math.sqrt(0.5)
    fraction = jnp.where(low, 2 * fraction, fraction)
    exponent = jnp.sum(exponent - low.astype(exponent.dtype), axis, keepdims=True)
    rest = jnp.sum(jnp.log(fraction), axis, keepdims=True)
    return exponent.astype(x.dtype) * math.log(2) + rest


@over
def _log_abs_product(axis: Axes, x: Array) -> Array:
    finite = jnp.isfinite(x) & (x != 0)
    usual = _log_of_product(axis, jnp.where(finite, x, 1.0))
    special = jnp.sum(jnp.where(finite, 0.0, jnp.log(jnp.abs(x))), axis, keepdims=True)
    return usual + special


@_log_abs_product.defjvp
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    return _log_abs_product(axis, x), jnp.sum(t / x, axis, keepdims=True)


@rounded_once(static=("positive",))
def log_determinant(A: Array, /, *, positive: bool = False) -> Array:
    """log|det A| of square matrices, from LU; from Cholesky if A is known `positive`.

    A matrix that is not positive definite gives NaN in the second case.
    """
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise InputError(
            f"`log_determinant` takes square matrices; it was given the shape {A.shape}."
        )
    return _log_determinant(positive, A)


@rounded_once(static=("axis", "keepdims"))
def log_product(
    x: Array,
    /,
    axis: Axis = None,
    *,
    where: ArrayLike | None = None,
    keepdims: bool = False,
) -> Array:
    """log Π x over `axis` (all axes if None): NaN for a negative product, −inf for 0."""
    axis = axes(x, axis)
    x = masked(x, where, 1.0)
    sign = jnp.prod(jnp.sign(x), axis, keepdims=True)
    value = jnp.where(sign < 0, jnp.nan, _log_abs_product(axis, x))
    return squeezed(value, axis, keepdims)


@rounded_once(static=("axis", "keepdims"))
def log_abs_product(
    x: Array,
    /,
    axis: Axis = None,
    *,
    where: ArrayLike | None = None,
    keepdims: bool = False,
) -> Array:
    """log |Π x| over `axis` (all axes if None), whatever the signs are."""
    axis = axes(x, axis)
    return squeezed(_log_abs_product(axis, masked(x, where, 1.0)), axis, keepdims)
