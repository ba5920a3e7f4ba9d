"""The corpus itself: its programs fail where they should, and its truths are true."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest.numerics import exact

from .case import true
from .cases import CASES
from .controls import CONTROLS
from .draws import CORNERS, draw
from .families import FAMILIES
from .grist import GROUPS, defect_lines
from .library import LIBRARY, LIBRARY_DEFECTS
from .running import error, run


ALL = (*CASES, *FAMILIES)


def marked(cases, classic=CASES):
    """The tables in the fast tests, the families in the slow ones."""
    slow = pytest.mark.slow
    return [pytest.param(c, id=c.id, marks=() if c in classic else slow) for c in cases]


#: The program is another function than the one that was meant: a constant of it is
#: rounded away in Python or by the format, before anything is computed.
ANOTHER_FUNCTION = {"A21", "eps-vanishes-half", "adam-half"}


def limit(case):
    """24 ulp: a handful of roundings, each by a condition number of a few."""
    return 24 * float(jnp.finfo(case.witness[0].dtype).eps)


def finite(tree):
    return all(
        np.isfinite(np.asarray(v, np.float64)).all() for v in jax.tree.leaves(tree)
    )


def test_every_case_has_a_name_of_its_own():
    assert len({c.id for c in ALL}) == len(ALL)
    assert len({c.name for c in (*CONTROLS, *LIBRARY)}) == len(CONTROLS) + len(LIBRARY)


def test_the_corpus_has_both_tables_and_fifty_of_the_families():
    assert len(CASES) == 58 and len(FAMILIES) >= 50


@pytest.mark.parametrize("case", marked(ALL))
def test_the_naive_form_fails_at_its_witness(case):
    assert error(case, run(case)) > limit(case)


@pytest.mark.parametrize("case", marked(CASES))
def test_the_classic_formulas_fail_compiled_as_well(case):
    assert error(case, run(case, jit=True)) > limit(case)


@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("case", marked([c for c in ALL if c.stable is not None]))
def test_the_stable_form_is_right_at_the_witness(case, jit):
    assert error(case, run(case, case.stable, jit=jit)) < limit(case)


@pytest.mark.parametrize("case", ALL, ids=lambda c: c.id)
def test_the_witness_lies_inside_of_the_ranges(case):
    for spec, value in zip(case.specs, case.witness, strict=True):
        assert value.shape == tuple(spec.shape) and value.dtype == spec.dtype
        low, high = (np.asarray(v).astype(value.dtype) for v in (spec.low, spec.high))
        assert (low <= value).all() and (value <= high).all()


@pytest.mark.parametrize(
    "case",
    marked([c for c in ALL if c.truth is not None and c.id not in ANOTHER_FUNCTION]),
)
def test_the_truth_is_what_the_program_is_in_exact_arithmetic(case):
    if case.gradient:
        results = exact.gradient(case.fun)(*case.witness)
    else:
        results = exact.evaluate(case.fun, *case.witness)
    exactly = jax.tree.leaves(results)[0]
    result = np.array([float(v) for v in exactly.ravel()]).reshape(exactly.shape)
    truth = true(case)
    defined = np.isfinite(result)  # elsewhere the truth is a limit or a convention
    # 2e-5: constants such as 0.01 or √2 are rounded in the program, not in the truth
    np.testing.assert_allclose(
        result[defined], truth[defined], rtol=2e-5, atol=1e-7 * np.abs(truth).max()
    )


@pytest.mark.slow
@pytest.mark.parametrize("control", (*CONTROLS, *LIBRARY), ids=lambda c: c.name)
def test_controls_are_finite_all_over_their_ranges(control):
    rng = np.random.default_rng(0)
    number = [
        i
        for i, s in enumerate(control.specs)
        if jnp.issubdtype(jnp.dtype(s.dtype), jnp.floating)
    ]

    def total(*args):
        return jnp.sum(control.fun(*args))

    for corner in CORNERS:
        args = draw(control.specs, rng, corner)
        if finite(args):
            assert finite(jax.jit(control.fun)(*args))
            if control.gradient:
                assert finite(jax.jit(jax.grad(total, argnums=number))(*args))


@pytest.mark.parametrize("wrong", LIBRARY_DEFECTS, ids=lambda w: w.name)
def test_the_library_is_wrong_where_the_list_says_so(wrong):
    def gradient(*args):
        return jax.grad(lambda *a: jnp.sum(wrong.fun(*a)))(*args)

    result = (gradient if wrong.gradient else wrong.fun)(*map(jnp.asarray, wrong.point))
    value = float(np.asarray(result)[wrong.element])
    if np.isfinite(value):
        assert wrong.truth is not None and abs(value / wrong.truth - 1) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.id)
def test_training_programs_fail_and_their_healthy_twins_do_not(group):
    defective = jax.jit(jax.value_and_grad(group.defective))
    healthy = jax.jit(jax.value_and_grad(group.healthy))
    rng = np.random.default_rng(0)
    failed = 0
    for turn in range(60):
        params = draw(group.params, rng, CORNERS[turn % 4])
        batch = draw(group.batch, rng, CORNERS[turn % 2])
        failed += not finite(defective(params, batch))
        assert finite(healthy(params, batch))
    assert failed > 0
    assert defect_lines(group.defective) and not defect_lines(group.healthy)
