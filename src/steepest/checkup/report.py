"""The report: what a check-up found, ready to be read by people or machines."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from ..training.record import Record
from .finding import Finding
from .rule import Rule


Status = Literal[
    "healthy", "does not train", "does not generalise", "has faults", "undecided"
]


class Verdict(NamedTuple):
    """The answer to the first question: does it train, and does it generalise?"""

    status: Status
    sentence: str  # with the numbers it rests on


class Mistake(NamedTuple):
    """One held-out example that the model gets badly wrong."""

    index: int  # in the validation data
    loss: float
    target: float  # a class number, or the target value
    predicted: float
    confidence: float | None  # of the predicted class, 0 to 1
    image: Any = (
        None  # (height, width[, channels]) array in [0, 1], where inputs are images
    )


@dataclass(frozen=True)
class Report:
    """What `steepest.check` returns.

    `print(report)` shows it in the terminal, a notebook shows the page, `save` writes
    it: `.html` (one self-contained file) or `.json`, told apart by the ending.
    """

    name: str
    verdict: Verdict
    findings: tuple[Finding, ...]  # ranked: what explains most, then what weighs most
    passed: tuple[str, ...]  # ids of rules that found nothing
    not_run: Mapping[str, str]  # rule id -> why
    rules: tuple[Rule, ...]
    record: Record
    mistakes: tuple[Mistake, ...] = ()
    cost: Mapping[str, float] = field(default_factory=dict)  # stage -> seconds

    def __str__(self) -> str:
        from .render.text import text

        return text(self)

    def _repr_html_(self) -> str:
        """The page in a frame, so that it and the notebook leave each other alone."""
        from .render.html import notebook

        return notebook(self)

    def to_html(self) -> str:
        """The report as one self-contained page."""
        from .render.html import html

        return html(self)

    def to_json(self) -> str:
        """The report as JSON, with a schema number."""
        from .render.json import dumps

        return dumps(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report to `path` (`.html` or `.json`), whole or not at all."""
        from ..core import archive
        from ..core.errors import InputError

        ending = os.path.splitext(os.fspath(path))[1].lower()
        if ending not in (".html", ".json"):
            raise InputError(
                f"Cannot tell what to write to `{path}`: the name must end in .html "
                "or .json."
            )
        content = self.to_html() if ending == ".html" else self.to_json()
        archive.write_text(path, content)
