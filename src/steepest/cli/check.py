"""`steepest check`: check a program, or look at a saved record again."""

import contextlib
import difflib
import math
import sys
from dataclasses import fields, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.errors import InputError
from . import config as settings_file
from .loading import Target, failure, line_of, load, split
from .options import Changes, Seed
from .output import put, say, stages, width, writable


INTERRUPTED = 130


def run(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="TARGET",
            help="A problem's name, FILE.py:OBJECT, FILE.py, or RECORD.npz. Without "
            "one, a problem with a fault in it.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Write the report as JSON to stdout.")
    ] = False,
    html: Annotated[
        Path | None,
        typer.Option(
            "--html", metavar="PATH", help="Write the report as one HTML file."
        ),
    ] = None,
    record: Annotated[
        Path | None,
        typer.Option(
            "--record",
            metavar="PATH",
            help="Save what was measured (.npz), to be checked again.",
        ),
    ] = None,
    fail_on: Annotated[
        str | None,
        typer.Option(
            "--fail-on",
            metavar="SEVERITY",
            help="The least severity for exit status 1: note, medium, high, critical, "
            f"never. [default: {settings_file.LEVEL}]",
            show_default=False,
        ),
    ] = None,
    budget: Annotated[
        float | None,
        typer.Option(
            "--budget",
            metavar="SECONDS",
            help=f"How long it may take. [default: {settings_file.BUDGET:.0f}]",
            show_default=False,
        ),
    ] = None,
    seed: Seed = None,
    changes: Changes = None,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Only the verdict and the titles.")
    ] = False,
    no_progress: Annotated[
        bool, typer.Option("--no-progress", help="Show no stages and no bar.")
    ] = False,
) -> int:
    """Check a training program: measure, train, judge, report.

    Exit status: 0 when nothing at or above the level was found, 1 when something was
    or the program does not train, 2 when the input cannot be used, 130 after Ctrl-C
    (which ends the training; the report is on what was measured until then).

    \b
    Examples
      steepest check                                  a problem with a fault in it
      steepest check digits/mlp                       a problem by name
      steepest check train.py:problem --html out.html
      steepest check train.py --set learning_rate=0.01 --budget 120
      steepest check train.py --json --fail-on high   for a script
      steepest check train.py --record run.npz; steepest check run.npz
    """
    for path, ending in ((html, ".html"), (record, ".npz")):
        if path is not None:
            writable(path, ending)
    if budget is not None:
        settings_file.budget(budget)
    if fail_on is not None:
        settings_file.level(fail_on)
    named = None if target is None else split(target)[0]
    here = Path() if named is None or not named.parent.is_dir() else named.parent
    options = settings_file.read(here)
    seconds = options.budget if budget is None else budget
    level = options.fail_on if fail_on is None else fail_on.lower()

    spare = contextlib.redirect_stdout(sys.stderr) if as_json else _nothing()
    try:
        with spare, stages(not (no_progress or quiet)) as progress:
            if progress is not None:
                progress("loading")
            report = examine(
                target, options, seconds, seed, changes or [], record, progress
            )
    except KeyboardInterrupt:
        say("steepest: stopped by Ctrl-C, without a report.")
        return INTERRUPTED

    if record is not None:
        report.record.save(record)
    if html is not None:
        report.save(html)
    put(shown(report, as_json, quiet))
    if html is not None and not as_json and not quiet:
        put(f"\nThe report is in {html}")
    if report.record.meta.get("ended") == "interrupted":
        steps = report.record.meta.get("steps", "some")
        say(
            f"steepest: training was stopped by Ctrl-C after {steps} updates; the "
            "report is on what was measured until then."
        )
        return INTERRUPTED
    return int(fails(report, level))


def examine(
    text: str | None,
    options: settings_file.Config,
    budget: float,
    seed: int | None,
    changes: list[str],
    record: Path | None,
    progress: Any,  # a function of a stage's name, or None
) -> Any:  # a Report
    """Check the program that was named, or review the record."""
    rules = settings_file.rules(options)
    from ..checkup import check, review
    from ..problems import DEFAULT
    from ..training import Recipe

    target = load(text or DEFAULT, seed)
    judging: dict[str, Any] = {
        "rules": rules,
        "limits": options.limits,
        "silence": options.silence,
    }
    if target.record is not None:
        given = {"--seed": seed, "--set": changes or None, "--record": record}
        for option, value in given.items():
            if value is not None:
                raise InputError(
                    f"`{option}` does not go with a record, whose run is over."
                )
        return review(target.record, **judging)
    if target.note and progress is not None:
        say(f"steepest: {target.note}")
    recipe = changed(target.recipe or Recipe(), changes)
    with blamed(target):
        return check(
            target.problem,
            recipe,
            budget=budget,
            seed=seed,
            progress=progress,
            **judging,
        )


@contextlib.contextmanager
def blamed(target: Target) -> Any:
    """An error that comes from a line of the user's file is told as theirs."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        if target.file is None or line_of(error, target.file) is None:
            raise
        raise InputError(failure(error, target.file)) from error


def changed(recipe: Any, changes: list[str]) -> Any:  # a Recipe
    """The recipe with `NAME=VALUE` applied, each value read as its field's type."""
    from ..training import Recipe

    defaults = {f.name: f.default for f in fields(Recipe)}
    kinds = {"clip_norm": float, "steps": int, "epochs": float}
    for change in changes:
        name, equals, value = change.partition("=")
        name, value = name.strip(), value.strip()
        if not equals or not name:
            raise InputError(f"`--set` takes NAME=VALUE, not {change!r}.")
        if name not in defaults:
            near = difflib.get_close_matches(name, list(defaults), 1, cutoff=0.5)
            hint = f"did you mean `{near[0]}`?" if near else ", ".join(defaults) + "."
            raise InputError(f"A recipe has no field `{name}`; {hint}")
        kind = kinds.get(name) or type(defaults[name])
        if name in kinds and value.lower() == "none":
            new = None
        else:
            new = _read(name, value, kind)
        recipe = replace(recipe, **{name: new})
    return recipe


def _read(name: str, text: str, kind: type) -> Any:
    if kind is bool:
        if text.lower() in ("true", "false"):
            return text.lower() == "true"
        raise InputError(f"`{name}` must be true or false, not {text!r}.")
    try:
        value = kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise InputError(f"`{name}` must be {what}, not {text!r}.") from None
    if kind is float and math.isnan(value):
        raise InputError(f"`{name}` must be a number, not {text!r}.")
    return value


def shown(report: Any, as_json: bool, quiet: bool) -> str:  # of a Report
    """The report as it goes to standard output."""
    if as_json:
        return report.to_json()
    if quiet:
        lines = [f"{f.severity.name:<8}  {f.rule}  {f.claim}" for f in report.findings]
        return "\n".join([report.verdict.sentence, *lines])
    from ..checkup.render.text import text

    return text(report, width=min(width(), 100), color=sys.stdout.isatty())


def fails(report: Any, level: str) -> bool:  # of a Report
    """Whether the report holds what must give exit status 1."""
    if level == "never":
        return False
    from ..checkup.finding import Severity

    least = Severity[level.upper()]
    found = any(f.severity >= least for f in report.findings)
    return found or report.verdict.status == "does not train"


@contextlib.contextmanager
def _nothing() -> Any:
    yield
