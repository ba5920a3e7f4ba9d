"""The verbs that only tell: problems, rules, explain, init, version, help."""

import json
import runpy

import pytest

import steepest as package
from steepest.checkup.rules import RULES
from steepest.problems import DEFAULT, names


def test_version(steepest):
    assert steepest("--version").out == f"steepest {package.__version__}\n"


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_lists_the_verbs(steepest, arguments):
    result = steepest(*arguments)
    assert result.status == 0
    for verb in ("check", "problems", "init", "rules", "explain", "formats"):
        assert f"\n  {verb} " in result.out


@pytest.mark.parametrize(
    "verb", ["check", "problems", "init", "rules", "explain", "formats"]
)
def test_every_verb_has_examples(steepest, verb):
    result = steepest(verb, "--help")
    assert "Examples\n" in result.out and f"steepest {verb}" in result.out


def test_problems_are_listed(steepest):
    out = steepest("problems").out
    lines = out.splitlines()
    assert [line.split()[0] for line in lines if line[0] != " "] == list(names())
    after = out[out.index(f"\n{DEFAULT} ") :]  # a narrow terminal breaks the line
    assert "(default)" in after[: after.index("\ndigits", 1)]
    listed = json.loads(steepest("problems", "--json").out)
    assert [row["name"] for row in listed] == list(names())
    assert [row["name"] for row in listed if row["default"]] == [DEFAULT]


def test_rules_are_listed_with_their_limits(steepest, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    out = steepest("rules").out
    for rule in RULES:
        assert f"{rule.id}  {rule.severity.name}" in out
    listed = {row["id"]: row for row in json.loads(steepest("rules", "--json").out)}
    assert listed["OPT001"]["limits"] == dict(RULES_BY_ID["OPT001"].limits)


RULES_BY_ID = {rule.id: rule for rule in RULES}


def test_rules_show_the_settings_of_the_directory(steepest, tmp_path, monkeypatch):
    (tmp_path / "pyproject.toml").write_text(
        "[tool.steepest]\nlimits = {'OPT001.product' = 1.75}\nsilence = ['DAT002']\n"
    )
    monkeypatch.chdir(tmp_path)
    out = steepest("rules").out
    assert "product 1.75" in out and out.count("[silenced]") == 1


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.id)
def test_every_rule_is_explained(steepest, rule):
    out = " ".join(steepest("explain", rule.id.lower()).out.split())
    assert out.startswith(f"{rule.id} {rule.title} ({rule.severity.name})")
    assert " ".join(rule.doc.split())[:60] in out and all(
        name in out for need in rule.needs for name in need.split("|")
    )


def test_explain_says_what_causes_what(steepest):
    rule = next(rule for rule in RULES if rule.explains)
    assert rule.id in steepest("explain", rule.explains[0]).out


def test_init_writes_a_program_that_runs(steepest, tmp_path):
    path = tmp_path / "train.py"
    result = steepest("init", path)
    assert result.status == 0 and f"steepest check {path}:problem" in result.out
    made = runpy.run_path(str(path))
    assert isinstance(made["problem"], package.Problem)
    assert isinstance(made["recipe"], package.Recipe)


def test_init_replaces_when_told_to(steepest, tmp_path):
    path = tmp_path / "train.py"
    path.write_text("old")
    assert steepest("init", path, "--force").status == 0
    assert "steepest.Problem(" in path.read_text()


@pytest.mark.slow
def test_what_init_writes_is_healthy(steepest, tmp_path):
    steepest("init", tmp_path / "train.py")
    result = steepest("check", f"{tmp_path / 'train.py'}:problem", "-q")
    assert result.status == 0, result
