"""A program as a graph: makers, users, origins."""

import jax
import jax.numpy as jnp
from jax import lax

from steepest.core import jaxpr
from steepest.core.graph import MOVES, graph


x = jnp.linspace(-2.0, 2.0, 12).reshape(3, 4)


def graph_of(fun, *args):
    return graph(jaxpr.trace(fun, *args).closed)


def test_calls_are_entered_and_keep_their_names():
    found = graph_of(jax.jit(lambda x: jax.nn.relu(jax.nn.silu(x))), x)
    assert [n.primitive for n in found.nodes] == ["logistic", "mul", "max"]
    logistic, _, relu = found.nodes
    assert "silu" in logistic.equation.path and "relu" in relu.equation.path


def test_a_value_knows_its_maker_and_its_users():
    def f(x):
        y = jnp.sin(x)
        return y * y + jnp.cos(y)

    found = graph_of(f, x)
    sin = found.nodes[0]
    (y,) = sin.outputs
    assert found.maker[y.id] is sin and sin.inputs == found.inputs
    assert {n.primitive for n in found.users[y.id]} == {"mul", "cos"}
    assert found.maker[found.outputs[0].id].primitive == "add"
    assert (y.shape, y.size, y.dtype) == ((3, 4), 12, jnp.float32)


def test_an_origin_is_found_behind_moves():
    f = lambda x: jnp.exp(x).T.reshape(-1)[None].astype(jnp.bfloat16)
    found = graph_of(f, x)
    value = found.origin(found.outputs[0], MOVES)
    assert found.maker[value.id].primitive == "exp"
    assert found.origin(found.inputs[0], MOVES) is found.inputs[0]


def test_constants_are_known_and_loops_are_single_nodes():
    def f(x):
        return lax.scan(lambda h, x: (jnp.tanh(h + x), None), jnp.zeros(4), 2.0 * x)[0]

    found = graph_of(f, x)
    assert "scan" in [n.primitive for n in found.nodes]
    assert "tanh" not in [n.primitive for n in found.nodes]
    mul = next(n for n in found.nodes if n.primitive == "mul")
    assert [v.constant for v in mul.inputs if v.constant is not None] == [2.0]
