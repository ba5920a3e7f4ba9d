"""The words and numbers that every form of the report shares."""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from ...training.recipe import Recipe
from ...training.record import Record
from ..finding import Evidence, Finding, Severity
from ..numbers import number as number
from ..report import Report


TOP = 3  # findings that are said to matter most
SURE = (
    (0.95, "nearly certain"),
    (0.85, "very likely"),
    (0.7, "likely"),
    (0.5, "more likely than not"),
    (0.0, "a suspicion"),
)
ENDED = {
    "out of time": (
        "The run was stopped after {steps} updates because its time was spent; it is "
        "judged on what it did until then. A larger budget lets it finish."
    ),
    "interrupted": (
        "The run was interrupted after {steps} updates; it is judged on what it did "
        "until then."
    ),
}


def seconds(x: float) -> str:
    """A duration."""
    if x < 0.95:
        return f"{1000 * x:.0f} ms"
    return f"{x:.1f} s" if x < 100 else f"{x / 60:.1f} min"


def counts(findings: Iterable[Finding]) -> dict[Severity, int]:
    """How many findings there are of each severity, gravest first."""
    found = [f.severity for f in findings]
    return {s: found.count(s) for s in sorted(Severity, reverse=True)}


def tally(findings: Iterable[Finding]) -> str:
    """The counts in words: "1 critical, 2 notes"."""
    parts = []
    for severity, n in counts(findings).items():
        if n:
            plural = "s" if severity is Severity.NOTE and n > 1 else ""
            parts.append(f"{n} {severity.name.lower()}{plural}")
    return ", ".join(parts) or "no findings"


def sureness(confidence: float) -> str:
    """Confidence as a percentage and in words."""
    words = next(w for least, w in SURE if confidence >= least or least == 0)
    return f"{confidence:.0%} – {words}".replace("%", " %")


def when(evidence: Evidence) -> str:
    """In which updates a number was measured."""
    if evidence.steps is None:
        return ""
    first, last = evidence.steps
    return f"update {first}" if first == last else f"updates {first}–{last}"


def titles(report: Report) -> dict[str, str]:
    """The title of every rule by its id."""
    return {rule.id: rule.title for rule in report.rules}


def effects(report: Report) -> dict[str, list[str]]:
    """For every finding, the rule ids of the findings that it explains."""
    result: dict[str, list[str]] = {f.rule: [] for f in report.findings}
    for f in report.findings:
        if f.explained_by in result:
            result[f.explained_by].append(f.rule)
    return result


def cause_of(finding: Finding, report: Report) -> str:
    """The rule id of the finding that is to be mended first, empty where there is none."""
    causes = {f.rule: f.explained_by for f in report.findings}
    rule = finding.rule
    while causes.get(rule) in causes:
        rule = causes[rule]
    return rule if rule != finding.rule else ""


def cure(finding: Finding, report: Report) -> str:
    """What to do. Of what follows from another finding nothing is known until that is
    mended: its own prescription was made for a run that will not be made again."""
    first = cause_of(finding, report)
    return (
        f"Mend {first} first, then check again." if first else finding.prescription.text
    )


def changes(finding: Finding, record: Record) -> list[tuple[str, str, str]]:
    """The prescription's changes of the recipe: field, value now, value to set."""
    now = record.meta.get("recipe")
    now = now if isinstance(now, Mapping) else {}
    return [
        (name, plain(now[name]) if name in now else "", plain(value))
        for name, value in finding.prescription.recipe.items()
        if name not in now or now[name] != value
    ]


def plain(value: Any) -> str:
    """A recipe's value as one would type it."""
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    return repr(value) if isinstance(value, str) else str(value)


def remarks(record: Record) -> list[str]:
    """What a reader must know about the run before reading the numbers."""
    meta = record.meta
    result = []
    if meta.get("ended") in ENDED:
        result.append(ENDED[meta["ended"]].format(steps=meta.get("steps", "some")))
    sentence = (meta.get("nonfinite") or {}).get("sentence")
    if sentence:
        result.append(str(sentence))
    return result


def recipe_rows(record: Record) -> list[tuple[str, str, bool]]:
    """The recipe: field, value, and whether it differs from the default."""
    recipe = record.meta.get("recipe")
    if not isinstance(recipe, Mapping):
        return []
    default = Recipe()
    return [
        (name, plain(value), value != getattr(default, name, value))
        for name, value in recipe.items()
    ]


def environment_rows(record: Record) -> list[tuple[str, str]]:
    """Where and on what the run was made."""
    meta = record.meta
    rows = []
    if "seed" in meta:
        rows.append(("seed", str(meta["seed"])))
    if "device" in meta:
        rows.append(("device", str(meta["device"])))
    if "platform" in meta:
        rows.append(("platform", str(meta["platform"])))
    versions = meta.get("versions")
    if isinstance(versions, Mapping):
        rows.append(("versions", ", ".join(f"{k} {v}" for k, v in versions.items())))
    return rows


def run_rows(record: Record) -> list[tuple[str, str]]:
    """How large the run was, how fast, and what looking at it cost."""
    meta = record.meta
    rows = []
    if meta.get("parameters") is not None:
        rows.append(("parameters", f"{int(meta['parameters']):,}".replace(",", " ")))
    if meta.get("examples") is not None:
        rows.append(("training examples", str(meta["examples"])))
    if meta.get("steps") is not None:
        rows.append(("updates", str(meta["steps"])))
    if meta.get("ended"):
        rows.append(("ended", str(meta["ended"])))
    if _is_number(meta.get("steps_per_second")):
        rows.append(("updates a second", number(float(meta["steps_per_second"]))))
    if _is_number(meta.get("seconds")):
        rows.append(("time in training", seconds(float(meta["seconds"]))))
    if _is_number(meta.get("probe_seconds")):
        rows.append(("of it in probes", seconds(float(meta["probe_seconds"]))))
    return rows


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
