"""The logistic family: σ, softplus, log σ, logit, tanh, log cosh.

    σ(x) = 1/(1 + e⁻ˣ),    softplus(x) = log(1 + eˣ),    log cosh(x)

and their derivatives, which come back to two functions that never cancel,

    softplus′ = σ,    σ′(x) = σ(x) σ(−x),    σ″(x) = −tanh(x/2) σ′(x),
    (log cosh)′ = tanh,    tanh′(x) = 4 σ(2x) σ(−2x),

where the usual forms 1 − σ(x) and 1 − tanh²(x) are 0 as soon as the function rounds
to 1 (x > 16.6 and x > 8 in float32).
"""

import math

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from ._forms import derivatives, log1p_of, rounded_once


def _bell(x: Array) -> Array:
    return lax.logistic(x) * lax.logistic(-x)


logistic_slope = derivatives(_bell, lambda x: -tanh_of(x / 2) * logistic_slope(x))
logistic = derivatives(lax.logistic, logistic_slope)
softplus_of = derivatives(
    lambda x: jnp.maximum(x, 0.0) + log1p_of(jnp.exp(-jnp.abs(x))), logistic
)
tanh_slope = derivatives(
    lambda x: 4 * _bell(2 * x), lambda x: -2 * tanh_of(x) * tanh_slope(x)
)
tanh_of = derivatives(jnp.tanh, tanh_slope)


def _logcosh(x: Array) -> Array:
    size = jnp.abs(x)
    half_sinh = jnp.sinh(jnp.minimum(size, 2.0) / 2)
    near = log1p_of(2 * half_sinh * half_sinh)
    far = size + (log1p_of(jnp.exp(-2 * size)) - math.log(2))
    return jnp.where(size < 1, near, far)


logcosh_of = derivatives(_logcosh, tanh_of)


def _logit(p: Array) -> Array:
    middle = (p > 0.25) & (p < 0.75)
    q = jnp.where(middle, p, 0.5)
    near = log1p_of((2 * q - 1) / (1 - q))
    return jnp.where(middle, near, jnp.log(p) - log1p_of(-p))


def _logit_slope(p: Array) -> Array:
    return 1 / jnp.abs(p) / (1 - p)  # −0 is a probability, too


def _logit_bend(p: Array) -> Array:
    slope = _logit_slope(p)
    return (2 * p - 1) * slope * slope


logit_of = derivatives(_logit, _logit_slope, _logit_bend)


@rounded_once()
def sigmoid(x: Array, /) -> Array:
    """σ(x) = 1/(1 + e⁻ˣ); 0 at −inf and 1 at inf, with derivative 0 at both."""
    return logistic(x)


@rounded_once()
def softplus(x: Array, /) -> Array:
    """log(1 + eˣ) = max(x, 0) + log1p(e^−|x|); 0 at −inf."""
    return softplus_of(x)


@rounded_once()
def log_sigmoid(x: Array, /) -> Array:
    """log σ(x) = −softplus(−x); derivative σ(−x)."""
    return -softplus_of(-x)


@rounded_once()
def logit(p: Array, /) -> Array:
    """log(p/(1 − p)), the inverse of `sigmoid`; −inf at 0, inf at 1, NaN outside.

    Between 1/4 and 3/4 it is log1p((2p − 1)/(1 − p)), where 2p − 1 is exact, so that
    the zero at 1/2 has all its digits.
    """
    return logit_of(p)


@rounded_once()
def tanh(x: Array, /) -> Array:
    """The hyperbolic tangent, whose derivative sech²(x) does not vanish where it is 1."""
    return tanh_of(x)


@rounded_once()
def logcosh(x: Array, /) -> Array:
    """log cosh(x) = log1p(2 sinh²(x/2)) for |x| < 1, else |x| + log1p(e^−2|x|) − log 2."""
    return logcosh_of(x)


@rounded_once()
def log_one_minus_tanh2(x: Array, /) -> Array:
    """log(1 − tanh²(x)) = −2 log cosh(x): the log-derivative of a squashed Gaussian."""
    return -2 * logcosh_of(x)
