"""An output that is not finite names the operation that is to blame."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest.core import jaxpr
from steepest.numerics.auditing.events import watch


def blamed(fun, *args):
    """The primitive to blame for each output, or None; and all that were born."""
    program = jaxpr.trace(fun, *args)
    watched = watch(program.closed)
    seen = watched.run(*program.values)
    name = lambda i: watched.equations[i].primitive
    outputs = [name(int(o) - 1) if o else None for o in seen.origins]
    return outputs, [name(i) for i in sorted(seen.born)]


X = jnp.array([200.0, 0.0])


def loop(x):
    return jax.lax.scan(lambda c, y: (jnp.exp(c) + y, c), x[1] + 1, jnp.arange(5.0))


def until(x):
    go_on = lambda c: c[1] < 7
    return jax.lax.while_loop(go_on, lambda c: (jnp.exp(c[0]), c[1] + 1), (x[1], 0))[0]


BLAMED = {
    "log of an underflowed softmax": (lambda x: jnp.log(jax.nn.softmax(x))[1], "log"),
    "own softmax": (lambda x: jnp.exp(x) / jnp.exp(x).sum(), "exp"),
    "scan": (lambda x: loop(x)[0], "exp"),
    "while": (until, "exp"),
    "cond": (lambda x: jax.lax.cond(x[0] > 1, jnp.log, jnp.exp, x - 1), "log"),
    "gradient of a masked logarithm": (
        jax.grad(lambda x: jnp.where(x > 0, jnp.log(x), 0.0).sum()),
        "div",
    ),
    "a row that is masked out": (
        lambda x: jax.nn.softmax(jnp.where(jnp.zeros(2, bool), x, -jnp.inf)),
        "sub",
    ),
}
FINE = {
    "a logarithm on the branch not taken": lambda x: jnp.where(x > 0, jnp.log(x), 0.0),
    "a masked score": lambda x: jax.nn.softmax(
        jnp.where(jnp.array([True, False]), x, -jnp.inf)
    ),
    "the gradient of sqrt(relu(x))": jax.grad(
        lambda x: jnp.sqrt(jax.nn.relu(x - 1)).sum()
    ),
    "integers": lambda x: jnp.arange(3) // 1,
    "an infinity that came in": lambda x: x + jnp.inf,
}


@pytest.mark.parametrize("name", BLAMED)
def test_the_first_operation_is_blamed(name):
    fun, primitive = BLAMED[name]
    outputs, _ = blamed(fun, X)
    assert outputs[0] == primitive


@pytest.mark.parametrize("name", FINE)
def test_what_reaches_no_output_is_not_blamed(name):
    outputs, _ = blamed(FINE[name], X)
    assert outputs[0] is None


def test_what_is_masked_is_still_seen():
    assert blamed(FINE["a logarithm on the branch not taken"], X)[1] == ["log"]


def test_a_nan_that_came_in_is_nobodys():
    assert blamed(lambda x: x * 2, jnp.array([jnp.nan])) == ([None], [])


def test_headroom_is_in_bits():
    program = jaxpr.trace(lambda x: x * 2.0, jnp.float32(2.0**120))
    seen = watch(program.closed).run(*program.values, room=True)
    assert seen.room[0] == 128 - 121


def test_a_loop_does_not_lose_the_values():
    outputs = watch(jaxpr.trace(loop, X).closed).run(X)
    with jax.disable_jit():
        carry, rows = loop(X)
    np.testing.assert_array_equal(outputs.outputs[1], rows)
    np.testing.assert_array_equal(outputs.outputs[0], carry)


def test_a_loop_over_many_examples_names_its_operation():
    grow = lambda x: jax.lax.while_loop(lambda y: y < 10, lambda y: y / (y - 2), x)
    program = jaxpr.trace(jax.vmap(grow), jnp.asarray([2.0, 20.0]))
    seen = watch(program.closed).run(*program.values)
    assert len(seen.born) == 1 and seen.origins[0] > 0
