"""What is right is not called a defect.

The library is held to the same: where one of its functions is truly wrong in a part of
its documented range, that is a finding with a proof, and listed here by name.
"""

import pytest
from tests.numerics.corpus.controls import CONTROLS
from tests.numerics.corpus.library import LIBRARY, LIBRARY_DEFECTS

from steepest.numerics._audit import audit


#: True where the search comes upon it: the one-pass variance of `standardize` far from
#: zero (proved on a narrower range, below), and the slope of `log_ndtr` in its tail, of
#: which four digits are right.
WRONG = {
    "nn.standardize": "value",
    "log_ndtr": "gradient",
    "special.log_ndtr": "gradient",
}


def by_name(controls):
    return [pytest.param(control, id=control.name) for control in controls]


@pytest.mark.slow
@pytest.mark.parametrize("control", by_name(CONTROLS))
def test_a_sound_program_has_no_defect(control):
    check(control)


@pytest.mark.slow
@pytest.mark.parametrize("control", by_name(LIBRARY))
def test_the_library_has_no_defect_on_its_domain(control):
    check(control)


def check(control):
    found = audit(control.fun, *control.specs, gradient=control.gradient, budget=8.0)
    where = {f.where for f in found.defects}
    assert where <= {WRONG.get(control.name)}, f"\n{found}"


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [pytest.param(w, id=w.name) for w in LIBRARY_DEFECTS])
def test_where_the_library_is_wrong_is_found_and_proved(wrong):
    found = audit(wrong.fun, *wrong.specs, gradient=wrong.gradient, budget=8.0)
    where = ("gradient", "both") if wrong.gradient else ("value", "both")
    proved = [f for f in found.findings if f.witness is not None and f.where in where]
    assert proved, f"\n{found}"
