"""On every case of the corpus the shadow blames the operation that is at fault."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.numerics.corpus.case import true
from tests.numerics.corpus.cases import CASES
from tests.numerics.corpus.families import FAMILIES
from tests.numerics.corpus.running import program

from steepest.numerics._shadow import shadow


ALL = (*CASES, *FAMILIES)
#: Float64 is not finite either, so that which operation fails is `locate_nonfinite`'s.
FEW = ("A1", "A7b", "A19b", "B1", "B2", "B9", "B14", "B15", "B21", "B22", "B23")


def cases():
    return [c if c.id in FEW else pytest.param(c, marks=pytest.mark.slow) for c in ALL]


@pytest.mark.slow
@pytest.mark.parametrize("case", cases(), ids=lambda c: c.id)
def test_the_operation_at_fault_is_blamed(case):
    seen = shadow(program(case))(*map(jnp.asarray, case.witness))
    loss = seen.blame()
    assert loss.operation.primitive in case.blame
    assert loss.kind in case.kinds


@pytest.mark.parametrize("case", cases(), ids=lambda c: c.id)
def test_the_digits_of_an_output_are_those_against_the_truth(case):
    if case.truth is None:
        pytest.skip("no finite truth")
    seen = shadow(program(case))(*map(jnp.asarray, case.witness))
    value = np.asarray(jax.tree.leaves(seen.value)[0], np.float64)
    wide = np.asarray(jax.tree.leaves(seen.wide)[0], np.float64)
    truth = np.reshape(true(case), value.shape)
    tiny = float(jnp.finfo(case.witness[0].dtype).tiny)
    off = np.max(abs(value - truth) / np.maximum(abs(truth), tiny))
    wrong = np.max(abs(wide - truth) / np.maximum(abs(truth), tiny))
    if not (np.isfinite(off) and wrong < 0.1 * off):
        pytest.skip("float64 is wrong too, or the result is not a number")
    error = float(jax.tree.leaves(seen.error)[0])
    assert abs(np.log10(error) - np.log10(off)) < 0.5
