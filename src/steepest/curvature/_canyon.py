"""A canyon: descent through a quadratic whose eigenvalues are very different.

In ½ xᵀHx gradient descent goes to and fro between the walls. With the best constant step

    η = 2 / (λ_min + λ_max)                                                  (1)

every step multiplies the error by (κ − 1)/(κ + 1) at worst, κ = λ_max/λ_min; with the
best step each time,

    η_k = gᵀg / gᵀHg,   between 1/λ_max and 1/λ_min,                         (2)

the loss by the square of that at worst. The curvature along the gradient, gᵀHg/gᵀg, lies
between λ_min and λ_max. A heavy ball with

    η = 4 / (√λ_max + √λ_min)²,   β = ((√κ − 1) / (√κ + 1))²                 (3)

multiplies the error by √β per step in the long run, which takes √κ steps where (1) takes
κ. Newton's step −H⁻¹g is at the bottom at once.

References
    Polyak (1964), Some methods of speeding up the convergence of iteration methods. -- (3)
    Goodfellow, Bengio & Courville (2016), Deep Learning, §4.3.1, figure 4.6.
    Nocedal & Wright (2006), Numerical Optimization, §3.3.              -- (1), (2)
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ..core.errors import InputError
from ._drawing import (
    BLUE,
    GREEN,
    ORANGE,
    RED,
    VIOLET,
    contours,
    log_axis,
    number,
    path,
    rule,
    svg,
)


STEPS = 24  # of descent in the canyon


class Descent(NamedTuple):
    """A path over ½ xᵀHx, and what each of its steps saw."""

    name: str
    points: Float[np.ndarray, "steps+1 2"]
    step_sizes: Float[np.ndarray, " steps"]  # NaN of Newton, whose step is no −ηg
    curvatures: Float[np.ndarray, " steps"]  # gᵀHg / gᵀg


def descents(
    hessian: Float[np.ndarray, "2 2"],
    start: Float[np.ndarray, " 2"] | Sequence[float],
    *,
    step_sizes: Sequence[float] = (),
    steps: int = STEPS,
) -> tuple[Descent, ...]:
    """Paths over ½ xᵀHx: constant steps (1), exact line search (2), momentum (3), Newton.

    `step_sizes` takes the place of the best constant step. A path ends at a gradient of
    zero, and where it has left to a hundred times the distance of its start.

    Raises `InputError` for a matrix that is not symmetric and positive definite, and
    for a start at the minimum.
    """
    H, x0 = np.asarray(hessian, float), np.asarray(start, float)
    if (
        H.shape != (2, 2)
        or x0.shape != (2,)
        or not np.isfinite([*H.ravel(), *x0]).all()
    ):
        raise InputError(
            "`hessian` must be a finite 2 × 2 matrix and `start` a pair of numbers, not "
            f"of shapes {H.shape} and {x0.shape}."
        )
    low, high = np.linalg.eigvalsh(H)
    if not np.allclose(H, H.T) or low <= 0:
        raise InputError(
            "A canyon needs a symmetric positive definite `hessian`; the eigenvalues of "
            f"this one are {low:.4g} and {high:.4g}."
        )
    if not x0.any():
        raise InputError("`start` is the minimum; start elsewhere.")
    if steps < 1 or not all(s > 0 for s in step_sizes):
        raise InputError("`steps` must be at least 1 and `step_sizes` positive.")
    best = "best constant step" if len(step_sizes) == 0 else "constant step"
    constants = tuple(step_sizes) or (2 / (low + high),)
    made = [_descend(f"{best} {eta:.3g}", H, x0, steps, eta) for eta in constants]
    made.append(_descend("exact line search", H, x0, steps, None))
    ball = 4 / (high**0.5 + low**0.5) ** 2  # (3)
    beta = ((high**0.5 - low**0.5) / (high**0.5 + low**0.5)) ** 2
    made.append(_descend(f"momentum {beta:.2g}", H, x0, steps, ball, beta))
    g = H @ x0
    newton = np.stack([x0, np.zeros(2)])
    seen = np.array([g @ H @ g / (g @ g)])
    return (*made, Descent("Newton", newton, np.array([np.nan]), seen))


def canyon(
    hessian: Float[np.ndarray, "2 2"],
    start: Float[np.ndarray, " 2"] | Sequence[float],
    *,
    step_sizes: Sequence[float] = (),
    steps: int = STEPS,
) -> str:
    """Descent through a badly conditioned quadratic: its paths, steps and curvatures.

    On the left the `descents` over the contours; on the right, step by step, the
    curvature along the gradient between λ_min and λ_max, and the step size between
    1/λ_max and 1/λ_min, with the limit of stability 2/λ_max.

    Raises `InputError` as `descents` does.
    """
    paths = descents(hessian, start, step_sizes=step_sizes, steps=steps)
    H, x0 = np.asarray(hessian, float), np.asarray(start, float)
    low, high = np.linalg.eigvalsh(H)
    constant = (BLUE, RED, "#b8860b")
    colours = [constant[i % len(constant)] for i in range(len(paths) - 3)]
    colours += [ORANGE, VIOLET, GREEN]

    def draw(figure: Any) -> None:
        axes = figure.subplot_mosaic(
            [["map", "curvature"], ["map", "step"]], width_ratios=[1.2, 1]
        )
        ax = axes["map"]
        middle, half = _frame(x0, paths[-3:])
        x, y = (np.linspace(m - h, m + h, 121) for m, h in zip(middle, half))
        X = np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1)
        heights = 0.5 * np.einsum("abi,ij,abj->ab", X, H, X)
        contours(figure, ax, x, y, heights, bar=False)
        for way, colour in zip(paths, colours):
            path(ax, way.points, colour, way.name)
        ax.set(xlim=x[[0, -1]], ylim=y[[0, -1]], xlabel="x₁", ylabel="x₂")
        ax.set_aspect("equal")
        ax.set_title(f"κ = {number(high / low)}")
        figure.legend(loc="outside lower center", ncols=4)

        ax = axes["curvature"]
        for way, colour in zip(paths, colours):
            ax.plot(way.curvatures, "o-", color=colour, linewidth=1)
        for value, name in ((low, "λ_min"), (high, "λ_max")):
            rule(ax, value, f"{name} = {number(value)}")
        log_axis(ax, "y")
        ax.set_title("curvature along the gradient, gᵀHg / gᵀg", loc="left")
        ax.tick_params(labelbottom=False)
        ax.sharex(axes["step"])
        ax.set_ylim(low / 1.6, high * 1.9)

        ax = axes["step"]
        sizes = np.concatenate([[1 / low, 2 / high], *(p.step_sizes for p in paths)])
        for way, colour in zip(paths, colours):
            if np.isfinite(way.step_sizes).any():
                ax.plot(way.step_sizes, "o-", color=colour, linewidth=1)
        for value, name in (
            (1 / high, "1/λ_max"),
            (2 / high, "2/λ_max"),
            (1 / low, "1/λ_min"),
        ):
            rule(ax, value, name)
        log_axis(ax, "y")
        ax.set_ylim(min(1 / high, np.nanmin(sizes)) / 1.6, np.nanmax(sizes) * 1.9)
        ax.set_title("step size", loc="left")
        ax.set_xlabel("step")

    return svg(draw, "Descent through a badly conditioned canyon", (8.4, 4.6))


def picture_of_descents(losses: Mapping[str, Float[np.ndarray, " steps+1"]]) -> str:
    """The loss after every step of some descents by name, both on logarithmic scales.

    A loss that is zero, negative or not finite breaks its line.

    Raises `InputError` where no positive loss is left to draw.
    """
    curves = {name: np.asarray(values, float) for name, values in losses.items()}
    good = [v[np.isfinite(v) & (v > 0)] for v in curves.values() if v.ndim == 1]
    if len(good) < len(curves) or not any(map(len, good)):
        raise InputError(
            "`losses` must have a list of losses for each name, some of them positive."
        )
    colours = (RED, BLUE, ORANGE, VIOLET, GREEN)

    def draw(figure: Any) -> None:
        ax = figure.subplots()
        for i, (name, values) in enumerate(curves.items()):
            seen = np.where(np.isfinite(values) & (values > 0), values, np.nan)
            steps = np.arange(1, len(seen) + 1)
            ax.plot(steps, seen, color=colours[i % len(colours)], label=name)
        log_axis(ax, "x")
        log_axis(ax, "y")
        ax.set(xlabel="evaluations of the gradient", ylabel="loss")
        figure.legend(loc="outside upper center", ncols=2)

    return svg(draw, "The loss along several descents", (5.6, 3.4))


def _frame(
    start: Float[np.ndarray, " 2"], paths: Sequence[Descent]
) -> tuple[Float[np.ndarray, " 2"], Float[np.ndarray, " 2"]]:
    """The middle and the half widths of a map with these paths, not too flat."""
    points = np.concatenate([*(p.points for p in paths), [-start / 4]])
    low, high = points.min(axis=0), points.max(axis=0)
    half = (high - low) / 2
    return (low + high) / 2, 1.15 * np.maximum(half, 0.4 * half.max())


# -- Descent over a quadratic ----------------------------------------------------------


def _descend(
    name: str,
    H: Float[np.ndarray, "2 2"],
    x0: Float[np.ndarray, " 2"],
    steps: int,
    eta: float | None,
    beta: float = 0.0,
) -> Descent:
    points, sizes, seen = [x0], [], []
    v = np.zeros(2)
    far = 100 * np.linalg.norm(x0)
    for _ in range(steps):
        g = H @ points[-1]
        square = g @ g
        if square == 0 or np.linalg.norm(points[-1]) > far:
            break
        curvature = g @ H @ g / square
        size = 1 / curvature if eta is None else eta
        v = beta * v - size * g
        points.append(points[-1] + v)
        sizes.append(size)
        seen.append(curvature)
    return Descent(name, np.stack(points), np.array(sizes), np.array(seen))
