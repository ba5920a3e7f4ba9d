"""The corpus itself: its programs fail where they should, and its truths are true."""

import jax.numpy as jnp
import numpy as np
import pytest

from steepest.numerics import exact

from .case import true
from .cases import CASES
from .families import FAMILIES
from .running import error, run


ALL = (*CASES, *FAMILIES)
BY_ID = pytest.mark.parametrize("case", ALL, ids=lambda c: c.id)

#: The result that the exact program has is another one than the truth by convention.
LIMITS = {
    "A21",  # the small constant is lost in Python, before JAX sees it
    "eps-vanishes-half",
    "adam-half",  # 1e-8 is the constant 0 in float16
}


def limit(case):
    """Six ulp and a few of the constants' own rounding."""
    return 24 * float(jnp.finfo(case.witness[0].dtype).eps)


def test_every_case_has_a_name_of_its_own():
    assert len({c.id for c in ALL}) == len(ALL)


@BY_ID
def test_the_naive_form_fails_at_its_witness(case):
    assert error(case, run(case)) > limit(case)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.id)
def test_the_classic_formulas_fail_compiled_as_well(case):
    assert error(case, run(case, jit=True)) > limit(case)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize(
    "case", [c for c in ALL if c.stable is not None], ids=lambda c: c.id
)
def test_the_stable_form_is_right_at_the_witness(case, jit):
    assert error(case, run(case, case.stable, jit=jit)) < limit(case)


@BY_ID
def test_the_witness_lies_inside_of_the_ranges(case):
    for spec, value in zip(case.specs, case.witness, strict=True):
        assert value.shape == spec.shape and value.dtype == spec.dtype
        low, high = (np.asarray(v, value.dtype) for v in (spec.low, spec.high))
        assert (low <= value).all() and (value <= high).all()


@pytest.mark.parametrize(
    "case",
    [c for c in ALL if c.truth is not None and c.id not in LIMITS],
    ids=lambda c: c.id,
)
def test_the_truth_is_what_the_program_is_in_exact_arithmetic(case):
    evaluate = exact.gradient(case.fun) if case.gradient else exact.evaluate
    args = case.witness if case.gradient else (case.fun, *case.witness)
    results = evaluate(*args)
    result = np.asarray(results[0], np.float64)
    if not np.isfinite(result).all():
        pytest.skip("singular in exact arithmetic too: the truth is a convention")
    np.testing.assert_allclose(result, true(case), rtol=2e-6)
