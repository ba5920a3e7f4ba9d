"""`steepest problems`: the problems that can be checked by name."""

import json
from typing import Annotated

import typer

from .output import put, table


def run(
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List the problems that `steepest check NAME` knows.

    The healthy ones come first in each group; under them the same with one fault.

    \b
    Examples
      steepest problems
      steepest check digits/mlp/log-softmax
    """
    from ..problems import DEFAULT, describe, names

    if as_json:
        listed = [
            {"name": n, "about": describe(n), "default": n == DEFAULT} for n in names()
        ]
        put(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    rows = [
        (name, describe(name) + (" (default)" if name == DEFAULT else ""))
        for name in names()
    ]
    put(table(rows))
