"""`steepest minimize`: one method on one named function, and what it found."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.errors import InputError
from .output import put, table, writable


SQUARES = ("levenberg-marquardt", "gauss-newton", "dogleg")
ROWS = 14  # of the table of the trajectory
GRID = 161  # points of the picture along each axis


def run(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="A test function; without one, the list."),
    ] = None,
    method: Annotated[
        str,
        typer.Option(
            "--method",
            metavar="M",
            help="trust-region, cubic, saddle-free, damped-newton, newton, steepest; "
            "for sums of squares also levenberg-marquardt, gauss-newton, dogleg.",
        ),
    ] = "trust-region",
    start: Annotated[
        str | None,
        typer.Option("--start", metavar="X,Y,…", help="Start here."),
    ] = None,
    place: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="WHERE",
            help="standard or far: a start of the function. [default: standard]",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[
        int, typer.Option("--steps", metavar="N", help="At most so many steps.")
    ] = 400,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            "--picture",
            metavar="FILE.svg",
            help="Draw the path over contours, of two variables.",
        ),
    ] = None,
) -> int | None:
    """Minimise a named test function, and say what kind of point was found.

    Exit status 0 for a point that is shown to be a minimum, 1 for any other.

    \b
    Examples
      steepest minimize
      steepest minimize rosenbrock
      steepest minimize six-hump-camel --start 0,0 --method newton
      steepest minimize meyer --method levenberg-marquardt --from far
      steepest minimize beale --picture path.svg
    """
    if name is None:
        listed(as_json)
        return None
    if picture is not None:
        writable(picture, ".svg")
    function = find(name, method)
    x = starting_point(function, start, place)
    if picture is not None and len(x) != 2:
        raise InputError(
            f"`--picture` draws functions of two variables; {name} has {len(x)}."
        )

    import jax
    import jax.numpy as jnp

    from ..core.archive import write_text
    from ..core.progress import hidden
    from ..optimize import least_squares, minimize

    with jax.enable_x64(True):
        at = jnp.asarray(x, float)
        if as_json:
            with hidden():
                found: Any = solve(function, at, method, steps, minimize, least_squares)
        else:
            found = solve(function, at, method, steps, minimize, least_squares)
        if picture is not None:
            text = drawing(function["loss"], found, name)
            write_text(picture, text)
    put(as_data(name, method, found) if as_json else as_text(name, method, found))
    if picture is not None and not as_json:
        put(f"\nThe path is in {picture}")
    return 0 if found.success else 1


def solve(
    function: dict[str, Any],
    at: Any,  # a vector
    method: str,
    steps: int,
    minimize: Any,
    least_squares: Any,
) -> Any:  # a Minimized
    if method in SQUARES:
        return least_squares(function["residuals"], at, method, max_steps=steps)
    return minimize(function["loss"], at, method, max_steps=steps)


# -- What there is ---------------------------------------------------------------------


def listed(as_json: bool) -> None:
    """All names."""
    from ..problems import functions

    mgh = functions.mgh
    plain = catalogue(functions)
    squares = {name: mgh.get(name) for name in mgh.names()}
    if as_json:
        data = {
            "schema": 1,
            "kind": "steepest.functions",
            "functions": [
                {"name": n, "variables": f.n, "about": f.about}
                for n, f in plain.items()
            ],
            "sums_of_squares": [
                {"name": n, "variables": p.n, "residuals": p.m, "number": p.number}
                for n, p in squares.items()
            ],
        }
        put(json.dumps(data, indent=2, ensure_ascii=False))
        return
    rows = [(n, f"{f.n}", f.about) for n, f in plain.items()]
    put("Test functions, with their numbers of variables:\n" + table(rows))
    rows = [
        (n, f"{p.n}", f"{p.m} residuals, number {p.number}") for n, p in squares.items()
    ]
    put(
        "\nSums of squares, of Moré, Garbow & Hillstrom (`mgh/NAME` where both lists "
        "have one):\n" + table(rows)
    )


def catalogue(functions: Any) -> dict[str, Any]:
    return {name: functions.get(name) for name in functions.names()}


def find(name: str, method: str) -> dict[str, Any]:
    """The loss of that name, its starts, and its residuals if it has some."""
    import difflib

    from ..optimize._minimize import METHODS
    from ..problems import functions

    if method not in (*METHODS, *SQUARES):
        near = difflib.get_close_matches(method, [*METHODS, *SQUARES], 1, cutoff=0.4)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise InputError(
            f"There is no method {method!r}.{hint} There are "
            f"{', '.join([*METHODS, *SQUARES])}."
        )
    squares, plain = functions.mgh.names(), functions.names()
    short = name.removeprefix("mgh/")
    if short in squares and (method in SQUARES or short != name or short not in plain):
        p = functions.mgh.get(short)
        return {"loss": p.loss, "residuals": p.residuals, "starts": p.starts}
    if name in plain:
        if method in SQUARES:
            raise InputError(
                f"{name} is no sum of squares, which {method} needs; take trust-region."
            )
        f = functions.get(name)
        return {"loss": f.fun, "starts": f.starts}
    near = difflib.get_close_matches(name, [*plain, *squares], 3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    raise InputError(
        f"There is no function {name!r}.{hint} `steepest minimize` lists them."
    )


def starting_point(
    function: dict[str, Any], start: str | None, place: str | None
) -> list[float]:
    """Where to begin: numbers that were given, or a start of the function."""
    starts = function["starts"]
    if start is not None and place is not None:
        raise InputError(
            "`--start` and `--from` both say where to start; leave one of them out."
        )
    place = place or "standard"
    if place not in ("standard", "far"):
        raise InputError(f"`--from` is standard or far, not {place!r}.")
    if start is None:
        return list(starts[0] if place == "standard" else starts[-1])
    try:
        x = [float(part) for part in start.replace(" ", "").split(",")]
    except ValueError as error:
        raise InputError(
            f"`--start` takes numbers with commas between them, not {start!r}."
        ) from error
    if len(x) != len(starts[0]):
        raise InputError(
            f"`--start` has {len(x)} numbers; the function has {len(starts[0])} variables."
        )
    return x


# -- What is written -------------------------------------------------------------------


def as_text(name: str, method: str, found: Any) -> str:
    """The trajectory, where it ended, and what is there."""
    count = len(found.values)
    chosen = list(range(count))
    if count > ROWS:
        inner = [round(3 + i * (count - 7) / (ROWS - 7)) for i in range(ROWS - 6)]
        chosen = sorted({0, 1, 2, *inner, count - 3, count - 2, count - 1})
    rows = [("step", "loss", "gradient", "length of the step")]
    for i in chosen:
        step = f"{found.step_lengths[i]:.3g}" if i else ""
        rows.append(
            (f"{i}", f"{found.values[i]:.8g}", f"{found.gradient_norms[i]:.3g}", step)
        )
    x = ", ".join(f"{v:.8g}" for v in found.params.tolist())
    loss = "half the sum of squares" if method in SQUARES else "the loss"
    head = f"{name} by {method}; values are {loss}"
    return f"{head}\n\n{table(rows)}\n\n{found}\nThe point: ({x})"


def as_data(name: str, method: str, found: Any) -> str:
    """Everything as JSON; numbers that are not finite are null."""
    import math

    def plain(value: Any) -> Any:
        if hasattr(value, "tolist"):
            value = value.tolist()
        if isinstance(value, list):
            return [plain(v) for v in value]
        return None if isinstance(value, float) and not math.isfinite(value) else value

    verdict = found.verdict
    data = {
        "name": name,
        "method": method,
        "success": found.success,
        "reason": found.reason,
        "params": plain(found.params),
        "value": plain(found.value),
        "verdict": {
            "kind": verdict.kind,
            "reason": verdict.reason,
            "lowest": [plain(verdict.lowest.value), plain(verdict.lowest.error)],
            "highest": [plain(verdict.highest.value), plain(verdict.highest.error)],
            "escape": None if verdict.escape is None else plain(verdict.escape),
        },
        "values": plain(found.values),
        "gradient_norms": plain(found.gradient_norms),
        "step_lengths": plain(found.step_lengths),
        "path": [plain(x) for x in found.path],
        "evaluations": found.num_evaluations,
        "products": found.num_products,
        "escapes": found.num_escapes,
    }
    return json.dumps(data, indent=2, ensure_ascii=False)


def drawing(loss: Any, found: Any, name: str) -> str:
    """The path over contours of the loss, as SVG."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    from ..curvature._drawing import RED, contours, path, svg

    points = np.stack([np.asarray(x) for x in found.path])
    low, high = points.min(axis=0), points.max(axis=0)
    half = np.maximum((high - low) / 2, 0.15 * (high - low).max() or 1.0)
    x, y = (
        np.linspace(m - 1.25 * h, m + 1.25 * h, GRID)
        for m, h in zip((low + high) / 2, half, strict=True)
    )
    grid = jnp.asarray(np.stack(np.meshgrid(x, y, indexing="ij"), axis=-1))
    heights = np.asarray(jax.vmap(jax.vmap(loss))(grid))

    def draw(figure: Any) -> None:
        ax = figure.subplots()
        contours(figure, ax, x, y, heights)
        path(ax, points, RED, None)
        ax.set(xlim=x[[0, -1]], ylim=y[[0, -1]], xlabel="x₁", ylabel="x₂")
        ax.set_title(f"{name}, {len(points) - 1} steps: {found.verdict.kind}")

    return svg(draw, f"The path of a search over the contours of {name}", (5.6, 4.4))
