"""What other optimisers call a success, judged: real results at known points."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize

from steepest import InputError
from steepest.optimize import judge


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def camel(x):
    a, b = x
    return (4 - 2.1 * a**2 + a**4 / 3) * a**2 + a * b + (-4 + 4 * b**2) * b**2


def hilltop(x):
    return jnp.sum(jnp.cos(x))


def by_scipy(start, method, loss=camel):
    gradient, hessian = jax.jit(jax.grad(loss)), jax.jit(jax.hessian(loss))
    curvature = lambda x: np.asarray(hessian(jnp.asarray(x)))
    return scipy.optimize.minimize(
        lambda x: float(loss(x)),
        start,
        method=method,
        jac=lambda x: np.asarray(gradient(jnp.asarray(x))),
        hess=None if method == "BFGS" else curvature,
    )


MAXIMUM = np.array([1.230229876517, 0.162334584459])


@pytest.mark.parametrize(
    ("method", "loss", "start", "kind"),
    [
        ("Newton-CG", hilltop, np.zeros(2), "maximum"),  # SciPy issue 20213
        ("trust-exact", camel, MAXIMUM, "maximum"),
        ("BFGS", camel, np.zeros(2), "saddle"),
        ("BFGS", camel, np.array([0.3, 0.3]), "minimum"),
    ],
)
def test_what_scipy_calls_a_success_is_named(method, loss, start, kind):
    result = by_scipy(start, method, loss)
    assert result.success
    # the point is as good as SciPy's tolerance and the digits of MAXIMUM
    judged = judge(loss, result, gradient_tolerance=1e-4)
    assert judged.source == "SciPy" and judged.claimed
    assert judged.verdict.kind == kind
    assert judged.false_success == (kind != "minimum")
    assert f"the point is a {kind}: λ_min = " in str(judged)


def test_the_escape_of_a_saddle_lowers_the_loss():
    judged = judge(camel, by_scipy(np.zeros(2), "BFGS"))
    # the eigenvalue of the saddle is −√65 by hand
    np.testing.assert_allclose(judged.verdict.lowest.value, -(65**0.5), rtol=1e-12)
    assert camel(judged.params + judged.verdict.escape) < -0.5


def test_a_point_where_scipy_gives_up_is_judged_as_well():
    result = scipy.optimize.minimize(
        lambda x: float(np.sum(x**2)), np.ones(2), method="BFGS", options={"maxiter": 0}
    )
    judged = judge(lambda x: jnp.sum(x**2), result)
    assert judged.claimed is False and judged.verdict.kind == "not critical"
    assert "reported failure" in str(judged)


def test_optimistix_is_known_by_what_it_has():
    optx = pytest.importorskip("optimistix", reason="Optimistix is not installed")
    solver = optx.BFGS(rtol=1e-6, atol=1e-6)
    result = optx.minimise(lambda y, _: camel(y), solver, jnp.zeros(2), max_steps=50)
    judged = judge(camel, result)
    assert (judged.source, judged.claimed) == ("Optimistix", True)
    assert judged.verdict.kind == "saddle" and judged.false_success


def test_the_end_of_an_optax_loop_makes_no_claim():
    loss = lambda p: jnp.sum((p["x"] - 1) ** 2) - (p["y"] ** 2)
    params = {"x": jnp.zeros(2), "y": jnp.zeros(())}
    optimiser = optax.sgd(0.3)
    state = optimiser.init(params)
    for _ in range(60):
        updates, state = optimiser.update(jax.grad(loss)(params), state)
        params = optax.apply_updates(params, updates)
    judged = judge(loss, params)
    assert judged.claimed is None and judged.verdict.kind == "saddle"
    assert not judged.false_success and str(judged).startswith("The point is a saddle")


def test_a_vector_is_put_into_the_structure_of_the_parameters():
    params = {"w": jnp.ones((2, 2)), "b": jnp.ones(1)}
    loss = lambda p: jnp.sum(p["w"] ** 2) + jnp.sum((p["b"] - 3) ** 2)
    result = scipy.optimize.OptimizeResult(x=np.r_[3.0, 0, 0, 0, 0], success=True)
    judged = judge(loss, result, params)
    assert judged.verdict.kind == "minimum" and judged.params["w"].shape == (2, 2)


def test_bad_input_is_refused_in_one_sentence():
    with pytest.raises(InputError, match="holds no parameters"):
        judge(camel, object())
    with pytest.raises(InputError, match="one problem"):
        judge(camel, np.zeros(3), jnp.zeros(2))
    with pytest.raises(InputError, match="holds no parameters"):
        judge(camel, "abc")
    with pytest.raises(InputError, match="whole numbers or flags"):
        judge(lambda p: jnp.sum(p["a"] ** 2), {"a": np.zeros(3), "b": 2})
