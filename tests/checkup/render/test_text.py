"""The report in a terminal: all sections, no codes unless asked for, no overflow."""

import numpy as np
import pytest
from rich.cells import cell_len

from steepest.checkup.render.lines import Line
from steepest.checkup.render.text import sparkline, text


@pytest.fixture(params=["full", "empty", "foreign", "hostile"])
def report(request):
    return request.getfixturevalue(request.param)


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(report, width):
    assert max(map(cell_len, text(report, width=width).splitlines())) <= width


def test_it_says_all_a_finding_has_to_say(full):
    said = " ".join(text(full, width=200).split())
    for part in ("The claim of", "The cause of", "The cure of", "What refutes"):
        assert f"{part} OPT001" in said
    for part in (
        "DOES NOT TRAIN",
        "1 critical, 1 high, 1 medium, 1 note",
        "OPT001 explains this one",
        "a quantity = 3 ± 0.1 (limit 2, updates 10–20, at model.py:31)",
        "learning_rate: 0.05 → 0.01",
        "x = x / 255",
        "90 % – very likely",
        "there is no saturating unit SIG004 Title of SIG004",
        "NUM001 Title of NUM001",
        "seed 7",
        "training 3.0 s",
    ):
        assert part in said, part


def test_what_follows_from_another_finding_has_no_cure_of_its_own(full):
    said = " ".join(text(full, width=200).split())
    assert "Mend OPT001 first, then check again." in said
    assert "The cure of SIG003" not in said
    assert said.count("learning_rate: 0.05 → 0.01") == said.count("do The cure of")


def test_the_vital_signs_show_limit_and_band(full):
    said = text(full, width=140)
    assert "< 2" in said  # step size × sharpness, for gradient descent
    assert "10⁻⁴ to 0.01" in said


def test_plain_text_has_no_terminal_codes(report):
    assert "\x1b" not in text(report, width=80)
    assert "\x1b" not in str(report)


def test_colour_is_given_when_asked_for_and_refused_by_the_environment(
    full, monkeypatch
):
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[" in text(full, width=80, color=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in text(full, width=80, color=True)


def test_brackets_of_users_are_not_taken_for_styles(full):
    odd = full.__class__(**{**vars(full), "name": "[bold]x[/bold] [red"})
    assert "[bold]x[/bold] [red" in text(odd, width=80)


def test_a_sparkline_rises_with_its_line_and_crosses_what_is_not_finite():
    steps = np.arange(8)
    rising = sparkline(Line("x", steps, np.arange(8.0)))
    assert rising == "▁▂▃▄▅▆▇█"
    broken = sparkline(Line("x", steps, np.array([1, 2, np.nan, 4, 5, 6, 7, np.inf])))
    assert broken[2] == "×" and broken[7] == "×"
    assert sparkline(Line("x", steps, np.zeros(8)), log=True) == "_" * 8


def test_a_sparkline_shows_a_constant_line_as_level():
    assert len(set(sparkline(Line("x", np.arange(50), np.full(50, 3.0))))) == 1
