"""A convolution as one product of matrices.

On a CPU, XLA has no fast convolution in float64: a step of a small residual network takes
a minute. The same sums as a product of matrices are fast. With x padded, dilated and
cut into windows,

    y[n, o, s] = Σ_{c, k} w[o, c, k] · x[n, c, s·stride + k·dilation],               (1)

either the windows of one offset k or those of one place s are slices of x; they are
taken for whichever there are fewer of: of a 3×3 kernel there are nine offsets, and the
gradient by a 3×3 kernel has nine places.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax


MOST = 64  # slices; above that the library's convolution is called


def convolution(lhs: Any, rhs: Any, params: Any) -> Any:
    """`conv_general_dilated` of these parameters, or None where (1) is not for it."""
    if params["feature_group_count"] != 1 or params["batch_group_count"] != 1:
        return None
    lhs_spec, rhs_spec, out_spec = params["dimension_numbers"]
    x, w = lax.transpose(lhs, lhs_spec), lax.transpose(rhs, rhs_spec)
    edges = zip(params["padding"], params["lhs_dilation"], strict=True)
    x = lax.pad(
        x,
        jnp.zeros((), x.dtype),
        [(0, 0, 0), (0, 0, 0), *((lo, hi, d - 1) for (lo, hi), d in edges)],
    )
    strides, dilations = params["window_strides"], params["rhs_dilation"]
    kernel = w.shape[2:]
    places = tuple(
        (size - (k - 1) * d - 1) // s + 1
        for size, k, d, s in zip(x.shape[2:], kernel, dilations, strides, strict=True)
    )
    if min(np.prod(kernel), np.prod(places)) > MOST or min(places, default=1) < 1:
        return None
    if np.prod(kernel) <= np.prod(places):
        y = by_offset(x, w, kernel, places, dilations, strides)
    else:
        y = by_place(x, w, kernel, places, dilations, strides)
    return lax.transpose(y, np.argsort(out_spec))


def windows(
    x: Any, counts: Any, steps: Any, sizes: Any, strides: Any
) -> list[Any]:  # (batch, channel, *sizes) each
    """Slices of `sizes` at `strides`, one for each start among `counts` × `steps`."""
    found = []
    for index in itertools.product(*map(range, counts)):
        start = [i * step for i, step in zip(index, steps, strict=True)]
        ends = [
            a + (n - 1) * s + 1 for a, n, s in zip(start, sizes, strides, strict=True)
        ]
        found.append(
            lax.slice(x, (0, 0, *start), (*x.shape[:2], *ends), (1, 1, *strides))
        )
    return found


def by_offset(
    x: Any, w: Any, kernel: Sequence[int], places: Any, dilations: Any, strides: Any
) -> Any:
    parts = windows(x, kernel, dilations, places, strides)
    stacked = jnp.stack(parts, axis=2)  # (batch, channel, offset, *places)
    flat = w.reshape(*w.shape[:2], -1)  # (output, channel, offset)
    y = lax.dot_general(flat, stacked, (((1, 2), (1, 2)), ((), ())))
    return jnp.moveaxis(y, 0, 1)


def by_place(
    x: Any, w: Any, kernel: Any, places: Sequence[int], dilations: Any, strides: Any
) -> Any:
    parts = windows(x, places, strides, kernel, dilations)
    stacked = jnp.stack(parts, axis=0)  # (place, batch, channel, *kernel)
    axes = tuple(range(1, w.ndim)), tuple(range(2, stacked.ndim))
    y = lax.dot_general(w, stacked, (axes, ((), ())))  # (output, place, batch)
    y = jnp.transpose(y, (2, 0, 1))
    return y.reshape(*y.shape[:2], *places)
