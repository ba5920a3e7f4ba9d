"""The identities that XLA applies, measured with the JAX that is installed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.extend import core

from steepest import Interval, audit
from steepest.core import jaxpr
from steepest.numerics.auditing.compiler import IDENTITIES, folded


VERSION = tuple(int(n) for n in jax.__version__.split(".")[:2])
WRITTEN = [pytest.param(i, id=f"{i.before} to {i.after}") for i in IDENTITIES]
FOLDED = [pytest.param(i, id=i.before) for i in IDENTITIES if i.folded]


def close(found, expected):
    # the table has six digits
    return np.allclose(found, expected, rtol=1e-5, atol=0, equal_nan=True)


def inputs(identity):
    x = [jnp.float32(v) for v in identity.inputs]
    if identity.after == "one rounding":
        x[2] = -(x[0] * x[1])  # as it is rounded
    return x


@pytest.mark.parametrize("identity", WRITTEN)
def test_an_identity_is_applied_by_the_versions_that_the_table_names(identity):
    x = inputs(identity)
    eager, compiled = identity.fun(*x), jax.jit(identity.fun)(*x)
    assert close(eager, identity.eager)
    if identity.until is None or VERSION < (0, 11):
        assert close(compiled, identity.compiled)
    elif identity.until <= VERSION:
        assert close(compiled, identity.eager)
    else:  # not measured: one or the other
        assert close(compiled, identity.compiled) or close(compiled, identity.eager)


@pytest.mark.parametrize("identity", FOLDED)
def test_the_model_of_the_compiler_has_the_compiled_result(identity):
    x = inputs(identity)
    program = folded(jaxpr.trace(identity.fun, *x).closed)
    assert program is not None
    (result,) = core.jaxpr_as_fun(program)(*x)
    assert close(result, identity.compiled)


@pytest.mark.parametrize(
    "fun",
    [
        lambda x: x * 2.0 + 1.0,
        lambda x: jnp.log1p(jnp.exp(-jnp.abs(x))),
        lambda x: jnp.tanh(x) @ x,
        lambda x: x / jnp.sum(x),
    ],
)
def test_a_program_that_none_applies_to_has_no_other_form(fun):
    assert folded(jaxpr.trace(fun, jnp.ones(3)).closed) is None


@pytest.mark.skipif(VERSION >= (0, 11), reason="XLA keeps the two products apart")
def test_an_audit_finds_what_the_compiler_makes_of_two_constants():
    found = audit(
        lambda x: x * 1e30 * 1e30, Interval(-1e-28, 1e-28, (3,)), gradient=False
    )
    (fault,) = found.confirmed
    assert (fault.operation, fault.mode) == ("mul", "jit")
    assert fault.verdict == "defect"
    (x,) = fault.witness
    assert np.isfinite(x * 1e30 * 1e30).all()


@pytest.mark.slow
@pytest.mark.skipif(VERSION >= (0, 11), reason="XLA keeps the two sums apart")
def test_an_input_that_fails_only_compiled_is_looked_for():
    """1 − p + ε is 0 for the compiler at no p but 1."""

    def fun(x):
        p = jnp.exp(-jnp.square(x - 0.123))
        return jnp.log((1 - p) + 1e-10)

    found = audit(fun, Interval(0, 1), gradient=False)
    (fault,) = [f for f in found.confirmed if f.mode == "jit"]
    assert fault.operation in ("log", "add")


def test_an_audit_finds_a_quotient_of_quotients_that_overflows_compiled():
    spec = Interval(1e25, 1e30)
    found = audit(lambda a, b, c: a / (b / c), spec, spec, spec, gradient=False)
    (fault,) = found.confirmed
    assert (fault.operation, fault.kind, fault.mode) == ("div", "compiled", "jit")
    x = fault.witness
    assert not np.isfinite(jax.jit(lambda a, b, c: a / (b / c))(*x))
    assert np.isfinite(x[0] / (x[1] / x[2]))
