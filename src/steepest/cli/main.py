"""The entry point: verbs, and what becomes of errors.

Exit status: 0 nothing found, 1 findings at or above the level, 2 usage or input that
cannot be used, 3 a fault of steepest itself, 130 stopped by Ctrl-C. Bad input costs its
user one sentence on standard error and no traceback.

JAX is imported inside of the verbs that need it, so that `--version` and `--help`
answer at once.
"""

import sys
import traceback
from collections.abc import Sequence
from typing import Annotated

import typer

from .. import __version__
from ..core.errors import InputError
from . import (
    audit,
    check,
    explain,
    formats,
    init,
    landscape,
    minimize,
    problems,
    rules,
    spectrum,
)
from .output import put, say


USAGE, FAULT, INTERRUPTED = 2, 3, 130

app = typer.Typer(
    name="steepest",
    help="Check a JAX training program, and say what is wrong with it and why.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("check")(check.run)
app.command("audit")(audit.run)
app.command("spectrum")(spectrum.run)
app.command("landscape")(landscape.run)
app.command("problems")(problems.run)
app.command("init")(init.run)
app.command("rules")(rules.run)
app.command("explain")(explain.run)
app.command("formats")(formats.run)
app.command("minimize")(minimize.run)


def show_version(wanted: bool) -> None:
    if wanted:
        put(f"steepest {__version__}")
        raise typer.Exit


@app.callback(
    epilog="Try `steepest check` first: it checks a program with a fault in it."
)
def common(
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            callback=show_version,
            is_eager=True,
            help="Show the version and exit.",
        ),
    ] = False,
) -> None:
    """Check a JAX training program, and say what is wrong with it and why.

    \b
    steepest check                      a program with a fault in it, to see a report
    steepest check train.py:problem     your program
    steepest init train.py              a program to start from
    """


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot write ≥ gets a ?
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    arguments = list(sys.argv[1:] if argv is None else argv) or ["--help"]
    command = typer.main.get_command(app)
    try:
        status = command.main(arguments, prog_name="steepest", standalone_mode=False)
    except InputError as error:
        return refuse(str(error))
    except OSError as error:
        return refuse(str(error))
    except (KeyboardInterrupt, typer.Abort):
        say("steepest: stopped.")
        return INTERRUPTED
    except Exception as error:
        if hasattr(error, "format_message"):  # the parser's errors
            return misused(error)
        traceback.print_exc()
        say("steepest: this is a fault of steepest; please report the lines above.")
        return FAULT
    return status if isinstance(status, int) else 0


def refuse(sentence: str) -> int:
    """Say in one line why nothing was done."""
    say(f"steepest: {' '.join(sentence.split())}")
    return USAGE


def misused(error: Exception) -> int:
    """The parser's complaint, and where help is to be had."""
    context = getattr(error, "ctx", None)
    message = error.format_message()  # type: ignore[attr-defined]
    path = context.command_path if context is not None else "steepest"
    return refuse(f"{message.rstrip('.')}. `{path} --help` shows how to use it.")
