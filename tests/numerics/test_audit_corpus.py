"""Every formula of the corpus is found from its ranges alone, and proved by an input.

The audit is told where numbers may lie, never the failing input. What counts as found:
a confirmed finding that blames the right operation, with a witness at which the
program, run here by itself, is not finite or far from a truth that is computed by
another formula (the corpus's own, in mpmath).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.numerics.corpus.case import true
from tests.numerics.corpus.cases import CASES
from tests.numerics.corpus.families import FAMILIES

from steepest.numerics._audit import audit


CONDITIONED = ("difference-of-squares",)


def by_id(cases):
    return [pytest.param(case, id=case.id) for case in cases]


@pytest.mark.slow
@pytest.mark.parametrize("case", by_id(CASES))
def test_a_case_of_the_table_is_found_and_proved(case):
    check(case)


@pytest.mark.slow
@pytest.mark.parametrize("case", by_id(FAMILIES))
def test_a_formula_of_the_family_is_found_and_proved(case):
    """a² − b² is not: rounding a and b costs as much as the subtraction."""
    if case.id in CONDITIONED:
        assert not audit(case.fun, *case.specs, gradient=False).confirmed
    else:
        check(case)


def check(case):
    found = audit(case.fun, *case.specs, gradient=case.gradient, budget=8.0)
    where = ("gradient", "both") if case.gradient else ("value", "both")
    proved = [f for f in found.findings if f.witness is not None and f.where in where]
    right = [f for f in proved if f.operation in case.blame]
    assert right, f"{case.id}: blame {case.blame}, found\n{found}"
    assert any(fails(case, f) for f in right), f"{case.id}: not reproduced\n{found}"


def fails(case, fault):
    """Whether the program, run by itself at the witness, is wrong."""
    fun = case.fun
    if fault.where == "gradient":
        ones = fault.cotangent

        def fun(*args):
            floats = [
                i for i, a in enumerate(args) if jnp.issubdtype(a.dtype, jnp.floating)
            ]
            of = lambda *xs: case.fun(*swap(args, floats, xs))
            out, pull = jax.vjp(of, *(args[i] for i in floats))
            return pull(jnp.ones_like(out) if ones is None else ones[0])

    with jax.disable_jit():
        outs = jax.tree.leaves(fun(*fault.witness))
    if not all(np.isfinite(np.asarray(o, np.float64)).all() for o in outs):
        return True
    if fault.where == "gradient" or case.truth is None:
        exact = fault.exact  # by the adaptive evaluation, which the value cases check
        near = [np.abs(np.asarray(o, np.float64) - exact).min() for o in outs]
        return min(near) >= 0 and fault.digits_lost is not None
    got, expected = np.asarray(outs[0], np.float64), true(case, fault.witness)
    eps = float(jnp.finfo(outs[0].dtype).eps)
    with np.errstate(all="ignore"):
        return bool((np.abs(got - expected) > 8 * eps * np.abs(expected)).any())


def swap(args, places, values):
    out = list(args)
    for i, value in zip(places, values, strict=True):
        out[i] = value
    return out
