"""`steepest rules`: what a check-up looks for."""

import json
from pathlib import Path
from typing import Annotated

import typer

from . import config
from .output import put, table


def run(
    as_json: Annotated[bool, typer.Option("--json", help="Write JSON.")] = False,
) -> None:
    """List the rules by which a program is judged, with their limits.

    Rules, limits and silenced rules of the nearest pyproject.toml are included.

    \b
    Examples
      steepest rules
      steepest explain OPT001
    """
    from ..checkup._examine import retuned

    options = config.read(Path())
    rules = retuned(config.rules(options), options.limits)
    if as_json:
        listed = [
            {
                "id": rule.id,
                "title": rule.title,
                "severity": rule.severity.name.lower(),
                "limits": dict(rule.limits),
                "needs": list(rule.needs),
                "explains": list(rule.explains),
                "doc": rule.doc,
                "silenced": rule.id in options.silence,
            }
            for rule in rules
        ]
        put(json.dumps(listed, indent=2, ensure_ascii=False))
        return
    rows = []
    for rule in rules:
        limits = ", ".join(f"{name} {value:g}" for name, value in rule.limits.items())
        text = rule.title + (f" ({limits})" if limits else "")
        silenced = " [silenced]" if rule.id in options.silence else ""
        rows.append((rule.id, rule.severity.name, text + silenced))
    put(table(rows))
