"""`steepest spectrum`: the eigenvalues of a program's loss, and what they allow a step.

The Hessian is only multiplied with vectors: the ends of its spectrum by Lanczos, what
lies between by stochastic Lanczos quadrature (`steepest.curvature`).
"""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.errors import InputError
from .ground import drawable, measuring, place, stand
from .loading import Target
from .options import AsJson, Changes, Examples, NoBar, Program, Seed, Updates
from .output import put, table, width


PART = (
    "On a part of the data the largest eigenvalue is biased upwards: that of the mean is "
    "at most the mean of those of the parts. More `--examples` bring it down."
)


def run(
    target: Program,
    changes: Changes = None,
    steps: Updates = 0,
    top: Annotated[
        int, typer.Option("--top", help="How many of the largest eigenvalues.")
    ] = 10,
    lowest: Annotated[
        int, typer.Option("--lowest", help="How many of the smallest.")
    ] = 1,
    examples: Examples = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            "--batch-size",
            help="How many of them are computed at once. [default: all]",
            show_default=False,
        ),
    ] = None,
    by_layer: Annotated[
        bool,
        typer.Option(
            "--by-layer", help="Also the largest eigenvalue of every array's block."
        ),
    ] = False,
    density: Annotated[
        bool, typer.Option("--density", help="Also the density of all eigenvalues.")
    ] = False,
    seed: Seed = None,
    as_json: AsJson = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture",
            metavar="FILE",
            help="Draw bulk and outliers (.svg; needs matplotlib).",
        ),
    ] = None,
    no_progress: NoBar = False,
) -> int:
    """The curvature of a program's loss: eigenvalues, trace, condition, largest step.

    Every eigenvalue comes with a residual that proves one that near, every mean with its
    standard error; the learning rate is set against the largest that the curvature
    allows the recipe's optimiser. Without --steps the loss is looked at before training.

    Exit status: 0 when it was measured, 2 when the input cannot be used.

    \b
    Examples
      steepest spectrum digits/mlp                     before training
      steepest spectrum digits/mlp --steps 300         after 300 updates
      steepest spectrum train.py:problem --set optimizer=sgd --set learning_rate=0.5
      steepest spectrum train.py --by-layer --density --picture spectrum.svg
      steepest spectrum iris/mlp --json --top 3 --lowest 3
    """
    for name, value, least in (("top", top, 1), ("lowest", lowest, 1)):
        if value < least:
            raise InputError(f"`--{name}` must be at least {least}, not {value}.")
    if batch_size is not None and batch_size < 1:
        raise InputError(f"`--batch-size` must be at least 1, not {batch_size}.")
    drawable(picture)
    with measuring(as_json, no_progress):
        made, recipe, loaded = stand(
            target, changes or [], steps=steps, examples=examples, seed=seed
        )
        from .check import blamed
        from .measured import measure

        with blamed(loaded):
            found = measure(
                made,
                recipe,
                top=top,
                lowest=lowest,
                batch_size=batch_size,
                by_layer=by_layer,
                seed=recipe.seed,
            )
    from ..core.archive import write_text

    if picture is not None:
        write_text(picture, drawn(found))
    if as_json:
        from ..checkup.render.json import strict

        put(strict(document(loaded.problem.name, made, recipe, found), 2))
        return 0
    put(told(loaded, made, recipe, found, density))
    if picture is not None:
        put(f"\nThe picture is in {picture}")
    return 0


def drawn(found: Any) -> str:  # of a Measured
    """The spectrum as a picture."""
    from ..curvature.pictures import picture_of_spectrum

    at, phi, error, _ = found.density.grid()
    known = [*found.highest.values, *found.lowest.values]
    return picture_of_spectrum(at, phi, error, known)


