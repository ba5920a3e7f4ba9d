"""What was rewritten, where and why, and how well the old and the new form agree."""

import html
from collections.abc import Iterable
from typing import Any, NamedTuple

from ...core import jaxpr
from .check import Agreement, agreement
from .engine import Change
from .formula import formulas


class Rewrite(NamedTuple):
    """A value of a program and the form that it was given, or why it was given none."""

    address: tuple[int, ...]
    place: jaxpr.Place
    primitive: str
    before: str
    after: str  # of a refusal: what to do instead
    why: str
    applied: bool
    reason: str  # why it was not
    checked: Agreement | None

    def __str__(self) -> str:
        text = f"{self.place}  {self.before}  →  {self.after}"
        if not self.applied:
            return f"{self.place}  {self.before}  left as it is: {self.reason}"
        return text


class Rewrites(tuple[Rewrite, ...]):
    """The rewrites of a program, in its order."""

    @property
    def applied(self) -> tuple[Rewrite, ...]:
        return tuple(r for r in self if r.applied)

    @property
    def refused(self) -> tuple[Rewrite, ...]:
        return tuple(r for r in self if not r.applied)

    def __str__(self) -> str:
        if not self:
            return "nothing to rewrite"
        rows = [HEAD, *map(_row, self)]
        widths = [max(len(row[k]) for row in rows) for k in range(len(HEAD) - 1)]
        lines = []
        for row in rows:
            cells = [c.ljust(w) for c, w in zip(row, widths, strict=False)]
            lines.append("  ".join([*cells, row[-1]]).rstrip())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        if not self:
            return "<p>nothing to rewrite</p>"
        head = "".join(f"<th>{html.escape(h)}</th>" for h in HEAD)
        rows = "".join(
            "<tr>" + "".join(f"<td>{html.escape(c)}</td>" for c in _row(r)) + "</tr>"
            for r in self
        )
        return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"

    def as_json(self) -> list[dict[str, Any]]:
        return [
            {
                **r._asdict(),
                "place": r.place._asdict(),
                "address": list(r.address),
                "checked": None if r.checked is None else r.checked._asdict(),
            }
            for r in self
        ]


HEAD = ("where", "before", "after", "agrees to", "why")


def _row(r: Rewrite) -> tuple[str, ...]:
    if not r.applied:
        return str(r.place), r.before, "left as it is", "", f"{r.reason}; {r.after}"
    agrees = "" if r.checked is None else str(r.checked)
    return str(r.place), r.before, r.after, agrees, r.why


def report(changes: Iterable[Change]) -> Rewrites:
    """The list of rewrites, each checked on sampled points."""
    return Rewrites(map(_rewrite, changes))


def _rewrite(change: Change) -> Rewrite:
    equation = change.equation
    start = (equation.address, equation.place, equation.primitive)
    before, after = formulas(change)
    if change.form is None:
        assert change.refusal is not None
        reason, advice = change.refusal
        return Rewrite(*start, before, advice, "", False, reason, None)
    return Rewrite(*start, before, after, change.form.why, True, "", agreement(change))
