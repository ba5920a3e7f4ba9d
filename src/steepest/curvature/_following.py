"""The ends of a Hessian's spectrum, followed from one point of a run to the next.

At each point θₜ a Lanczos section T = QHQᵀ is grown by a few rows at a time, from

    q₁ ∝ v_max + v_min + NOISE · z,                                          (1)

the vectors found at the last point, which turn slowly, and a random unit vector z of
equal length, by which an eigenvalue that overtakes the largest can be found. Of n
directions a random one has 1/√n of its length along the new one: it takes some products
until that is seen, so that there are `least` of them in any case. The section grows
until the largest Ritz value μ with ‖Hv − μv‖ = r is *reliable*,

    r ≤ tolerance · |μ|,                                                     (2)

or the products that it may spend are spent. (2) proves that an eigenvalue lies as near
as r; that it is the largest follows only with probability, from z. With a positive
diagonal P all of it is said of P^{-1/2} H P^{-1/2}, in whose variable an optimiser that
divides by P descends.

The trace costs a few products more. Its part inside of the section is known, and only
the rest, without the outliers that would make its variance, is left to chance:

    tr H = Σⱼ αⱼ + E wᵀHw,   w = (I − QᵀQ) s,   s of independent signs.       (3)

References
    Cohen et al. (2022), Adaptive gradient methods at the edge of stability. -- P
    Meyer, Musco, Musco & Woodruff (2021), Hutch++: optimal stochastic trace
    estimation.                                                              -- (3)
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from ..core.jaxpr import trace as traced, uses
from ..core.vectors import OnVector, on_vector, working_dtype
from ._lanczos import Iteration, begin, proceed
from .products import Loss, Params, hvp


NOISE = 1.0  # length of the random part of a warm start, of the given part
ROUND = 3  # products between two looks
LEAST = 6  # products at one point, at least
ROWS = 24  # products at one point, at most
PROBES = 4  # of the trace
TOLERANCE = 0.05

Vector = Float[Array, " n"]


class Followed(NamedTuple):
    """What one point of a run has shown."""

    highest: float  # the largest Ritz value: at most λ_max; NaN: H is not finite
    residual: float  # ‖Hv − highest·v‖, with the rounding of the iteration
    lowest: float  # the smallest: at least λ_min
    lowest_residual: float
    trace: float  # NaN where it was not asked for
    trace_error: float  # standard error of (3)
    reliable: bool  # (2)
    num_products: int
    directions: tuple[Vector, ...]  # unit vectors to start from at the next point


class Course(NamedTuple):
    """What stays the same from point to point."""

    objective: OnVector  # of the parameters; further arguments follow them
    size: int
    lowest: bool
    trace: bool
    tolerance: float
    unroll: bool  # see `lanczos`


def course(
    fun: Callable[..., Float[Array, ""]],
    params: Params,
    args: tuple[Any, ...] = (),
    *,
    lowest: bool = False,
    trace: bool = False,
    tolerance: float = TOLERANCE,
) -> Course:
    """Get ready to follow `fun(params, *args)`; nothing is compiled yet."""
    objective, theta = on_vector(fun, params)
    # On a CPU a convolution inside a loop runs some fifteen times slower.
    unroll = jax.default_backend() == "cpu" and uses(
        traced(fun, params, *args).closed, "conv_general_dilated"
    )
    return Course(objective, theta.size, lowest, trace, tolerance, unroll)


def follow(
    course: Course,
    params: Params,
    args: tuple[Any, ...],
    directions: tuple[Vector, ...],
    *,
    key: PRNGKeyArray,
    turn: int,
    most: int = ROWS,
    least: int = LEAST,
    preconditioner: Params | None = None,
) -> Followed:
    """Look at one point, with at most `most` products for the ends (one look at least).

    Between the two, `least` and `most`, it ends as soon as the answer is reliable.

    `directions` are those of the last point, `()` at the first; `turn` counts the points
    and, with `key`, draws what is random.
    """
    rows = min(ROWS, course.size)
    fun, P, at = course.objective, preconditioner, np.uint32(turn)
    now = _start(course.size, working_dtype(params), rows, directions, key, at)
    done = 0
    while True:
        count = min(ROUND, rows - done)
        now = _grow(fun, params, args, P, now, key, at, count, course.unroll)
        done += count
        ends, S = _ends(now, done)
        reliable = bool(ends[1] <= course.tolerance * abs(ends[0]))
        finite = bool(np.isfinite(ends).all())
        short = done < min(least, rows)
        if not finite or done == rows or (reliable and not short) or done >= most:
            break
    value, error, spent = float("nan"), float("nan"), done
    if course.trace and finite:
        each = _rest(fun, params, args, P, now.Q, key, at, course.unroll)
        each = np.asarray(each, np.float64)
        inside = np.asarray(now.alpha[:done], np.float64)
        value = float(inside.sum() + each.mean())
        error = float(each.std(ddof=1) / np.sqrt(PROBES))
        spent += PROBES
    if finite:
        kept = S if course.lowest else S[:1]
        found = _combine(now.Q, np.asarray(kept, now.Q.dtype))
        directions = tuple(found)
    highest, residual, low, low_residual = map(float, ends)
    return Followed(
        highest,
        residual,
        low,
        low_residual,
        value,
        error,
        reliable,
        spent,
        directions,
    )


def _ends(
    now: Iteration, done: int
) -> tuple[Float[np.ndarray, " 4"], Float[np.ndarray, "2 rows"]]:
    """Both outermost Ritz pairs: value and residual; their coordinates in the rows."""
    alpha, beta = (np.asarray(x, np.float64) for x in jax.device_get(now[1:3]))
    S = np.zeros((2, len(alpha)))
    alpha, beta = alpha[:done], beta[:done]
    if not (np.isfinite(alpha).all() and np.isfinite(beta).all()):
        return np.full(4, np.nan), S
    T = np.diag(alpha) + np.diag(beta[:-1], 1) + np.diag(beta[:-1], -1)
    values, vectors = np.linalg.eigh(T)
    S[:, :done] = vectors[:, [-1, 0]].T
    rounding = float(jnp.finfo(now.Q.dtype).eps) * np.abs(values).max()
    residuals = beta[-1] * np.abs(vectors[-1, [-1, 0]]) + rounding
    return np.array([values[-1], residuals[0], values[0], residuals[1]]), S


# -- Compiled programs -----------------------------------------------------------------


@partial(jax.jit, static_argnums=(0, 1, 2))
def _start(
    size: int,
    dtype: Any,
    rows: int,
    directions: tuple[Vector, ...],
    key: PRNGKeyArray,
    turn: Any,
) -> Iteration:
    """The start (1)."""
    z = jax.random.normal(jax.random.fold_in(key, 3 * turn), (size,), dtype)
    q = z / jnp.linalg.norm(z)
    if directions:
        q = sum(directions, start=NOISE * q)
    return begin(q, rows)


@partial(jax.jit, static_argnums=(0, 7, 8), donate_argnums=4)
def _grow(
    objective: OnVector,
    params: Params,
    args: tuple[Any, ...],
    preconditioner: Params | None,
    now: Iteration,
    key: PRNGKeyArray,
    turn: Any,
    count: int,
    unroll: bool,
) -> Iteration:
    """`count` further rows."""
    matvec = _matvec(objective, params, args, preconditioner)
    key = jax.random.fold_in(key, 3 * turn + 1)
    with jax.default_matmul_precision("highest"):  # TF32 would cost half the digits
        return proceed(matvec, now, count, key=key, unroll=unroll)


@partial(jax.jit, static_argnums=(0, 7))
def _rest(
    objective: OnVector,
    params: Params,
    args: tuple[Any, ...],
    preconditioner: Params | None,
    Q: Float[Array, "rows n"],
    key: PRNGKeyArray,
    turn: Any,
    unroll: bool,
) -> Float[Array, " probes"]:
    """Draws of wᵀHw in (3)."""
    matvec = _matvec(objective, params, args, preconditioner)
    key = jax.random.fold_in(key, 3 * turn + 2)

    def draw(_: None, i: Array) -> tuple[None, Array]:
        s = jax.random.rademacher(jax.random.fold_in(key, i), Q.shape[1:], Q.dtype)
        w = s - (Q @ s) @ Q
        return None, w @ matvec(w)

    with jax.default_matmul_precision("highest"):
        return jax.lax.scan(draw, None, jnp.arange(PROBES), unroll=unroll)[1]


@jax.jit
def _combine(Q: Float[Array, "rows n"], S: Float[Array, "k rows"]) -> list[Vector]:
    """Unit vectors from their coordinates."""
    found = jnp.matmul(S, Q, precision="highest")
    return [v / jnp.linalg.norm(v) for v in found]


def _matvec(
    objective: OnVector,
    params: Params,
    args: tuple[Any, ...],
    preconditioner: Params | None,
) -> Callable[[Vector], Vector]:
    """q ↦ P^{-1/2} H P^{-1/2} q on vectors."""
    dtype = working_dtype(params)

    def flat(tree: PyTree) -> Vector:
        return jnp.concatenate([x.ravel().astype(dtype) for x in jax.tree.leaves(tree)])

    scale = None if preconditioner is None else jax.lax.rsqrt(flat(preconditioner))
    loss: Loss = lambda p: objective.fun(p, *args)

    def matvec(q: Vector) -> Vector:
        scaled = q if scale is None else scale * q
        w = flat(hvp(loss, params, objective.unravel(scaled)))
        return w if scale is None else scale * w

    return matvec
