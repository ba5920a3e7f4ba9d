"""Formulas that the rewrites were not written for: right, or refused with a reason."""

import jax.numpy as jnp
import pytest
from tests.numerics.corpus.families import FAMILIES
from tests.numerics.corpus.running import error, run
from tests.numerics.corpus.test_corpus import limit

from steepest.numerics._stabilize import stabilize


#: Calls of library functions, which keep their values to the bit (`audit` tells of them).
LEFT = ("logsumexp-near-0", "log-softmax-near-0", "gelu-grad-huge", "xlogy-grad-at-0")
#: Programs that have no value at their witness; of these the reason is told.
REFUSED = (
    *("inverse-distances", "min-max-constant", "scaled-to-peak", "masked-mean"),
    *("gumbel", "polar-angle-grad", "mask-times-infinity", "cast-to-half"),
    *("eps-vanishes-half", "variance-running"),
)


def named(cases):
    return [pytest.param(c, id=c.id) for c in cases]


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", named(c for c in FAMILIES if c.id not in (*LEFT, *REFUSED))
)
def test_a_formula_of_a_family_is_right_at_its_witness(case):
    stable = stabilize(case.fun)
    assert error(case, run(case, stable)) < limit(case)
    assert error(case, run(case, stable, jit=True)) < limit(case)


@pytest.mark.parametrize("case", named(c for c in FAMILIES if c.id in REFUSED))
def test_a_formula_without_another_form_is_refused_with_a_reason(case):
    rewrites = stabilize(case.fun).rewrites(*map(jnp.asarray, case.witness))
    assert rewrites.refused
    assert all(r.reason and r.after for r in rewrites.refused)


@pytest.mark.slow
@pytest.mark.parametrize("case", named(FAMILIES))
def test_every_rewrite_of_a_family_agrees_with_the_formula(case):
    for rewrite in stabilize(case.fun).rewrites(*map(jnp.asarray, case.witness)):
        if rewrite.checked is not None:
            # constants of the program were rounded to float32, those of the form were not
            assert rewrite.checked.difference < 1e-6
