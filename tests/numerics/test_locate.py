"""The operation to blame, and silence where nothing is to blame."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

from steepest.core.errors import InputError
from steepest.numerics import locate_in_loss, locate_nonfinite
from steepest.numerics._locate import nonfinite_operations


x = jnp.array([1.0, 0.0, 2.0])


def log_of_softmax(z):
    p = jax.nn.softmax(z)
    return -jnp.log(p).sum()


def test_the_log_of_a_softmax_is_blamed_at_its_line():
    origin = locate_nonfinite(log_of_softmax, jnp.array([0.0, 200.0]))
    place = f"test_locate.py:{log_of_softmax.__code__.co_firstlineno + 2}"
    assert (origin.primitive, origin.place, origin.where) == ("log", place, "value")
    assert origin.operands == ((0.0, 0.0),)
    assert origin.sentence == f"`log` of 0 gives infinity at {place}"


@pytest.mark.parametrize(
    ("fun", "arg", "primitive"),
    [
        (lambda x: jnp.exp(120 * x), x, "exp"),
        (lambda x: x / x, x, "div"),
        (lambda x: jnp.sqrt(x - 1), x, "sqrt"),
        (lambda x: jax.jit(lambda x: jnp.log(x) * 0)(x + 0), x, "log"),
        (lambda x: jax.checkpoint(lambda x: jnp.log(x))(x), x, "log"),
        (lambda x: x.astype(jnp.float16) * 6e4, x, "mul"),
        (lambda x: jnp.exp(1000 * x) / jnp.exp(1000 * x).sum(), x, "exp"),
        (lambda x: optax.l2_loss(1 / x), x, "div"),
        (lambda x: jnp.where(x > 0, jnp.log(x), 1 / x), x, "div"),
    ],
)
def test_the_first_operation_whose_operands_are_finite_is_blamed(fun, arg, primitive):
    assert locate_nonfinite(fun, arg).primitive == primitive


MASK = jnp.array([0.0, -jnp.inf, 0.0])


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: jax.nn.softmax(x + MASK),
        lambda x: jnp.where(x > 0, jnp.log(x), 0.0),
        lambda x: 1 / (1 + jnp.exp(-1000 * x)),
        lambda x: jnp.max(x, initial=-jnp.inf),
        lambda x: jax.nn.logsumexp(jnp.log(x)),
        lambda x: jnp.tanh(jnp.exp(1000 * x)),
        lambda x: jax.random.normal(jax.random.key(0), x.shape) * x,
        lambda x: jnp.argmax(x),
    ],
)
def test_infinities_that_reach_no_output_are_not_blamed(fun):
    assert locate_nonfinite(fun, x) is None


def test_an_intended_infinity_is_not_blamed_for_another_fault():
    def f(x):
        weights = jax.nn.softmax(jnp.where(x > 0, x, -jnp.inf))
        masked = jax.nn.softmax(x + jnp.log(x))
        return weights + masked + 1 / x

    assert locate_nonfinite(f, x).primitive == "div"


def test_what_came_in_is_nobodys_fault_but_a_nan_made_of_infinities_is():
    assert locate_nonfinite(lambda x: 2 * x, x * jnp.nan) is None
    assert locate_nonfinite(lambda x: x + jnp.inf, x) is None
    origin = locate_nonfinite(lambda x: jax.nn.softmax(x - jnp.inf), x)
    assert origin.primitive == "sub" and "NaN" in origin.sentence


def test_the_turn_of_a_scan_is_named():
    def f(x):
        return lax.scan(lambda h, x: (h + 1 / x, h), 0.0, x)

    origin = locate_nonfinite(f, jnp.array([4.0, 2.0, 1.0, 0.0, 3.0]))
    assert (origin.primitive, origin.step) == ("div", 3)
    assert origin.path == ("scan[3]",) and "in step 3 of the loop" in origin.sentence
    backwards = lambda x: lax.scan(lambda h, x: (h / x, h), 1.0, x, reverse=True)
    origin = locate_nonfinite(backwards, jnp.array([4.0, 0.0, 1.0, 0.0, 3.0]))
    assert origin.step == 3


def test_the_turn_of_a_while_loop_and_the_branch_are_entered():
    def f(x):
        body = lambda s: (s[0] + 1, lax.cond(s[0] > 2, jnp.log, jnp.sin, s[1] * 0))
        return lax.while_loop(lambda s: s[0] < 5, body, (0, x))

    origin = locate_nonfinite(f, x)
    assert (origin.primitive, origin.step) == ("log", 3)
    assert origin.path == ("while[3]", "cond")


def test_a_gradient_is_searched_after_the_value():
    guarded = lambda w, x: jnp.where(x > 0, jnp.sqrt(w * x), 0.0).sum()
    origin = locate_in_loss(guarded, jnp.ones(3), x)
    assert (origin.where, origin.primitive) == ("gradient", "div")
    assert origin.sentence.endswith("in the gradient")
    bad = lambda w, x: jnp.log(w * x).sum()
    assert locate_in_loss(bad, jnp.ones(3), x).where == "value"
    safe = lambda w, x: jnp.sum((w * x) ** 2)
    assert locate_in_loss(safe, jnp.ones(3), x) is None


def test_models_with_functions_in_them_are_searched():
    model = eqx.nn.MLP(3, 1, 4, 1, key=jax.random.key(0))
    f = lambda model, x: jnp.log(0 * model(x)) if callable(model) else x
    assert locate_nonfinite(f, model, x).primitive == "log"


def test_half_precision_is_searched_too():
    f = lambda x: jnp.exp(x.astype(jnp.bfloat16) * 50)
    origin = locate_nonfinite(f, x)
    assert origin.primitive == "exp"
    np.testing.assert_allclose(origin.operands, [(100, 100)])


# -- Births in the gradient --------------------------------------------------------------


def root(w):
    return jnp.sqrt(w).sum()


def length(w):
    return jnp.linalg.norm(w)


def trapped(w):  # the value is guarded, the derivative of what was not chosen is not
    return jnp.where(w > 0, jnp.sqrt(w), 0.0).sum()


def guarded(w):  # the cure: guard the argument too
    inside = jnp.where(w > 0, w, 1.0)
    return jnp.where(w > 0, jnp.sqrt(inside), 0.0).sum()


def power(w):
    return jnp.sum(w**0.5)


@pytest.mark.parametrize("around", [lambda f: f, jax.jit, jax.checkpoint])
@pytest.mark.parametrize(
    ("fun", "line"), [(root, 1), (length, 1), (trapped, 1), (power, 1)]
)
def test_a_derivative_at_the_edge_of_its_domain_is_blamed_at_its_line(
    fun, line, around
):
    origin = locate_in_loss(around(fun), jnp.array([0.0, 0.0]))
    assert origin.where == "gradient"
    assert origin.place == f"test_locate.py:{fun.__code__.co_firstlineno + line}"
    # 1/√0, written by JAX as a quotient or as a power
    assert origin.primitive in ("div", "pow", "mul", "integer_pow", "rsqrt")


def test_the_cure_of_the_trap_is_silent():
    assert locate_in_loss(guarded, jnp.array([0.0, 2.0])) is None
    safe = lambda w: jnp.sqrt(jnp.sum(w**2) + 1e-12)
    assert locate_in_loss(safe, jnp.zeros(2)) is None


@jax.custom_vjp
def halved(x):
    return 0.5 * x


halved.defvjp(lambda x: (0.5 * x, x), lambda x, g: (g / x,))


def test_a_rule_written_by_hand_is_looked_into():
    loss = lambda w: halved(w).sum()
    origin = locate_in_loss(loss, jnp.array([1.0, 0.0]))
    assert (origin.primitive, origin.where) == ("div", "gradient")
    # JAX gives what a rule computes the place of the call that it differentiates
    assert origin.place == f"test_locate.py:{loss.__code__.co_firstlineno}"
    assert origin.operands == ((1.0, 1.0), (0.0, 0.0))


def recurrent(w, x):
    def step(h, x):
        return jnp.sqrt(w * x), h

    return lax.scan(step, jnp.float32(1), x)[1].sum()


def test_in_the_gradient_of_a_scan_the_turn_is_that_of_the_sequence():
    x = jnp.array([4.0, 2.0, 0.0, 1.0, 3.0])
    origin = locate_in_loss(recurrent, jnp.float32(1), x)
    assert (origin.where, origin.step) == ("gradient", 2)
    line = recurrent.__code__.co_firstlineno + 2
    assert origin.place == f"test_locate.py:{line}"


def attention(w, mask):
    scores = jnp.where(mask, w[:, None] * w[None], -jnp.inf)
    return jnp.sum(jax.nn.softmax(scores) ** 2)


@pytest.mark.slow
def test_a_mask_of_infinities_is_not_blamed_in_the_gradient_either():
    w, causal = jnp.array([1.0, -2.0, 0.5]), jnp.tri(3, dtype=bool)
    assert locate_in_loss(attention, w, causal) is None
    # a row in which nothing is allowed is 0/0: now the softmax is at fault
    origin = locate_in_loss(attention, w, causal & (jnp.arange(3) > 0)[:, None])
    assert origin.where == "value" and "NaN" in origin.sentence
    assert origin.place == f"test_locate.py:{attention.__code__.co_firstlineno + 2}"


def test_the_second_of_two_faults_waits_for_its_turn():
    def f(x):
        first = jnp.log(x)
        return first + jnp.exp(1000 + x)

    assert locate_nonfinite(f, x).primitive == "log"


def test_loops_in_loops_name_every_turn():
    def f(x):
        inner = lambda c, e: (c + 1 / e, c)
        return lax.scan(lambda h, row: lax.scan(inner, h, row), jnp.float32(0), x)

    origin = locate_nonfinite(f, jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 0.0]]))
    assert origin.path == ("scan[2]", "scan[1]") and origin.step == 1


def test_a_finite_program_costs_one_evaluation_and_a_sequence_of_any_length():
    calls = []
    f = lambda x: lax.scan(lambda h, x: (h + x, calls.append(1)), 0.0, x)[0]
    assert locate_nonfinite(f, jnp.ones(100_000)) is None
    assert len(calls) <= 2


# -- Gradients, compiled programs, and what is masked -----------------------------------


def test_the_gradient_of_any_function_is_looked_into():
    origin = locate_nonfinite(lambda x: jnp.sqrt(x), x, gradient=True)
    assert (origin.primitive, origin.where) == ("div", "gradient")
    assert locate_nonfinite(lambda x: jnp.sqrt(x), x) is None


def one_minus(p):
    q = 1 - p
    return jnp.log(q + 1e-10)


def overflowing(x):
    return x * 1e30 * 1e30


@pytest.mark.parametrize(
    ("fun", "arg", "primitive"),
    [(one_minus, 1.0, "log"), (overflowing, 0.0, "mul")],
)
def test_what_only_the_compiled_program_makes_is_blamed(fun, arg, primitive):
    arg = jnp.float32(arg)
    if np.isfinite(jax.jit(fun)(arg)):
        pytest.skip("this XLA does not rewrite it")
    origin = locate_nonfinite(fun, arg)
    assert (origin.primitive, origin.mode) == (primitive, "jit")
    assert "under jit only" in origin.sentence
    assert locate_nonfinite(fun, arg, compiled=False) is None


def masked(x):
    safe = jnp.where(x > 0, jnp.log(x), 0.0)
    return safe, 1 / x


def test_what_is_masked_is_told_from_what_reaches_an_output():
    log, div = nonfinite_operations(masked, x)
    assert (log.origin.primitive, log.reaches_output) == ("log", False)
    assert log.killed[0].startswith("select_n test_locate.py:")
    assert (div.origin.primitive, div.reaches_output, div.killed) == ("div", True, ())


def test_what_passes_through_operations_is_counted():
    (birth,) = nonfinite_operations(lambda x: jnp.tanh(-jnp.abs(2 / x)), x)
    assert birth.passed == 2  # abs, neg
    assert birth.killed[0].startswith("tanh")


def test_in_a_loop_the_first_turn_is_listed_once():
    def fun(x):
        return lax.fori_loop(0, 4, lambda i, y: jnp.where(y > 0, jnp.log(y), 0.0), x)

    (birth,) = nonfinite_operations(fun, x)
    assert birth.origin.path == ("scan[0]",) and not birth.reaches_output


def test_a_finite_program_has_no_births():
    assert nonfinite_operations(jnp.tanh, x) == ()
    assert nonfinite_operations(lambda x: x**2, x, gradient=True) == ()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: locate_nonfinite(lambda n: n, jnp.arange(2), gradient=True),
            "No argument holds floats",
        ),
        (
            lambda: locate_nonfinite(lambda x: x > 0, x, gradient=True),
            "returns no floats",
        ),
    ],
)
def test_what_has_no_gradient_is_said_in_a_sentence(call, message):
    with pytest.raises(InputError, match=message):
        call()
