"""The ten formulas of GRIST, each in a whole training program.

The lines of the defect are found, and no other; in the healthy twin, none.
"""

import pytest
from tests.numerics.corpus.grist import GROUPS, defect_lines

from steepest.numerics._audit import audit


GRAVE = ("defect", "domain")


def by_id(groups):
    return [pytest.param(group, id=group.id) for group in groups]


@pytest.mark.slow
@pytest.mark.parametrize("group", by_id(GROUPS))
def test_the_defective_line_is_found_and_no_other(group):
    found = audit(group.defective, group.params, group.batch, budget=8.0)
    grave = [f for f in found.confirmed if f.verdict in GRAVE]
    assert grave, f"\n{found}"
    assert {f.place.line for f in grave} <= defect_lines(group.defective), f"\n{found}"
    assert any(f.operation in group.blame for f in grave), f"\n{found}"


@pytest.mark.slow
@pytest.mark.parametrize("group", by_id(GROUPS))
def test_the_healthy_twin_has_no_defect(group):
    found = audit(group.healthy, group.params, group.batch, budget=8.0)
    assert not [f for f in found.confirmed if f.verdict in GRAVE], f"\n{found}"
