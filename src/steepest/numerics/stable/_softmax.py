"""Softmax and the logarithms of sums of exponentials, over the whole range.

With m = max x and z = x − m ≤ 0, of which one entry is 0, let r be the sum of e^z over
all the others. Then, where r < 1,

    logsumexp(x) = m + log1p(r),    log_softmax(x) = z − log1p(r),

where log(Σ e^z) would round 1 + r to 1 and lose the loss of a confident class. The
derivatives are pᵢ(tᵢ − Σ pⱼtⱼ) and its like. For the leading class that is a
difference of nearly equal numbers; with t taken relative to the leading class,

    t′ = t − t_top,    tᵢ − Σ pⱼtⱼ = t′ᵢ − Σ_{j≠top} pⱼt′ⱼ,

it is not, and a Hessian entry such as p(1 − p) keeps its digits when p rounds to 1.

Convention: −inf is an event of probability 0. A row of −inf alone (fully masked) has
softmax 0, logsumexp and log_softmax −inf, and derivative 0. Entries of +inf share
the probability equally. A NaN makes its row NaN.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Bool

from ._forms import Axis, axes, divide, fitted, log1p_of, rounded_once, squeezed


Axes = tuple[int, ...]
over = partial(jax.custom_jvp, nondiff_argnums=(0,))


def shifted(axis: Axes, x: Array) -> tuple[Array, Array]:
    """The maximum m and z = x − m, without inf − inf."""
    largest = float(jnp.finfo(x.dtype).max)
    m = jnp.max(x, axis, keepdims=True, initial=-jnp.inf)
    return m, jnp.minimum(x, largest) - jnp.clip(m, -largest, largest)


def total_of(axis: Axes, z: Array) -> Array:
    """1 + r = Σ e^z, and 0 for an empty row."""
    return jnp.sum(jnp.exp(z), axis, keepdims=True)


def log_total(axis: Axes, z: Array) -> Array:
    """log1p(r): from r where one entry leads, from 1 + r elsewhere; 0 for an empty row."""
    total = total_of(axis, z)
    rest = jnp.sum(jnp.where(z == 0, 0.0, jnp.exp(z)), axis, keepdims=True)
    leads = total < 2
    return jnp.where(
        leads,
        log1p_of(jnp.where(leads, rest, 0.0)),
        jnp.log(jnp.where(leads, 1.0, total)),
    )


def leading(axis: Axes, z: Array) -> Bool[Array, "..."]:
    """Where the entry with more than half of the probability is, if there is one."""
    return (z == 0) & (total_of(axis, z) < 2)


def centred(axis: Axes, p: Array, top: Array, t: Array) -> Array:
    """t − Σ p t without cancellation at the leading class."""
    lead = jnp.sum(jnp.where(top, t, 0.0), axis, keepdims=True)
    relative = jnp.where(top, 0.0, t - lead)
    return relative - jnp.sum(p * relative, axis, keepdims=True)


@over
def softmax_of(axis: Axes, x: Array) -> Array:
    _, z = shifted(axis, x)
    total = total_of(axis, z)
    return jnp.exp(z) / jnp.where(total == 0, 1.0, total)


@softmax_of.defjvp
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    p, top = softmax_of(axis, x), top_of(axis, x)
    return p, p * centred(axis, p, top, t)


def top_of(axis: Axes, x: Array) -> Bool[Array, "..."]:
    """Where `x` has more than half of the probability."""
    return leading(axis, shifted(axis, jax.lax.stop_gradient(x))[1])


@over
def logsumexp_of(axis: Axes, x: Array) -> Array:
    m, z = shifted(axis, x)
    return m + log_total(axis, z)


@logsumexp_of.defjvp
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    p = softmax_of(axis, x)
    return logsumexp_of(axis, x), jnp.sum(p * t, axis, keepdims=True)


@over
def log_softmax_of(axis: Axes, x: Array) -> Array:
    _, z = shifted(axis, x)
    return z - log_total(axis, z)


@log_softmax_of.defjvp
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    empty = jnp.max(x, axis, keepdims=True, initial=-jnp.inf) == -jnp.inf
    p, top = softmax_of(axis, x), top_of(axis, x)
    slope = jnp.where(empty, 0.0, centred(axis, p, top, t))
    return log_softmax_of(axis, x), slope


@over
def log1m_softmax_of(axis: Axes, x: Array) -> Array:
    _, z = shifted(axis, x)
    p, top = softmax_of(axis, x), leading(axis, z)
    others = logsumexp_of(axis, jnp.where(top, -jnp.inf, z)) - log_total(axis, z)
    return jnp.where(top, others, log1p_of(-jnp.where(top, 0.0, p)))


@log1m_softmax_of.defjvp
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x,), (t,) = primals, tangents
    p, top = softmax_of(axis, x), top_of(axis, x)
    q = softmax_of(axis, jnp.where(top, -jnp.inf, x))
    lead = jnp.sum(jnp.where(top, t, 0.0), axis, keepdims=True)
    of_top = p * jnp.sum(q * jnp.where(top, 0.0, t - lead), axis, keepdims=True)
    share = jnp.where(top, 0.0, p)
    of_others = -share / (1 - share) * centred(axis, p, top, t)
    return log1m_softmax_of(axis, x), jnp.where(top, of_top, of_others)


@over
def _logmeanexp(axis: Axes, x: Array, kept: Array) -> Array:
    m, z = shifted(axis, x)
    n = jnp.sum(kept, axis, keepdims=True)
    total = jnp.sum(jnp.where(kept == 0, 0.0, jnp.expm1(z)), axis, keepdims=True)
    below = divide(total, n)
    near = below > -0.5
    far = jnp.log(divide(jnp.sum(jnp.exp(z), axis, keepdims=True), n))
    return m + jnp.where(near, log1p_of(jnp.where(near, below, 0.0)), far)


@_logmeanexp.defjvp
def _(axis: Axes, primals: Any, tangents: Any) -> Any:
    (x, kept), (t, _) = primals, tangents
    p = softmax_of(axis, x)
    return _logmeanexp(axis, x, kept), jnp.sum(p * t, axis, keepdims=True)


def masked(x: Array, where: ArrayLike | None, rest: float = -jnp.inf) -> Array:
    """`x` where the mask holds, and `rest` elsewhere."""
    if where is None:
        return x
    keep = fitted("`where`", jnp.asarray(where), x)
    return jnp.where(keep, x, jnp.asarray(rest, x.dtype))


@rounded_once(static=("axis", "keepdims"))
def logmeanexp(
    x: Array,
    /,
    axis: Axis = None,
    *,
    where: ArrayLike | None = None,
    keepdims: bool = False,
) -> Array:
    """log of the mean of eˣ over `axis`: m + log1p(mean(expm1(x − m))).

    The subtraction of log n from logsumexp would lose the digits of nearly equal x.
    """
    axis = axes(x, axis)
    mean = _logmeanexp(axis, masked(x, where), masked(jnp.ones_like(x), where, 0.0))
    return squeezed(mean, axis, keepdims)


@rounded_once(static=("axis",))
def softmax(
    x: Array,
    /,
    axis: Axis = -1,
    *,
    where: ArrayLike | None = None,
    temperature: ArrayLike | None = None,
) -> Array:
    """eˣ / Σ eˣ, or with x/T for x at a `temperature` T > 0.

    The maximum is subtracted before T divides, so that no x/T overflows. A row of
    which nothing is kept by `where` is 0, with derivative 0.
    """
    axis, x = axes(x, axis), masked(x, where)
    if temperature is not None:
        m = jax.lax.stop_gradient(jnp.max(x, axis, keepdims=True, initial=-jnp.inf))
        T = jnp.asarray(temperature).astype(x.dtype)
        x = (x - jnp.where(jnp.isfinite(m), m, 0.0)) / jnp.broadcast_to(T, x.shape)
    return softmax_of(axis, x)


@rounded_once(static=("axis",))
def log_softmax(
    x: Array, /, axis: Axis = -1, *, where: ArrayLike | None = None
) -> Array:
    """log(eˣ / Σ eˣ); −inf, with derivative 0, for what `where` leaves out."""
    axis = axes(x, axis)
    return masked(log_softmax_of(axis, masked(x, where)), where)


@rounded_once(static=("axis",))
def log1m_softmax(
    x: Array, /, axis: Axis = -1, *, where: ArrayLike | None = None
) -> Array:
    """log(1 − softmax(x)): for the leading class, what the others have together.

    An event that `where` leaves out has probability 0, so 0 here.
    """
    axis = axes(x, axis)
    return masked(log1m_softmax_of(axis, masked(x, where)), where, 0.0)
