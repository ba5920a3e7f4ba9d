"""Looking for an input that makes an operation fail.

Three stages, each only for what the one before has left:

1. The program is run at many `points` with `events.watch`, and names the operation to
   blame for every output that is not finite.
2. For an operation that the ranges do not acquit, a *distance to danger* d(x) of its
   operands is lowered by projected gradient steps through the whole program,

       x ← clip(x − η s ⊙ ∇d / max|∇d|),   η = ¼ → 0,                              (1)

   with s the width of the range, or |x| where orders of magnitude matter; d is log|v| for
   a divisor or the operand of a logarithm, log(max) − log|y| for an overflow, and so on.
3. A witness is made as mild as it can be: on the line from an input that is fine to it,
   the nearest that still fails, by bisection.

References
    Yan et al. (2021), Exposing numerical bugs in deep learning via gradient
    back-propagation (the objective per operation).
    Li et al. (2023), Reliability assurance for deep neural network architectures against
    numerical defects.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...core import jaxpr
from .events import Address, is_float
from .points import Box, Point, inside


class Danger(NamedTuple):
    """Distances to danger of some operations, and how to lower one."""

    distances: Callable[..., Any]  # values -> one number for each target
    slope: Callable[..., Any]  # (which, values) -> gradient by each value


def danger(
    closed: jaxpr.Closed, targets: Sequence[Address], boxes: Sequence[Box]
) -> Danger:
    """Compile the distances of `targets`, equations outside of loops, once for all."""
    order = {address: i for i, address in enumerate(targets)}

    def distances(*values: Any) -> Any:
        found: dict[int, Any] = {}

        def step(equation: jaxpr.Equation, *operands: Any) -> list[Any]:
            outs = equation.bind(*operands)
            if (number := order.get(equation.address)) is not None:
                found[number] = distance(equation, operands, outs)
            return outs

        loops = dict.fromkeys((jaxpr.Scan, jaxpr.While, jaxpr.Cond), step)
        jaxpr.evaluate(
            closed, list(values), lift=lambda x: x, rules=loops, default=step
        )
        far = jnp.asarray(jnp.inf, jnp.float32)
        return jnp.stack([found.get(i, far) for i in range(len(order))])

    return compiled(distances, boxes)


def compiled(distances: Callable[..., Any], boxes: Sequence[Box]) -> Danger:
    """Distances with their slopes by the arrays that may move."""
    moving = [i for i, box in enumerate(boxes) if box.free and box.real]

    def chosen(which: Any, moved: Any, values: Any) -> Any:
        values = list(values)
        for i, value in zip(moving, moved, strict=True):
            values[i] = value
        return jnp.take(distances(*values), which)

    @jax.jit
    def slope(which: Any, *values: Any) -> Any:
        moved = [values[i] for i in moving]
        return jax.value_and_grad(chosen, argnums=1)(which, moved, values)

    return Danger(jax.jit(distances), slope)


def descend(
    target: int,
    start: Point,
    danger: Danger,
    boxes: Sequence[Box],
    *,
    steps: int = 32,
    seed: int = 0,
) -> list[Point]:
    """The points on the way down from `start`, by (1)."""
    rng = np.random.default_rng(seed)
    moving = [i for i, box in enumerate(boxes) if box.free and box.real]
    point, way = list(start), []
    for turn in range(steps):
        rate = 0.25 * (1 - turn / steps) ** 2 + 1e-3
        _, slopes = danger.slope(target, *point)
        for i, slope in zip(moving, slopes, strict=True):
            box = boxes[i]
            g = np.nan_to_num(np.asarray(slope, np.float64), posinf=1.0, neginf=-1.0)
            most = np.abs(g).max(initial=0)
            if most == 0:
                g, most = rng.normal(size=g.shape), 1.0
            x = np.asarray(point[i], np.float64)
            direction = g / most if turn % 2 else np.sign(g)
            with np.errstate(over="ignore", invalid="ignore"):
                width = np.minimum(box.high, 1e38) - np.maximum(box.low, -1e38)
                scale = np.maximum(abs(x), width * 1e-9) if turn % 4 > 1 else width
                point[i] = inside(box, x - rate * scale * direction)
        way.append(list(point))
    return way


def distance(equation: jaxpr.Equation, operands: Sequence[Any], outs: Any) -> Any:
    """How far the operands are from making the equation fail; less is nearer."""
    name = equation.primitive
    rule = DISTANCES.get(name)
    floats = [x for x in operands if is_float(x) and x.size]
    if rule is not None and floats:
        return rule(*floats).astype(jnp.float32)
    sizes = [magnitude(x) for x in outs if is_float(x) and x.size]
    if not sizes:
        return jnp.asarray(jnp.inf, jnp.float32)
    ends = [float(np.log(float(jnp.finfo(x.dtype).max))) for x in outs if is_float(x)]
    gaps = [end - size for end, size in zip(ends, sizes)]
    return jnp.stack(gaps).min().astype(jnp.float32)


def magnitude(x: Any) -> Any:
    """log max |x|, with a slope also where it is small."""
    size = jnp.abs(x.astype(jnp.float32) if x.dtype.itemsize < 4 else x)
    return jnp.log(jnp.where(jnp.isfinite(size), size, 0).max() + 1e-30)


def order_of(x: Any) -> Any:
    """Monotone in x, and logarithmic in |x| on both sides of zero."""
    x = x.astype(jnp.float32) if x.dtype.itemsize < 4 else x
    return jnp.arcsinh(x * 1e30)


def least(x: Any) -> Any:
    return order_of(x).min()


DISTANCES: dict[str, Callable[..., Any]] = {
    "exp": lambda x: -x.max(),
    "exp2": lambda x: -x.max(),
    "expm1": lambda x: -x.max(),
    "sinh": lambda x: -jnp.abs(x).max(),
    "cosh": lambda x: -jnp.abs(x).max(),
    "log": least,
    "sqrt": least,
    "rsqrt": least,
    "cbrt": lambda x: least(jnp.abs(x)),
    "log1p": lambda x: least(1 + x),
    "div": lambda *xs: least(jnp.abs(xs[-1])),
    "pow": lambda x, *_: least(x),
    "integer_pow": lambda x: least(jnp.abs(x)),
    "acos": lambda x: (1 - jnp.abs(x)).min(),
    "asin": lambda x: (1 - jnp.abs(x)).min(),
    "atanh": lambda x: (1 - jnp.abs(x)).min(),
    "acosh": lambda x: (x - 1).min(),
    "lgamma": lambda x: least(jnp.abs(x)),
    "digamma": lambda x: least(jnp.abs(x)),
    "erf_inv": lambda x: (1 - jnp.abs(x)).min(),
}


def milder(
    fails: Callable[[Point], bool],
    good: Point,
    bad: Point,
    boxes: Sequence[Box],
    turns: int = 12,
) -> Point:
    """The failing point nearest to `good` on the line to `bad`, by bisection."""
    low, high, best = 0.0, 1.0, bad
    for _ in range(turns):
        middle = (low + high) / 2
        point = between(good, bad, middle, boxes)
        if fails(point):
            best, high = point, middle
        else:
            low = middle
    return best


def between(good: Point, bad: Point, part: float, boxes: Sequence[Box]) -> Point:
    out: Point = []
    for box, a, b in zip(boxes, good, bad, strict=True):
        if not (box.free and box.real):
            out.append(b)
            continue
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        with np.errstate(invalid="ignore", over="ignore"):
            mixed = np.where(np.isfinite(b), a + part * (b - a), b)
        out.append(inside(box, mixed))
    return out
