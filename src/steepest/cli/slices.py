"""Which line or plane `steepest landscape` looks along, and how far.

Along a unit vector d with slope s = gᵀd and curvature c = dᵀHd, the parabola is back at
its first height at t = −2s/c. Where there is no slope to speak of, it rises by the loss
itself at

    t = √(2 J / |c|).                                                        (1)
"""

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import PyTree

from ..core.errors import InputError
from ..curvature import eigenpairs, hessian, landscape
from ..curvature.landscape import Line
from ..curvature.taylor import terms
from ..training._objective import Objective, next_update
from ..training.step import global_norm


#: What t, or α and β, run along.
WORDS = {
    "gradient": "t: distance downhill, against the gradient",
    "update": "t: in lengths of the optimiser's next update",
    "random": "t: in lengths of a random direction, scaled to the weights",
    "eigenvectors": "t: distance along the direction of the largest curvature",
    "trajectory": "t: from the first weights (0) to the last (1)",
}
PLANES = {
    "gradient": "α: distance downhill; β: along the largest curvature",
    "update": "α: in lengths of the next update; β: along the largest curvature, scaled "
    "to it",
    "random": "α, β: two random directions, scaled to the weights",
    "eigenvectors": "α: distance along the largest curvature; β: along the smallest",
    "trajectory": "α, β: distance along the two directions that show most of the path "
    "of the weights",
}


NO_GRADIENT = (
    "The gradient is zero here, so there is no way downhill; look `--along random` or "
    "`--along eigenvectors`."
)
PARALLEL = (
    "The two directions of this plane are parallel here; look `--along random`, or "
    "leave `--plane` out."
)


def look(
    made: Objective,
    model: Any,
    along: str,
    on_plane: bool,
    *,
    radius: float | None,
    points: int,
    seed: int,
) -> tuple[Any, np.ndarray | None, str]:  # a Line or a Plane
    """The slice that was asked for, the path to draw on it, and its axes in words."""
    key = jax.random.key(seed)
    loss, params = made.loss, made.params
    what = (PLANES if on_plane else WORDS)[along]
    if on_plane and sum(p.size for p in jax.tree.leaves(params)) < 2:
        raise InputError(
            "A plane needs two parameters, of which there is one; leave `--plane` out."
        )
    if along == "trajectory":
        if not on_plane:
            first, last = made.iterates[0], made.iterates[-1]
            beyond = 0.25 if radius is None else max(radius - 1, 0.0)
            line = landscape.between(loss, first, last, points=points, beyond=beyond)
            return line, None, what
        path = landscape.trajectory_plane(made.iterates)
        ways = path.reach if radius is None else (radius, radius)
        plane = landscape.plane(
            loss, path.origin, *path.directions, reach=ways, points=points
        )
        return plane, path.coordinates, f"{what}\n{path}"
    u = direction(made, model, along, key)
    reach = telling(made, u, along) if radius is None else radius
    if not on_plane:
        line = landscape.line(loss, params, u, reach=reach, points=points)
        return line, None, what
    if along == "random":
        v = direction(made, model, along, jax.random.fold_in(key, 1))
    else:
        v = eigenvector(made, "smallest" if along == "eigenvectors" else "largest", key)
    if along == "update":
        v = times(global_norm(u), v)
    across = reach
    if along in ("gradient", "eigenvectors") and radius is None:
        across = telling(made, v, "eigenvectors")
    with told_as_options("parallel", PARALLEL):
        plane = landscape.plane(
            loss, params, u, v, reach=(reach, across), points=points, orthogonal=True
        )
    return plane, None, what


@contextlib.contextmanager
def told_as_options(fault: str, message: str) -> Iterator[None]:
    """A fault of the library in words of the command line, whose user has no functions."""
    try:
        yield
    except InputError as error:
        if fault not in str(error):
            raise
        raise InputError(message) from error


def direction(made: Objective, model: Any, along: str, key: Any) -> PyTree:
    """The first direction, in the structure of the parameters."""
    match along:
        case "gradient":
            with told_as_options("gradient is zero", NO_GRADIENT):
                return landscape.gradient_direction(made.loss, made.params)
        case "update":
            return next_update(made)
        case "random":
            axis = 0 if _holds_equinox_layers(model) else -1
            if not any(p.ndim > 1 and p.any() for p in jax.tree.leaves(made.params)):
                raise InputError(
                    "No array of weights has two axes and numbers other than zero, to "
                    "which a random direction could be scaled; look `--along gradient`."
                )
            return landscape.random_direction(made.params, key=key, axis=axis)
    return eigenvector(made, "largest", key)


def telling(made: Objective, u: PyTree, along: str) -> float:
    """How far a line shows most: past the bottom of its parabola, or as (1) says."""
    if along == "random":
        return 1.0
    if along == "update":
        return 10.0
    value, slope, curvature, _ = (float(x) for x in terms(made.loss, made.params, u))
    theta = float(global_norm(made.params)) or 1.0
    if along == "gradient" and curvature > 0:
        return min(-2.5 * slope / curvature, theta) or 0.1 * theta
    rise = max(abs(value), 1e-6)
    if curvature == 0 or not math.isfinite(curvature):
        return 0.1 * theta
    return min(math.sqrt(2 * rise / abs(curvature)), theta)


def eigenvector(made: Objective, which: Any, key: Any) -> PyTree:
    """The unit vector of the largest or the smallest curvature."""
    found = eigenpairs(hessian(made.loss, made.params), 1, which, key=key)
    return jax.tree.map(lambda v: v[0], found.vectors)


def times(factor: Any, v: PyTree) -> PyTree:
    return jax.tree.map(lambda x: x * jnp.asarray(factor, x.dtype), v)


def _holds_equinox_layers(model: Any) -> bool:
    """Equinox's kernels are (out, in), those of JAX and Flax (in, out)."""
    layer = lambda x: isinstance(x, eqx.nn.Linear | eqx.nn.Conv)
    return any(map(layer, jax.tree.leaves(model, is_leaf=layer)))


def of_the_way(line: Line) -> str:
    """How the loss goes on the straight line from the first weights to the last.

    No barrier between two minima is meant: the first weights are none.
    """
    inside = (line.distances >= 0) & (line.distances <= 1)
    losses = line.losses[inside]
    holes = int(losses.size - np.isfinite(losses).sum())
    if holes:
        return (
            f"At {holes} of {losses.size} points between the first weights and the last "
            "the loss is not finite."
        )
    climbs = losses - np.minimum.accumulate(losses)
    ends = f"from {losses[0]:.4g} to {losses[-1]:.4g}"
    if climbs.max() <= line.rounding:
        return (
            f"On the straight line to the last weights the loss falls all the way, {ends}: "
            "nothing had to be climbed or gone round."
        )
    at = line.distances[inside][int(np.argmax(climbs))]
    return (
        f"On the straight line to the last weights the loss goes {ends}, but climbs by "
        f"{climbs.max():.4g} up to t = {at:.3g}: training went another way."
    )
