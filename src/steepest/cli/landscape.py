"""`steepest landscape`: the loss along a line or on a plane through a program's weights."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.errors import InputError
from .check import blamed
from .ground import drawable, measuring, place, stand
from .loading import Target
from .options import AsJson, Changes, Examples, NoBar, Program, Seed, Updates
from .output import put, width


DIRECTIONS = ("gradient", "update", "random", "eigenvectors", "trajectory")
KEPT = 24  # iterates of a trajectory, about
LINE, GRID = 51, 25  # points of a line, and of a side of a plane


def run(
    target: Program,
    along: Annotated[
        str, typer.Option("--along", help=f"Where to look: {', '.join(DIRECTIONS)}.")
    ] = "gradient",
    on_plane: Annotated[
        bool, typer.Option("--plane", help="A plane instead of a line.")
    ] = False,
    radius: Annotated[
        float | None,
        typer.Option(
            "--radius",
            help="How far, in lengths of the direction. [default: as far as is telling]",
            show_default=False,
        ),
    ] = None,
    points: Annotated[
        int | None,
        typer.Option(
            "--points",
            help=f"Of the line, or of a side of the plane. [default: {LINE}, {GRID}]",
            show_default=False,
        ),
    ] = None,
    changes: Changes = None,
    steps: Updates = 0,
    examples: Examples = None,
    seed: Seed = None,
    as_json: AsJson = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture", metavar="FILE", help="Draw it (.svg; needs matplotlib)."
        ),
    ] = None,
    no_progress: NoBar = False,
) -> int:
    """The loss along a line, or on a plane, through the weights of a program.

    Along the gradient, t is a distance among the weights; along the update, t = 1 is
    the optimiser's next step; random directions are scaled to the weights, filter by
    filter; the eigenvectors are those of the largest and the smallest curvature; a
    trajectory leads from the first weights (t = 0) to the last (t = 1), its plane is the
    one that shows most of the path. Without --steps the loss is looked at before training.

    Exit status: 0 when it was measured, 2 when the input cannot be used.

    \b
    Examples
      steepest landscape digits/mlp                       downhill, before training
      steepest landscape digits/mlp --along update --steps 200
      steepest landscape digits/mlp --along eigenvectors --plane --picture plane.svg
      steepest landscape train.py --along trajectory --plane --steps 500 --json
    """
    check_options(along, on_plane, radius, points, steps)
    drawable(picture)
    with measuring(as_json, no_progress):
        made, recipe, loaded = stand(
            target,
            changes or [],
            steps=steps,
            examples=examples,
            seed=seed,
            iterates=KEPT if along == "trajectory" else 0,
        )
        from .slices import look

        with blamed(loaded):
            found, path, what = look(
                made,
                loaded.problem.model,
                along,
                on_plane,
                radius=radius,
                points=points or (GRID if on_plane else LINE),
                seed=recipe.seed,
            )
    from ..core.archive import write_text

    if picture is not None:
        from ..curvature.pictures import picture_of_line, picture_of_plane

        drawn = picture_of_plane(found, path) if on_plane else picture_of_line(found)
        write_text(picture, drawn)
    says = str(found)
    if along == "trajectory" and not on_plane:
        from .slices import of_the_way

        says = of_the_way(found)
    if as_json:
        from ..checkup.render.json import strict

        put(strict(document(loaded.problem.name, made, along, found, path, says), 2))
        return 0
    put(told(loaded, made, what, found, says))
    if picture is not None:
        put(f"\nThe picture is in {picture}")
    return 0


def check_options(
    along: str, on_plane: bool, radius: float | None, points: int | None, steps: int
) -> None:
    """Refuse what makes no sense, before anything is run."""
    import difflib
    import math

    if along not in DIRECTIONS:
        near = difflib.get_close_matches(along, DIRECTIONS, 1)
        hint = (
            f"did you mean `{near[0]}`?"
            if near
            else f"there are {', '.join(DIRECTIONS)}."
        )
        raise InputError(f"`--along` has no {along!r}; {hint}")
    if radius is not None and not (math.isfinite(radius) and radius > 0):
        raise InputError(f"`--radius` must be a positive number, not {radius:g}.")
    if points is not None and points < 3:
        raise InputError(f"`--points` must be at least 3, not {points}.")
    least = 3 if on_plane else 1
    if along == "trajectory" and steps < least:
        raise InputError(
            f"A trajectory needs `--steps {least}` or more: without updates there is no "
            "path."
        )


def told(loaded: Target, made: Any, what: str, found: Any, says: str) -> str:
    """What was seen, in a row of characters and in sentences."""
    import textwrap

    rows = sparklines(found)
    size = max(len(label) for label, *_ in rows)
    drawn = [
        f"{label:<{size}}  {bars}  {low:.4g} to {high:.4g}"
        for label, bars, low, high in rows
    ]
    text = textwrap.fill(says, min(width(), 100))
    return "\n".join([place(loaded, made), what, "", *drawn, "", text])


def sparklines(found: Any) -> list[tuple[str, str, float, float]]:
    """A line in characters, or the two middle lines of a plane, with their ends."""
    import numpy as np

    from ..checkup.render.lines import Line
    from ..checkup.render.text import sparkline

    def drawn(label: str, at: Any, losses: Any) -> tuple[str, str, float, float]:
        finite = losses[np.isfinite(losses)]
        wide = (
            len(finite) > 0 and finite.min() > 0 and finite.max() > 1e3 * finite.min()
        )
        bars = sparkline(
            Line(label, np.arange(len(losses)), losses), log=bool(wide), width=LINE
        )
        return label, bars, float(at[0]), float(at[-1])

    if hasattr(found, "distances"):
        return [drawn("loss at t", found.distances, found.losses)]
    i, j = len(found.alphas) // 2, len(found.betas) // 2
    return [
        drawn("loss at α, β = 0", found.alphas, found.losses[:, j]),
        drawn("loss at β, α = 0", found.betas, found.losses[i]),
    ]


def document(
    name: str, made: Any, along: str, found: Any, path: Any, says: str
) -> dict[str, Any]:
    """The answer for a machine."""
    common = {
        "schema": 1,
        "kind": "steepest.landscape",
        "name": name,
        "along": along,
        "step": made.step,
        "examples": made.examples,
        "loss": found.value,
        "losses": found.losses,
        "sentence": says,
    }
    if not hasattr(found, "distances"):
        return common | {"alphas": found.alphas, "betas": found.betas, "path": path}
    return common | {
        "distances": found.distances,
        "taylor": found.taylor,
        "slope": found.slope,
        "curvature": found.curvature,
        "trusted": found.trusted,
        "barrier": found.barrier,
    }
