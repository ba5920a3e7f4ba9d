"""The one evaluation loop: interpreted as itself, a program is the function."""

from collections import Counter
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from steepest.core import jaxpr


x = jnp.linspace(-2.0, 2.0, 12).reshape(3, 4)
W = jnp.sin(jnp.arange(16.0)).reshape(4, 4)


@jax.custom_jvp
def doubled_slope(x):
    return jnp.sin(x)


@doubled_slope.defjvp
def _(primals, tangents):
    return jnp.sin(primals[0]), 2 * jnp.cos(primals[0]) * tangents[0]


@jax.custom_vjp
def clipped_gradient(x):
    return jnp.tanh(x @ W)


clipped_gradient.defvjp(
    lambda x: (clipped_gradient(x), x), lambda x, g: (jnp.clip(g, -0.1, 0.1) @ W.T,)
)


def recurrent(x):
    def step(h, x):
        h = jax.nn.relu(W @ h + x)
        return h, jnp.tanh(h)

    return lax.scan(step, jnp.ones(4), x, reverse=True)


def newton(x):
    def halve(state):
        i, x = state
        return i + 1, jnp.where(x > 0, x / 2, jnp.tanh(x))

    return lax.while_loop(lambda s: (s[0] < 5) & (s[1].sum() < 3), halve, (0, x))


def branching(x):
    double, negate = lambda x: jnp.tanh(2 * x), lambda x: -x
    x = lax.cond(x[0, 0] > 0, double, negate, x)
    return lax.switch(2, [double, negate, jax.nn.relu], x)


ZOO = {
    "arithmetic": lambda x: (x @ W + 1.0) ** 2 / jnp.maximum(x, 1.0),
    "jit in jit": jax.jit(lambda x: jax.jit(jnp.tanh)(x @ W)),
    "constants": jax.jit(lambda x: x + W[0][None] + np.float32(2)),
    "library": lambda x: jnp.sort(jax.nn.softmax(jax.nn.gelu(x))),
    "custom_jvp": doubled_slope,
    "custom_vjp": clipped_gradient,
    "remat": jax.checkpoint(lambda x: jnp.tanh(x @ W)),
    "scan": recurrent,
    "while": newton,
    "fori": lambda x: lax.fori_loop(0, 3, lambda i, x: x * 0.5 + i.astype(x.dtype), x),
    "cond": branching,
    "associative scan": lambda x: lax.associative_scan(jnp.multiply, x),
    "linear algebra": lambda x: jnp.linalg.solve(W @ W.T + jnp.eye(4), x.T),
    "vmap of scan": jax.vmap(lambda row: recurrent(jnp.outer(row, row))),
    "vmap of cond": jax.vmap(lambda r: lax.cond(r[0] > 0, jnp.sin, jnp.cos, r)),
    "vmap of custom_vjp": jax.vmap(clipped_gradient),
    "random": lambda x: x + jax.random.normal(jax.random.key(0), x.shape),
    "loss": lambda x: optax.softmax_cross_entropy_with_integer_labels(
        x, jnp.zeros(3, int)
    ),
}
DIFFERENTIABLE = [name for name in ZOO if name != "while"]


def total(f, x):
    leaves = jax.tree.leaves(f(x))
    return sum(jnp.sum(a) for a in leaves if jnp.issubdtype(a.dtype, jnp.floating))


def identity(fun, rules=None):
    """`fun` by way of the loop; calls are entered unless there is a rule for them."""

    def evaluated(*args):
        program = jaxpr.trace(fun, *args)
        outs = jaxpr.evaluate(
            program.closed,
            program.values,
            lift=lambda constant: constant,
            rules=rules or {},
            default=lambda equation, *values: equation.bind(*values),
        )
        return program.result(outs)

    return evaluated


def assert_same_bits(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)
    assert jax.tree.structure(a) == jax.tree.structure(b)


@pytest.mark.parametrize("name", ZOO)
def test_the_identity_interpretation_is_the_function(name):
    f = ZOO[name]
    assert_same_bits(jax.jit(identity(f))(x), jax.jit(f)(x))


BIND = {jaxpr.Call: lambda equation, *values: equation.bind(*values)}


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_it_is_the_function_also_for_a_gradient(name):
    gradient = jax.grad(partial(total, ZOO[name]))
    assert_same_bits(jax.jit(identity(gradient))(x), jax.jit(gradient)(x))


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_calls_that_are_bound_keep_their_derivatives(name):
    f = ZOO[name]
    expected = jax.jit(jax.grad(partial(total, f)))(x)
    actual = jax.jit(jax.grad(partial(total, identity(f, BIND))))(x)
    assert_same_bits(actual, expected)


