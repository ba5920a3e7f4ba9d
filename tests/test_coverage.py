"""`docs/coverage.md` keeps its promises: what it lists is there and is tested."""

import ast
import importlib
import re
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "coverage.md").read_text("utf-8")
ID = r"[A-Z]\d\d"

#: How many ideas of each family there are: N01 to N20, and so on.
FAMILIES = {"N": 20, "M": 18, "F": 7, "R": 18, "T": 6, "S": 23}


def rows() -> list[tuple[str, ...]]:
    """Id, name, test and page of what is done."""
    lines = re.findall(rf"^\| {ID} \|.*\|$", TEXT, re.M)
    cells = [
        [c.strip().strip("`") for c in line.strip("|").split("|")] for line in lines
    ]
    return [tuple(c) for c in cells if len(c) == 4]


@pytest.mark.parametrize("id, name, test, page", rows())
def test_a_name_its_test_and_its_page_exist(id, name, test, page):
    module, _, attribute = name.rpartition(".")
    assert hasattr(importlib.import_module(module), attribute), name
    file, _, function = test.partition("::")
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    functions = {n.name for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)}
    assert function in functions, test
    target = re.search(r"\((.*?)(#.*)?\)", page)
    assert target and (ROOT / "docs" / target[1]).is_file(), page


def test_every_idea_is_either_done_or_listed_as_not_yet():
    done = {row[0] for row in rows()}
    later = set(re.findall(rf"^\| ({ID}) \| [^|]*\|$", TEXT, re.M))
    ideas = {f"{f}{i:02}" for f, n in FAMILIES.items() for i in range(1, n + 1)}
    assert done | later == ideas
    assert not done & later
