"""Reports made by hand: everything a report can hold, in a few numbers."""

import numpy as np
import pytest
from handmade import HOSTILE, finding, recorded, rule

from steepest import Record
from steepest.checkup.finding import Chart, Evidence, Prescription, Severity
from steepest.checkup.report import Mistake, Report, Verdict


@pytest.fixture
def full() -> Report:
    """A report with something in every section."""
    image = np.linspace(0, 1, 64).reshape(8, 8)
    return Report(
        name="digits/mlp",
        verdict=Verdict("does not train", "It does not train: 2.3 to 2.3."),
        findings=(
            finding(
                "OPT001",
                Severity.CRITICAL,
                chart=Chart("sharpness", limit=40.0, log=True),
            ),
            finding("DAT002", Severity.HIGH, prescription=Prescription("Standardise.")),
            finding("GEN001", Severity.NOTE, chart=Chart("validation.loss")),
            finding(
                "SIG003",
                Severity.MEDIUM,
                explained_by="OPT001",
                chart=Chart("unit.dead", limit=0.5, healthy=(0.0, 0.3)),
            ),
        ),
        passed=("NUM001",),
        not_run={"SIG004": "there is no saturating unit"},
        rules=tuple(
            rule(name, f"Title of {name}")
            for name in ("OPT001", "DAT002", "GEN001", "SIG003", "NUM001", "SIG004")
        ),
        record=recorded(),
        mistakes=(
            Mistake(12, 4.5, 3.0, 8.0, 0.97, image),
            Mistake(40, 2.5, 1.0, 7.0, 0.71, image),
        ),
        cost={"training": 3.0, "judging": 0.01},
    )


@pytest.fixture
def empty() -> Report:
    """Nothing found, nothing recorded."""
    return Report(
        name="nothing",
        verdict=Verdict("healthy", "Nothing was recorded."),
        findings=(),
        passed=(),
        not_run={},
        rules=(),
        record=Record(),
    )


@pytest.fixture
def foreign() -> Report:
    """A user's own loop that logged its loss and nothing else, until it was NaN."""
    record = Record()
    for step, loss in enumerate([3.0, 2.0, 1.0, float("inf"), float("nan")]):
        record.log(step, loss=loss)
    found = finding(
        "NUM001",
        Severity.CRITICAL,
        evidence=(Evidence("loss", float("nan"), float("inf")),),
        chart=Chart("loss", log=True),
    )
    return Report(
        name="my loop",
        verdict=Verdict("does not train", "The loss stopped being a number."),
        findings=(found,),
        passed=(),
        not_run={"GEN001": "`train.loss` was not measured"},
        rules=(rule("NUM001"), rule("GEN001")),
        record=record,
    )


@pytest.fixture
def hostile(full: Report) -> Report:
    """Every text that comes from a user tries to become markup."""
    record = recorded()
    record.add("unit.dead", 120, np.zeros(3), [HOSTILE, HOSTILE + "2", HOSTILE + "3"])
    record.meta |= {
        "device": HOSTILE,
        "versions": {HOSTILE: HOSTILE},
        "recipe": {"optimizer": HOSTILE},
        "ended": "non-finite",
        "nonfinite": {"step": 3, "sentence": HOSTILE},
    }
    record.missing["validation.accuracy"] = HOSTILE
    nasty = finding(
        "OPT001",
        Severity.HIGH,
        claim=HOSTILE,
        why=HOSTILE,
        cause=HOSTILE,
        reference=HOSTILE,
        refutation=HOSTILE,
        evidence=(Evidence(HOSTILE, 1.0, place=HOSTILE),),
        prescription=Prescription(HOSTILE, {HOSTILE: HOSTILE}, HOSTILE),
        chart=Chart("unit.dead"),
    )
    return Report(
        name=HOSTILE,
        verdict=Verdict("has faults", HOSTILE),
        findings=(nasty,),
        passed=(HOSTILE,),
        not_run={HOSTILE: HOSTILE},
        rules=(rule("OPT001", HOSTILE),),
        record=record,
        mistakes=full.mistakes,
        cost={HOSTILE: 1.0},
    )
