"""The user's line of every equation, wherever the library that computes it has it from."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
import pytest
from flax import nnx
from jax import lax

from steepest.core import jaxpr


x = jnp.linspace(-2.0, 2.0, 12).reshape(3, 4)
LINEAR = nnx.Linear(4, 4, rngs=nnx.Rngs(0))
NORM = nnx.LayerNorm(4, rngs=nnx.Rngs(0))
CELL = nnx.GRUCell(4, 4, rngs=nnx.Rngs(0))
EQUINOX = eqx.nn.Linear(4, 4, key=jax.random.key(0))
ATTENTION = eqx.nn.MultiheadAttention(2, 4, key=jax.random.key(0))
LABELS = jnp.zeros(3, jnp.int32)


def line_of(fun, offset=1):
    return f"test_places.py:{fun.__code__.co_firstlineno + offset}"


def places(fun, *args):
    """Places of all ordinary equations."""
    found = jaxpr.equations(jaxpr.trace(fun, *args).closed)
    return {str(e.place) for e in found if e.control is None}


def silu(x):
    return jax.nn.silu(x)


def softmax(x):
    return jax.nn.softmax(x)


def logsumexp(x):
    return jax.nn.logsumexp(x, axis=-1)


def norm(x):
    return jnp.linalg.norm(x, axis=-1)


def solve(x):
    return jnp.linalg.solve(x.T @ x + jnp.eye(4), x.T)


def variance(x):
    return jnp.var(x, axis=0)


def median(x):
    return jnp.median(x)


def flax_layer(x):
    return LINEAR(x)


def flax_normalisation(x):
    return NORM(x)


def flax_cell(x):
    return CELL(x, x)[0]


def equinox_layer(x):
    return jax.vmap(EQUINOX)(x)


def equinox_attention(x):
    return ATTENTION(x, x, x)


def optax_loss(x):
    return optax.softmax_cross_entropy_with_integer_labels(x, LABELS)


def einsum(x):
    return jnp.einsum("ni,mi->nm", x, x)


def attention(x):
    return jax.nn.dot_product_attention(x[None, :, None], x[None, :, None], x[None, :, None])  # fmt: skip


FUNCTIONS = [silu, softmax, logsumexp, norm, solve, variance, median, flax_layer,
             flax_normalisation, flax_cell, equinox_layer, equinox_attention, optax_loss,
             einsum, attention]  # fmt: skip


@pytest.mark.parametrize("fun", FUNCTIONS, ids=lambda f: f.__name__)
@pytest.mark.parametrize(
    "around", ["plain", "jit", "vmap", "derivative", "gradient", "remat"]
)
def test_every_equation_of_a_library_stands_at_the_line_that_called_it(fun, around):
    batched = jnp.stack([x, x])
    transformed, argument = {
        "plain": (fun, x),
        "jit": (jax.jit(fun), x),
        "vmap": (jax.vmap(fun), batched),
        "derivative": (lambda x: jax.jvp(fun, (x,), (x,)), x),
        "gradient": (lambda x: jax.vjp(fun, x)[1](fun(x)), x),
        "remat": (lambda x: jax.vjp(jax.checkpoint(fun), x)[1](fun(x)), x),
    }[around]
    assert places(transformed, argument) == {line_of(fun)}


def recurrent(x):
    def step(h, x):
        h = jax.nn.silu(EQUINOX(h) + x)
        return h, jnp.linalg.norm(h)

    return lax.scan(step, jnp.zeros(4), x)


def test_lines_inside_the_body_of_a_loop_are_its_own():
    found = list(
        jaxpr.equations(
            jaxpr.trace(jax.grad(lambda x: recurrent(x)[1].sum()), x).closed
        )
    )
    inside = {str(e.place) for e in found if "scan" in e.path}
    # 5: what transposition adds, such as the sum of cotangents, belongs to the scan
    assert {line_of(recurrent, 2), line_of(recurrent, 3)} <= inside
    assert inside <= {line_of(recurrent, i) for i in (2, 3, 5)}
    paths = {e.path for e in found if e.primitive == "logistic"}
    assert all("scan" in path and "silu" in path for path in paths)


def test_the_name_of_an_inlined_function_is_in_the_equation():
    found = list(jaxpr.equations(jaxpr.trace(softmax, x).closed))
    exp = next(e for e in found if e.primitive == "exp")
    assert "softmax" in (*exp.library, *exp.path)


def test_a_program_that_was_typed_in_has_a_line_too():
    namespace = {"jnp": jnp}
    exec(compile("def f(x):\n    return jnp.tanh(x)", "<stdin>", "exec"), namespace)
    (equation,) = jaxpr.equations(jaxpr.trace(namespace["f"], x).closed)
    assert str(equation.place) == "<stdin>:2"


def test_what_a_rule_computes_stands_at_the_line_it_stands_for():
    def twice(equation, v):
        return jnp.cos(v) * 2

    def again(x):
        program = jaxpr.trace(silu, x)
        return jaxpr.evaluate(
            program.closed,
            program.values,
            lift=lambda c: c,
            rules={"logistic": twice},
            default=lambda equation, *values: equation.bind(*values),
        )

    assert places(again, x) == {line_of(silu)}
