"""The tutorials run as they are printed."""

import doctest
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import jax
import pytest


PAGES = Path(__file__).parent.parent / "docs"


@pytest.mark.slow
def test_the_tutorial_runs():
    text = (PAGES / "getting-started.md").read_text("utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    assert blocks
    names: dict = {}
    for block in blocks:
        exec(compile(block, "getting-started.md", "exec"), names)


@pytest.mark.slow
@pytest.mark.parametrize(
    "page", ["tutorials/loss-became-nan.md", "tutorials/canyon.md", "curvature.md"]
)
def test_what_a_page_prints_is_what_it_says(page):
    text = (PAGES / page).read_text("utf-8")
    test = doctest.DocTestParser().get_doctest(text, {}, page, page, 0)
    assert test.examples
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    runner = doctest.DocTestRunner(optionflags=flags)
    said: list[str] = []
    with jax.numpy_dtype_promotion("standard"):  # as a reader's session has it
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


@pytest.fixture(scope="module")
def pictures():
    sys.path.insert(0, str(PAGES))
    try:
        import pictures
    finally:
        sys.path.remove(str(PAGES))
    return pictures


class TestPictures:
    @pytest.mark.parametrize("name", ["numbers", "spacing"])
    def test_a_picture_is_well_formed(self, pictures, name):
        assert ElementTree.fromstring(getattr(pictures, name)()).tag.endswith("svg")

    def test_every_picture_of_the_page_is_drawn(self, pictures):
        page = (PAGES / "numerics.md").read_text("utf-8")
        drawn = set(re.findall(r"images/([\w-]+\.svg)", page))
        assert drawn == set(pictures.pictures())

    def test_the_stable_forms_keep_their_digits_and_the_usual_ones_do_not(
        self, pictures
    ):
        """Six of seven digits all over, against none somewhere."""
        import numpy as np
        from mpmath import mp, mpf

        for trap in pictures.TRAPS:
            x = np.logspace(*trap.decades, 40).astype(np.float32)
            with mp.workdps(40):
                truth = [trap.truth(mpf(float(v))) for v in x]
                normal = np.array([v > 1e-37 for v in truth])
                truth = np.array([float(v) for v in truth])
            stable = pictures.digits_left(trap.stable, x, truth)[normal]
            naive = pictures.digits_left(trap.naive, x, truth)
            assert stable.min() > 5.4 and naive.min() < 1, trap.title
