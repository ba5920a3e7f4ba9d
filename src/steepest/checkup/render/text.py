"""The report in a terminal.

Plain text unless colour is asked for; `NO_COLOR` has the last word. The layout follows
the page's: verdict, what matters most, vital signs, findings, mistakes, what passed,
what was not run and why, on what it was run.
"""

import io
import os
import shutil

import numpy as np
from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..finding import Evidence, Finding, Severity
from ..report import Report
from . import ground, words
from .lines import Line
from .vitals import Vital, vitals


BLOCKS = "▁▂▃▄▅▆▇█"
SPARK = 24  # characters of a sparkline
WIDEST = 100  # prose is not read in longer lines
STYLE = {
    Severity.CRITICAL: "bold red",
    Severity.HIGH: "red",
    Severity.MEDIUM: "yellow",
    Severity.NOTE: "cyan",
}
STATUS = {
    "healthy": "bold green",
    "does not train": "bold red",
    "does not generalise": "bold red",
    "has faults": "bold yellow",
    "undecided": "bold yellow",
}
MISTAKES = 6  # listed


def text(
    report: Report,
    *,
    width: int | None = None,
    color: bool = False,
) -> str:
    """The report as text of at most `width` columns.

    `width` is that of the terminal unless given; `color` adds terminal codes, except
    when the environment has `NO_COLOR`.
    """
    if width is None:
        width = min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
    color = color and not os.environ.get("NO_COLOR")
    out = io.StringIO()
    console = Console(
        file=out,
        width=max(width, 30),
        force_terminal=color,
        no_color=not color,
        color_system="standard" if color else None,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    parts = [
        *head(report),
        *vital_signs(report),
        *findings(report),
        *mistakes(report),
        *passed(report),
        *not_run(report),
        *run(report),
    ]
    console.print(Group(*parts))
    return "\n".join(line.rstrip() for line in out.getvalue().splitlines())


def head(report: Report) -> list:
    """Verdict, counts, and what matters most."""
    status = report.verdict.status
    parts = [
        Text.assemble((status.upper(), STATUS.get(status, "bold")), f"  {report.name}"),
        Text(report.verdict.sentence),
        Text(
            f"{words.tally(report.findings)}; {len(report.passed)} passed, "
            f"{len(report.not_run)} not run",
            "dim",
        ),
    ]
    parts += [Text(remark, "yellow") for remark in words.remarks(report.record)]
    top = report.findings[: words.TOP]
    if top:
        table = grid(3)
        for i, f in enumerate(top, 1):
            follows = f" (follows from {f.explained_by})" if f.explained_by else ""
            cure = "\n→ " + words.cure(f, report)
            told = Text.assemble(f.claim, (follows, "dim"), (cure, "bold"))
            table.add_row(f"{i}.", Text(f.rule, STYLE[f.severity]), told)
        parts += [heading("What matters most"), table]
    return [*parts, Text("")]


def vital_signs(report: Report) -> list:
    """Sparklines, where they went, and what is healthy."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for name in ("", "over the run", "first → last", "healthy"):
        table.add_column(name, overflow="fold")
    missing = []
    for vital in vitals(report.record):
        for line in shown(vital):
            first, last = ends(line)
            show = lambda v, vital=vital: words.number(v, percent=vital.percent)
            table.add_row(
                Text(named(vital, line)),
                sparkline(line, log=vital.log),
                f"{show(first)} → {show(last)}",
                healthy(vital),
            )
        if vital.missing:
            missing.append(f"{vital.title}: {vital.missing}")
    parts: list = [heading("Vital signs")]
    if table.row_count:
        parts.append(table)
    parts += [Text(f"Not measured: {m}", "dim") for m in missing]
    said = ground.sentence(report.record)
    parts += [Text(f"Curvature at the end: {said}")] if said else []
    return [*parts, Text("")]


def findings(report: Report) -> list:
    """Every finding with its reasons and its remedy."""
    if not report.findings:
        return [heading("Findings"), Text("None."), Text("")]
    titles, effects = words.titles(report), words.effects(report)
    parts: list = [heading("Findings")]
    for f in report.findings:
        mark = Text.assemble(
            (f.severity.name, STYLE[f.severity]),
            f"  {f.rule}  {titles.get(f.rule, '')}",
        )
        table = grid(2)
        for name, content in rows(f, report, effects[f.rule]):
            table.add_row(Text(name, "dim"), content)
        body = Group(Text(f.claim, "bold"), table)
        parts += [mark, Padding(body, (0, 0, 0, 2)), Text("")]
    return parts


def rows(f: Finding, report: Report, effects: list[str]) -> list[tuple[str, Text]]:
    """What is said of one finding."""
    result = [("saw", Text("\n".join(measured(e) for e in f.evidence)))]
    if f.explained_by:
        result.append(("because", Text(f"{f.explained_by} explains this one")))
    if effects:
        result.append(("explains", Text(", ".join(effects))))
    result += [("why", Text(f.why)), ("cause", Text(f.cause))]
    do, follows = Text(words.cure(f, report), "bold"), words.cause_of(f, report)
    for name, old, new in [] if follows else words.changes(f, report.record):
        do.append(f"\n  {name}: {old} → {new}" if old else f"\n  {name} = {new}")
    if f.prescription.snippet and not follows:
        code = f.prescription.snippet.strip("\n").splitlines()
        do.append("".join(f"\n  {line}" for line in code), "not bold")
    result += [
        ("do", do),
        ("how sure", Text(words.sureness(f.confidence))),
        ("refuted if", Text(f.refutation)),
        ("see", Text(f.reference, "dim")),
    ]
    return [(name, content) for name, content in result if content.plain]


def measured(e: Evidence) -> str:
    """One number against its limit."""
    said = f"{e.quantity} = {words.number(e.observed)}"
    if e.error is not None:
        said += f" ± {words.number(e.error)}"
    limit = "" if e.limit is None else f"limit {words.number(e.limit)}"
    place = f"at {e.place}" if e.place else ""
    aside = ", ".join(part for part in (limit, words.when(e), place) if part)
    return f"{said} ({aside})" if aside else said


def mistakes(report: Report) -> list:
    """The held-out examples that went most wrong."""
    if not report.mistakes:
        return []
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for name in ("example", "is", "taken for", "how sure", "loss"):
        table.add_column(name, justify="right")
    for m in report.mistakes[:MISTAKES]:
        sure = "–" if m.confidence is None else words.number(m.confidence, percent=True)
        cells = (m.target, m.predicted)
        table.add_row(
            str(m.index), *map(words.number, cells), sure, words.number(m.loss)
        )
    return [heading("Worst mistakes on validation data"), table, Text("")]


def passed(report: Report) -> list:
    """Which rules found nothing."""
    if not report.passed:
        return []
    titles, table = words.titles(report), grid(2)
    for rule in report.passed:
        table.add_row(Text(rule, "green"), titles.get(rule, ""))
    return [heading("Passed"), table, Text("")]


def not_run(report: Report) -> list:
    """Which rules could not be applied, and why."""
    if not report.not_run:
        return [heading("Not run"), Text("Every rule was run."), Text("")]
    titles, table = words.titles(report), grid(2)
    reasons: dict[str, list[str]] = {}
    for rule, reason in report.not_run.items():
        reasons.setdefault(reason, []).append(rule)
    for reason, rules in reasons.items():
        named = [f"{r} {titles[r]}" if r in titles else r for r in rules]
        told = named[0] if len(named) == 1 else " ".join(rules)
        table.add_row("·", Text.assemble(reason, (f"\n{told}", "dim")))
    return [heading("Not run, and why"), table, Text("")]


def run(report: Report) -> list:
    """Run, recipe, environment, cost."""
    record = report.record
    table = grid(2)
    for name, value in words.run_rows(record) + words.environment_rows(record):
        table.add_row(Text(name, "dim"), Text(value))
    recipe = words.recipe_rows(record)
    if recipe:
        changed = ", ".join(f"{n} {v}" for n, v, differs in recipe if differs)
        told = f"{changed}; the rest as by default" if changed else "as by default"
        table.add_row(Text("recipe", "dim"), Text(told))
    if report.cost:
        parts = [f"{name} {words.seconds(t)}" for name, t in report.cost.items()]
        total = words.seconds(sum(report.cost.values()))
        table.add_row(Text("cost", "dim"), Text(f"{total}: {', '.join(parts)}"))
    return [heading("The run"), table] if table.row_count else []


# -- Pieces ----------------------------------------------------------------------------


def heading(name: str) -> Text:
    return Text(name, "bold underline")


def grid(columns: int) -> Table:
    """A table without lines whose last column takes what is left."""
    table = Table.grid(padding=(0, 2, 0, 0))
    for i in range(columns):
        last = i == columns - 1
        table.add_column(no_wrap=not last, overflow="fold", ratio=1 if last else None)
    return table


def shown(vital: Vital) -> list[Line]:
    """The lines that a terminal has room for: of many layers, lowest and highest."""
    lines = [n for n in vital.lines if not n.faint and np.isfinite(n.value).any()]
    if not vital.by_depth or len(lines) <= 2:
        return lines
    lines.sort(key=lambda n: float(np.median(n.value[np.isfinite(n.value)])))
    return [lines[0], lines[-1]]


def named(vital: Vital, line: Line) -> str:
    title = vital.title.removesuffix(" of each layer").removesuffix(
        " of each non-linearity"
    )
    alone = len(vital.lines) == 1 and not vital.by_depth
    return title if alone else f"{title}, {line.name}"


def ends(line: Line) -> tuple[float, float]:
    """The first and the last value, whatever they are."""
    return float(line.value[0]), float(line.value[-1])


def healthy(vital: Vital) -> str:
    """The band or the limit in few characters."""
    show = lambda v: words.number(v, percent=vital.percent)
    if vital.limit is not None:
        return f"< {show(vital.limit)}"
    if vital.healthy is not None:
        low, high = map(show, vital.healthy)
        return f"{low} to {high}"
    return ""


def sparkline(line: Line, *, log: bool = False, width: int = SPARK) -> str:
    """A line in one row of characters; × where it is not finite."""
    parts = np.array_split(line.value, min(width, len(line.value)))
    level = np.array([np.mean(part) for part in parts])
    if log:
        level = np.array([np.log10(v) if v > 0 else np.nan for v in level])
        bad = [not np.isfinite(part).all() for part in parts]
    else:
        bad = [not np.isfinite(v) for v in level]
    finite = level[np.isfinite(level)]
    low, high = (finite.min(), finite.max()) if finite.size else (0.0, 0.0)
    chars = []
    for v, broken in zip(level, bad):
        if broken:
            chars.append("×")
        elif not np.isfinite(v):
            chars.append("_")
        else:
            share = (v - low) / (high - low) if high > low else 0.0
            chars.append(BLOCKS[min(int(share * len(BLOCKS)), len(BLOCKS) - 1)])
    return "".join(chars)
