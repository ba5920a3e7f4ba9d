"""Products of matrices, convolutions and the solution of linear systems, exactly."""

from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
from mpmath import mpf

from ...core import jaxpr
from .elementary import is_object, natively
from .functions import NAN
from .movement import taken
from .reductions import _spread, total
from .run import Run


def dot_general(run: Run, equation: jaxpr.Equation, a: Any, b: Any) -> Any:
    if not is_object(a):
        return natively(equation, a, b)
    (ca, cb), (ba, bb) = equation.params["dimension_numbers"]
    fa = [i for i in range(a.ndim) if i not in (*ca, *ba)]
    fb = [i for i in range(b.ndim) if i not in (*cb, *bb)]
    batch = [a.shape[i] for i in ba]
    n = int(np.prod([a.shape[i] for i in ca]))
    rows = a.transpose(*ba, *fa, *ca).reshape(int(np.prod(batch)), -1, n)
    cols = b.transpose(*bb, *fb, *cb).reshape(int(np.prod(batch)), -1, n)
    out = np.empty((len(rows), rows.shape[1], cols.shape[1]), object)
    run.count(out.size * n)
    for at in np.ndindex(*out.shape):
        i, j, k = at
        out[at] = dot(run, rows[i, j], cols[i, k])
    shape = [*batch, *(a.shape[i] for i in fa), *(b.shape[i] for i in fb)]
    return out.reshape(shape)


def dot(run: Run, x: Any, y: Any) -> Any:
    return total(run, [u * v for u, v in zip(x, y, strict=True)])


def convolution(run: Run, equation: jaxpr.Equation, x: Any, w: Any) -> Any:
    """Every output is a product of a window of x with a filter of w."""
    p = equation.params
    numbers = p["dimension_numbers"]
    x = x.transpose(numbers.lhs_spec)  # example, channel, place
    w = w.transpose(numbers.rhs_spec)  # output channel, channel, place
    n = x.ndim - 2
    index = np.arange(x.size).reshape(x.shape)
    for axis in range(n):
        index = _spread(index, axis + 2, p["lhs_dilation"][axis], p["padding"][axis])
    hole = p["rhs_dilation"]
    reach = [(s - 1) * d + 1 for s, d in zip(w.shape[2:], hole, strict=True)]
    seen = np.lib.stride_tricks.sliding_window_view(
        index, reach, tuple(range(2, n + 2))
    )
    steps = tuple(slice(None, None, s) for s in p["window_strides"])
    holes = tuple(slice(None, None, d) for d in hole)
    seen = seen[(slice(None), slice(None), *steps, *holes)]
    groups, batches = p["feature_group_count"], p["batch_group_count"]
    examples, channels = x.shape[0] // batches, x.shape[1] // groups
    outputs, places = w.shape[0], seen.shape[2 : 2 + n]
    flat = x.reshape(-1)
    out = np.empty((examples, outputs, *places), object)
    run.count(out.size * int(np.prod(w.shape[1:])))
    for at in np.ndindex(*out.shape):
        example, output, place = at[0], at[1], at[2:]
        part = output // (outputs // groups)
        example += (output // (outputs // batches)) * examples if batches > 1 else 0
        mine = (
            slice(part * channels, (part + 1) * channels) if groups > 1 else slice(None)
        )
        window = seen[example, mine][(slice(None), *place)]
        out[at] = dot(run, taken(flat, window.ravel(), mpf(0)), w[output].ravel())
    return out.transpose(np.argsort(numbers.out_spec))


# -- Linear systems: no certificate, so that a second run confirms -------------------


def cholesky(run: Run, equation: jaxpr.Equation, A: Any) -> Any:
    run.undecided = True
    return _matrices(_cholesky, A)


def _cholesky(A: np.ndarray) -> np.ndarray:
    n = len(A)
    L = np.full((n, n), mpf(0), object)
    for j in range(n):
        d = A[j, j] - sum((L[j, k] ** 2 for k in range(j)), mpf(0))
        if d <= 0:
            return np.full((n, n), NAN, object)
        L[j, j] = mpmath.sqrt(d)
        for i in range(j + 1, n):
            s = sum((L[i, k] * L[j, k] for k in range(j)), mpf(0))
            L[i, j] = (A[i, j] - s) / L[j, j]
    return L


def triangular_solve(run: Run, equation: jaxpr.Equation, A: Any, B: Any) -> Any:
    run.undecided = True
    p = equation.params
    out = np.empty(B.shape, object)
    for at in np.ndindex(*B.shape[:-2]):
        T, b = A[at], B[at] if p["left_side"] else B[at].T
        lower, across = p["lower"], p["transpose_a"]
        if across != (not p["left_side"]):
            T, lower = T.T, not lower
        x = _substituted(T, b, lower, p["unit_diagonal"])
        out[at] = x if p["left_side"] else x.T
    return out


def _substituted(T: Any, b: Any, lower: bool, unit: bool) -> np.ndarray:
    n = len(T)
    x = b.copy()
    order = range(n) if lower else range(n - 1, -1, -1)
    for i in order:
        done = range(i) if lower else range(i + 1, n)
        for k in done:
            x[i] = x[i] - T[i, k] * x[k]
        if not unit:
            x[i] = [v / T[i, i] if T[i, i] else v * mpmath.inf for v in x[i]]
    return x


def lu(run: Run, equation: jaxpr.Equation, A: Any) -> Any:
    run.undecided = True
    factors = np.empty(A.shape, object)
    pivots = np.empty((*A.shape[:-2], min(A.shape[-2:])), np.int32)
    order = np.empty(A.shape[:-1], np.int32)
    for at in np.ndindex(*A.shape[:-2]):
        factors[at], pivots[at], order[at] = _lu(A[at].copy())
    return [factors, pivots, order]


def _lu(A: np.ndarray) -> tuple[np.ndarray, list[int], np.ndarray]:
    """With the greatest element of a column as its pivot."""
    m, n = A.shape
    pivots, order = [], np.arange(m)
    for j in range(min(m, n)):
        i = max(range(j, m), key=lambda i: abs(A[i, j]))
        pivots.append(i)
        A[[i, j]], order[[i, j]] = A[[j, i]], order[[j, i]]
        for k in range(j + 1, m):
            if A[j, j]:
                A[k, j] = A[k, j] / A[j, j]
            A[k, j + 1 :] = A[k, j + 1 :] - A[k, j] * A[j, j + 1 :]
    return A, pivots, order


def _matrices(f: Callable[[np.ndarray], np.ndarray], A: np.ndarray) -> np.ndarray:
    out = np.empty(A.shape, object)
    for at in np.ndindex(*A.shape[:-2]):
        out[at] = f(A[at])
    return out


RULES: dict[str, Callable[..., Any]] = {
    "dot_general": dot_general,
    "conv_general_dilated": convolution,
    "cholesky": cholesky,
    "triangular_solve": triangular_solve,
    "lu": lu,
}
