"""How often the check-up is right: recall, precision and their intervals.

Three sets of programs, none of which the thresholds were tuned on, except the problems
in `CALIBRATION`, which are left out of the score:

- the named problems, sick and healthy;
- programs drawn at random (fault, data, width, depth, activation, optimiser, seed);
- controls: healthy programs that look ill.

A sick program is *found* when one of the findings names its planted cause, and *first*
when that finding heads the report. A healthy program is *clean* when nothing above NOTE
is found. Intervals are Wilson's, at 95 %.

Reference: Wilson (1927), Probable inference, the law of succession, and statistical
inference.
"""

import argparse
import json
import time
from collections.abc import Iterator
from math import sqrt
from pathlib import Path
from typing import NamedTuple

import jax
from rich.console import Console
from rich.table import Table

import steepest
from steepest import problems
from steepest.checkup.finding import Severity
from steepest.problems.controls import CONTROLS


CALIBRATION = ("digits/mlp", "breast-cancer/mlp", "diabetes/mlp")
FIRST = 2000  # seed of the first draw; those from 1000 on were seen in development
DRAWS = 60  # sick programs; half as many healthy twins


class Outcome(NamedTuple):
    """What the check-up said of one program."""

    group: str  # "named", "random", "twin", "control"
    name: str
    fault: str  # "" for a healthy program
    found: bool
    first: bool
    alarms: tuple[str, ...]  # findings above NOTE, in the order of the report
    seconds: float


def wilson(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """The Wilson score interval of a proportion."""
    if trials == 0:
        return 0.0, 1.0
    p, n = successes / trials, trials
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return centre - half, centre + half


def examine_case(group: str, name: str, case: problems.Case, budget: float) -> Outcome:
    """Check one program and compare with what was planted."""
    began = time.perf_counter()
    report = steepest.check(case.problem, case.recipe, budget=budget)
    alarms = [f.rule for f in report.findings if f.severity > Severity.NOTE]
    causes = problems.FAULTS[case.fault].rules if case.fault else ()
    jax.clear_caches()  # hundreds of programs would fill the memory
    return Outcome(
        group=group,
        name=name,
        fault=case.fault or "",
        found=any(f.rule in causes for f in report.findings),
        first=bool(alarms) and alarms[0] in causes,
        alarms=tuple(alarms),
        seconds=time.perf_counter() - began,
    )


def cases(draws: int, only: str | None) -> Iterator[tuple[str, str, problems.Case]]:
    """Every program of the benchmark."""
    for name in problems.names():
        base = "/".join(name.split("/")[:2])
        if base not in CALIBRATION:
            yield "named", name, problems.make(name)
    for i in range(draws):
        yield "random", f"draw {i}", problems.draw(FIRST + i, fault="random")
    for i in range(draws // 2):
        yield "twin", f"healthy draw {i}", problems.draw(FIRST + i, fault=None)
    for name in CONTROLS:
        yield "control", name, CONTROLS[name]()


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=DRAWS)
    parser.add_argument("--budget", type=float, default=60.0, help="seconds a check")
    parser.add_argument("--only", help="run programs whose group or name has this")
    parser.add_argument("--json", type=Path, help="write the outcomes here")
    parser.add_argument(
        "--read", type=Path, nargs="+", help="print the table of these outcomes"
    )
    arguments = parser.parse_args()
    console = Console()
    if arguments.read:
        rows = [row for file in arguments.read for row in json.loads(file.read_text())]
        console.print(table([Outcome(**row) for row in rows]))
        return
    outcomes = []
    for group, name, case in cases(arguments.draws, arguments.only):
        if arguments.only and arguments.only not in f"{group} {name} {case.fault}":
            continue
        o = examine_case(group, name, case, arguments.budget)
        outcomes.append(o)
        mark = (
            ("first" if o.first else "found" if o.found else "MISSED")
            if o.fault
            else ("clean" if not o.alarms else "ALARM")
        )
        console.print(
            f"{mark:7}{group:8}{name:34}{o.fault:24}{o.seconds:5.1f} s  {' '.join(o.alarms)}",
            highlight=False,
            soft_wrap=True,
        )
        if arguments.json:
            arguments.json.write_text(json.dumps([o._asdict() for o in outcomes]))
    console.print(table(outcomes))


def table(outcomes: list[Outcome]) -> Table:
    """Recall, precision and false alarms, with their intervals."""
    sick = [o for o in outcomes if o.fault]
    well = [o for o in outcomes if not o.fault]
    rows = [
        ("cause found", sum(o.found for o in sick), len(sick), 0.90),
        ("cause found first", sum(o.first for o in sick), len(sick), 0.75),
        ("healthy and clean", sum(not o.alarms for o in well), len(well), 0.95),
    ]
    for group in ("named", "random"):
        some = [o for o in sick if o.group == group]
        rows.append((f"  {group}: found", sum(o.found for o in some), len(some), None))
        rows.append((f"  {group}: first", sum(o.first for o in some), len(some), None))
    flagged = [o for o in outcomes if o.alarms]
    right = sum(bool(o.fault) for o in flagged)
    rows.append(
        ("precision (flagged programs that are sick)", right, len(flagged), None)
    )
    result = Table(title="The check-up against planted faults")
    for column in ("measure", "count", "share", "95 % interval", "bar"):
        result.add_column(column, justify="left" if column == "measure" else "right")
    for name, k, n, bar in rows:
        low, high = wilson(k, n)
        share = f"{k / n:.1%}" if n else "-"
        result.add_row(
            name,
            f"{k}/{n}",
            share,
            f"{low:.1%} to {high:.1%}",
            f"{bar:.0%}" if bar else "",
        )
    return result


if __name__ == "__main__":
    main()
