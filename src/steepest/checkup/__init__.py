"""The check-up: from a training program to findings with evidence and a cure."""

from ._check import check as check
from ._examine import examine as examine
from ._review import review as review
from .finding import (
    Chart as Chart,
    Evidence as Evidence,
    Finding as Finding,
    Prescription as Prescription,
    Severity as Severity,
)
from .report import Mistake as Mistake, Report as Report, Verdict as Verdict
from .rule import Rule as Rule
from .rules import RULES as RULES
from .treatments import treat as treat
