"""`steepest audit`: which operation overflows, underflows or loses its digits."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from ..core.errors import InputError, type_name
from . import specs
from .check import blamed
from .loading import Target, as_target, find, load, run_file, split
from .output import put, writable


class Asked(NamedTuple):
    """What is audited: a function and one spec for each argument."""

    fun: Callable[..., Any]
    specs: list[Any]
    target: Target  # for errors from a line of the user's file


def run(
    target: Annotated[
        str,
        typer.Argument(
            metavar="TARGET",
            help="FILE.py:FUNCTION, or a program: FILE.py:PROBLEM or its name.",
            show_default=False,
        ),
    ],
    spec: Annotated[
        list[str] | None,
        typer.Option(
            "--spec",
            metavar="SPEC",
            help='What an argument may hold: "float32[32,10] in [-30, 30]", '
            '"x=float32[3]", "FILE.npy", "key(0)". Once for each argument, in order.',
            show_default=False,
        ),
    ] = None,
    gradient: Annotated[
        bool,
        typer.Option(
            "--gradient/--no-gradient", help="Whether derivatives are audited too."
        ),
    ] = True,
    budget: Annotated[
        float,
        typer.Option(
            "--budget", metavar="SECONDS", help="How long the search may take."
        ),
    ] = 30.0,
    seed: Annotated[int, typer.Option("--seed", help="The seed of the search.")] = 0,
    as_json: Annotated[
        str | None,
        typer.Option(
            "--json",
            metavar="PATH",
            help="Write the findings as JSON; - for stdout.",
            show_default=False,
        ),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="PATH", help="Write the findings as a page."),
    ] = None,
    stabilize: Annotated[
        bool,
        typer.Option(
            "--stabilize", help="Show also what `steepest.stabilize` would rewrite."
        ),
    ] = False,
) -> int:
    """Audit a function: what overflows, underflows, or loses its digits, with inputs.

    Every finding that is confirmed comes with an input, inside of the specs, that makes
    it happen. Of a program, its loss is audited with the inputs and the parameters in
    ranges somewhat wider than those of its data and of its first weights.

    Exit status: 0 when nothing was confirmed, 1 when something was, 2 when the input
    cannot be used.

    \b
    Examples
      steepest audit losses.py:loss --spec "float32[32,10] in [-30, 30]"
      steepest audit losses.py:loss --spec "z=float32[8]" --no-gradient
      steepest audit losses.py:loss --spec z.npy --stabilize --html audit.html
      steepest audit train.py:problem
      steepest audit digits/mlp/log-softmax --json -
    """
    if html is not None:
        writable(html, ".html")
    if as_json not in (None, "-"):
        writable(Path(as_json), ".json")
    if not budget > 0:
        raise InputError(f"`--budget` must be above 0 seconds, not {budget:g}.")
    asked = ask(target, spec or [], seed)
    from ..numerics import audit

    with blamed(asked.target):
        found = audit(
            asked.fun, *asked.specs, gradient=gradient, budget=budget, seed=seed
        )
    from ..core.archive import write_text

    rewrites = rewritten(asked) if stabilize else ""
    if html is not None:
        write_text(html, page(target, found._repr_html_()))
    if as_json == "-":
        put(found.as_json())
    else:
        put("\n\n".join(filter(None, (str(found), rewrites))))
    if as_json not in (None, "-"):
        write_text(Path(as_json), found.as_json() + "\n")
    return int(bool(found.confirmed))


# -- What is asked ---------------------------------------------------------------------


def ask(text: str, given: list[str], seed: int) -> Asked:
    """The function and its specs, or a program's loss and the ranges of its data."""
    path, name = split(text)
    if path is None or path.suffix != ".py" or not name:
        return of_problem(load(text, seed), given, text)
    found = find(run_file(path), name, path)
    if as_target(found) is not None:
        return of_problem(load(text, seed), given, text)
    if not callable(found):
        raise InputError(
            f"`{path.name}:{name}` is {type_name(found)}. Name a function, or a "
            "steepest.Problem."
        )
    parameters = positional(found)
    if not given and not parameters:  # it makes a program
        return of_problem(load(text, seed), given, text)
    if not given:
        raise InputError(
            f"`{path.name}:{name}` takes {', '.join(parameters)}; say what each may "
            f'hold, as in --spec "{parameters[0]}=float32[32,10] in [-30, 30]".'
        )
    return Asked(found, specs.read_all(given, parameters), Target(file=path))


def positional(fun: Callable[..., Any]) -> list[str]:
    """The names of the arguments that a function needs."""
    try:
        parameters = inspect.signature(fun).parameters.values()
    except (TypeError, ValueError):
        raise InputError(
            "The arguments of this function cannot be told; call it in a function of "
            "your own."
        ) from None
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p.name for p in parameters if p.kind in kinds and p.default is p.empty]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters) and not needed:
        raise InputError(
            "A function of any number of arguments (*args) has none to name; call it "
            "in a function of your own."
        )
    return needed


def of_problem(target: Target, given: list[str], text: str) -> Asked:
    """A program's loss, its parameters and inputs in ranges."""
    if target.problem is None:
        raise InputError(f"`{text}` is a record; an audit needs the program itself.")
    if given:
        raise InputError(
            f"`{text}` is a program, whose data say what its arguments hold; `--spec` "
            "goes with a function."
        )
    from ..checkup.preflight.ranges import ranges
    from ..training import Recipe
    from ..training._validate import validate

    with blamed(target):
        validate(target.problem, target.recipe or Recipe())
        fun, arguments = ranges(target.problem)
    return Asked(fun, list(arguments), target)


# -- What is answered ------------------------------------------------------------------


def rewritten(asked: Asked) -> str:
    """What `stabilize` would change, as a table."""
    import jax

    from ..numerics import stabilize
    from ..numerics.intervals import Interval

    def example(spec: Any) -> Any:
        if isinstance(spec, Interval):
            return jax.ShapeDtypeStruct(spec.shape, spec.dtype)
        return spec

    args = jax.tree.map(example, asked.specs, is_leaf=lambda s: isinstance(s, Interval))
    with blamed(asked.target):
        return str(stabilize(asked.fun).rewrites(*args))


def page(title: str, body: str) -> str:
    from html import escape

    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        f"<title>Audit of {escape(title)}</title></head>"
        "<body style='font-family:sans-serif;max-width:60em;margin:2em auto'>"
        f"<h1>Audit of {escape(title)}</h1>{body}</body></html>\n"
    )
