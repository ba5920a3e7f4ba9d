"""The page: whole, self-contained, safe, and readable without script."""

import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest
from handmade import HOSTILE, recorded

from steepest import Record
from steepest.checkup.render.html import html, notebook


VOID = {"meta", "img", "input", "br", "hr", "link"}
LOADING = ("src", "href", "srcset", "data", "action", "poster", "xlink:href")


class Page(HTMLParser):
    """Tags, attributes and text of a page; fails where tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1] == tag, (tag, self.open[-3:])
        self.open.pop()

    def handle_data(self, data):
        if "style" not in self.open and "script" not in self.open:
            self.text.append(data)

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())

    def ids(self) -> list[str]:
        return [a["id"] for _, a in self.tags if a.get("id")]


@pytest.fixture(params=["full", "empty", "foreign", "hostile"])
def report(request):
    return request.getfixturevalue(request.param)


def test_tags_match_and_ids_are_unique(report):
    ids = Page(html(report)).ids()
    assert len(ids) == len(set(ids))


def test_nothing_is_loaded_from_elsewhere(report):
    page = html(report)
    for tag, attributes in Page(page).tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in LOADING:
            if value := attributes.get(name):
                assert value.startswith(("#", "data:")), (tag, name, value[:60])
    assert not re.search(r"url\(|@import|https?://", page)
    assert "default-src 'none'" in page


def test_every_link_within_the_page_has_its_target(full):
    page = Page(html(full))
    targets = {a["href"][1:] for t, a in page.tags if t == "a" and a["href"][0] == "#"}
    assert targets <= set(page.ids())


def test_every_section_is_there_in_order(report):
    page = html(report)
    names = ["verdict", "vitals", "findings", "mistakes", "passed", "not-run", "run"]
    places = [page.index(f'id="{name}"') for name in names]
    assert places == sorted(places)


FOLLOWING = ("The cure of", "SIG003")  # it follows from OPT001, which is to be mended


def test_a_finding_says_all_it_has_to_say(full):
    words = Page(html(full)).words
    for name in ("OPT001", "GEN001", "SIG003"):
        for part in ("The claim of", "The cause of", "The cure of", "What refutes"):
            assert (f"{part} {name}" in words) == ((part, name) != FOLLOWING)
        assert f"Title of {name}" in words
    assert "Mend OPT001 first, then check again." in words
    for part in ("x = x / 255", "90 % – very likely", "DL §4.3.1", "3 ± 0.1"):
        assert part in words
    assert "learning_rate 0.05 0.01" in words  # field, value now, value to set


def test_cause_and_symptom_are_linked_both_ways(full):
    words = Page(html(full)).words
    assert "Explained by OPT001" in words
    assert "Explains SIG003" in words


def test_what_was_not_run_is_told_with_its_reason(full):
    assert (
        "SIG004 Title of SIG004 there is no saturating unit" in Page(html(full)).words
    )


def test_limit_and_band_are_drawn(full):
    page = html(full)
    assert page.count('class="limit"') >= 2 and page.count('class="healthy"') >= 2


def test_what_users_write_stays_text(hostile):
    page = html(hostile)
    scripts = [a for t, a in Page(page).tags if t == "script"]
    assert len(scripts) == 1  # the page's own
    assert "<script>alert" not in page
    assert HOSTILE.replace("*", "") in unescape(page)


def test_code_and_stress_in_a_sentence_are_set_as_such(full):
    page = html(full)
    assert "<code>eta</code>" in page and "<em>so</em>" in page


def test_severities_are_filtered_by_style_alone(full):
    page = html(full)
    boxes = {a["id"] for t, a in Page(page).tags if a.get("type") == "checkbox"}
    assert boxes == {f"show-{s}" for s in ("critical", "high", "medium", "note")}
    for box in boxes:
        assert f"#{box}:not(:checked)" in page


def test_pictures_are_told_to_those_who_cannot_see_them(full):
    page = Page(html(full))
    images = [a for t, a in page.tags if a.get("role") == "img" or t == "img"]
    assert images
    for attributes in images:
        named = attributes.get("alt") or attributes.get("aria-labelledby")
        assert named
        if "alt" not in attributes:
            assert set(named.split()) <= set(page.ids())


def test_it_can_be_printed_and_has_a_dark_side(full):
    page = html(full)
    assert "@media print" in page and "light-dark(" in page


def test_mistakes_without_pictures_are_a_table(full):
    mistakes = tuple(m._replace(image=None, confidence=None) for m in full.mistakes)
    page = html(full.__class__(**{**vars(full), "mistakes": mistakes}))
    assert "<img" not in page and "Worst mistakes" in page


def test_a_run_that_ended_early_says_so(full):
    full.record.meta["ended"] = "out of time"
    assert "because its time was spent" in html(full)


def test_a_large_run_stays_under_two_megabytes(full):
    record = recorded(layers=200, probes=400, steps=20_000)
    page = html(full.__class__(**{**vars(full), "record": record}))
    assert len(page.encode()) < 2_000_000


def test_series_of_odd_shapes_do_not_break_the_page(full):
    record = Record()
    for step in range(3):
        record.log(step, loss=np.float32(1.0))
        record.add("layer.gradient_norm", step, np.zeros((2, 2)))
        record.add("layer.update_norm", step, [1.0], ["a"])
        record.add("layer.weight_norm", step, 1.0)
        record.add("sharpness", step, [1.0, 2.0])
        record.add("learning_rate", step, [0.1, 0.2])
        record.add("unit.dead", step, float("nan"))
        record.add("train.loss", step, [])
        record.add("note", step, "words")
    record.meta["recipe"] = {"optimizer": "sgd"}
    Page(html(full.__class__(**{**vars(full), "record": record})))


def test_a_notebook_gets_the_page_in_a_frame_of_its_own(full):
    frame = Page(notebook(full))
    (tag, attributes), *rest = frame.tags
    assert tag == "iframe" and rest == []
    assert attributes["srcdoc"] == html(full)
    assert "allow-same-origin" not in attributes["sandbox"]


def test_the_report_saves_the_page_and_shows_the_frame(full, tmp_path):
    full.save(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>") and page == full.to_html()
    assert full._repr_html_().startswith("<iframe")