def test_entering_a_call_gives_the_derivative_of_its_body():
    slope = jax.grad(lambda x: identity(doubled_slope)(x))
    np.testing.assert_allclose(slope(0.0 * x[0, 0]), 1.0)
    np.testing.assert_allclose(jax.grad(doubled_slope)(0.0), 2.0)


def test_a_primitive_without_a_rule_is_counted_not_refused():
    unseen = Counter()
    program = jaxpr.trace(lambda x: jnp.sin(jnp.sin(x)) + jnp.cos(x), x)
    outs = jaxpr.evaluate(
        program.closed,
        program.values,
        lift=lambda constant: "known",
        rules={"add": lambda equation, a, b: f"{a} + {b}"},
        default=lambda equation, *values: f"{equation.name}?",
        unseen=unseen,
    )
    assert outs == ["sin? + cos?"]
    entries = jaxpr.not_analysed(unseen)
    assert [(e.primitive, e.count) for e in entries] == [("sin", 2), ("cos", 1)]
    assert str(entries[0].place).startswith("test_jaxpr.py:")


def test_a_rule_may_decline():
    declined = []

    def look(equation, *values):
        declined.append(equation.name)
        return NotImplemented

    f = lambda x: jax.nn.relu(jnp.tanh(x))
    rules = {jaxpr.Call: look, "tanh": look}
    assert_same_bits(identity(f, rules)(x), f(x))
    assert declined == ["tanh", "relu", "relu"]


def line_of(fun, offset):
    return f"test_jaxpr.py:{fun.__code__.co_firstlineno + offset}"


def library_calls(x):
    x = jnp.sort(x)
    x = jax.nn.silu(x)
    x = jax.nn.silu(x)
    return jax.nn.gelu(x)


def test_every_equation_knows_the_users_line_inside_library_functions_too():
    program = jaxpr.trace(jax.jit(library_calls), x)
    found = list(jaxpr.equations(program.closed))
    assert all(e.place.file == __file__ for e in found[1:])  # [0] is the whole
    lines = {e.primitive: str(e.place) for e in found}
    assert lines["sort"] == line_of(library_calls, 1)
    sigmoids = [str(e.place) for e in found if e.primitive == "logistic"]
    assert sigmoids == [line_of(library_calls, 2), line_of(library_calls, 3)]
    tanh = next(e for e in found if e.primitive == "tanh")
    assert "gelu" in tanh.library and str(tanh.place) == line_of(library_calls, 4)


def equinox_model(model, x):
    y = model.layers[0](x)
    return jnp.sum(model.layers[1](y))


def test_places_survive_equinox_vmap_grad_and_a_second_reading():
    model = eqx.nn.MLP(4, 4, 8, 1, key=jax.random.key(0))
    batch = lambda model, x: jax.vmap(equinox_model, (None, 0))(model, x).sum()
    program = jaxpr.trace(eqx.filter_grad(batch), model, x)
    again = jaxpr.trace(identity(eqx.filter_grad(batch)), model, x)
    for p in (program, again):
        places = [
            str(e.place)
            for e in jaxpr.equations(p.closed)
            if e.primitive == "dot_general"
        ]
        lines = {line_of(equinox_model, 1), line_of(equinox_model, 2)}
        assert set(places) == lines
    assert len(list(jaxpr.equations(program.closed))) >= 10


def test_the_shipped_rooms_speak_only_where_no_user_does(tmp_path):
    inside = f"{jaxpr.OURS}nn/mlp.py"
    assert jaxpr.kind_of(inside) == "guest"
    assert jaxpr.kind_of(f"{jaxpr.OURS}training/step.py") == "caller"
    assert jaxpr.kind_of(jax.__file__) == jaxpr.kind_of(optax.__file__) == "library"
    assert jaxpr.kind_of(Counter.__init__.__code__.co_filename) == "library"
    assert jaxpr.kind_of(str(tmp_path / "train.py")) == "user"
    assert jaxpr.kind_of("<stdin>") == "user"


def test_errors_of_rules_carry_the_users_line():
    def fail(equation, *values):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        identity(library_calls, {"sort": fail})(x)
    expected = f"in `sort` at {line_of(library_calls, 1)}"
    assert expected in caught.value.__notes__


def controls(fun, *args):
    closed = jaxpr.trace(fun, *args).closed
    return [e.control for e in jaxpr.equations(closed) if e.control is not None]


