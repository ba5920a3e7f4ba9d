"""The pictures of the pages on curvature and on the canyon."""

import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest


PAGES = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def drawing():
    sys.path.insert(0, str(PAGES))
    try:
        import curvature_pictures
    finally:
        sys.path.remove(str(PAGES))
    return curvature_pictures


@pytest.mark.slow
def test_every_picture_of_the_pages_is_drawn_and_none_besides(drawing):
    made = drawing.pictures()
    wanted = set()
    for page in ("curvature.md", "tutorials/canyon.md"):
        text = (PAGES / page).read_text("utf-8")
        wanted |= set(re.findall(r"images/([\w-]+\.svg)", text))
    assert wanted == set(made)
    for svg in made.values():
        assert ElementTree.fromstring(svg).tag.endswith("svg")
        assert not re.search(r"\b(nan|inf)\b", svg, re.IGNORECASE)


def test_the_descents_of_the_valley_end_where_the_page_says(drawing):
    losses = {n: drawing.rosenbrock(p.T) for n, p in drawing.descents().items()}
    constant, exact, momentum, newton = losses.values()
    assert newton[-1] < 1e-20 and len(newton) == 26
    assert momentum[-1] < 1e-2 * constant[-1]
    # An exact search never raises the loss but for the rounding of the roots.
    assert (np.diff(exact) <= 1e-9).all()
    # "Near 10⁻¹, at 10⁻³, below 10⁻⁴": to within a factor of three.
    assert 0.03 < constant[-1] < 0.3 and 3e-4 < exact[-1] < 3e-3
    assert momentum[-1] < 1e-4
