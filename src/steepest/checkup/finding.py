"""What a check-up says: a claim, the numbers behind it, and what to do about it.

No number, no finding: `evidence` is never empty. A finding also says what would refute
it, since a diagnosis that nothing could refute says nothing (Popper).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any


class Severity(IntEnum):
    """How much a finding matters. The levels of `--fail-on`."""

    NOTE = 1  # advice
    MEDIUM = 2  # costs something
    HIGH = 3  # the result is much worse than it could be
    CRITICAL = 4  # the result is worthless, or there is none


@dataclass(frozen=True)
class Evidence:
    """One measured number against the limit that theory or experience sets for it."""

    quantity: str  # in the words of the report: "step size × sharpness (median)"
    observed: float
    limit: float | None = None
    steps: tuple[int, int] | None = None  # first and last step, inclusive
    place: str = ""  # "model.py:31" or a parameter's path
    error: float | None = None  # standard error or bound of `observed`


@dataclass(frozen=True)
class Prescription:
    """What to do; `treatments.treat` does it, where `recipe` or `treatment` is given."""

    text: str  # one imperative sentence
    recipe: Mapping[str, Any] = field(default_factory=dict)  # Recipe fields to replace
    snippet: str = ""  # code to write instead, if that says it best
    treatment: str = ""  # of `treatments.TREATMENTS`: what else to change


@dataclass(frozen=True)
class Chart:
    """Which series shows the finding, and the limit to draw in it."""

    series: str
    limit: float | None = None
    healthy: tuple[float, float] | None = None  # band
    log: bool = False


@dataclass(frozen=True)
class Finding:
    """A judgement with its reasons and its remedy."""

    rule: str  # "OPT001"
    severity: Severity
    claim: str  # one falsifiable sentence
    evidence: tuple[Evidence, ...]  # never empty
    why: str  # the theory, two to four lines
    reference: str
    cause: str  # the likely cause, one sentence
    prescription: Prescription
    confidence: float  # 0 to 1: how sure
    refutation: str  # what would show that the claim is wrong
    chart: Chart | None = None
    explained_by: str = ""  # rule id of the finding that causes this one

    def __post_init__(self) -> None:
        if not self.evidence:
            raise ValueError(f"{self.rule}: a finding needs evidence.")
