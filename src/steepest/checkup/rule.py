"""A rule of the check-up: a pure judgement, and what it needs to be made.

A rule computes nothing on the device and knows nothing of other rules. It reads facts
and series from a record and returns a finding, or None if all is well. What a rule
`needs` and the record lacks makes it "not run", with the reason that the record gives.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from ..training.record import Record
from .finding import Finding, Severity


Limits = Mapping[str, float]


@dataclass(frozen=True)
class Rule:
    """One rule. Users add their own: `check(problem, rules=RULES + (mine,))`."""

    id: str  # "DAT001": a family (`rank.STAGES`, or your own) and a number
    title: str  # "Non-finite values in the data"
    severity: Severity  # the gravest it gives
    judge: Callable[[Record, Limits], Finding | None]
    needs: tuple[str, ...]  # facts and series, all of them; "a|b": one will do
    limits: Limits = field(default_factory=dict)  # thresholds, each documented in `doc`
    doc: str = ""  # what it measures, why the limits are what they are, look-alikes
    explains: tuple[str, ...] = ()  # ids of the symptoms that this cause produces


class Examination(NamedTuple):
    """What came of applying rules to a record."""

    findings: tuple[Finding, ...]  # ranked, gravest cause first
    passed: tuple[str, ...]  # ids of rules that found nothing
    not_run: Mapping[str, str]  # id -> why
