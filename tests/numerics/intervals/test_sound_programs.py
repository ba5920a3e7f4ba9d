"""Programs that are right, and what the bounds cannot say of them.

Every control of the corpus is bounded over the whole of its ranges. None may have a
candidate of its own, but for those below: of these, `BORN` are seen in a run, since the
program makes an infinity on purpose or in a branch that is not taken, and `LEFT` need
more than the relations know.
"""

import jax
import numpy as np
import pytest
from tests.numerics.corpus.controls import CONTROLS
from tests.numerics.corpus.draws import CORNERS, draw
from tests.numerics.corpus.library import LIBRARY

from steepest.numerics.auditing.sides import as_range, gradient_side, value_side
from steepest.numerics.auditing.specs import ask
from steepest.numerics.intervals import analyse

from .eager import births, steps


BORN = {
    # 1/√0 is the slope of √relu(x) at x < 0, where the slope of relu, 0, is chosen
    "sqrt(relu x)": {("gradient", "div", "pole")},
    # log x is computed at 0, too, and not chosen there
    "entr": {("value", "log", "pole")},
    # each of three forms is computed at all x, and one of them chosen
    "log_ndtr": {("value", "log", "pole")},
    "special.log_ndtr": {("value", "log", "pole")},
    # the mask is the logarithm of 0
    "log(0) as a mask": {("value", "log", "pole")},
}
LEFT = {
    # log φ(x) − log Φ(x): both vary by hundreds over a piece, and their difference does not
    "log_ndtr": {("gradient", "exp", "overflow")},
    "special.log_ndtr": {("gradient", "exp", "overflow")},
    # The number of classes in the support is not 0, since the first is always in it:
    # u₁ − (Σ_{i≤1} uᵢ)/1 = 0 is known of single elements alone, not of whole arrays.
    "multiclass_sparsemax": {("value", "div", "pole"), ("value", "div", "0/0")},
    # The slope of x·y/(‖x‖ ‖y‖) is bounded by that of each factor: it cancels.
    "ntxent": {("gradient", "div", "overflow"), ("gradient", "mul", "overflow")},
}


def sides(control):
    question = ask(control.fun, control.specs)
    both = [value_side(question)]
    if control.gradient and (side := gradient_side(question)) is not None:
        both.append(side)
    return both


@pytest.mark.parametrize("control", (*CONTROLS, *LIBRARY), ids=lambda c: c.name)
def test_a_sound_program_has_no_candidate(control):
    found = set()
    for side in sides(control):
        analysis = analyse(side.closed, list(map(as_range, side.boxes)))
        assert not analysis.not_analysed
        found |= {
            (side.where, c.equation.primitive, c.kind)
            for c in analysis.candidates
            if not c.derived and c.equation.address in side.own
        }
    name = control.name
    assert found == BORN.get(name, set()) | LEFT.get(name, set())


@pytest.mark.parametrize(
    "control",
    [c for c in (*CONTROLS, *LIBRARY) if c.name in BORN],
    ids=lambda c: c.name,
)
def test_what_makes_an_infinity_that_does_no_harm_is_no_false_candidate(control):
    rng = np.random.default_rng(0)
    seen = set()
    for side in sides(control):
        for corner in CORNERS:
            point = jax.tree.leaves(draw(control.specs, rng, corner))
            more = side.boxes[len(point) :]  # cotangents
            point += [np.ones(box.shape, box.dtype) for box in more]
            seen |= {
                (side.where, s.equation.primitive)
                for s in steps(side.closed, point)
                if births(s.operands, s.results)
            }
    assert {(where, name) for where, name, _ in BORN[control.name]} <= seen
