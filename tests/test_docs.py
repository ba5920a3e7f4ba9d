"""The tutorial runs as it is printed."""

import re
from pathlib import Path

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
