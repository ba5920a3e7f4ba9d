"""`steepest explain`: one rule in full."""

import difflib
import textwrap
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.errors import InputError
from . import config
from .output import put, table, width


def run(
    rule: Annotated[str, typer.Argument(metavar="ID", help="A rule, like OPT001.")],
) -> None:
    """Explain a rule: what it measures, its limits, what it causes.

    \b
    Examples
      steepest explain OPT001
    """
    from ..checkup._examine import retuned

    options = config.read(Path())
    rules = {r.id: r for r in retuned(config.rules(options), options.limits)}
    if rule.upper() not in rules:
        near = difflib.get_close_matches(rule.upper(), list(rules), 3, cutoff=0.5)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise InputError(
            f"There is no rule {rule!r}.{hint} `steepest rules` lists them."
        )
    put(explained(rules[rule.upper()], rules))


def explained(rule: Any, rules: dict[str, Any]) -> str:  # of `Rule`s by id
    """The rule as text."""

    def names(ids: Any) -> str:
        return "; ".join(f"{i} {rules[i].title}" for i in ids if i in rules)

    causes = [other.id for other in rules.values() if rule.id in other.explains]
    needs = [name.replace("|", " or ") for name in rule.needs]
    rows = [("needs", ", ".join(needs) or "nothing but the run")]
    rows += [(f"limit {rule.id}.{k}", f"{v:g}") for k, v in rule.limits.items()]
    rows += [("can cause", names(rule.explains)), ("can follow from", names(causes))]
    doc = "\n\n".join(
        textwrap.fill(" ".join(part.split()), min(width(), 88))
        for part in (rule.doc or rule.judge.__doc__ or "").split("\n\n")
    )
    parts = [f"{rule.id}  {rule.title}  ({rule.severity.name})", doc]
    parts.append(table([row for row in rows if row[1]]))
    if rule.limits:
        name, value = next(iter(rule.limits.items()))
        limit = f'limits = {{"{rule.id}.{name}" = {value:g}}}'
        parts.append(f"To retune it, in pyproject.toml:\n  [tool.steepest]\n  {limit}")
    return "\n\n".join(part for part in parts if part)
