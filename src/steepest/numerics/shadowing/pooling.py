"""The derivatives of pooling, in float64, from windows that the program decided.

Of window w the element that was chosen has the number

    c(w) = first i that no other element of w exceeds,                                (1)

by the program's own operand. The derivative of a maximum is t at c(w); its transpose
adds s(w) there. Both are sums over the offsets i of a window, of slices. The library's
primitives for them are traced once more when they are compiled, and so, in a program
that is compiled without float64, cannot be of that format.
"""

import itertools
from typing import Any

import jax.numpy as jnp
from jax import lax


def gathered(equation: Any, wide: Any, native: Any, outs: Any) -> list[Any] | None:
    """`select_and_gather_add`: the tangent of a maximum."""
    p = equation.params
    if max((*p["base_dilation"], *p["window_dilation"])) > 1:
        return None
    number = winner(native[1], p)
    found = jnp.zeros(number.shape, wide[0].dtype)
    for i, t in enumerate(windows(wide[0], 0, p)):
        found = jnp.where(number == i, t, found)
    return [found]


def scattered(equation: Any, wide: Any, native: Any, outs: Any) -> list[Any]:
    """`select_and_scatter_add`: the cotangent of a maximum."""
    p, source = equation.params, wide[0]
    number, zero = winner(native[1], p), jnp.zeros((), source.dtype)
    shape, found = native[1].shape, 0
    for i, offset in enumerate(offsets(p)):
        edges = [
            (o - low, n + low - o - (m - 1) * s - 1, s - 1)
            for o, (low, _), n, m, s in zip(
                offset,
                p["padding"],
                shape,
                source.shape,
                p["window_strides"],
                strict=True,
            )
        ]
        found = found + lax.pad(jnp.where(number == i, source, zero), zero, edges)
    return [found]


def winner(x: Any, params: Any) -> Any:
    """The number (1) of each window."""
    greatest = params["select_prim"].name == "ge"
    best, *others = windows(x, -jnp.inf if greatest else jnp.inf, params)
    number = jnp.zeros(best.shape, jnp.int32)
    for i, other in enumerate(others, 1):
        keep = best >= other if greatest else best <= other
        number = jnp.where(keep, number, i)
        best = jnp.where(keep, best, other)
    return number


def windows(x: Any, fill: float, params: Any) -> list[Any]:
    """The elements at each offset, of all windows."""
    edges = [(low, high, 0) for low, high in params["padding"]]
    x = lax.pad(x, jnp.asarray(fill, x.dtype), edges)
    strides, sizes = params["window_strides"], params["window_dimensions"]
    ends = [
        (n - size) // s * s + 1
        for n, size, s in zip(x.shape, sizes, strides, strict=True)
    ]
    return [
        lax.slice(x, o, [a + b for a, b in zip(o, ends, strict=True)], strides)
        for o in offsets(params)
    ]


def offsets(params: Any) -> list[tuple[int, ...]]:
    return list(itertools.product(*map(range, params["window_dimensions"])))
