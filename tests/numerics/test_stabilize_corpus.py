"""Rewritten programs are right where the written ones fail, and untouched elsewhere."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from mpmath import mp, mpf
from tests.numerics.corpus.case import exactly, true
from tests.numerics.corpus.cases import CASES
from tests.numerics.corpus.controls import CONTROLS
from tests.numerics.corpus.draws import CORNERS, draw
from tests.numerics.corpus.grist import GROUPS
from tests.numerics.corpus.library import LIBRARY
from tests.numerics.corpus.running import error, program, run
from tests.numerics.corpus.test_corpus import finite, limit

from steepest.numerics._stabilize import stabilize


def named(cases):
    return [pytest.param(c, id=c.id) for c in cases]


@pytest.mark.parametrize("case", named(CASES))
def test_a_classic_formula_is_right_at_its_witness(case):
    stable = stabilize(case.fun)
    assert error(case, run(case, stable)) < limit(case)
    assert error(case, run(case, stable, jit=True)) < limit(case)


@pytest.mark.parametrize("case", named(CASES))
def test_a_classic_formula_is_rewritten_and_the_forms_agree(case):
    rewrites = stabilize(case.fun).rewrites(*map(jnp.asarray, case.witness))
    assert rewrites.applied
    for rewrite in rewrites.applied:
        if rewrite.checked is not None:
            # constants of the program were rounded to float32, those of the form were not
            assert rewrite.checked.difference < 1e-6


def sensitivity(case, inputs):
    """Σ |xᵢ ∂f/∂xᵢ| of the truth, for each of its values, by differences; at least |f|."""
    with mp.workdps(60):
        flat = [np.array(exactly(x), dtype=object).ravel() for x in inputs]

        def value(moved):
            args = [
                m.reshape(np.shape(x)).tolist() if np.ndim(x) else m[0]
                for m, x in zip(moved, inputs, strict=True)
            ]
            return np.array(case.truth(*args), dtype=object).ravel()

        base = value(flat)
        total = np.array([mpf(0)] * len(base), dtype=object)
        for k, x in enumerate(flat):
            for i in range(len(x)):
                h = abs(x[i]) * mpf("1e-25") or mpf("1e-25")
                moved = [m.copy() for m in flat]
                moved[k][i] = x[i] + h
                total = total + abs((value(moved) - base) / h * x[i])
        return np.array([float(max(t, abs(b))) for t, b in zip(total, base)])


#: With a constant of the truth that the program rounds, or where the truth is a limit.
CONVENTION = {"A30g", "A31", "A28"}


@pytest.mark.slow
@pytest.mark.parametrize("jit", [False, True], ids=["eager", "jit"])
@pytest.mark.parametrize("case", named(c for c in CASES if c.id not in CONVENTION))
def test_the_error_is_at_most_4_ulp_times_the_condition_all_over_the_ranges(case, jit):
    rng = np.random.default_rng(1)
    fun = program(case, stabilize(case.fun))
    fun = jax.jit(fun) if jit else fun
    for turn in range(8):
        inputs = draw(case.specs, rng, CORNERS[turn % 2])
        if case.id == "A9" and inputs[0] < inputs[1]:
            inputs = inputs[::-1]  # of a negative number there is no logarithm
        result = np.asarray(fun(*inputs), np.float64).ravel()
        truth = true(case, tuple(map(np.asarray, inputs))).ravel()
        info = jnp.finfo(inputs[0].dtype)
        possible = np.abs(truth) < float(info.max)
        allowed = 4 * float(info.eps) * sensitivity(case, inputs)
        gap = np.abs(result - truth)[possible]
        assert (gap <= allowed[possible] + float(info.tiny)).all(), (inputs, result)


@pytest.mark.parametrize("control", CONTROLS, ids=lambda c: c.name)
def test_a_control_is_run_as_it_is(control):
    stable, rng = stabilize(control.fun), np.random.default_rng(0)
    inputs = draw(control.specs, rng)
    assert not stable.rewrites(*inputs).applied
    same = np.asarray(control.fun(*inputs)), np.asarray(stable(*inputs))
    np.testing.assert_array_equal(*same)


#: A norm and a deviation are computed with their scale taken out, to a last bit of
#: difference; the library's own overflow and have no gradient at 0.
SCALED = ("norm", "std")


@pytest.mark.slow
@pytest.mark.parametrize("control", LIBRARY, ids=lambda c: c.name)
def test_a_library_function_keeps_its_bits(control):
    stable, rng = stabilize(control.fun), np.random.default_rng(0)
    if any(name in control.name for name in SCALED):
        pytest.skip("a norm is rewritten")
    for corner in CORNERS:
        inputs = draw(control.specs, rng, corner)
        same = np.asarray(control.fun(*inputs)), np.asarray(stable(*inputs))
        np.testing.assert_array_equal(*same)


@pytest.mark.parametrize(
    "group", [g for g in GROUPS if g.rewritten], ids=lambda g: g.id
)
@pytest.mark.slow
def test_a_training_program_has_a_finite_loss_and_gradient(group):
    step = jax.jit(jax.value_and_grad(stabilize(group.defective)))
    twin = jax.jit(jax.value_and_grad(group.healthy))
    rng = np.random.default_rng(0)
    for turn in range(12):
        params = draw(group.params, rng, CORNERS[turn % 4])
        batch = draw(group.batch, rng, CORNERS[turn % 2])
        if finite(twin(params, batch)):
            assert finite(step(params, batch))
