"""A convolution as products of matrices.

On a CPU, XLA has no fast convolution in float64: a step of a small residual network takes
a minute. The same sums as products of matrices are fast. With x padded and dilated,

    y[n, o, s] = Σ_{c, k} w[o, c, k] · x[n, c, s·stride + k·dilation],               (1)

is a sum over offsets k of products over channels, or for each place s a product over
channels and offsets. Whichever there are fewer of are computed one after the other: of
a 3×3 kernel there are nine offsets, and the gradient by a 3×3 kernel has nine places.
Slices are taken in the layout that the operands have, and nothing is transposed but the
result.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax


MOST = 64  # products; above that the library's convolution is called


def convolution(lhs: Any, rhs: Any, params: Any) -> Any:
    """`conv_general_dilated` of these parameters, or None where (1) is not for it."""
    if params["feature_group_count"] != 1 or params["batch_group_count"] != 1:
        return None
    lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
    edges: list[tuple[int, int, int]] = [(0, 0, 0)] * lhs.ndim
    for axis, (low, high), d in zip(
        lhs_spec[2:], params["padding"], params["lhs_dilation"], strict=True
    ):
        edges[axis] = (low, high, d - 1)
    x = lax.pad(lhs, jnp.zeros((), lhs.dtype), edges)
    strides, dilations = params["window_strides"], params["rhs_dilation"]
    kernel = [rhs.shape[i] for i in rhs_spec[2:]]
    sizes = [x.shape[i] for i in lhs_spec[2:]]
    places = [
        (size - (k - 1) * d - 1) // s + 1
        for size, k, d, s in zip(sizes, kernel, dilations, strides, strict=True)
    ]
    if min(math.prod(kernel), math.prod(places)) > MOST or min(places, default=1) < 1:
        return None
    spread = max(params["lhs_dilation"]) > 1 and max(strides) == 1
    if spread and math.prod(kernel) <= MOST:
        y = before_dilation(lhs, rhs, params, kernel, places)
        found = [*_without(lhs_spec, lhs_spec[1]), -1]
        order = [lhs_spec[0], -1, *lhs_spec[2:]]
    elif math.prod(kernel) <= math.prod(places):
        y = by_offset(x, rhs, lhs_spec, rhs_spec, kernel, places, dilations, strides)
        found = [
            *_without(lhs_spec, lhs_spec[1]),
            -1,
        ]  # axes of y, as those of x; outputs
        order = [lhs_spec[0], -1, *lhs_spec[2:]]
    else:
        y = by_place(x, rhs, lhs_spec, rhs_spec, kernel, places, dilations, strides)
        found = list(range(y.ndim))
        order = [y.ndim - 2, y.ndim - 1, *range(y.ndim - 2)]
    y = lax.transpose(y, [found.index(axis) for axis in order])
    return lax.transpose(y, np.argsort(out_spec))


def _without(spec: Sequence[int], axis: int) -> list[int]:
    return [i for i in range(len(spec)) if i != axis]


def window(x: Any, axes: Sequence[int], start: Any, counts: Any, steps: Any) -> Any:
    """Along some axes `counts` elements at `steps`; along the others all."""
    lows, highs, by = [0] * x.ndim, list(x.shape), [1] * x.ndim
    for axis, a, n, s in zip(axes, start, counts, steps, strict=True):
        lows[axis], highs[axis], by[axis] = a, a + (n - 1) * s + 1, s
    return lax.slice(x, lows, highs, by)


def by_offset(
    x: Any,
    w: Any,
    lhs_spec: Any,
    rhs_spec: Any,
    kernel: Any,
    places: Any,
    dilations: Any,
    strides: Any,
) -> Any:
    """A sum over offsets; axes are those of x without channels, then outputs."""
    total = None
    for k in itertools.product(*map(range, kernel)):
        start = [i * d for i, d in zip(k, dilations, strict=True)]
        part = window(x, lhs_spec[2:], start, places, strides)
        ones = [1] * len(kernel)
        factor = lax.squeeze(window(w, rhs_spec[2:], k, ones, ones), rhs_spec[2:])
        channel = 1 if rhs_spec[1] > rhs_spec[0] else 0
        y = lax.dot_general(part, factor, (((lhs_spec[1],), (channel,)), ((), ())))
        total = y if total is None else total + y
    return total


def before_dilation(x: Any, w: Any, params: Any, kernel: Any, places: Any) -> Any:
    """`by_offset` of a dilated x with stride 1: products first, then their dilation."""
    lhs_spec, rhs_spec, _ = params["dimension_numbers"]
    channel = 1 if rhs_spec[1] > rhs_spec[0] else 0
    zero, ones = jnp.zeros((), x.dtype), [1] * len(kernel)
    axes = [i - (i > lhs_spec[1]) for i in lhs_spec[2:]]  # of a product
    total = None
    for k in itertools.product(*map(range, kernel)):
        factor = lax.squeeze(window(w, rhs_spec[2:], k, ones, ones), rhs_spec[2:])
        y = lax.dot_general(x, factor, (((lhs_spec[1],), (channel,)), ((), ())))
        edges: list[tuple[int, int, int]] = [(0, 0, 0)] * y.ndim
        for i, axis in enumerate(axes):
            low = params["padding"][i][0] - k[i] * params["rhs_dilation"][i]
            apart = params["lhs_dilation"][i]
            size = (y.shape[axis] - 1) * apart + 1
            edges[axis] = (low, places[i] - low - size, apart - 1)
        y = lax.pad(y, zero, edges)
        total = y if total is None else total + y
    return total


def by_place(
    x: Any,
    w: Any,
    lhs_spec: Any,
    rhs_spec: Any,
    kernel: Any,
    places: Any,
    dilations: Any,
    strides: Any,
) -> Any:
    """One product for each place; axes are places, batch, outputs."""
    found = []
    for s in itertools.product(*map(range, places)):
        start = [i * t for i, t in zip(s, strides, strict=True)]
        part = window(x, lhs_spec[2:], start, kernel, dilations)
        axes = (tuple(lhs_spec[1:]), tuple(rhs_spec[1:]))
        found.append(lax.dot_general(part, w, (axes, ((), ()))))
    stacked = jnp.stack(found)
    return stacked.reshape(*places, *stacked.shape[1:])
