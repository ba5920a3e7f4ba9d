"""Pictures: everything finite is inside, everything else is marked."""

import re
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from steepest.checkup.render.axes import Axis, ticks
from steepest.checkup.render.charts import (
    HEIGHT,
    POINTS,
    WIDTH,
    describe,
    legend,
    short,
    svg,
    thinned,
)
from steepest.checkup.render.lines import Line
from steepest.checkup.render.vitals import Vital


def line(values, name="a line", **fields) -> Line:
    values = np.asarray(values, float)
    return Line(name, np.arange(len(values)), values, **fields)


def coordinates(picture: str) -> np.ndarray:
    """All absolute points of the lines in a picture."""
    paths = re.findall(r'<path d="([^"]*)"', picture)
    pairs = re.findall(r"(-?[\d.]+) (-?[\d.]+)", " ".join(paths))
    return np.array([[float(x), float(y)] for x, y in pairs]).reshape(-1, 2)


numbers = st.floats(width=32, allow_nan=True, allow_infinity=True)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(numbers, min_size=1, max_size=30),
    st.booleans(),
    st.none() | st.floats(1e-6, 1e6),
)
def test_any_series_gives_a_well_formed_picture_inside_its_frame(values, log, limit):
    picture = svg(Vital("x", (line(values),), log=log, limit=limit), "p")
    ElementTree.fromstring(picture)
    points = coordinates(picture)
    assert np.all((points >= 0) & (points <= [WIDTH, HEIGHT]))
    assert "nan" not in re.sub(r"<(title|desc|text).*?</\1>", "", picture)


def test_what_is_not_finite_breaks_the_line_and_leaves_a_cross():
    picture = svg(Vital("x", (line([1, 2, np.nan, 4, 5, np.inf]),)), "p")
    assert picture.count('class="cross"') == 2
    drawn = re.search(r'<path d="(M[^"]*)"', picture)
    assert drawn and drawn[1].count("M") == 2


def test_zeros_on_a_logarithmic_axis_leave_a_triangle():
    picture = svg(Vital("x", (line([1, 0.1, 0, 0, 1]),), log=True), "p")
    assert picture.count('class="zero"') == 1


def test_the_limit_is_drawn_where_its_value_is():
    rising = line(np.linspace(0, 4, 9))
    picture = svg(Vital("x", (rising,), limit=2.0), "p")
    at = re.search(r'class="limit" d="M\d+ ([\d.]+)H', picture)
    points = coordinates(picture)
    assert at
    assert float(at[1]) == pytest.approx(points[4, 1], abs=0.1)  # of a pixel: rounding


def test_thinning_keeps_the_spike():
    values = np.ones(5000)
    values[1234] = 100.0
    values[4000] = np.nan
    step, value = thinned(line(values))
    assert len(step) <= 2 * POINTS
    assert np.nanmax(value) == 100.0 and np.isnan(value).any()
    assert 1234 in step and step[0] == 0 and step[-1] == 4999


def test_four_lines_carry_their_names_and_five_have_a_legend():
    lines = tuple(line([i, i + 1], f"line {i}") for i in range(5))
    few, many = Vital("x", lines[:4]), Vital("x", lines)
    assert all(f">line {i}<" in svg(few, "p") for i in range(4)) and not legend(few)
    assert [name for _, name in legend(many)] == [f"line {i}" for i in range(5)]


def test_names_at_the_ends_do_not_overlap():
    lines = tuple(line([1.0, 1.0], f"line {i}") for i in range(4))
    picture = svg(Vital("x", lines), "p")
    heights = sorted(
        float(y)
        for y in re.findall(r'class="name [^"]*" x="[^"]*" y="([\d.]+)"', picture)
    )
    assert len(heights) == 4 and np.all(np.diff(heights) >= 12.9)


def test_layers_are_coloured_in_the_order_of_their_depth():
    lines = tuple(line([1.0, 2.0], f"{i}") for i in range(12))
    shades = [int(css[1:]) for css, _ in legend(Vital("x", lines, by_depth=True))]
    assert shades == sorted(shades) and (shades[0], shades[-1]) == (0, 7)


@pytest.mark.parametrize("low, high", [(0, 1), (0, 899), (-3, 7), (1e-9, 2e-9)])
@pytest.mark.parametrize("most", [4, 5])
def test_ticks_are_few_inside_and_evenly_apart(low, high, most):
    found = ticks(Axis(low, high, 0, 100), most)
    assert 2 <= len(found) <= most + 1
    assert min(found) >= low - 1e-9 * abs(high) and max(found) <= high * (1 + 1e-9)
    gaps = np.diff(found)
    np.testing.assert_allclose(gaps, gaps[0])


@pytest.mark.parametrize("low, high", [(1e-8, 1), (0.5, 40), (3, 7), (1e-30, 1e30)])
def test_logarithmic_ticks_are_few_and_inside(low, high):
    found = ticks(Axis(low, high, 0, 100, log=True), 5)
    assert 1 <= len(found) <= 7
    assert all(low <= t <= high * (1 + 1e-9) for t in found)


def test_the_words_for_a_picture_give_its_numbers():
    said = describe(
        Vital("x", (line([1, 5, 2], "loss"),), limit=4.0, healthy=(0.0, 3.0))
    )
    assert "loss: 1 at first, 2 at last, between 1 and 5" in said
    assert "limit is 4" in said and "Healthy between 0 and 3" in said


def test_a_long_name_loses_its_middle():
    assert short("a" * 30 + "z" * 30) == "a" * 8 + "…" + "z" * 9
    assert short("short") == "short"
