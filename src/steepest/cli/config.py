"""The user's settings: `[tool.steepest]` of the nearest `pyproject.toml`.

    [tool.steepest]
    limits = {"OPT001.product" = 1.8}     # thresholds to replace
    silence = ["DAT002"]                  # rules to leave out
    rules = ["checks/rules.py:RULES"]     # rules to add: a Rule, or a sequence of them
    fail-on = "high"                      # the least severity for exit status 1
    budget = 120                          # seconds for a check

Files are found relative to that `pyproject.toml`. What the command line says wins.
"""

import difflib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..core.errors import InputError
from . import loading


#: Levels of `--fail-on`. A report says "healthy" when nothing is above a note, so
#: `medium` makes exit status 0 say the same.
LEVELS = ("note", "medium", "high", "critical", "never")
LEVEL = "medium"
BUDGET = 60.0
KEYS = ("limits", "silence", "rules", "fail-on", "budget")


class Config(NamedTuple):
    """The settings that apply, defaults filled in."""

    limits: Mapping[str, float] = {}
    silence: tuple[str, ...] = ()
    rules: tuple[str, ...] = ()  # FILE.py:OBJECT
    fail_on: str = LEVEL
    budget: float = BUDGET
    file: Path | None = None


def read(start: Path) -> Config:
    """The settings that hold for a directory.

    Raises `InputError` for a file that cannot be read and for settings that do not
    exist or are of the wrong type.
    """
    folders = [start.resolve(), *start.resolve().parents]
    file = next((f for d in folders if (f := d / "pyproject.toml").is_file()), None)
    if file is None:
        return Config()
    try:
        text = tomllib.loads(file.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"`{file}` cannot be read: {error}.") from error
    tool = text.get("tool", {})
    section = tool.get("steepest", {}) if isinstance(tool, dict) else {}
    if not isinstance(section, dict):
        raise InputError(f"{file}: `tool.steepest` must be a table.")
    for key in section:
        if key not in KEYS:
            near = difflib.get_close_matches(key, KEYS, 1) or [", ".join(KEYS)]
            raise InputError(
                f"{file}: there is no setting `{key}`; did you mean {near[0]}?"
            )
    return Config(
        _limits(section.get("limits", {}), file),
        _strings("silence", section.get("silence", []), file),
        _strings("rules", section.get("rules", []), file),
        level(section.get("fail-on", LEVEL), f"{file}: `fail-on`"),
        budget(section.get("budget", BUDGET), f"{file}: `budget`"),
        file,
    )


def level(value: Any, what: str = "`--fail-on`") -> str:
    """A level by name."""
    if isinstance(value, str) and value.lower() in LEVELS:
        return value.lower()
    raise InputError(f"{what} must be one of {', '.join(LEVELS)}, not {value!r}.")


def budget(value: Any, what: str = "`--budget`") -> float:
    """A positive number of seconds."""
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number and value > 0):
        raise InputError(f"{what} must be a positive number of seconds, not {value!r}.")
    return float(value)


def rules(config: Config) -> tuple[Any, ...]:
    """The built-in rules and those that the settings add."""
    from ..checkup.rule import Rule
    from ..checkup.rules import RULES

    result = list(RULES)
    for text in config.rules:
        assert config.file is not None
        path, name = loading.split(text)
        if path is None or path.suffix != ".py" or not name:
            raise InputError(
                f"{config.file}: `rules` must name objects like "
                f"`checks.py:RULES`, not {text!r}."
            )
        path = config.file.parent / path
        found = loading.find(loading.run_file(path), name, path)
        added = [found] if isinstance(found, Rule) else found
        if not isinstance(added, list | tuple) or not all(
            isinstance(r, Rule) for r in added
        ):
            raise InputError(f"{config.file}: `{text}` is not a Rule or several.")
        for rule in added:
            if any(rule.id == known.id for known in result):
                raise InputError(
                    f"{config.file}: `{text}` adds a rule {rule.id}, but there is one "
                    "of that id. Give it another id, and silence the old one."
                )
            result.append(rule)
    return tuple(result)


def _limits(value: Any, file: Path) -> dict[str, float]:
    """`{"OPT001.product": 1.8}`, also written `{OPT001 = {product = 1.8}}`."""
    if not isinstance(value, dict):
        raise InputError(
            f'{file}: `limits` must be a table like {{"OPT001.product" = 1.8}}.'
        )
    flat: dict[str, Any] = {}
    for name, limit in value.items():
        inner = limit if isinstance(limit, dict) else None
        flat |= {name: limit} if inner is None else _under(name, inner)
    for name, limit in flat.items():
        if isinstance(limit, bool) or not isinstance(limit, int | float):
            raise InputError(
                f"{file}: the limit `{name}` must be a number, not {limit!r}."
            )
    return flat


def _under(name: str, table: dict[str, Any]) -> dict[str, Any]:
    return {f"{name}.{key}": value for key, value in table.items()}


def _strings(key: str, value: Any, file: Path) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(v, str) for v in value):
        raise InputError(f"{file}: `{key}` must be a list of strings, not {value!r}.")
    return tuple(value)
