"""Clipping that keeps count: how often it acts, how much, and where the threshold lies.

A cliff of the loss throws the parameters far away in one step, because the gradient says
how steep the ground is and not for how long. Clipping by the norm bounds the step and
keeps its direction, clipping by value bounds every entry and does not:

    g ↦ g · min(1, c/‖g‖),                                                       (1)
    gᵢ ↦ max(−c, min(c, gᵢ)).                                                    (2)

A threshold that never acts protects from nothing; one that always acts has turned (1)
into steps of constant length, and the step size no longer means what it says. So both
transformations count, for the updates so far: how many were clipped, the mean of the
factor ‖clipped g‖/‖g‖, and the sizes (‖g‖ for (1), max |gᵢ| for (2)) in a histogram
whose bins are equal on a logarithmic scale,

    bin k = [2^(k/16), 2^((k+1)/16)),                                            (3)

from which every quantile is known to within 2.2 % at a fixed price of 19 kB. A useful
threshold touches the rare large gradient: the 90th percentile is where to begin.

The norm in (1) is summed from entries divided by a power of two near the largest, which
changes no digit and lets neither 1e30 overflow nor 1e-30 vanish.

References
    Pascanu, Mikolov & Bengio (2013), On the difficulty of training recurrent neural
    networks.                                                                -- (1)
    Mikolov (2012), Statistical language models based on neural networks.    -- (2)
    Goodfellow, Bengio & Courville (2016), Deep Learning, §10.11.1.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, PyTree

from ..core.errors import InputError
from ..curvature.products import Params
from ._ray import largest, working_dtype


BINS = 16  # to an octave
OCTAVES = 150  # on either side of 1: all of float32, and the middle of float64
QUANTILES = (0.5, 0.9, 0.99)


class ClippingState(NamedTuple):
    """What clipping has done so far."""

    count: Int[Array, ""]  # updates
    clipped: Int[Array, ""]  # of them, those that were changed
    nonfinite: Int[Array, ""]  # of them, those with a NaN or an infinity
    mean_scale: Float[Array, ""]  # of ‖clipped g‖/‖g‖ over the finite ones
    mean_entries: Float[Array, ""]  # share of the entries that were changed
    last: Float[Array, ""]  # size of the last gradient: ‖g‖ of (1), max |gᵢ| of (2)
    histogram: Int[Array, " bins"]  # of the sizes, (3)
    threshold: Float[Array, ""]
    by_value: Bool[Array, ""]


class ClippingSummary(NamedTuple):
    """How often clipping acted, how much, and what it should be set to."""

    num_updates: int
    share_clipped: float  # of the updates with a finite gradient; NaN before the first
    mean_scale: float  # mean of ‖clipped g‖/‖g‖: 1 where it never acts
    share_entries: float  # of the entries that were changed, on average
    num_nonfinite: int
    quantiles: dict[float, float]  # of the sizes, each to within 2.2 %
    threshold: float  # as it is
    suggestion: float | None  # the 90th percentile; None before the first gradient
    by_value: bool

    def __str__(self) -> str:
        size = "largest entry" if self.by_value else "norm"
        if self.suggestion is None:
            text = f"No finite gradient in {self.num_updates} updates."
        else:
            text = (
                f"Clipping the {size} at {self.threshold:.3g} acted on "
                f"{self.share_clipped:.1%} of {self.num_updates} updates and left "
                f"{self.mean_scale:.1%} of the length on average; the median {size} is "
                f"{self.quantiles[0.5]:.3g}, and {self.suggestion:.3g} would clip one "
                "update in ten."
            )
        if self.num_nonfinite:
            text += f" Not finite: {self.num_nonfinite} gradients."
        return text


def clip_by_norm(
    max_norm: float, *, skip_nonfinite: bool = False
) -> optax.GradientTransformation:
    """The transformation (1), with a count of what it does: see `clipping_summary`.

    `max_norm=inf` only counts. A gradient with NaN or infinities is counted apart and
    passed on as it is, so that the fault stays visible; `skip_nonfinite` passes zeros in
    its place. Leaves may have different dtypes, and may be None.

    Raises `InputError` when `max_norm` is not positive.
    """

    def clip(g: Params, threshold: Array) -> tuple[Params, Array, Array, Array, Array]:
        dtype = threshold.dtype
        scale, norm, power = _scaled_norm(g, dtype)
        within = (norm / scale < threshold) | (norm == 0)

        def shorten(x: Array) -> Array:
            short = (x.astype(dtype) * scale / norm * threshold).astype(x.dtype)
            return jnp.where(within, x, short)

        one = jnp.ones((), dtype)
        ratio = jnp.where(within, one, jnp.minimum(one, threshold * scale / norm))
        share = jnp.where(within, jnp.zeros_like(one), one)
        log2 = jnp.log2(norm) + power
        return jax.tree.map(shorten, g), ratio, share, norm / scale, log2

    return _counting(clip, max_norm, "max_norm", False, skip_nonfinite)


def clip_by_value(
    limit: float, *, skip_nonfinite: bool = False
) -> optax.GradientTransformation:
    """The transformation (2), with a count of what it does: see `clipping_summary`.

    `limit=inf` only counts; `skip_nonfinite` as in `clip_by_norm`.

    Raises `InputError` when `limit` is not positive.
    """

    def clip(g: Params, threshold: Array) -> tuple[Params, Array, Array, Array, Array]:
        dtype = threshold.dtype

        def bound(x: Array) -> Array:
            c = threshold.astype(x.dtype)
            return jnp.clip(x, -c, c)

        clipped = jax.tree.map(bound, g)
        changed = [
            jnp.sum(x != y)
            for x, y in zip(jax.tree.leaves(g), jax.tree.leaves(clipped), strict=True)
        ]
        entries = sum(x.size for x in jax.tree.leaves(g))
        share = jnp.sum(jnp.stack(changed)).astype(dtype) / entries
        (s0, n0, _), (s1, n1, _) = (_scaled_norm(t, dtype) for t in (g, clipped))
        zero = n0 == 0
        one = jnp.ones((), dtype)
        ratio = jnp.where(zero, one, n1 / jnp.where(zero, one, n0) * (s0 / s1))
        top = largest(g).astype(dtype)
        return clipped, jnp.minimum(one, ratio), share, top, jnp.log2(top)

    return _counting(clip, limit, "limit", True, skip_nonfinite)


def clipping_summary(state: PyTree) -> ClippingSummary:
    """What a `ClippingState` says, or the one that lies in an optimiser's state.

    Raises `InputError` where there is none, or more than one.
    """
    is_ours = lambda x: isinstance(x, ClippingState)
    found = [x for x in jax.tree.leaves(state, is_leaf=is_ours) if is_ours(x)]
    if len(found) != 1:
        raise InputError(
            f"The state holds {len(found)} counts of clipping, not one; pass the state "
            "of an optimiser with `clip_by_norm` or `clip_by_value` in it, or the "
            "`ClippingState` itself."
        )
    ours: Any = jax.tree.map(np.asarray, found[0])  # a ClippingState of NumPy's arrays
    finite = int(ours.count) - int(ours.nonfinite)
    quantiles = {q: _quantile(ours.histogram, q) for q in QUANTILES if finite}
    nan = float("nan")
    return ClippingSummary(
        num_updates=int(ours.count),
        share_clipped=int(ours.clipped) / finite if finite else nan,
        mean_scale=float(ours.mean_scale) if finite else nan,
        share_entries=float(ours.mean_entries) if finite else nan,
        num_nonfinite=int(ours.nonfinite),
        quantiles=quantiles,
        threshold=float(ours.threshold),
        suggestion=quantiles.get(0.9),
        by_value=bool(ours.by_value),
    )


#: (g, threshold) -> clipped g, ‖clipped g‖/‖g‖, share of entries, size, log₂ size
Clip = Callable[[Params, Array], tuple[Params, Array, Array, Array, Array]]


def _counting(
    clip: Clip, threshold: float, name: str, by_value: bool, skip_nonfinite: bool
) -> optax.GradientTransformation:
    """A clipping function as a transformation that counts."""
    if not threshold > 0:
        raise InputError(
            f"`{name}` must be positive (infinite: count only), not {threshold}."
        )

    def init(params: PyTree) -> ClippingState:
        dtype = working_dtype(jax.tree.map(jnp.asarray, params))
        zero, none = jnp.zeros((), dtype), jnp.int32(0)
        return ClippingState(
            count=none,
            clipped=none,
            nonfinite=none,
            mean_scale=jnp.ones((), dtype),
            mean_entries=zero,
            last=zero,
            histogram=jnp.zeros(2 * OCTAVES * BINS, jnp.int32),
            threshold=jnp.asarray(threshold, dtype),
            by_value=jnp.asarray(by_value),
        )

    def update(
        updates: Params, state: ClippingState, params: Params | None = None
    ) -> tuple[Params, ClippingState]:
        if not jax.tree.leaves(updates):
            return updates, state
        finite = jnp.isfinite(largest(updates))
        clipped, ratio, share, size, log2 = clip(updates, state.threshold)

        def instead(x: Array, y: Array) -> Array:
            return jnp.where(finite, y, jnp.zeros_like(x) if skip_nonfinite else x)

        def running(mean: Array, value: Array) -> Array:
            seen = (count - nonfinite).astype(mean.dtype)
            step = (value - mean) / jnp.maximum(seen, jnp.ones_like(seen))
            return jnp.where(finite, mean + step, mean)

        count = jnp.asarray(optax.safe_increment(state.count))
        nonfinite = state.nonfinite + (~finite).astype(jnp.int32)
        acted = finite & (share > 0)
        index = jnp.floor(log2 * BINS) + OCTAVES * BINS
        index = jnp.clip(jnp.where(finite, index, 0), 0, 2 * OCTAVES * BINS - 1)
        place = index.astype(jnp.int32)
        return jax.tree.map(instead, updates, clipped), ClippingState(
            count=count,
            clipped=state.clipped + acted.astype(jnp.int32),
            nonfinite=nonfinite,
            mean_scale=running(state.mean_scale, ratio),
            mean_entries=running(state.mean_entries, share),
            last=size.astype(state.last.dtype),
            histogram=state.histogram.at[place].add(finite.astype(jnp.int32)),
            threshold=state.threshold,
            by_value=state.by_value,
        )

    return optax.GradientTransformation(init, update)  # pyright: ignore[reportArgumentType]


def _scaled_norm(
    tree: Params,
    dtype: Any,  # a NumPy dtype, which has no one name
) -> tuple[Array, Array, Array]:
    """A power of two s, the norm of s · tree, and −log₂ s."""
    bound = jnp.finfo(dtype).maxexp - 8  # neither s nor 1/s over- or underflows
    _, exponent = jnp.frexp(largest(tree).astype(dtype))
    exponent = jnp.clip(exponent, -bound, bound)
    scale = jnp.ldexp(jnp.ones((), dtype), -exponent)
    squares = [
        jnp.sum(jnp.square(x.astype(dtype) * scale)) for x in jax.tree.leaves(tree)
    ]
    total = sum(squares[1:], squares[0])
    return scale, jnp.sqrt(total), exponent.astype(dtype)


def _quantile(histogram: np.ndarray, q: float) -> float:
    """The geometric middle of the bin (3) in which the quantile lies."""
    k = int(np.searchsorted(np.cumsum(histogram), q * histogram.sum()))
    return 0.0 if k == 0 else float(2.0 ** ((k + 0.5) / BINS - OCTAVES))
