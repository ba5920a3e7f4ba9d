"""Curvature at the end of a run: pictures of what was measured, none of what was not."""

import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from handmade import HOSTILE, recorded
from hypothesis import given, settings, strategies as st

from steepest import Record
from steepest.checkup.render import ground
from steepest.checkup.render.charts import HEIGHT, WIDTH
from steepest.checkup.render.html import html, notebook
from steepest.checkup.render.text import text


def measured(**changes) -> Record:
    """A run by gradient descent at 0.05, limit 40, with a bulk and five outliers."""
    record = recorded()
    rng = np.random.default_rng(3)
    nodes = np.sort(
        np.c_[rng.normal(0, 0.3, (4, 27)), np.tile([8, 13, 19, 24, 31.0], (4, 1))],
        axis=1,
    )
    weights = np.where(nodes > 5, 1 / 12345, 1 / 27)
    weights /= weights.sum(axis=1, keepdims=True)
    sizes = np.geomspace(0.1, 10, 25)
    record.facts |= {
        "curvature.ritz_values": nodes,
        "curvature.ritz_weights": weights,
        "curvature.highest": 31.0,
        "curvature.highest_residual": 0.002,
        "curvature.lowest": -0.7,
        "curvature.lowest_residual": 0.01,
        "curvature.kind": "moving",
        "curvature.reason": "the gradient is not small.",
        "curvature.step_sizes": sizes,
        "curvature.step_actual": 0.5 - 0.1 * sizes + 0.03 * sizes**2 + 1e-3 * sizes**3,
        "curvature.step_predicted": 0.5 - 0.1 * sizes + 0.03 * sizes**2,
        "curvature.step_size": 1.0,
    }
    record.facts |= {f"curvature.{name}": value for name, value in changes.items()}
    return record


def words(svg: str) -> str:
    return " ".join(ElementTree.fromstring(svg).itertext())


def test_both_pictures_are_drawn_inside_of_their_frames():
    made = ground.pictures(measured())
    assert [p.title for p in made] == [
        "Spectrum of the Hessian",
        "The next step, shorter and longer",
    ]
    for picture in made:
        ElementTree.fromstring(picture.svg)
        pairs = re.findall(r"[ML](-?[\d.]+) (-?[\d.]+)", picture.svg)
        points = np.array(pairs, float)
        assert len(points) > 20
        assert ((points >= 0) & (points <= [WIDTH, HEIGHT])).all()


def test_the_limit_of_stability_stands_at_two_over_the_step():
    spectrum, _ = ground.pictures(measured())
    assert "limit 40" in words(spectrum.svg)  # 2 / 0.05
    assert "dashed line" in spectrum.says
    assert "About 5 of 12345 directions" in spectrum.says


@pytest.mark.parametrize("optimizer", ["adam", "lion", "<GradientTransformation>"])
def test_an_optimiser_that_does_not_step_on_the_hessian_has_no_limit_there(optimizer):
    record = measured()
    record.meta["recipe"]["optimizer"] = optimizer
    spectrum, _ = ground.pictures(record)
    assert "limit" not in spectrum.svg and "stable" not in spectrum.says


def test_a_limit_far_beyond_is_told_and_not_drawn():
    record = measured(highest=0.4)
    record.facts["curvature.ritz_values"] = record.facts["curvature.ritz_values"] / 80
    spectrum, _ = ground.pictures(record)
    assert "limit" not in spectrum.svg
    assert "stable up to a curvature of 40" in spectrum.says


def test_the_step_of_the_run_is_marked_and_where_the_prediction_ends():
    _, steps = ground.pictures(measured())
    assert "the run's own step" in words(steps.svg)
    assert "they part from" in steps.says
    same = measured()
    same.facts["curvature.step_predicted"] = same.facts["curvature.step_actual"]
    assert "they agree to within" in ground.pictures(same)[1].says


def test_the_sentence_has_the_ends_and_the_kind():
    expected = (
        "λ_max = 31 ± 0.002, λ_min = −0.7 ± 0.01; moving: the gradient is not small."
    )
    assert ground.sentence(measured()) == expected
    assert ground.sentence(recorded()) == ""
    assert (
        ground.sentence(measured(highest=np.nan, lowest=None, reason="")) == "moving."
    )


EMPTY = np.zeros((0, 0))
DEGENERATE = {
    "NaN": {
        "ritz_values": np.full((4, 32), np.nan),
        "step_actual": np.full(25, np.nan),
    },
    "empty": {"ritz_values": EMPTY, "ritz_weights": EMPTY, "step_sizes": np.zeros(0)},
    "no weights": {"ritz_weights": np.zeros((4, 32)), "step_sizes": np.zeros(25)},
    "other shapes": {"ritz_weights": np.ones(3), "step_predicted": np.ones(2)},
    "words": {"ritz_values": "many", "step_actual": "low"},
    "nothing": {"ritz_values": None, "step_actual": None},
    "ragged": {"ritz_values": [[1.0], [1.0, 2.0]], "step_actual": [[1], [2, 3]]},
    "huge": {
        "ritz_values": np.full((4, 32), 1e308),
        "step_actual": np.r_[-1e308, 1e308],
    },
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_degenerate_facts_draw_nothing(name, full):
    record = measured(**DEGENERATE[name])
    assert ground.pictures(record) == ()
    assert "Curvature at the end of the run" in html(replace(full, record=record))


def test_a_single_eigenvalue_of_zero_does_not_fail():
    one = {"ritz_values": np.zeros((1, 1)), "ritz_weights": np.ones((1, 1))}
    for picture in ground.pictures(measured(**one, highest=0.0, lowest=0.0)):
        ElementTree.fromstring(picture.svg)


number = st.floats(width=32, allow_nan=True, allow_infinity=True)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(number, number), min_size=1, max_size=12), number)
def test_any_numbers_give_well_formed_pictures_or_none(pairs, own):
    a, b = (np.array(x, float) for x in zip(*pairs))
    facts = {"ritz_values": a, "ritz_weights": b, "highest": own, "lowest": own}
    facts |= {"step_sizes": a, "step_actual": b, "step_predicted": a, "step_size": own}
    for picture in ground.pictures(measured(**facts)):
        ElementTree.fromstring(picture.svg)
        assert "nan" not in picture.svg.replace("NaN", "")


def test_the_page_the_notebook_and_the_terminal_have_the_section(full):
    report = replace(full, record=measured())
    assert 'id="ground"' in html(report) and "Spectrum of the Hessian" in html(report)
    assert "Spectrum of the Hessian" in notebook(report)
    assert "Curvature at the end: λ_max = 31" in text(report, width=100)


def test_without_the_facts_there_is_no_section(full):
    assert 'id="ground"' not in html(full)
    assert "Curvature at the end" not in text(full)


def test_hostile_words_are_escaped(full):
    report = replace(full, record=measured(kind=HOSTILE, reason=HOSTILE))
    assert HOSTILE not in html(report) and "<script>alert" not in html(report)


def test_pictures_are_the_same_after_the_record_was_saved(tmp_path):
    record = measured()
    record.save(tmp_path / "run.npz")
    loaded = Record.load(tmp_path / "run.npz")
    assert ground.pictures(loaded) == ground.pictures(record)
