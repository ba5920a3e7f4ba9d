"""What an audit says of a program, and of input that it cannot use."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import InputError, Interval, audit


def naive(z):
    return jnp.log(jnp.exp(z).sum())


LOGITS = Interval(-300, 300, (3,))


@pytest.fixture(scope="module")
def found():
    return audit(naive, LOGITS)


def test_the_witness_makes_the_program_fail(found):
    fault = found.defects[0]
    assert (fault.operation, fault.kind) == ("exp", "overflow")
    with jax.disable_jit():
        assert not np.isfinite(naive(*fault.witness))
    (z,) = fault.witness
    assert (np.abs(z) <= 300).all() and z.shape == (3,) and z.dtype == jnp.float32


def test_the_witness_is_as_mild_as_it_can_be(found):
    """exp overflows from log(max) = 88.72; bisection ends within a per cent of it."""
    (z,) = found.defects[0].witness
    assert 88.7 < float(z.max()) < 89.7


def test_underflow_is_a_finding_of_its_own(found):
    kinds = {(f.operation, f.kind) for f in found.defects}
    assert ("log", "pole") in kinds


def test_the_exact_value_is_given(found):
    fault = found.defects[0]
    (z,) = fault.witness
    expected = np.logaddexp.reduce(np.asarray(z, np.float64))
    assert fault.exact == pytest.approx(expected, rel=1e-9)


def test_the_line_is_the_users(found):
    assert found.defects[0].place.file == __file__
    assert found.defects[0].place.function == "naive"


def test_the_stable_form_is_suggested(found):
    assert "logsumexp" in found.defects[0].suggestion


@pytest.mark.slow
def test_a_sound_program_is_acquitted_by_its_ranges():
    result = audit(lambda z: jax.nn.log_softmax(z)[0], LOGITS)
    assert result.candidates == 0 and not result.confirmed


def test_range_is_told_from_defect():
    """exp(200) exists and no float32 holds it: the format is too small for the task."""
    result = audit(jnp.exp, Interval(-300, 300), gradient=False)
    assert [f.verdict for f in result.confirmed] == ["range"]


def test_domain_is_told_from_defect():
    result = audit(jnp.log, Interval(0, 1), gradient=False)
    assert [f.verdict for f in result.confirmed] == ["domain"]


def test_what_a_where_discards_is_a_note():
    fun = lambda x: jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 0.0) * 1.0), 0.0)
    result = audit(fun, Interval(-1, 1, (4,)), gradient=False)
    assert not result.confirmed
    assert ("log", "masked") in [(f.operation, f.verdict) for f in result.notes]


@pytest.mark.slow
def test_the_gradient_of_a_masked_branch_is_found():
    fun = lambda x: jnp.where(x > 0, jnp.sqrt(x), 0.0).sum()
    result = audit(fun, Interval(-1, 1, (4,)))
    assert {f.where for f in result.confirmed} == {"gradient"}


def test_lost_digits_are_counted():
    result = audit(lambda x: jnp.exp(x) - 1, Interval(-1, 1), gradient=False)
    (fault,) = result.defects
    assert fault.kind == "cancellation" and fault.digits_lost > 3
    (x,) = fault.witness
    assert fault.exact == pytest.approx(np.expm1(np.float64(x)), rel=1e-9)


def test_what_the_inputs_rounding_costs_is_no_fault():
    """Near log 2 exp(x) − 2 has few digits, and so has the exact function of x ± ulp."""
    assert not audit(lambda x: jnp.exp(x) - 2, Interval(-5, 5)).confirmed


def test_headroom_is_a_note():
    grown = lambda x: (x * jnp.float32(1e38)).sum()
    result = audit(grown, Interval(-2.5, 2.5, (2,)), gradient=False)
    assert [f.kind for f in result.notes] == ["headroom"]


def test_loops_and_branches_are_entered():
    def fun(x):
        y, _ = jax.lax.scan(lambda c, _: (jnp.exp(c), None), x, length=3)
        return jax.lax.cond(x > 0.5, jnp.sqrt, jnp.sin, y)

    faults = audit(fun, Interval(0, 2), gradient=False).confirmed
    assert [f.operation for f in faults] == ["exp"] and faults[0].path[-1:] == ("scan",)


def test_half_precision_ends_sooner():
    half = audit(jnp.square, Interval(0, 300, (), jnp.float16), gradient=False)
    assert half.confirmed and half.confirmed[0].verdict == "range"
    assert not audit(jnp.square, Interval(0, 300), gradient=False).findings


def test_a_fault_of_the_compiled_program_is_one_of_jit_alone():
    """Where this JAX's compiler folds the constants: to infinity, and ∞·0 is NaN."""
    fun = lambda x: x * 1e30 * 1e30
    folded = bool(np.isnan(jax.jit(fun)(jnp.float32(0))))
    found = audit(fun, Interval(-1e-30, 1e-30), gradient=False)
    alone = [f for f in found.confirmed if f.mode == "jit"]
    assert bool(alone) == folded
    for fault in alone:
        assert fault.operation == "mul" and not np.isfinite(
            jax.jit(fun)(*fault.witness)
        )


def test_a_factorisation_is_audited_in_float64():
    """Exact arithmetic has no rule for a singular value decomposition."""
    values = lambda x: jnp.linalg.svd(x, compute_uv=False).sum()
    assert not audit(values, Interval(0.5, 1, (3, 3)), gradient=False).defects


@pytest.mark.slow
def test_specs_stand_in_any_tree():
    loss = lambda p, b: jnp.log(jax.nn.sigmoid(b["x"] @ p["w"])).sum()
    params = {"w": jnp.full((2,), 100.0)}
    result = audit(loss, params, {"x": Interval(-1, 1, (4, 2))})
    (fault, *_) = result.defects
    given, batch = fault.witness
    assert given["w"].shape == (2,) and batch["x"].shape == (4, 2)


