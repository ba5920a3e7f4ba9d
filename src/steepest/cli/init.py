"""`steepest init`: write a program to start from."""

from importlib import resources
from pathlib import Path
from typing import Annotated

import typer

from ..core.errors import InputError
from .output import put, writable


def run(
    path: Annotated[Path, typer.Argument(metavar="FILE.py", help="The file to write.")],
    force: Annotated[
        bool, typer.Option("--force", help="Replace the file if it exists.")
    ] = False,
) -> None:
    """Write a commented program to start from: data, model, loss, recipe.

    It runs as it is; put your own model and data in its place.

    \b
    Examples
      steepest init train.py
      steepest check train.py:problem
    """
    from ..core import archive

    writable(path, ".py")
    if path.exists() and not force:
        raise InputError(f"`{path}` exists; give another name, or --force to replace.")
    archive.write_text(path, template())
    put(f"Wrote {path}. Check it by: steepest check {path}:problem")


def template() -> str:
    """The program that is written."""
    return resources.files("steepest.cli").joinpath("template.py").read_text("utf-8")
