"""The report as a page: one file that needs nothing else, and a frame for notebooks.

The page is a template (`page.html.j2`) with its style (`page.css`) and a few lines of
script (`page.js`) written into it. Everything that comes from the user is escaped, and a
content security policy forbids the page to load anything. Without script it is whole:
filtering by severity is done by style alone; script adds copying, the theme switch and
jumps within a notebook's frame.

A notebook gets the page in a sandboxed frame: neither the notebook's style nor the
report's can touch the other, which no scoping of style rules would give.
"""

import base64
import re
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template
from markupsafe import Markup

from ..finding import Evidence, Finding
from ..report import Mistake, Report
from . import charts, ground, words
from .json import series
from .pictures import data_uri
from .vitals import Vital, chart, vitals


HERE = Path(__file__).parent
MARK = {
    "healthy": "✓",
    "does not train": "✕",
    "does not generalise": "✕",
    "has faults": "!",
    "undecided": "?",
}
FRAME = (
    '<iframe title="{title}" srcdoc="{page}" sandbox="allow-scripts allow-downloads" '
    'allow="clipboard-write" style="width:100%;height:80vh;min-height:480px;'
    'max-height:1000px;border:1px solid #8884;border-radius:8px"></iframe>'
)


def html(report: Report) -> str:
    """The report as one self-contained page."""
    titles, effects = words.titles(report), words.effects(report)
    every = vitals(report.record)
    return template().render(
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        script=Markup((HERE / "page.js").read_text(encoding="utf-8")),
        name=report.name,
        verdict=report.verdict,
        mark=MARK.get(report.verdict.status, "?"),
        tone=report.verdict.status.replace(" ", "-"),
        remarks=words.remarks(report.record),
        counts=[
            (s.name.lower(), s.name.capitalize(), n)
            for s, n in words.counts(report.findings).items()
        ],
        findings=[
            card(f, report, titles, effects[f.rule], i)
            for i, f in enumerate(report.findings)
        ],
        top=words.TOP,
        vitals=[figure(v, f"vital-{i}") for i, v in enumerate(every) if v.lines],
        unmeasured=[(v.title, v.missing) for v in every if v.missing],
        ground=[
            {"title": p.title, "says": p.says, "svg": Markup(p.svg), "legend": []}
            for p in ground.pictures(report.record)
        ],
        ground_says=ground.sentence(report.record),
        mistakes=[mistake(m) for m in report.mistakes],
        pictured=any(m.image is not None for m in report.mistakes),
        passed=[(rule, titles.get(rule, "")) for rule in report.passed],
        not_run=[(r, titles.get(r, ""), why) for r, why in report.not_run.items()],
        run=words.run_rows(report.record),
        environment=words.environment_rows(report.record),
        recipe=words.recipe_rows(report.record),
        cost=cost(report),
        total=words.seconds(sum(report.cost.values())),
        download=download(report),
    )


def notebook(report: Report) -> str:
    """The page in a frame, for the output of a notebook's cell."""
    title = escape(f"Check-up of {report.name}")
    return FRAME.format(title=title, page=escape(html(report)))


@cache
def template() -> Template:
    loader = FileSystemLoader(HERE)
    environment = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["prose"] = prose
    return environment.get_template("page.html.j2")


def prose(text: str) -> Markup:
    """A sentence, escaped; its `code` and its *stress* as the rules write them."""
    safe = re.sub(r"`([^`\n]+)`", r"<code>\1</code>", escape(text))
    return Markup(
        re.sub(r"(?<![\w*])\*(\w[^*<>\n]*\w)\*(?![\w*])", r"<em>\1</em>", safe)
    )


def card(
    f: Finding, report: Report, titles: dict[str, str], effects: list[str], i: int
) -> dict[str, Any]:
    """What the template shows of a finding."""
    wanted = None if f.chart is None else chart(report.record, f.chart)
    present = {g.rule for g in report.findings}
    follows = words.cause_of(f, report)
    return {
        "rule": f.rule,
        "title": titles.get(f.rule, ""),
        "severity": f.severity.name.lower(),
        "label": f.severity.name.capitalize(),
        "claim": f.claim,
        "evidence": [evidence(e) for e in f.evidence],
        "why": f.why,
        "cause": f.cause,
        "do": words.cure(f, report),
        "changes": [] if follows else words.changes(f, report.record),
        "snippet": "" if follows else f.prescription.snippet.strip("\n"),
        "sure": words.sureness(f.confidence),
        "confidence": f"{100 * min(max(f.confidence, 0.0), 1.0):.0f}",
        "refutation": f.refutation,
        "reference": f.reference,
        "explained_by": f.explained_by if f.explained_by in present else "",
        "cause_title": titles.get(f.explained_by, ""),
        "explains": [(rule, titles.get(rule, "")) for rule in effects],
        "figure": None if wanted is None else figure(wanted, f"finding-{i}"),
    }


def evidence(e: Evidence) -> dict[str, str]:
    observed = words.number(e.observed)
    if e.error is not None:
        observed += f" ± {words.number(e.error)}"
    where = " · ".join(part for part in (e.place, words.when(e)) if part)
    limit = "" if e.limit is None else words.number(e.limit)
    return {"quantity": e.quantity, "observed": observed, "limit": limit, "at": where}


def figure(vital: Vital, name: str) -> dict[str, Any]:
    """A picture with its title, its caption and its legend."""
    return {
        "title": vital.title,
        "says": vital.says,
        "svg": Markup(charts.svg(vital, name)),
        "legend": charts.legend(vital),
        "by_depth": vital.by_depth,
    }


def mistake(m: Mistake) -> dict[str, Any]:
    sure = "" if m.confidence is None else words.number(m.confidence, percent=True)
    return {
        "index": m.index,
        "target": words.number(m.target),
        "predicted": words.number(m.predicted),
        "confidence": sure,
        "loss": words.number(m.loss),
        "image": None if m.image is None else data_uri(m.image),
    }


def cost(report: Report) -> list[tuple[str, str, str]]:
    """Stages with their seconds and their share of the whole, in percent."""
    total = sum(report.cost.values()) or 1.0
    return [
        (name, words.seconds(t), f"{100 * t / total:.1f}")
        for name, t in report.cost.items()
    ]


def download(report: Report) -> str:
    """The series as a data URI, empty where there are none."""
    if not report.record.series:
        return ""
    content = base64.b64encode(series(report.record).encode()).decode()
    return f"data:application/json;base64,{content}"
