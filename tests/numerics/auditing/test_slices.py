"""A backward slice holds what a result needs, and of a call only that part."""

import jax
import jax.numpy as jnp

from steepest.core import jaxpr
from steepest.numerics.auditing.slices import needed


def primitives(fun, wanted, *args):
    closed = jaxpr.trace(fun, *args).closed
    addresses, inputs = needed(closed, wanted)
    found = [e for e in jaxpr.equations(closed) if e.address in addresses]
    return {e.primitive for e in found}, inputs


X = jnp.float32(0.5)


def test_what_only_the_other_output_needs_is_left_out():
    found, inputs = primitives(
        lambda x, y: (jnp.sin(x), jnp.exp(y)), [True, False], X, X
    )
    assert found == {"sin"} and inputs == [True, False]


def test_calls_are_entered():
    both = jax.jit(lambda x: (jnp.sin(x), jnp.exp(x)))
    found, _ = primitives(lambda x: both(x), [False, True], X)
    assert "exp" in found and "sin" not in found


def test_of_a_loop_everything_counts():
    loop = lambda x: jax.lax.scan(lambda c, _: (jnp.sin(c), jnp.exp(c)), x, length=3)
    found, _ = primitives(loop, [True, False], X)
    assert {"scan", "sin", "exp"} <= found


def test_the_forward_part_of_a_gradient_program_is_told_apart():
    grads = jax.value_and_grad(lambda x: jnp.log(jnp.sqrt(x)))
    value, _ = primitives(grads, [True, False], X)
    whole, _ = primitives(grads, [True, True], X)
    assert value == {"sqrt", "log"} and whole > value
