"""Sums, products, extremes, orders and windows, in exact arithmetic.

A sum is rounded once. It loses the bits that cancel, and cannot be decided in p bits if
a term is too small for p bits beside the greatest, or if the result is 0.
"""

from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf

from ...core import jaxpr
from .elementary import is_object, natively
from .functions import INF, decided
from .movement import taken
from .run import Run, boxed, size_of


def total(run: Run, terms: Sequence[Any]) -> Any:
    """Σ of the terms."""
    some = [x for x in terms if x]
    if not some:
        return mpf(0)
    s = mpmath.fsum(some)
    if not mpmath.isfinite(s) or len(some) == 1:
        return s
    sizes = [size_of(x) for x in some]
    top = max(sizes)
    run.absorb(top - min(sizes))
    if all(map(run.exact, some)):
        return s
    if not s:
        run.undecided = True
    else:
        run.report(top + len(some).bit_length() - size_of(s))
    return s


def product(run: Run, terms: Sequence[Any]) -> Any:
    p = mpf(1)
    for x in terms:
        p = p * x
    return p


def greatest(run: Run, terms: Sequence[Any]) -> Any:
    best = terms[0]
    for x in terms[1:]:
        decided(run, x, best)
        best = x if x != x or x > best else best
    return best


def least(run: Run, terms: Sequence[Any]) -> Any:
    best = terms[0]
    for x in terms[1:]:
        decided(run, x, best)
        best = x if x != x or x < best else best
    return best


Fold = Callable[[Run, Sequence[Any]], Any]
EMPTY: dict[Fold, Any] = {total: mpf(0), product: mpf(1), greatest: -INF, least: INF}


def rows(x: np.ndarray, axes: Sequence[int]) -> np.ndarray:
    """The reduced axes as one, at the end."""
    kept = [i for i in range(x.ndim) if i not in axes]
    moved = x.transpose(*kept, *axes)
    return moved.reshape(*moved.shape[: len(kept)], -1)


def over(fold: Fold) -> Callable[..., Any]:
    """A reduction over the axes of an equation."""

    def rule(run: Run, equation: jaxpr.Equation, x: Any) -> Any:
        if not is_object(x):
            return natively(equation, x)
        return folded(run, fold, rows(x, tuple(equation.params["axes"])))

    return rule


def folded(run: Run, fold: Fold, x: np.ndarray) -> np.ndarray:
    """`fold` along the last axis."""
    run.count(x.size)
    out = np.empty(x.shape[:-1], object)
    for at in np.ndindex(*out.shape):
        out[at] = fold(run, list(x[at])) if x.shape[-1] else EMPTY[fold]
    return out


def index_of(better: Callable[[Any, Any], bool]) -> Callable[..., Any]:
    def rule(run: Run, equation: jaxpr.Equation, x: Any) -> Any:
        if not is_object(x):
            return natively(equation, x)
        x = rows(x, tuple(equation.params["axes"]))
        out = np.zeros(x.shape[:-1], equation.outputs[0].dtype)
        for at in np.ndindex(*out.shape):
            best = 0
            for i, v in enumerate(x[at]):
                decided(run, v, x[at][best])
                now = x[at][best]
                if now == now and (v != v or better(v, now)):
                    best = i
            out[at] = best
        return out

    return rule


def running(fold: Fold) -> Callable[..., Any]:
    """cumsum and its like: prefixes, or suffixes if reversed."""

    def rule(run: Run, equation: jaxpr.Equation, x: Any) -> Any:
        if not is_object(x):
            return natively(equation, x)
        axis, backwards = equation.params["axis"], equation.params["reverse"]
        y = np.moveaxis(x, axis, -1)
        y = y[..., ::-1] if backwards else y
        out = np.empty(y.shape, object)
        for at in np.ndindex(*y.shape[:-1]):
            for i in range(y.shape[-1]):
                out[(*at, i)] = fold(run, list(y[at][: i + 1]))
        out = out[..., ::-1] if backwards else out
        return np.moveaxis(out, -1, axis)

    return rule


def logsumexp(run: Run, terms: Sequence[Any]) -> Any:
    top = greatest(run, terms)
    if not mpmath.isfinite(top):
        return top
    return top + mpmath.log(total(run, [mpmath.exp(x - top) for x in terms]))


# -- Order ----------------------------------------------------------------------------


def sort(run: Run, equation: jaxpr.Equation, *columns: Any) -> Any:
    """Stable; NaN last, as in JAX."""
    axis, keys = equation.params["dimension"], equation.params["num_keys"]
    arrays = [np.moveaxis(np.asarray(c), axis, -1) for c in columns]
    outs = [a.copy() for a in arrays]
    for at in np.ndindex(*arrays[0].shape[:-1]):

        def key(i: int, at: Any = at) -> Any:
            values = [a[at][i] for a in arrays[:keys]]
            return [(bool(v != v), 0 if v != v else v) for v in values]

        order = sorted(range(arrays[0].shape[-1]), key=key)
        for a, out in zip(arrays, outs, strict=True):
            out[at] = a[at][order]
    return [np.moveaxis(out, -1, axis) for out in outs]


