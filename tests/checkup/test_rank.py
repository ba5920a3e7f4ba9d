"""The order of findings follows from what explains what."""

from steepest.checkup.finding import Evidence, Finding, Prescription, Severity
from steepest.checkup.rank import rank
from steepest.checkup.rule import Rule


def finding(rule, severity=Severity.HIGH, confidence=0.9):
    return Finding(
        rule=rule,
        severity=severity,
        claim="c",
        evidence=(Evidence("q", 1.0),),
        why="w",
        reference="r",
        cause="c",
        prescription=Prescription("p"),
        confidence=confidence,
        refutation="r",
    )


def rules(**explains):
    return [
        Rule(i, i, Severity.HIGH, lambda r, l: None, (), explains=e)
        for i, e in explains.items()
    ]


def order(findings, **explains):
    return [f.rule for f in rank(findings, rules(**explains))]


def test_a_cause_comes_before_its_graver_symptom():
    found = [finding("NUM001", Severity.CRITICAL), finding("NUM002", Severity.HIGH)]
    assert order(found, NUM002=("NUM001",), NUM001=()) == ["NUM002", "NUM001"]


def test_a_cause_weighs_as_much_as_what_follows_from_it():
    found = [
        finding("OPT001", Severity.CRITICAL, 1.0),
        finding("DAT002", Severity.HIGH),
        finding("OPT004", Severity.CRITICAL),
        finding("OPT003", Severity.HIGH),
    ]
    ranked = order(found, DAT002=("OPT004", "OPT003"), OPT001=(), OPT004=(), OPT003=())
    assert ranked[:2] == ["DAT002", "OPT001"]


def test_what_lies_upstream_comes_first_among_equals():
    found = [finding("GEN001"), finding("SIG001"), finding("DAT002"), finding("PRG003")]
    assert order(found) == ["DAT002", "PRG003", "SIG001", "GEN001"]


def test_symptoms_name_their_cause():
    found = [finding("OPT003"), finding("OPT001")]
    ranked = rank(found, rules(OPT001=("OPT003",), OPT003=()))
    assert [f.explained_by for f in ranked] == ["", "OPT001"]


def test_a_circle_of_claims_makes_the_surer_finding_the_cause():
    found = [finding("SIG001", confidence=0.5), finding("SIG004", confidence=0.9)]
    ranked = rank(found, rules(SIG001=("SIG004",), SIG004=("SIG001",)))
    assert [f.rule for f in ranked] == ["SIG004", "SIG001"]
    assert ranked[0].explained_by == ""


def test_every_finding_is_kept_and_none_is_its_own_ancestor():
    ids = ["DAT001", "PRG001", "SIG001", "OPT001", "OPT005", "GEN002"]
    everything = {i: tuple(j for j in ids if j != i) for i in ids}
    ranked = rank([finding(i) for i in ids], rules(**everything))
    cause = {f.rule: f.explained_by for f in ranked}
    assert sorted(cause) == sorted(ids)
    for rule in ids:
        seen = set()
        while cause[rule]:
            assert rule not in seen
            seen.add(rule)
            rule = cause[rule]


def test_a_cause_is_as_grave_as_the_gravest_that_follows_from_it():
    found = [
        finding("OPT010", Severity.MEDIUM),
        finding("OPT004", Severity.HIGH),
        finding("NUM001", Severity.CRITICAL),
    ]
    ranked = rank(found, rules(OPT010=("OPT004",), OPT004=("NUM001",), NUM001=()))
    severity = {f.rule: f.severity for f in ranked}
    assert severity["OPT010"] == Severity.CRITICAL


def test_a_note_is_the_cause_of_notes_alone():
    found = [finding("OPT012", Severity.NOTE, 0.99), finding("OPT002", Severity.HIGH)]
    ranked = rank(found, rules(OPT012=("OPT002",), OPT002=()))
    assert [f.explained_by for f in ranked] == ["", ""]
    found = [finding("OPT012", Severity.NOTE, 0.99), finding("OPT002", Severity.NOTE)]
    ranked = rank(found, rules(OPT012=("OPT002",), OPT002=()))
    assert {f.rule: f.explained_by for f in ranked}["OPT002"] == "OPT012"