def told(loaded: Target, made: Any, recipe: Any, found: Any, density: bool) -> str:
    """The answer for a reader, the verdict last."""
    n, exact = found.size, found.exact
    error = lambda e: f"{e.value:.4g}" + ("" if exact else f" ± {e.sem:.2g}")
    rows = [
        ("parameters", f"{n}"),
        ("loss", f"{found.loss:.4g}; norm of the gradient {found.gradient_norm:.4g}"),
        ("largest", pairs(found.highest)),
        ("smallest", pairs(found.lowest)),
        ("trace", f"{error(found.trace)}; mean eigenvalue {found.trace.value / n:.3g}"),
        ("condition", f"{found.condition}"),
        (
            "dimension",
            f"{error(found.dimension)} of {n} directions are curved: Σ λ/(λ + α) over "
            f"λ > 0, α = λ_max/100 = {found.alpha:.3g}",
        ),
        (
            "negative",
            f"{error(found.negative_mass)} of Σ|λ| is negative curvature",
        ),
    ]
    parts = [f"{place(loaded, made)}\n"]
    lines = []
    for label, value in rows:
        first, *more = value.split("\n")
        lines.append((label, first))
        lines += [("", line) for line in more]
    parts.append(table(lines))
    if density:
        parts.append("\n" + histogram(found))
    if found.layers:
        parts.append("\nThe largest eigenvalue of each array's own block\n")
        parts.append(
            table(
                [
                    (path, f"{value:.6g} ± {residual:.1g}")
                    for path, value, residual in found.layers
                ]
            )
        )
    if made.total_examples is not None and made.examples < made.total_examples:
        parts += ["", wrapped(PART)]
    parts += [
        "",
        *(wrapped(s) for s in (step_told(made, recipe, found), found.verdict)),
    ]
    return "\n".join(parts)


def pairs(found: Any) -> str:  # Eigenpairs
    """Eigenvalues one a line, each with its residual."""
    rows = zip(found.values, found.residuals, found.converged, strict=True)
    return "\n".join(
        f"{value:.7g} ± {residual:.1g}" + ("" if good else "  not converged")
        for value, residual, good in rows
    )


def step_told(made: Any, recipe: Any, found: Any) -> str:
    """The learning rate against the largest that is stable."""
    kind = recipe.optimizer if isinstance(recipe.optimizer, str) else "the optimiser"
    if found.largest_step is None:
        return f"No largest stable step is known for {kind}: {found.why_no_step}"
    seen = "λ_max" if made.preconditioner is None else "λ_max of P^(-1/2) H P^(-1/2)"
    return (
        f"{kind} is stable while η λ < {made.limit:.4g}, with {seen} = {found.seen:.4g}: "
        f"up to a learning rate of {found.largest_step:.3g}. The next update's is "
        f"{made.learning_rate:.3g}, {found.ratio:.3g} times that."
    )


def histogram(found: Any) -> str:
    """The density in one row of characters, on a logarithmic scale."""
    import numpy as np

    from ..checkup.render.lines import Line
    from ..checkup.render.text import sparkline

    at, phi, _, _ = found.density.grid(60)
    shown = np.maximum(phi, 1e-6 * phi.max())
    bars = sparkline(Line("density", np.arange(len(at)), shown), log=True, width=60)
    low, high = f"{at[0]:.3g}", f"{at[-1]:.3g}"
    return (
        "Density of the eigenvalues, six decades high\n"
        f"{bars}\n{low}{high:>{max(1, 60 - len(low))}}"
    )


def wrapped(text: str) -> str:
    import textwrap

    return textwrap.fill(text, min(width(), 100))


def document(name: str, made: Any, recipe: Any, found: Any) -> dict[str, Any]:
    """The answer for a machine."""
    known = isinstance(recipe.optimizer, str)
    ends = lambda e: {
        "values": e.values,
        "residuals": e.residuals,
        "converged": e.converged,
        "beyond": e.beyond,
        "products": e.num_products,
    }
    mean = lambda e: {"value": e.value, "sem": 0.0 if found.exact else e.sem}
    return {
        "schema": 1,
        "kind": "steepest.spectrum",
        "name": name,
        "step": made.step,
        "examples": made.examples,
        "parameters": found.size,
        "exact": found.exact,
        "loss": found.loss,
        "gradient_norm": found.gradient_norm,
        "largest": ends(found.highest),
        "smallest": ends(found.lowest),
        "trace": mean(found.trace),
        "condition": found.condition._asdict(),
        "effective_dimension": mean(found.dimension) | {"alpha": found.alpha},
        "negative_mass": mean(found.negative_mass),
        "density": {"nodes": found.density.nodes, "weights": found.density.weights},
        "layers": [
            {"path": path, "value": value, "residual": residual}
            for path, value, residual in found.layers
        ],
        "optimizer": recipe.optimizer if known else type(recipe.optimizer).__name__,
        "learning_rate": made.learning_rate,
        "limit": made.limit,
        "seen_curvature": found.seen,
        "largest_step": found.largest_step,
        "ratio": found.ratio,
        "why_no_step": found.why_no_step,
        "verdict": found.verdict,
    }