def top_k(run: Run, equation: jaxpr.Equation, x: Any) -> Any:
    if not is_object(x):
        return natively(equation, x)
    k, axis = equation.params["k"], equation.params.get("axis", x.ndim - 1)
    y = np.moveaxis(x, axis, -1)
    values = np.empty((*y.shape[:-1], k), object)
    indices = np.empty(values.shape, np.int32)
    for at in np.ndindex(*y.shape[:-1]):
        order = sorted(range(y.shape[-1]), key=lambda i: -y[at][i])[:k]
        values[at], indices[at] = y[at][order], order
    return [np.moveaxis(values, -1, axis), np.moveaxis(indices, -1, axis)]


# -- Windows --------------------------------------------------------------------------


def windows(equation: jaxpr.Equation, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of the elements under each window, −1 in the padding: last axis."""
    p = equation.params
    n = len(shape)
    size, strides = p["window_dimensions"], p["window_strides"]
    inside = p.get("window_dilation", (1,) * n)
    base = p.get("base_dilation", (1,) * n)
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    for axis in range(n):
        numbers = _spread(numbers, axis, base[axis], p["padding"][axis])
    reach = [(s - 1) * d + 1 for s, d in zip(size, inside, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(numbers, reach)
    steps = tuple(slice(None, None, s) for s in strides)
    holes = tuple(slice(None, None, d) for d in inside)
    seen = seen[(*steps, *holes)]
    return seen.reshape(*seen.shape[:n], -1)


def _spread(x: np.ndarray, axis: int, dilation: int, padding: Any) -> np.ndarray:
    """−1 between the elements and around them; negative padding cuts off."""
    x = np.moveaxis(x, axis, 0)
    low, high = padding
    long = np.full(((len(x) - 1) * dilation + 1, *x.shape[1:]), -1)
    long[::dilation] = x
    long = long[max(-low, 0) : len(long) - max(-high, 0)]
    pad = [(max(low, 0), max(high, 0))] + [(0, 0)] * (x.ndim - 1)
    return np.moveaxis(np.pad(long, pad, constant_values=-1), 0, axis)


def in_windows(fold: Fold) -> Callable[..., Any]:
    def rule(run: Run, equation: jaxpr.Equation, x: Any) -> Any:
        if not is_object(x):
            return natively(equation, x)
        seen = taken(x.reshape(-1), windows(equation, x.shape), EMPTY[fold])
        return folded(run, fold, seen)

    return rule


def select_and_scatter_add(
    run: Run, equation: jaxpr.Equation, source: Any, operand: Any
) -> Any:
    """The gradient of max-pooling: each source goes to the chosen one of its window."""
    name = getattr(equation.params["select_prim"], "name", "ge")
    greater = name in ("ge", "gt")
    seen = windows(equation, operand.shape)
    flat, out = operand.reshape(-1), [mpf(0)] * operand.size
    for at in np.ndindex(*seen.shape[:-1]):
        inside = [n for n in seen[at] if n >= 0]
        if not inside:
            continue
        best = inside[0]
        for n in inside[1:]:
            decided(run, flat[n], flat[best])
            if flat[n] > flat[best] if greater else flat[n] < flat[best]:
                best = n
        out[best] = total(run, [out[best], source[at]])
    return np.array([boxed(v)[()] for v in out], object).reshape(operand.shape)


def select_and_gather_add(
    run: Run, equation: jaxpr.Equation, tangents: Any, operand: Any
) -> Any:
    """The derivative of max-pooling: the tangent of the chosen one."""
    name = getattr(equation.params["select_prim"], "name", "ge")
    greater = name in ("ge", "gt")
    seen = windows(equation, operand.shape)
    flat, given = operand.reshape(-1), tangents.reshape(-1)
    out = np.empty(seen.shape[:-1], object)
    for at in np.ndindex(*out.shape):
        inside = [n for n in seen[at] if n >= 0]
        key = (lambda n: flat[n]) if greater else (lambda n: -flat[n])
        out[at] = given[max(inside, key=key)] if inside else mpf(0)
    return out


FOLDS: dict[str, Fold] = {
    "sum": total,
    "prod": product,
    "max": greatest,
    "min": least,
}
RULES: dict[str, Callable[..., Any]] = {
    **{f"reduce_{name}": over(fold) for name, fold in FOLDS.items()},
    **{f"cum{name}": running(fold) for name, fold in FOLDS.items()},
    **{f"reduce_window_{name}": in_windows(fold) for name, fold in FOLDS.items()},
    "cumlogsumexp": running(logsumexp),
    "argmax": index_of(lambda a, b: a > b),
    "argmin": index_of(lambda a, b: a < b),
    "sort": sort,
    "top_k": top_k,
    "select_and_scatter_add": select_and_scatter_add,
    "select_and_gather_add": select_and_gather_add,
}
