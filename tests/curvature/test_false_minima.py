"""Points that look like minima to derivatives at the point, and are none."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest.curvature import critical_point
from steepest.optimize import least_squares, minimize


@pytest.fixture(params=[False, True], ids=["float32", "float64"], autouse=True)
def precision(request):
    with jax.enable_x64(request.param):
        yield


def relu(x):
    return jnp.maximum(x, 0)


KINKS = {
    "square less a ramp": lambda x: x[0] ** 2 - jax.nn.relu(x[0]),
    "maximum of two parabolas": lambda x: jnp.minimum(
        x[0] ** 2 - x[0], x[0] ** 2 + x[0]
    ),
    "tie": lambda x: x[0] ** 2 - relu(x[0]) + x[0] / 2,
    "step": lambda x: x[0] ** 2 - jnp.where(x[0] > 0, 1.0, 0.0).astype(x.dtype),
}


@pytest.mark.parametrize("at", [0.0, 3.0])
@pytest.mark.parametrize("name", KINKS)
def test_a_kink_or_a_jump_at_the_point_is_no_minimum(name, at):
    """All have a gradient of 0 and a Hessian of 2 by JAX, and lower values beside."""
    loss = lambda x: KINKS[name](x - at)
    found = critical_point(loss, jnp.full(1, at))
    assert found.kind == "inconclusive"
    assert "kink" in found.reason or "jumps" in found.reason
    assert found.escape is not None and loss(at + found.escape) < loss(jnp.full(1, at))


def test_a_spread_is_no_minimum_at_equal_numbers():
    loss = lambda x: jnp.sum(x**2) - (jnp.max(x) - jnp.min(x))
    assert critical_point(loss, jnp.zeros(2)).kind == "inconclusive"


def test_a_jump_upwards_is_named():
    loss = lambda x: x[0] ** 2 - jnp.floor(x[0])
    found = critical_point(loss, jnp.zeros(1))
    assert found.kind == "inconclusive" and "jumps" in found.reason


def pair(w):
    """9 at zero, 8.88 at (0.1, 0.1), by hand."""
    return (w["b"] * jax.nn.relu(2 * w["a"]) - 3) ** 2 + 0.05 * (
        w["a"] ** 2 + w["b"] ** 2
    )


def test_a_dead_unit_is_left():
    zero = {"a": jnp.zeros(()), "b": jnp.zeros(())}
    assert critical_point(pair, zero).kind == "inconclusive"
    found = minimize(pair, zero)
    assert found.value < 0.2 and found.num_escapes


def test_residuals_with_a_dead_unit_are_left():
    residuals = lambda p: jnp.stack(
        [p[0] * jax.nn.relu(p[1]) - 1, 0.1 * p[0], 0.1 * p[1]]
    )
    found = least_squares(residuals, jnp.zeros(2))
    # ab = 1 − 0.01 and a = b make the gradient zero, by hand
    np.testing.assert_allclose(found.params, 0.99**0.5, rtol=1e-5)
    assert found.success


def network(p):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(32, 4)), p["u"].dtype)
    y = jnp.sin(x[:, 0])
    out = jax.nn.relu(x @ p["u"] + p["b"][None]) @ p["v"]
    decay = sum(jnp.sum(q**2) for q in p.values())
    return jnp.mean((out - y) ** 2) + jnp.asarray(1e-3, y.dtype) * decay


@pytest.mark.slow
def test_a_network_that_starts_at_zero_is_not_at_a_minimum():
    zero = {"u": jnp.zeros((4, 8)), "b": jnp.zeros(8), "v": jnp.zeros(8)}
    found = critical_point(network, zero)
    assert found.kind == "inconclusive" and found.escape_decrease > 0
    assert minimize(network, zero, max_steps=5).num_escapes


@pytest.mark.slow
@pytest.mark.parametrize("power", [3, 4])
def test_beyond_the_dense_limit_no_nearness_to_a_degenerate_point_is_a_minimum(power):
    def loss(x):
        return 10.0 ** (3 * power - 3) * x[0] ** power + jnp.sum((x[1:] - 1) ** 2) / 2

    start = jnp.zeros(600).at[0].set(1e-2)
    assert not minimize(loss, start, max_steps=40).success
    near = jnp.ones(600).at[0].set(1e-5)
    assert critical_point(loss, near).kind in ("inconclusive", "not critical")


@pytest.mark.slow
def test_beyond_the_dense_limit_a_bowl_is_a_minimum_and_a_dead_layer_is_none():
    ramp = jnp.linspace(1, 9, 600)
    bowl = critical_point(lambda x: jnp.sum(ramp * (x - 1) ** 2), jnp.ones(600))
    assert bowl.kind == "minimum"
    layer = lambda p: (
        (jnp.sum(p[:300] * jax.nn.relu(p[300:])) - 3) ** 2 + 0.05 * jnp.sum(p**2)
    )
    assert critical_point(layer, jnp.zeros(600)).kind == "inconclusive"


@pytest.mark.parametrize(
    ("stiff", "x"), [(1e6, 100.0), (1e6, 0.5), (1e9, 1.5)], ids=str
)
def test_a_constant_in_the_loss_does_not_hide_the_gradient(stiff, x):
    loss = lambda p: 1e8 + (p[0] ** 2 + stiff * p[1] ** 2) / 2
    found = critical_point(loss, jnp.asarray([x, 0.0]))
    assert found.kind == "not critical"
    assert critical_point(loss, jnp.zeros(2)).kind == "minimum"


@pytest.mark.parametrize("method", ["trust-region", "cubic", "newton", "saddle-free"])
def test_a_success_beside_a_constant_has_a_vanishing_gradient(method):
    loss = lambda p: (
        1e6 + 5e5 * (p[1] - jnp.sin(p[0] / 100)) ** 2 + (p[0] - 100) ** 2 / 2
    )
    found = minimize(loss, jnp.asarray([-50.0, 1.0]), method)
    # one unit in the last place of p[1] is a gradient of 0.06 in float32
    assert not found.success or found.gradient_norms[-1] < 1.0
    if jax.config.read("jax_enable_x64"):
        assert found.success


def test_the_canyon_is_a_minimum_whatever_constant_is_added():
    loss = lambda x: 1e8 + 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
    assert critical_point(loss, jnp.ones(2)).kind == "minimum"


def test_a_gradient_that_is_lost_below_the_smallest_numbers_proves_nothing():
    small = 1e-310 if jax.config.read("jax_enable_x64") else 1e-38
    found = minimize(lambda x: small * jnp.sum((x - 1) ** 2), jnp.full(3, 3.0))
    assert not found.success and found.verdict.kind == "inconclusive"
    assert "multiply the loss" in found.verdict.reason
    well = minimize(lambda x: 1e-30 * jnp.sum((x - 1) ** 2), jnp.full(3, 3.0))
    assert well.success


def test_a_loss_without_a_bottom_is_no_error():
    found = minimize(lambda x: x[0] ** 3 + x[1] ** 2, -jnp.ones(2), "cubic")
    assert not found.success
