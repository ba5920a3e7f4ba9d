"""Silent but for a terminal, and gone afterwards."""

import io
import sys

import pytest

from steepest.core import progress as module
from steepest.core.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(monkeypatch, stream, show=None, delay=0.0):
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(module, "DELAY", delay)
    monkeypatch.setenv("TERM", "xterm")
    with progress("training", total=3, show=show) as update:
        for done in range(4):
            update(done, f"loss {done}")
    return stream.getvalue()


def test_it_is_silent_when_not_a_terminal(monkeypatch):
    assert run(monkeypatch, io.StringIO()) == ""


def test_it_is_silent_when_it_is_soon_over(monkeypatch):
    assert run(monkeypatch, Terminal(), delay=60.0) == ""


def test_it_shows_on_a_terminal_and_can_be_turned_off(monkeypatch):
    shown = run(monkeypatch, Terminal())
    assert "training" in shown and "loss" in shown
    assert run(monkeypatch, Terminal(), show=False) == ""


def test_an_exception_passes_through_and_the_bar_is_stopped(monkeypatch):
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(module, "DELAY", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(KeyboardInterrupt), progress("training", total=None) as update:
        update(1)
        raise KeyboardInterrupt
    assert stream.getvalue().endswith(
        ("\x1b[?25h", "\x1b[2K", "\x1b[1A", "\r")
    )  # cursor back
