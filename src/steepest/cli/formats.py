"""`steepest formats`: what the floating formats hold on this machine."""

from typing import Annotated

import typer

from .output import put


def run(
    names: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="NAME", help="This format; may be repeated."),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option("--backend", metavar="NAME", help="cpu, gpu or tpu."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """Measure where numbers overflow, vanish and stagnate in each floating format.

    Every limit is found by running the operation here; a negative number is where a
    function of a negative number stops, such as exp.

    \b
    Examples
      steepest formats
      steepest formats --format float16 --format bfloat16
    """
    from ..numerics import formats

    table = formats.table(backend, names or formats.NAMES)
    put(table.as_json() if as_json else str(table))
