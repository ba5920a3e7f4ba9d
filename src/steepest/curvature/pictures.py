"""Pictures of curvature: SVG that reads on white and on black, the same at every call.

What they show:

    d̂ᵀHd̂ = Σ wᵢ λᵢ,   wᵢ = cos²∠(d, qᵢ),   Σ wᵢ = 1                           (1)

the curvature along a direction as the average of the eigenvalues, with the squared
cosines to the eigenvectors qᵢ for weights; where the parabola of slope and curvature
parts from the loss,

    L(θ) + t gᵀd + ½ t² dᵀHd;                                                (2)

the density of eigenvalues with those that stand alone; and descent through a canyon.

Arguments are plain arrays, or anything with the fields of a `Line` or a `Plane`. The
picture is one <svg> element with text as text. Matplotlib draws it, and is imported only
then.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §4.3.1, equations 4.8-4.10.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float

from ..core.errors import InputError
from ._canyon import Descent, canyon, descents, picture_of_descents
from ._drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    VIOLET,
    clean,
    contours,
    limits,
    log_axis,
    number,
    path as draw_path,
    say,
    svg,
)


__all__ = [
    "Descent",
    "LineLike",
    "PlaneLike",
    "canyon",
    "descents",
    "picture_of_curvature_weights",
    "picture_of_descents",
    "picture_of_line",
    "picture_of_plane",
    "picture_of_spectrum",
    "picture_of_step",
]


@runtime_checkable
class LineLike(Protocol):
    """What a picture of a line needs; a `Line` has it."""

    @property
    def distances(self) -> Any: ...  # an array of t
    @property
    def losses(self) -> Any: ...
    @property
    def taylor(self) -> Any: ...
    @property
    def barrier(self) -> float | None: ...


@runtime_checkable
class PlaneLike(Protocol):
    """What a picture of a plane needs; a `Plane` has it."""

    @property
    def alphas(self) -> Any: ...  # arrays
    @property
    def betas(self) -> Any: ...
    @property
    def losses(self) -> Any: ...  # at [alpha, beta]


def picture_of_line(line: LineLike) -> str:
    """The loss along a line with its Taylor parabola; between two models the chord.

    Points without a finite loss break the line. The axis is logarithmic where positive
    losses span more than three decades.
    """
    t, losses = (np.asarray(x, float) for x in (line.distances, line.losses))
    parabola = np.asarray(line.taylor, float)
    finite = losses[np.isfinite(losses)]

    def draw(figure: Any) -> None:
        ax = figure.subplots()
        ax.plot(t, clean(losses), color=BLUE, label="loss", zorder=3)
        low, high = limits(finite)
        wide = bool(len(finite)) and finite.min() > 0 and high > 1e3 * finite.min()
        seen = np.where((parabola >= low) & (parabola <= high), parabola, np.nan)
        ax.plot(t, seen, "--", color=ORANGE, label="Taylor parabola at t = 0", zorder=2)
        if line.barrier is not None:
            i, j = (int(np.argmin(np.abs(t - end))) for end in (0, 1))
            chord = [losses[i], losses[j]]
            if np.isfinite(chord).all():
                label = f"straight line; barrier {number(line.barrier)}"
                ax.plot(t[[i, j]], chord, ":", color=GREEN, label=label)
                ax.plot(t[[i, j]], chord, "o", color=GREEN)
        if wide:
            log_axis(ax, "y")
        else:
            ax.set_ylim(low, high)
        ax.axvline(0, color=GREY, linewidth=0.6)
        ax.set(xlabel="t, distance along the direction", ylabel="loss")
        ax.set_xlim(t.min(), t.max())
        if not len(finite):
            say(ax, "no finite loss on this line")
        ax.legend()

    return svg(draw, "The loss along a line with its Taylor parabola", (5.6, 3.2))


def picture_of_plane(
    plane: PlaneLike,
    path: Float[np.ndarray, "steps 2"] | Mapping[str, np.ndarray] | None = None,
) -> str:
    """Contours of the loss on a plane, by equal factors of the height above its lowest.

    Where the loss is not finite the picture is blank. `path` are coordinates (α, β) of
    iterates: a line with a mark for each, a ring at the first and a star at the last; or
    several of them by name.

    Raises `InputError` for a path of another shape.
    """
    alphas, betas = (np.asarray(x, float) for x in (plane.alphas, plane.betas))
    losses = np.asarray(plane.losses, float)
    paths = path if isinstance(path, Mapping) else {"": path}
    ways = {name: np.asarray(p, float) for name, p in paths.items() if p is not None}
    for way in ways.values():
        if way.ndim != 2 or way.shape[1] != 2:
            raise InputError(
                f"`path` must hold a pair (α, β) in each row, not {way.shape}."
            )
    colours = (RED, BLUE, ORANGE, VIOLET, GREEN)

    def draw(figure: Any) -> None:
        ax = figure.subplots()
        contours(figure, ax, alphas, betas, losses)
        ax.plot(0, 0, "+", color=GREY, markersize=9, markeredgewidth=1.5)
        for i, (name, way) in enumerate(ways.items()):
            draw_path(ax, way, colours[i % len(colours)], name or None)
        if any(ways):
            figure.legend(loc="outside upper center", ncols=2)
        ax.set_xlim(alphas[0], alphas[-1])
        ax.set_ylim(betas[0], betas[-1])
        ax.set(xlabel="α, along the first direction", ylabel="β, along the second")

    return svg(draw, "Contours of the loss on a plane", (5.6, 4.4))


def picture_of_curvature_weights(
    weights: Float[np.ndarray, " n"], eigenvalues: Float[np.ndarray, " n"]
) -> str:
    """The curvature along a direction as the weighted average of the eigenvalues: (1).

    Raises `InputError` where the weights are negative or do not add up to 1 to within a
    thousandth: with eigenvalues missing the average is not known.
    """
    w, lam = np.asarray(weights, float), np.asarray(eigenvalues, float)
    if w.shape != lam.shape or w.ndim != 1 or not w.size:
        raise InputError(
            f"A weight for each eigenvalue is needed, not {w.shape} for {lam.shape}."
        )
    if not (w >= 0).all() or abs(w.sum() - 1) > 1e-3 or not np.isfinite(lam).all():
        raise InputError(
            f"The weights must be squared cosines to all eigenvectors, which add up to 1 "
            f"(not {w.sum():.4g}), and the eigenvalues finite."
        )
    mean = float(w @ lam)

    def draw(figure: Any) -> None:
        ax = figure.subplots()
        ax.vlines(lam, 0, w, color=BLUE, linewidth=2)
        ax.plot(lam, w, "o", color=BLUE, label="weights cos² at the eigenvalues")
        label = f"their average, the curvature: {number(mean)}"
        ax.axvline(mean, color=ORANGE, linestyle="--", label=label)
        ax.axhline(0, color=GREY, linewidth=0.6)
        ax.set(xlabel="eigenvalue λ", ylabel="weight", ylim=(0, 1.1 * w.max()))
        figure.legend(loc="outside upper center", ncols=2)

    title = "The curvature along a direction as an average of the eigenvalues"
    return svg(draw, title, (5.6, 3.0))


def picture_of_spectrum(
    grid: Float[np.ndarray, " p"],
    density: Float[np.ndarray, " p"],
    sem: Float[np.ndarray, " p"] | None = None,
    eigenvalues: Float[np.ndarray, " k"] | Sequence[float] = (),
) -> str:
    """The spectral density on a logarithmic scale: the bulk, and outliers marked.

    `density` at `grid` has the standard error `sem`; `eigenvalues` are those known one
    by one. Densities more than six decades below the highest are not shown.
    """
    at, phi = np.asarray(grid, float), np.asarray(density, float)
    error = np.zeros_like(phi) if sem is None else np.nan_to_num(np.asarray(sem, float))
    known = np.asarray(eigenvalues, float)
    if at.shape != phi.shape or error.shape != phi.shape or at.ndim != 1:
        raise InputError(
            "`grid`, `density` and `sem` must be lists of one length, not of shapes "
            f"{at.shape}, {phi.shape} and {error.shape}."
        )
    if not np.isfinite(phi).all() or not phi.max(initial=0) > 0:
        raise InputError("The density must be finite and somewhere positive.")
    top = float((phi + error).max())
    floor = 1e-6 * top

    def draw(figure: Any) -> None:
        ax = figure.subplots()
        shown = np.maximum(phi, floor)
        ax.fill_between(at, floor, shown, color=BLUE, alpha=0.18, linewidth=0)
        lower, upper = np.maximum(phi - error, floor), np.maximum(phi + error, floor)
        if error.any():
            ax.fill_between(
                at, lower, upper, color=BLUE, alpha=0.4, linewidth=0, label="± 1 error"
            )
        ax.plot(at, shown, color=BLUE, label="density of eigenvalues")
        if known.size:
            label = f"{known.size} eigenvalues, one by one"
            ax.plot(
                known, np.full(known.size, floor * 3), "v", color=ORANGE, label=label
            )
            ax.vlines(known, floor, floor * 3, color=ORANGE, linewidth=1)
        ax.axvline(0, color=GREY, linewidth=0.6)
        log_axis(ax, "y")
        ax.set(xlabel="eigenvalue λ", ylabel="density", ylim=(floor, 6 * top))
        ax.legend(loc="upper right")

    return svg(draw, "The spectral density with its outliers", (5.6, 3.2))


def picture_of_step(
    step_sizes: Float[np.ndarray, " k"],
    actual: Float[np.ndarray, " k"],
    predicted: Float[np.ndarray, " k"],
    optimal: float | None = None,
    limit: float | None = None,
) -> str:
    """The loss after a step against its size, as predicted by curvature and as it is.

    Marks the `optimal` step of the parabola and the largest stable step, `limit`; where
    they are None or not finite there is nothing to mark.
    """
    eta, after, model = (np.asarray(x, float) for x in (step_sizes, actual, predicted))
    if eta.ndim != 1 or eta.shape != after.shape or eta.shape != model.shape:
        raise InputError(
            "`step_sizes`, `actual` and `predicted` must be lists of one length, not of "
            f"shapes {eta.shape}, {after.shape} and {model.shape}."
        )
    if eta.size < 2 or not (np.isfinite(eta) & (eta >= 0)).all():
        raise InputError("`step_sizes` must be two finite numbers from 0 or more.")

    def draw(figure: Any) -> None:
        ax = figure.subplots()
        low, high = limits(after[np.isfinite(after)])
        seen = np.where((model >= low) & (model <= high), model, np.nan)
        ax.plot(eta, clean(after), color=BLUE, label="actual loss")
        ax.plot(eta, seen, "--", color=ORANGE, label="predicted by slope and curvature")
        marks = (
            (optimal, GREEN, "-.", "optimal step"),
            (limit, RED, ":", "limit 2/λ_max"),
        )
        for value, colour, style, name in marks:
            if value is not None and np.isfinite(value):
                label = f"{name} {number(value)}"
                ax.axvline(value, color=colour, linestyle=style, label=label)
        if eta.min() > 0 and eta.max() > 30 * eta.min():
            log_axis(ax, "x")
        ax.set(xlabel="step size", ylabel="loss after the step", ylim=(low, high))
        figure.legend(loc="outside upper center", ncols=2)

    return svg(draw, "The loss after a step against its size", (5.6, 3.2))
