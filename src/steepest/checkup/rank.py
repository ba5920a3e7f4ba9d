"""Causes before symptoms: in which order a report shows its findings, and why.

Every rule says which other rules' findings it `explains`. Among the findings that are
present these claims form a graph, and the order follows from three statements:

1. *A finding that another present finding explains comes after it.* Dead units that
   follow from a step size beyond 2/λ are not a second illness.
2. *A cause weighs as much as the gravest thing that follows from it*, or its own
   severity if that is more. A hand-written log(softmax) is the disease; the NaN that
   ended the run is its fever.
3. *Between causes of one weight, the one that explains more of what is seen comes
   first; then what lies earlier in the program* (data, loss, initial state, numerics,
   signal, optimisation, generalisation: what is upstream can cause what is downstream,
   hardly the other way round); *then the surer one.*

Where claims run in a circle the surer of the two findings is taken for the cause. A note
is the cause of notes alone; and a cause is given the severity of the gravest finding that
follows from it, so that whoever reads one of them reads of the cause.
"""

import dataclasses
from collections.abc import Sequence

from .finding import Finding, Severity
from .rule import Rule


STAGES = ("DAT", "PRG", "INI", "NUM", "SIG", "OPT", "SEQ", "GEN", "ADV")


def rank(findings: Sequence[Finding], rules: Sequence[Rule]) -> tuple[Finding, ...]:
    """Order the findings by the argument above, each with its `explained_by` set."""
    explains: dict[str, Sequence[str]] = {rule.id: rule.explains for rule in rules}
    cause = causes(findings, explains)

    def root(rule: str) -> str:
        while rule in cause:
            rule = cause[rule]
        return rule

    severity = {f.rule: f.severity for f in findings}
    follows = {
        f.rule: [g.rule for g in findings if root(g.rule) == f.rule] for f in findings
    }

    def weight(f: Finding) -> tuple:
        below = follows[f.rule]
        heaviest = max((severity[r] for r in below), default=f.severity)
        return (-max(heaviest, f.severity), -len(below), _stage(f.rule), -f.confidence)

    ordered: list[Finding] = []
    for f in sorted((f for f in findings if f.rule not in cause), key=weight):
        ordered.append(f)
    symptoms = [f for f in findings if f.rule in cause]
    place = {f.rule: i for i, f in enumerate(ordered)}
    symptoms.sort(key=lambda f: (-f.severity, place[root(f.rule)], _stage(f.rule)))
    return tuple(
        dataclasses.replace(
            f,
            explained_by=cause.get(f.rule, ""),
            severity=max([f.severity, *(severity[r] for r in follows[f.rule])]),
        )
        for f in [*ordered, *symptoms]
    )


def causes(
    findings: Sequence[Finding], explains: dict[str, Sequence[str]]
) -> dict[str, str]:
    """For each finding that another one explains, the rule id of the best cause."""
    cause: dict[str, str] = {}

    def leads_to(start: str, goal: str) -> bool:
        while start in cause:
            start = cause[start]
            if start == goal:
                return True
        return False

    surest = sorted(findings, key=lambda f: (-f.confidence, _stage(f.rule)))
    for f in sorted(
        findings, key=lambda f: f.confidence
    ):  # the least sure is a symptom
        for candidate in surest:
            if (
                candidate.rule != f.rule
                and f.rule in explains.get(candidate.rule, ())
                and (candidate.severity > Severity.NOTE or f.severity == Severity.NOTE)
                and not leads_to(candidate.rule, f.rule)
            ):
                cause[f.rule] = candidate.rule
                break
    return cause


def _stage(rule: str) -> int:
    return STAGES.index(rule[:3]) if rule[:3] in STAGES else len(STAGES)