def test_a_shape_stands_for_every_finite_number():
    result = audit(jnp.square, jax.ShapeDtypeStruct((), jnp.float32), gradient=False)
    assert result.confirmed[0].kind == "overflow"


def test_integers_lose_nothing():
    whole = Interval(0, 1000, (3,), jnp.int32)
    assert not audit(lambda n: (n * n).sum(), whole).findings


def test_the_same_seed_gives_the_same_findings():
    one, two = (audit(naive, LOGITS, seed=3, gradient=False) for _ in range(2))
    assert [f.sentence for f in one.findings] == [f.sentence for f in two.findings]


def test_text_json_and_html_name_operation_line_and_witness(found):
    text, page = str(found), found._repr_html_()
    data = json.loads(found.as_json())
    line = f"test_audit_findings.py:{found.defects[0].place.line}"
    assert line in text and line in page and "witness" in text
    assert data["findings"][0]["operation"] == "exp"
    assert data["findings"][0]["witness"][0]["shape"] == [3]


BAD = {
    "not a function": (lambda: audit(3, LOGITS), "a function"),
    "no specs": (lambda: audit(lambda: 1.0), "no specs"),
    "a bare number": (lambda: audit(jnp.log, 3), "no spec"),
    "low above high": (lambda: audit(jnp.log, Interval(1, 0)), "is empty"),
    "an empty shape": (lambda: audit(jnp.log, Interval(0, 1, (0,))), "no element"),
    "NaN": (lambda: audit(jnp.log, Interval(float("nan"), 1)), "NaN"),
    "too many specs": (lambda: audit(jnp.log, LOGITS, LOGITS), "cannot be traced"),
    "a wrong shape": (
        lambda: audit(lambda a, b: a @ b, LOGITS, Interval(0, 1, (4,))),
        "cannot be traced",
    ),
    "half an integer": (lambda: Interval(0.5, 3, (2,), jnp.int32), "integer"),
    "a callback": (
        lambda: audit(
            lambda x: jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), x.dtype), x),
            Interval(0, 1),
        ),
        "callback",
    ),
    "printing": (
        lambda: audit(lambda x: (jax.debug.print("{x}", x=x), x)[1], Interval(0, 1)),
        "side effects",
    ),
    "no budget": (lambda: audit(jnp.log, LOGITS, budget=0), "budget"),
    "a random key without a value": (
        lambda: audit(
            lambda k: jax.random.normal(k),
            jax.ShapeDtypeStruct((), jax.random.key(0).dtype),
        ),
        "key",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_sentence(name):
    call, said = BAD[name]
    with pytest.raises(InputError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_the_witness_of_lost_digits_is_the_one_that_loses_most():
    def spread(x):
        return jnp.mean(x**2) - jnp.mean(x) ** 2

    (found,) = audit(spread, Interval(0, 1e4, (8,)), gradient=False).defects
    assert found.operation == "sub" and found.mode == "both"
    assert abs(found.computed - found.exact) > 0.1


def test_arrays_of_numpy_are_specs():
    found = audit(lambda x: jnp.log(x - 1), np.array([1.0, 2.0]))
    assert [f.operation for f in found.confirmed if f.where == "value"] == ["log"]


def test_a_callback_in_a_derivative_is_one():
    f = jax.custom_vjp(lambda x: 2 * x)
    backwards = lambda r, g: (jax.pure_callback(np.sin, r, r) * g,)
    f.defvjp(lambda x: (2 * x, x), backwards)
    with pytest.raises(InputError, match="calls back into Python"):
        audit(f, Interval(0, 1))


MORE = {
    "a budget in words": (lambda: audit(jnp.log, LOGITS, budget="long"), "in seconds"),
    "no time": (lambda: audit(jnp.log, LOGITS, budget=float("nan")), "in seconds"),
    "a seed below 0": (lambda: audit(jnp.log, LOGITS, seed=-1), "whole number from 0"),
    "half a seed": (lambda: audit(jnp.log, LOGITS, seed=0.5), "whole number from 0"),
    "text": (lambda: audit(jnp.log, np.array(["a"])), "is no spec; give numbers"),
    "no result": (lambda: audit(lambda x: None, LOGITS), "returns no array"),
    "a name as result": (lambda: audit(lambda x: "x", LOGITS), "returns no array"),
    "a decision": (lambda: audit(lambda x: x if x[0] > 0 else -x, LOGITS), "jnp.where"),
    "NumPy": (lambda: audit(lambda x: np.log(x), LOGITS), "jax.numpy"),
    "an error": (lambda: audit(lambda x: 1 / 0, LOGITS), "division by zero. Audit a"),
    "a traced value": (
        lambda: jax.jit(lambda x: audit(jnp.log, x))(jnp.ones(3)),
        "inside of `jit`",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", MORE)
def test_what_cannot_be_audited_costs_one_sentence(name):
    call, said = MORE[name]
    with pytest.raises(InputError, match=said) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_large_values_that_hardly_differ_are_tried():
    """A batch norm by E[x²] − E[x]²: negative variance far from zero."""

    def norm(x):
        mean = x.mean(0, keepdims=True)
        square = (x**2).mean(0, keepdims=True)
        return (x - mean) / jnp.sqrt(square - mean**2 + 1e-5)

    found = audit(norm, Interval(-1000, 1000, (8, 3)), gradient=False)
    assert any(f.operation == "sqrt" and f.kind == "domain" for f in found.confirmed)
