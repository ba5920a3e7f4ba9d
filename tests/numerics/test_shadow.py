"""A shadow shows the error of a program, and the operation to blame for it."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from steepest import Interval
from steepest.core.errors import InputError
from steepest.numerics import exact
from steepest.numerics._shadow import (
    Shadow,
    operations,
    relative,
    shadow,
    shadow_program,
)


f32 = jnp.float32


def bf16(x):
    return jnp.asarray(x, jnp.bfloat16)


def distance(a, b):
    return a @ a + b @ b - 2 * (a @ b)


def one_pass(x):
    return jnp.mean(x * x) - jnp.mean(x) ** 2


def angle(u, v):
    return jnp.arccos(u @ v / jnp.sqrt((u @ u) * (v @ v)))


def summed(x):
    return lax.fori_loop(0, 1000, lambda i, s: s + x, jnp.zeros_like(x))


def half_scan(xs):
    return lax.scan(lambda s, x: (s + x, None), jnp.zeros((), xs.dtype), xs)[0]


U = jnp.asarray([0.6, 0.8, 0.1])
V = U + jnp.asarray([1e-4, 0.0, 0.0])
X = 1000 + jnp.linspace(-1, 1, 16)

#: Programs that lose digits: arguments, the operations to blame, the kinds of loss.
LOSSES = {
    "exp(x)-1": (lambda x: jnp.exp(x) - 1, (f32(1e-6),), "sub", "cancellation"),
    "log(1+x)": (lambda x: jnp.log(1 + x), (f32(1e-8),), "log", "sensitivity"),
    "1-cos x": (lambda x: 1 - jnp.cos(x), (f32(1e-3),), "sub", "cancellation"),
    "(1+i/n)^n": (
        lambda i, n: (1 + i / n) ** n,
        (f32(0.05), f32(1e7)),
        "pow",
        "sensitivity",
    ),
    "variance": (one_pass, (X,), "sub", "cancellation"),
    "angle": (angle, (U, V), "acos", "sensitivity"),
    "distance": (distance, (X, X + 0.001), "sub", "cancellation"),
    "bf16 counter": (half_scan, (bf16(jnp.ones(600)),), "add", "accumulation"),
    "bf16 loop": (summed, (bf16(0.1),), "add", "accumulation"),
    "cast": (
        lambda x: x.astype(jnp.float16).astype(jnp.float32),
        (f32(1.0004),),
        "convert_element_type",
        "cast",
    ),
    "gelu tail": (
        lambda x: x * (1 + lax.erf(x / np.float32(2**0.5))) / 2,
        (f32(-5.5),),
        "add",
        "cancellation",
    ),
    "softmax tail": (
        lambda x: 1 - jax.nn.softmax(x)[0],
        (f32([9.0, 0.0]),),
        "sub",
        "cancellation",
    ),
}


@pytest.mark.parametrize("name", LOSSES)
def test_the_operation_that_loses_the_digits_is_blamed(name):
    fun, args, operation, kind = LOSSES[name]
    loss = shadow(fun)(*args).blame()
    assert (loss.operation.primitive, loss.kind) == (operation, kind)
    assert loss.operation.place.file == __file__


@pytest.mark.parametrize("name", LOSSES)
def test_the_error_of_an_output_is_that_against_exact_arithmetic(name):
    fun, args, *_ = LOSSES[name]
    seen = shadow(fun)(*args)
    truth = float(exact.evaluate(fun, *args)[0][()])
    error = abs(float(seen.value) - truth) / abs(truth)
    assert abs(np.log10(float(seen.error)) - np.log10(error)) < 0.5


@pytest.mark.parametrize("name", ["exp(x)-1", "variance", "bf16 counter"])
def test_introduced_and_inherited_error_add_up(name):
    fun, args, *_ = LOSSES[name]
    for loss in shadow(fun)(*args).operations:
        if not loss.operation.decides and np.isfinite(loss.introduced):
            slack = 1e-12 + loss.introduced * loss.inherited
            assert loss.total <= (loss.introduced + loss.inherited) * (1 + 1e-9) + slack


def test_inherited_error_is_at_most_condition_times_error_before():
    fun, args, *_ = LOSSES["variance"]
    for loss in shadow(fun)(*args).operations:
        assert loss.inherited <= loss.condition * loss.before * 1.01 + 1e-14


def test_the_condition_of_an_operation_is_that_of_the_formula():
    x = f32(1.0001)
    (loss,) = shadow(jnp.log)(x).operations
    assert loss.condition == pytest.approx(1 / np.log(np.float64(x)), rel=1e-6)


def test_a_stable_program_has_the_error_of_a_few_roundings():
    seen = shadow(lambda x: jnp.expm1(x) / x)(jnp.linspace(1e-6, 1, 50))
    assert float(seen.error) < 4 * float(jnp.finfo(jnp.float32).eps)


def test_a_plain_call_has_the_bits_of_an_eager_run():
    x = jnp.linspace(-3, 3, 33)

    def fun(x):
        return jnp.log(jnp.exp(x)) * 0.3 + x * x

    np.testing.assert_array_equal(shadow(fun)(x).value, fun(x))


@pytest.mark.slow
def test_a_shadow_is_a_pytree_that_jit_and_vmap_return():
    def fun(x):
        return {"y": jnp.exp(x) - 1}

    x = f32(1e-5)
    compiled = jax.jit(shadow(fun))(x)
    assert isinstance(compiled, Shadow)
    assert compiled.blame().operation.primitive == "sub"
    many = jax.vmap(shadow(fun))(jnp.asarray([1e-5, 1.0]))
    assert many.rows.shape[0] == 2
    assert np.divide(*many.error["y"]) > 100


def test_one_run_of_many_is_read_by_itself():
    many = jax.vmap(shadow(lambda x: jnp.exp(x) - 1))(jnp.asarray([1e-5, 1.0]))
    first, second = (jax.tree.map(lambda x, i=i: x[i], many) for i in range(2))
    assert first.blame().kind == "cancellation"
    assert second.blame().kind == "rounding"


def test_what_is_no_number_in_a_result_has_no_error():
    seen = shadow(lambda x: {"loss": jnp.exp(x), "name": "exp"})(f32(1.0))
    assert seen.value["name"] == "exp"
    assert len(seen.as_dict()["outputs"]) == 1
    assert "Output 0" in str(seen) and "Output 1" not in str(seen)


def test_a_shadow_has_the_structure_of_the_result():
    def fun(tree):
        return {"y": (jnp.exp(tree["a"]) - 1, tree["n"] + 1), "z": [tree["a"] * 3]}

    seen = shadow(fun)({"a": f32(1e-6), "n": jnp.int32(4)})
    assert jax.tree.structure(seen.wide) == jax.tree.structure(seen.value)
    assert jax.tree.structure(seen.error) == jax.tree.structure(seen.value)
    assert seen.error["y"][1] == 0


@pytest.mark.parametrize("call", [shadow, lambda f: jax.jit(shadow(f))])
def test_a_program_without_floats_has_no_error_and_no_operations(call):
    seen = call(lambda n: n * 2 + 1)(jnp.arange(4))
    np.testing.assert_array_equal(seen.value, [1, 3, 5, 7])
    assert seen.error == 0 and seen.operations == () == seen.worst()
    assert "no error" in str(seen) and "<table>" in seen._repr_html_()
    assert json.loads(seen.as_json())["operations"] == []
    with pytest.raises(InputError, match="none to blame"):
        seen.blame()


@pytest.mark.parametrize("call", [shadow, lambda f: jax.jit(shadow(f))])
def test_an_operation_whose_operand_has_another_size_is_shadowed(call):
    def product(x):
        one = np.float32(1)
        return lax.reduce_window(x, one, lax.mul, (2,), (1,), "VALID")

    x = jnp.linspace(0.1, 1, 8)
    seen = call(product)(x)
    np.testing.assert_array_equal(seen.value, product(x))
    assert [p.primitive for p in seen.not_shadowed] == ["reduce_window"]
    spectrum = call(lambda x: jnp.abs(jnp.fft.rfft(x)))(x)
    truth = np.abs(np.fft.rfft(np.asarray(x, np.float64)))
    # float64, and sums of 8 terms
    np.testing.assert_allclose(spectrum.wide, truth, rtol=1e-14)


def test_the_gradient_of_pooling_is_shadowed_under_jit():
    def loss(x):
        y = lax.reduce_window(x * 1.1, -np.inf, lax.max, (2,), (2,), "VALID")
        return (y * y).sum()

    x = jnp.asarray([0.1, 0.3, 0.2, 0.5])
    seen = jax.jit(shadow(jax.grad(loss)))(x)
    slope = 2 * np.float64(np.float32(1.1)) ** 2
    truth = np.where([0, 1, 0, 1], slope * np.asarray(x, np.float64), 0)
    np.testing.assert_allclose(seen.wide, truth, rtol=1e-14)


def test_the_shadow_of_a_gradient_program():
    def loss(w, x):
        return jnp.sum(jnp.log(1 + jnp.exp(x @ w)))

    w, x = jnp.asarray([0.1, -0.2]), jnp.asarray([[1.0, 2.0], [3.0, 4.0]])
    seen = shadow(jax.value_and_grad(loss))(w, x)
    wide = jax.tree.leaves(seen.wide)
    (truth,) = exact.gradient(lambda w: loss(w, x))(w)
    np.testing.assert_allclose(wide[1], truth.astype(float), rtol=1e-14)


def test_each_turn_of_a_loop_counts_and_the_worst_is_named():
    def fun(x):
        return lax.fori_loop(0, 5, lambda i, y: jnp.exp(y) - 1, x)

    loss = shadow(fun)(f32(1e-4)).blame()
    assert loss.turn is not None and loss.operation.loop


def test_loops_of_unknown_length_and_branches_are_shadowed():
    def fun(x):
        y = lax.while_loop(lambda y: y < 10, lambda y: y * 1.1, x)
        return lax.cond(y > 10, lambda y: jnp.exp(y / 1e8) - 1, jnp.sin, y)

    seen = shadow(fun)(f32(1.0))
    assert seen.blame().operation.primitive == "sub"
    names = [loss.operation.primitive for loss in seen.operations]
    assert "sin" not in names  # the branch that was not taken


@pytest.mark.parametrize("mode", [lambda f: f, jax.jit], ids=["eager", "jit"])
def test_a_loop_that_ends_at_another_turn_for_each_example_is_shadowed(mode):
    halve = lambda x: lax.while_loop(lambda y: y > 0.3, lambda y: y / 3, x)
    x = jnp.asarray([0.1, 1.0, 5.0])
    seen = mode(shadow(jax.vmap(halve)))(x)
    np.testing.assert_allclose(seen.value, jax.vmap(halve)(x), rtol=1e-6)
    wide = np.asarray(x, np.float64) / [1, 9, 27]
    np.testing.assert_allclose(seen.wide, wide, rtol=1e-15)


def test_decisions_are_those_of_the_program_and_differences_are_counted():
    def fun(x):
        return jnp.where(x * 0.1 * 10.0 > x, 1.0, x), jnp.floor(x * 0.1 * 10.0)

    x = jnp.arange(1.0, 200.0)
    seen = shadow(fun)(x)
    decided = [loss.decisions for loss in seen.operations if loss.operation.decides]
    assert sum(decided) > 0
    np.testing.assert_array_equal(seen.wide[1], seen.value[1])


def test_sorting_permutes_the_shadow_as_it_did_the_program():
    x = jnp.asarray([3.0, 1.0, 2.0]) / 3
    seen = shadow(lambda x: (jnp.sort(x * 1.1), jnp.argsort(x), lax.top_k(x, 2)[0]))(x)
    for y, w in zip(seen.value, seen.wide, strict=True):
        np.testing.assert_allclose(y, w, rtol=3e-7)


def test_only_operations_on_the_way_to_an_output_are_blamed_for_it():
    def fun(x):
        return jnp.exp(x) - 1, jnp.expm1(x)

    seen = shadow(fun)(f32(1e-6))
    assert float(seen.error[1]) < 1e-6
    assert seen.blame(1).operation.primitive == "expm1"
    assert {0} == next(o.reaches for o in seen.table if o.primitive == "sub")


@pytest.mark.slow
def test_library_functions_of_every_kind_run_in_float64():
    x = jnp.linspace(0.1, 0.9, 12).reshape(3, 4)
    w = jnp.ones((2, 2, 1, 2))

    def fun(x):
        image = x[None, :, :, None]
        names = ("NHWC", "HWIO", "NHWC")
        return (
            lax.conv_general_dilated(image, w, (1, 1), "SAME", dimension_numbers=names),
            lax.reduce_window(
                image, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 1, 1, 1), "VALID"
            ),
            jnp.cumsum(x, 1),
            x.at[0].add(x[1]),
            jnp.linalg.cholesky(x @ x.T + jnp.eye(3)),
            jax.scipy.special.gammaln(x),
            lax.erf_inv(x),
            jax.nn.gelu(x),
            x.argmax(1),
        )

    seen = shadow(fun)(x)
    assert not seen.not_shadowed
    for y, w_ in zip(seen.value, seen.wide, strict=True):
        np.testing.assert_allclose(y, w_, rtol=1e-4, atol=1e-6)
    truth = exact.evaluate(fun, x)
    for z, w_ in zip(truth, seen.wide, strict=True):
        np.testing.assert_allclose(w_, z.astype(float), rtol=1e-9, atol=1e-12)


def test_a_large_result_is_looked_at_in_samples():
    x = jnp.linspace(1e-6, 1, 100_000)
    loss = shadow(lambda x: jnp.exp(x) - 1)(x).blame()
    assert loss.operation.primitive == "sub"
    assert loss.total > 1e-3


def test_where_float64_makes_the_same_mistake_a_second_opinion_says_so():
    def fun(x):
        return jnp.log(1 + jnp.exp(x)) - x

    seen = shadow(fun)(f32(50.0))
    assert float(seen.error) == 0
    (opinion,) = seen.second_opinion()
    assert opinion.exact == pytest.approx(1.9287498e-22)
    assert "same mistake" in str(opinion)
    assert seen.blame().operation.primitive == "sub"


def test_a_second_opinion_is_silent_where_float64_is_right():
    assert shadow(lambda x: jnp.exp(x) - 1)(f32(1e-6)).second_opinion() == ()


def test_exact_arithmetic_shows_the_errors_of_a_program_in_float64():
    with jax.enable_x64(True):
        x = jnp.asarray(1e-12, jnp.float64)
        seen = shadow(lambda x: jnp.exp(x) - 1, wide="exact")(x)
    assert float(seen.error) == pytest.approx(8.89e-5, rel=1e-2)
    assert seen.blame().operation.primitive == "sub"


def test_the_exact_shadow_of_loops_names_the_worst_turn():
    seen = shadow(half_scan, wide="exact")(bf16(jnp.ones(300)))
    assert seen.blame().operation.primitive == "add"
    assert seen.blame().turn > 256


def test_a_function_that_overflows_is_blamed_where_it_does():
    seen = shadow(lambda x: jnp.log(jnp.exp(x)))(f32(100.0))
    loss = seen.blame()
    assert (loss.operation.primitive, loss.kind) == ("exp", "overflow")
    assert "not finite" in str(seen)


def test_a_shadow_prints_as_a_table_a_page_and_json():
    seen = shadow(lambda x: jnp.exp(x) - 1)(f32(1e-6))
    assert "cancellation" in str(seen) and "1.3 correct digits" in str(seen)
    assert "<table>" in seen._repr_html_()
    record = json.loads(seen.as_json())
    assert record["operations"][0]["operation"] == "sub"


def test_x64_stays_as_it_was():
    before = jax.config.jax_enable_x64
    jax.jit(shadow(jnp.exp))(f32(1.0))
    shadow(jnp.exp)(f32(1.0))
    assert jax.config.jax_enable_x64 == before
    assert jnp.asarray(1.0).dtype == jnp.float32


def test_rows_and_the_table_have_the_same_order():
    closed = jax.make_jaxpr(lambda x: jnp.exp(x) - 1)(f32(1.0))
    _, _, rows = shadow_program(closed, [f32(1.0)])
    assert rows.shape[0] == len(operations(closed)) == 2


def test_a_relative_error_where_numbers_are_none():
    a = np.asarray([np.inf, np.nan, np.nan, 1.0, np.inf])
    b = np.asarray([1.0, 1.0, np.nan, np.inf, np.inf])
    np.testing.assert_array_equal(relative(a, b, 1e-38), [np.inf, np.inf, 0, 0, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: shadow(3), "A shadow is of a function; an int came."),
        (lambda: shadow(jnp.exp)(f32(1.0)).blame(2), "There is no output 2"),
        (lambda: shadow(lambda x: x)(f32(1.0)).blame(), "none to blame"),
        (
            lambda: jax.jit(shadow(jnp.exp, wide="exact"))(f32(1.0)),
            "Exact arithmetic needs numbers",
        ),
        (
            lambda: jax.jit(lambda x: shadow(jnp.exp)(x).blame().total)(f32(1.0)),
            "Operations have errors once they were run",
        ),
        (
            lambda: jax.vmap(shadow(jnp.exp))(jnp.ones(2)).blame(),
            "This shadow holds 2 runs",
        ),
        (lambda: shadow(jnp.exp, wide="f128"), "`wide` is"),
        (lambda: shadow(jnp.exp)(f32(1.0)).blame("x"), "There is no output 'x'"),
        (lambda: shadow(jnp.exp)(jax.ShapeDtypeStruct((), "float32")), "needs numbers"),
        (lambda: shadow(jnp.exp)(Interval(0, 1)), "ask `audit` about ranges"),
        (
            lambda: shadow(jnp.sum)(jnp.ones(30_000)).second_opinion(),
            "too many for exact arithmetic",
        ),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
