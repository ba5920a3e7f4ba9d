"""Two versions of a program part where they were changed."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from steepest.core.errors import InputError
from steepest.numerics._compare import compare_programs
from steepest.numerics.comparing.differences import difference


X = jnp.sin(jnp.arange(12.0)).reshape(3, 4)


def layer(w, x):
    return jnp.tanh(x @ w)


def old(w, x):
    h = layer(w, x)
    p = jax.nn.softmax(h)
    return jnp.mean(jnp.log(p))


def test_a_program_is_the_same_as_itself():
    seen = compare_programs(old, old, X.T, X, bitwise=True)
    assert seen.agree and seen.first is None and not seen.changes
    assert "The outputs are the same." in str(seen)


def test_the_changed_operation_is_where_the_versions_part():
    def new(w, x):
        h = layer(w, x)
        p = jax.nn.softmax(2 * h)
        return jnp.mean(jnp.log(p))

    seen = compare_programs(old, new, X.T, X)
    assert not seen.agree
    assert "mul" in [c.operation for c in seen.cause]
    assert all(c.version == "new" for c in seen.cause)
    assert seen.first.new_place.function.endswith("new")
    assert seen.first.difference.relative > 0.01


def test_a_changed_constant_is_named_by_the_operation_that_takes_it():
    def before(x):
        return jnp.sum(jnp.exp(x * 0.5) + x)

    def after(x):
        return jnp.sum(jnp.exp(x * 0.6) + x)

    seen = compare_programs(before, after, X)
    assert seen.first.operation == "mul"
    assert seen.first.old_place.function.endswith("before")
    assert seen.first.new_place.function.endswith("after")
    names = [p.operation for p in seen.partings]
    assert names == ["mul", "exp", "add", "reduce_sum"]


def test_another_order_of_a_sum_is_rounding_unless_bits_are_asked_for():
    x = jnp.linspace(0.1, 1.0, 100)

    def forwards(x):
        return lax.scan(lambda s, v: (s + v, None), jnp.zeros(()), x)[0]

    def backwards(x):
        return lax.scan(lambda s, v: (s + v, None), jnp.zeros(()), x[::-1])[0]

    assert compare_programs(forwards, backwards, x).agree
    assert not compare_programs(forwards, backwards, x, bitwise=True).agree


def test_a_cast_to_half_precision_is_found_by_its_size():
    def new(w, x):
        h = layer(w.astype(jnp.bfloat16), x.astype(jnp.bfloat16)).astype(jnp.float32)
        p = jax.nn.softmax(h)
        return jnp.mean(jnp.log(p))

    seen = compare_programs(old, new, X.T, X)
    added = [c.operation for c in seen.changes if c.version == "new"]
    assert added.count("convert_element_type") >= 2
    assert not seen.agree


def test_in_a_loop_the_turn_and_the_operation_are_named():
    def program(shift):
        def body(carry, x):
            i, s = carry
            s = s + jnp.where(i == 3, x + shift, x)
            return (i + 1, s), s

        return lambda x: lax.scan(body, (0, jnp.zeros(())), x)[0][1]

    seen = compare_programs(program(0.0), program(0.5), jnp.ones(6))
    assert seen.first.path == ("scan[0]",)  # x + shift differs in every turn
    assert seen.first.operation == "add"


def test_of_a_while_loop_and_a_branch_the_inside_is_compared():
    def program(rate):
        def fun(x):
            y = lax.while_loop(lambda y: y < 10, lambda y: y * rate, x)
            return lax.cond(y > 5, jnp.sin, jnp.cos, y)

        return fun

    seen = compare_programs(program(1.5), program(1.6), jnp.float32(1.0))
    assert seen.first.operation == "mul" and seen.first.path == ("while[0]",)


def test_random_keys_and_integers_are_compared():
    def fun(n):
        return lambda key: jax.random.uniform(jax.random.fold_in(key, n), (2,))

    key = jax.random.key(0)
    assert compare_programs(fun(1), fun(1), key).agree
    assert not compare_programs(fun(1), fun(2), key).agree


def test_gradients_of_two_versions_are_compared():
    def stable(w, x):
        return jnp.mean(jax.nn.log_softmax(layer(w, x)))

    seen = compare_programs(jax.grad(old), jax.grad(stable), X.T, X)
    assert seen.agree and seen.changes


def test_where_one_version_is_not_finite_they_part_by_infinity():
    x = jnp.asarray([0.0, 200.0])
    seen = compare_programs(
        lambda x: jnp.log(jax.nn.softmax(x)), lambda x: jax.nn.log_softmax(x), x
    )
    assert seen.outputs[0].ulps == np.inf and not seen.agree


def test_ulps_are_those_of_the_format():
    a = jnp.asarray([1.0, 2.0])
    assert difference(a, jnp.nextafter(a, 3.0)).ulps == pytest.approx(1.0)
    assert difference(a, a).ulps == 0
    assert difference(a, a.reshape(1, 2)).ulps == np.inf


def test_a_comparison_is_printed_and_written_as_json():
    seen = compare_programs(old, lambda w, x: old(w, x) * 1.5, X.T, X)
    record = json.loads(seen.as_json())
    assert record["agree"] is False and record["outputs"][0]["relative"] > 0.3
    assert "Output 0" in str(seen) and "<pre>" in seen._repr_html_()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: compare_programs(3, old, X), "Two functions are compared; an int"),
        (lambda: compare_programs(old, old, X.T, X, ulps=-1), "cannot be -1"),
        (
            lambda: compare_programs(lambda x: x, lambda x: (x, x), X),
            "return different things",
        ),
        (
            lambda: compare_programs(lambda x: x, jnp.sum, X),
            r"Output 0 is float32\[.*\] in the old version and float32\[\] in the new",
        ),
    ],
)
def test_what_cannot_be_compared_is_said_in_a_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
