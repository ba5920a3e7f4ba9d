"""`[tool.steepest]` of the nearest pyproject.toml."""

import pytest

from steepest import InputError
from steepest.cli.config import Config, read, rules


@pytest.fixture
def settings(tmp_path):
    def write(text, folder=tmp_path):
        folder.mkdir(exist_ok=True)
        (folder / "pyproject.toml").write_text(text)
        return folder

    return write


def test_without_a_file_there_are_defaults(settings, tmp_path):
    settings("[project]\nname = 'x'\n")
    assert read(tmp_path)[:5] == Config()[:5]


def test_every_setting_is_read(settings):
    folder = settings(
        """
        [tool.steepest]
        limits = {"OPT001.product" = 1.8}
        silence = ["DAT002"]
        fail-on = "High"
        budget = 120
        """
    )
    config = read(folder)
    assert config.limits == {"OPT001.product": 1.8}
    assert config.silence == ("DAT002",)
    assert (config.fail_on, config.budget) == ("high", 120.0)


def test_dotted_limits_may_be_written_without_quotes(settings):
    folder = settings("[tool.steepest.limits]\nOPT001.product = 1.8\n")
    assert read(folder).limits == {"OPT001.product": 1.8}


def test_the_nearest_file_upwards_counts(settings, tmp_path):
    settings("[tool.steepest]\nbudget = 10\n")
    inner = settings("[tool.steepest]\nbudget = 20\n", tmp_path / "inner")
    (inner / "deeper").mkdir()
    assert read(inner / "deeper").budget == 20
    assert read(tmp_path).budget == 10


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[tool.steepest", "cannot be read"),
        ("[tool]\nsteepest = 3", "must be a table"),
        ("[tool.steepest]\nlimit = {}", "did you mean limits"),
        ("[tool.steepest]\nlimits = 3", "must be a table"),
        ('[tool.steepest]\nlimits = {"OPT001.product" = "x"}', "must be a number"),
        ("[tool.steepest]\nsilence = 'DAT002'", "list of strings"),
        ("[tool.steepest]\nrules = [1]", "list of strings"),
        ("[tool.steepest]\nfail-on = 'grave'", "must be one of"),
        ("[tool.steepest]\nbudget = -1", "positive number"),
        ("[tool.steepest]\nbudget = true", "positive number"),
    ],
)
def test_bad_settings_are_refused_in_one_sentence(settings, text, said):
    with pytest.raises(InputError, match=said):
        read(settings(text))


MINE = """
from steepest.checkup import Evidence, Finding, Prescription, Rule, Severity

def judge(record, limits):
    last = float(record["loss"].value[-1])
    return Finding(
        "MY001", Severity.HIGH, "the loss is a loss", (Evidence("loss", last, 0.0),),
        "", "", "", Prescription("nothing"), 1.0, "",
    )

RULE = Rule("MY001", "Mine", Severity.HIGH, judge, ("loss",), {"most": 1.0})
RULES = [RULE]
SAME = Rule("OPT001", "Mine", Severity.HIGH, judge, ())
OTHER = 3
"""


@pytest.mark.parametrize("name", ["RULE", "RULES"])
def test_rules_can_be_added(settings, steepest, checked, program, name):
    folder = settings(f"[tool.steepest]\nrules = ['mine.py:{name}']\n")
    (folder / "mine.py").write_text(MINE)
    result = steepest("check", program(), "-q")
    assert result.status == 1 and "MY001  the loss is a loss" in result.out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine.py:OTHER", "is not a Rule"),
        ("mine.py:SAME", "there is one of that id"),
        ("mine.py:NONE", "has no `NONE`"),
        ("mine.py", "must name objects"),
        ("theirs.py:RULES", "There is no file"),
    ],
)
def test_bad_rules_are_refused(settings, name, said):
    folder = settings(f"[tool.steepest]\nrules = ['{name}']\n")
    (folder / "mine.py").write_text(MINE)
    with pytest.raises(InputError, match=said):
        rules(read(folder))


def test_settings_reach_the_check_and_options_win(settings, steepest, checked, program):
    settings(
        "[tool.steepest]\nlimits = {'OPT001.product' = 1.8}\nsilence = ['DAT002']\n"
        "budget = 7\n"
    )
    steepest("check", program())
    _, _, options = checked[-1]
    assert options["limits"] == {"OPT001.product": 1.8}
    assert options["silence"] == ("DAT002",) and options["budget"] == 7
    steepest("check", program(), "--budget", "8")
    assert checked[-1][2]["budget"] == 8


@pytest.mark.parametrize(
    "line", ["limits = {'OPT001.x' = 1}", "silence = ['OPT999']", "rules = ['x']"]
)
def test_settings_that_name_nothing_are_refused(
    settings, refused, checked, program, line
):
    settings(f"[tool.steepest]\n{line}\n")
    refused("check", program())
