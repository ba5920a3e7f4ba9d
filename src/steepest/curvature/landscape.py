"""The loss along lines and planes through the parameters, and how far to believe them.

A line and a plane are slices of a function of n variables,

    t ↦ L(θ + t d),      (α, β) ↦ L(θ + α u + β v),                          (1)

computed at all their points by one compiled program. Beside the line stands the parabola
with the same value, slope and curvature at θ,

    L(θ) + t gᵀd + ½ t² dᵀHd;                                                (2)

where the two part, a step can no longer be judged from derivatives at θ. Between two
models a and b the line leads over a barrier, of the height

    max over 0 ≤ t ≤ 1 of  L((1 − t)a + t b) − (1 − t) L(a) − t L(b),        (3)

which is zero where they lie in one basin as far as this line can see. (Statistics of
normalisation belong to one model each; a barrier may be theirs.)

How wide a valley looks depends on the length of d: which directions can be compared is
the matter of `random_direction`, `gradient_direction` and `trajectory_plane`.

References
    Goodfellow, Vinyals & Saxe (2015), Qualitatively characterizing neural network
    optimization problems.                                              -- (1), (3)
    Li et al. (2018), Visualizing the loss landscape of neural nets.
    Frankle et al. (2020), Linear mode connectivity and the lottery ticket hypothesis.
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3.1, 8.2.
"""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core._fixed import fixed
from ..core.errors import InputError
from ..core.jaxpr import equations, trace
from ..core.progress import progress
from ..core.vectors import working_dtype
from ._directions import (
    Trajectory,
    across,
    check_finite,
    check_length,
    gradient_direction,
    like,
    random_direction,
    trajectory_plane,
)
from ._slices import Line, Plane
from .products import Loss, Params, check, check_direction
from .taylor import ROUNDING, eps_of, terms


__all__ = [
    "Line",
    "Plane",
    "Trajectory",
    "between",
    "gradient_direction",
    "line",
    "plane",
    "random_direction",
    "trajectory_plane",
]

MEMORY = 2**27  # bytes: of the largest array of the program, over all points at once


def line(
    loss: Loss,
    params: Params,
    direction: Params,
    *,
    distances: Float[np.ndarray | Array, " points"] | Sequence[float] | None = None,
    reach: float = 1.0,
    points: int = 51,
    chunk: int | None = None,
) -> Line:
    """The loss at `params` + t `direction`, with the slope and the curvature at t = 0.

    t are the `distances`, or `points` of them from −`reach` to `reach`; the direction is
    not rescaled. `chunk` points are computed at once, by default as many as fit a
    memory of 128 MB for the largest array of the program, or one where that is faster
    (convolutions on a CPU).

    Raises `InputError` for a loss that is not one number, parameters that are not finite
    floats, a direction of another structure or of length zero, a reach that is not
    positive, fewer than two points.
    """
    check(loss, params)
    (direction,) = _directions(params, direction)
    if distances is None:
        t = _symmetric(reach, points)
    else:
        t = np.sort(np.asarray(distances, float))
        if t.ndim != 1 or not np.isfinite(t).all() or len(np.unique(t)) < 2:
            raise InputError(
                "`distances` must be a list of two different finite numbers or more."
            )
    losses = _losses(loss, params, (direction,), t[:, None], chunk)
    return _line(loss, params, direction, t, losses)


def between(
    loss: Loss,
    a: Params,
    b: Params,
    *,
    points: int = 51,
    beyond: float = 0.25,
    chunk: int | None = None,
) -> Line:
    """The loss on the line from `a` (t = 0) to `b` (t = 1), with the barrier of (3).

    `points` lie between, both models among them; with the same spacing the line goes on
    at least `beyond` behind either. Slope and curvature are those at `a` towards `b`.

    Raises `InputError` as `line` does; equal models have no direction between them.
    """
    check(loss, a, b)
    check_finite(a, "The first model")
    check_finite(b, "The second model")
    _check_points(points)
    if not 0 <= beyond < np.inf:
        raise InputError(f"`beyond` must be a number from 0, not {beyond}.")
    b = like(a, b)
    towards = jax.tree.map(jnp.subtract, b, a)
    check_length(towards, "The two models are equal, so no line leads")
    more = int(np.ceil(beyond * (points - 1) - 1e-9))
    t = np.arange(-more, points + more) / (points - 1)
    # From zero, so that both ends are the models themselves to the last bit.
    zero = jax.tree.map(jnp.zeros_like, a)
    losses = _losses(loss, zero, (a, b), np.stack([1 - t, t], axis=1), chunk)
    ends = losses[more], losses[more + points - 1]
    inside = slice(more, more + points)
    with np.errstate(invalid="ignore"):
        chord = (1 - t[inside]) * ends[0] + t[inside] * ends[1]
        barrier = float(np.max(losses[inside] - chord))  # NaN if a loss is
    return _line(loss, a, towards, t, losses)._replace(barrier=barrier)