def test_control_flow_is_presented_with_plain_fields():
    (scan, relu, _) = controls(recurrent, x)
    assert (scan.num_consts, scan.num_carry, scan.length, scan.reverse) == (
        1,
        1,
        3,
        True,
    )
    assert (relu.kind, relu.name) == ("custom_jvp", "relu")
    loop = next(c for c in controls(newton, x) if isinstance(c, jaxpr.While))
    assert (loop.num_condition_consts, loop.num_body_consts) == (0, 0)
    kinds = {c.kind: c.name for c in controls(ZOO["remat"], x)}
    assert kinds == {"remat": "<lambda>"}
    (call, *_) = controls(clipped_gradient, x)
    assert (call.kind, call.name) == ("custom_vjp", "clipped_gradient")
    branches = [c for c in controls(branching, x) if isinstance(c, jaxpr.Cond)]
    assert len(branches[0].branches) == 2


def test_a_transposed_scan_is_read_too():
    gradient = jax.grad(partial(total, recurrent))
    for scan in controls(gradient, x):
        if isinstance(scan, jaxpr.Scan):
            consts, carry, _ = scan.split(range(len(scan.body.jaxpr.invars)))
            assert len(consts) == scan.num_consts and len(carry) == scan.num_carry
            assert all(
                scan.body.jaxpr.invars[i].aval.shape
                == scan.body.jaxpr.outvars[j].aval.shape
                for j, i in enumerate(carry)
            )


def test_what_is_not_an_array_belongs_to_the_program():
    f = lambda x, name, act, scale: {"y": act(x) * scale, "name": name, "n": 3}
    out = identity(f)(x, "layer", jnp.tanh, 2.0)
    assert out["name"] == "layer" and out["n"] == 3
    assert_same_bits(out["y"], jnp.tanh(x) * 2.0)


def wrapped_again(fun):
    """The call in `fun`, and the same with a body twice as large."""
    program = jaxpr.trace(fun, W, x)
    (call,) = (e.control for e in map(jaxpr.describe, program.closed.jaxpr.eqns))
    body = jax.extend.core.jaxpr_as_fun(call.body)
    return call, call.wrap(lambda *v: [2 * out for out in body(*v)])


def test_wrap_gives_another_body_the_same_treatment():
    policy = jax.checkpoint_policies.nothing_saveable
    layer = lambda W, x: jnp.tanh(x @ W)
    fun = jax.checkpoint(layer, policy=policy, prevent_cse=False)
    call, other = wrapped_again(fun)
    assert call.kind == "remat"
    assert_same_bits(other(W, x)[0], 2 * fun(W, x))
    (eqn,) = jaxpr.trace(other, W, x).closed.jaxpr.eqns
    assert jaxpr.control_of(eqn).kind == "remat"
    assert eqn.params["policy"] is policy and not eqn.params["prevent_cse"]
    call, other = wrapped_again(jax.jit(layer))
    assert call.kind == "jit"
    np.testing.assert_allclose(other(W, x)[0], 2 * layer(W, x), rtol=1e-6)


def test_the_operands_of_a_while_loop_are_told_apart():
    limit, factor = x.sum() + 50, 1 + jnp.abs(x[0])
    loop = lambda limit, factor, v: lax.while_loop(
        lambda v: v.sum() < limit, lambda v: v * factor + 1, v
    )
    program = jaxpr.trace(loop, limit, factor, x[1])
    equation = next(
        e for e in jaxpr.equations(program.closed) if isinstance(e.control, jaxpr.While)
    )
    control = equation.control
    assert (control.num_condition_consts, control.num_body_consts) == (1, 1)
    tests, consts, carry = control.split(equation.inputs)
    assert [v.shape for v in tests] == [()]
    assert [v.shape for v in consts] == [v.shape for v in carry] == [(4,)]
    assert jaxpr.bodies(control) == (control.condition, control.body)
    # read as written: run by hand, the parts are the loop
    go, turn = map(jax.extend.core.jaxpr_as_fun, jaxpr.bodies(control))
    v = x[1]
    while go(limit, v)[0]:
        (v,) = turn(factor, v)
    np.testing.assert_allclose(v, loop(limit, factor, x[1]), rtol=1e-6)


def test_the_branches_of_a_cond_are_in_the_order_of_their_index():
    f = lambda i, x: lax.switch(i, [jnp.sin, jnp.cos, jnp.tanh], x)
    closed = jaxpr.trace(f, jnp.int32(0), x).closed
    equation = next(
        e for e in jaxpr.equations(closed) if isinstance(e.control, jaxpr.Cond)
    )
    assert equation.inputs[0].dtype == jnp.int32 and equation.inputs[1].shape == x.shape
    names = [list(jaxpr.equations(b))[-1].primitive for b in equation.control.branches]
    assert names == ["sin", "cos", "tanh"]
    # cond(p, true, false) is a switch on p: false comes first
    (choice,) = controls(lambda p, x: lax.cond(p, jnp.sin, jnp.cos, x), x[0, 0] > 0, x)
    assert [b.jaxpr.eqns[0].primitive.name for b in choice.branches] == ["cos", "sin"]