def plane(
    loss: Loss,
    params: Params,
    u: Params,
    v: Params,
    *,
    reach: float | tuple[float, float] = 1.0,
    points: int = 25,
    orthogonal: bool = False,
    chunk: int | None = None,
) -> Plane:
    """The loss at `params` + α `u` + β `v`, on a grid of `points` by `points`.

    α and β go from −`reach` to `reach`, or each its own way with a pair. With `orthogonal`
    the part of v along u is taken away and v brought back to its length, so that
    distances in the picture are those among the parameters, if u and v are equally long.

    Raises `InputError` as `line` does, and for parallel directions.
    """
    check(loss, params)
    u, v = _directions(params, u, v)
    beside = across(u, v)  # also refuses parallel ones
    if orthogonal:
        v = like(params, beside)
    ways = reach if isinstance(reach, tuple) else (reach, reach)
    alphas, betas = (_symmetric(way, points) for way in ways)
    grid = np.stack(np.meshgrid(alphas, betas, indexing="ij"), axis=-1)
    at = np.concatenate([np.zeros((1, 2)), grid.reshape(-1, 2)])
    losses = _losses(loss, params, (u, v), at, chunk)
    return Plane(
        alphas, betas, losses[1:].reshape(points, points), float(losses[0]), (u, v)
    )


# -- One program for all points --------------------------------------------------------


def _losses(
    loss: Loss,
    origin: Params,
    directions: tuple[Params, ...],
    coefficients: Float[np.ndarray, "points k"],
    chunk: int | None,
) -> Float[np.ndarray, " points"]:
    """L(origin + Σ cₖ dₖ) for each row c, `chunk` rows at a time."""
    if chunk is not None and chunk < 1:
        raise InputError(f"`chunk` must be at least 1, not {chunk}.")
    loss, total = fixed(loss, origin), len(coefficients)
    if chunk is None:
        rounds = -(-total // _fitting(loss, origin))
        chunk = -(-total // rounds)  # as equal as can be: the last is filled up
    else:
        chunk = min(total, chunk)
        rounds = -(-total // chunk)
    full = np.pad(coefficients, ((0, rounds * chunk - total), (0, 0)), mode="edge")
    dtype = jnp.result_type(*(working_dtype(p.dtype) for p in jax.tree.leaves(origin)))
    parts = []
    with progress("landscape", rounds) as update:
        for i in range(rounds):
            rows = jnp.asarray(full[i * chunk : (i + 1) * chunk], dtype)
            part = _program(loss, origin, directions, rows)
            parts.append(np.asarray(part, np.float64))
            update(i + 1, "")
    return np.concatenate(parts)[:total]


@partial(jax.jit, static_argnums=0)
def _program(
    loss: Loss,
    origin: Params,
    directions: tuple[Params, ...],
    rows: Float[Array, "chunk k"],
) -> Float[Array, " chunk"]:
    def at(row: Float[Array, " k"]) -> Float[Array, ""]:
        def moved(p: Array, *ds: Array) -> Array:
            dtype = working_dtype(p.dtype)
            steps = (row[k].astype(dtype) * d.astype(dtype) for k, d in enumerate(ds))
            return sum(steps, start=p.astype(dtype)).astype(p.dtype)

        return loss(jax.tree.map(moved, origin, *directions))

    if rows.shape[0] == 1:  # no batch, for a program that refuses one
        return at(rows[0])[None]
    return jax.vmap(at)(rows)


def _fitting(loss: Loss, params: Params) -> int:
    """How many points keep the largest array of the program within `MEMORY`.

    A convolution with another kernel at each point is a grouped one, which takes a CPU
    two to three times as long as all of them in turn: there it is one point at a time.
    """
    on_cpu = jax.default_backend() == "cpu"
    sizes = [sum(p.size * p.dtype.itemsize for p in jax.tree.leaves(params))]
    for equation in equations(trace(loss, params).closed):
        if on_cpu and equation.primitive == "conv_general_dilated":
            return 1
        for out in equation.outputs:
            itemsize = getattr(getattr(out, "dtype", None), "itemsize", 0)
            sizes.append(getattr(out, "size", 0) * itemsize)
    return max(1, MEMORY // max(sizes))


def _line(
    loss: Loss,
    params: Params,
    direction: Params,
    t: Float[np.ndarray, " points"],
    losses: Float[np.ndarray, " points"],
) -> Line:
    value, slope, curvature, _ = (float(x) for x in terms(loss, params, direction))
    rounding = ROUNDING * eps_of(params) * abs(value)
    return Line(t, losses, value, slope, curvature, rounding)


def _directions(params: Params, *directions: Params) -> tuple[Params, ...]:
    check_finite(params, "`params`")
    made = []
    for d in directions:
        check_direction(params, d)
        check_finite(d, "The direction")
        made.append(like(params, d))
        check_length(made[-1], "The direction has length zero, so no line leads")
    return tuple(made)


def _symmetric(reach: float, points: int) -> Float[np.ndarray, " points"]:
    _check_points(points)
    if not 0 < reach < np.inf:
        raise InputError(f"`reach` must be a positive number, not {reach}.")
    half = np.linspace(-1, 1, points)
    return reach * (half - half[::-1]) / 2  # 0 exactly in the middle, and symmetric


def _check_points(points: int) -> None:
    if points < 2:
        raise InputError(f"`points` must be at least 2, not {points}.")
