"""Optimisers of the book in closed form, and what was divided against what is read."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from steepest import InputError
from steepest.curvature.limits import stability_limit
from steepest.optimize import book
from steepest.optimize.adaptive import (
    largest_sign_step,
    preconditioner,
    seen_curvature,
)


KEY = jax.random.key(0)
RNG = np.random.default_rng(0)
PARAMS = {"a": jnp.ones(3), "b": {"c": jnp.ones((2, 2))}}
GRADS = [
    jax.tree.map(lambda x: jnp.asarray(RNG.normal(size=x.shape), jnp.float32), PARAMS)
    for _ in range(5)
]


def run(tx, grads, params=PARAMS):
    """The last update and the state after it."""
    state, update = tx.init(params), None
    with jax.numpy_dtype_promotion("standard"):  # Optax multiplies floats by counts
        for g in grads:
            update, state = tx.update(g, state, params)
    return update, state


def updates_of(tx, gradients):
    """What an optimiser makes of a series of gradients of one parameter."""
    state, result = tx.init(jnp.zeros(())), []
    with jax.numpy_dtype_promotion("standard"):
        for g in gradients:
            update, state = tx.update(jnp.float32(g), state)
            result.append(float(update))
    return np.array(result)


# -- Limits ---------------------------------------------------------------------------


def edge(tx):
    """The λ at which one step on λθ²/2 has spectral radius 1, by bisection in float64."""

    def step(flat, curvature, unravel):
        theta, state = unravel(flat)
        update, state = tx.update(curvature * theta, state, theta)
        return ravel_pytree((theta + update, state))[0]

    with jax.enable_x64(True):
        start = jnp.ones((), jnp.float64)
        flat, unravel = ravel_pytree((start, tx.init(start)))
        companion = jax.jit(jax.jacobian(lambda v, h: step(v, h, unravel)))
        low, high = 1.0, 1000.0
        for _ in range(60):
            middle = (low + high) / 2
            radius = np.abs(np.linalg.eigvals(companion(flat, middle))).max()
            low, high = (middle, high) if radius < 1 else (low, middle)
        return low


def averaged(beta, eta):
    """θ ← θ − ηv of an averaged gradient, without a count."""

    def update(g, v, params=None):
        v = beta * v + (1 - beta) * g
        return -eta * v, v

    return optax.GradientTransformation(lambda p: jnp.zeros_like(p), update)


@pytest.mark.parametrize(
    "beta, heavy, nesterov, average", [(0.5, 30, 15, 60), (0.9, 38, 13.571428571, 380)]
)
def test_the_edges_of_momentum_are_those_of_the_companion_matrix(
    beta, heavy, nesterov, average
):
    eta = 0.1
    for tx, method, known in [
        (book("momentum", eta, momentum=beta), "momentum", heavy),
        (book("nesterov", eta, momentum=beta), "nesterov", nesterov),
        (averaged(beta, eta), "ema", average),
    ]:
        found = edge(tx)
        # Double eigenvalues near the edge cost half of the digits.
        assert found == pytest.approx(known, rel=1e-8)
        assert found == pytest.approx(stability_limit(method, beta) / eta, rel=1e-8)


def test_plain_descent_has_its_edge_at_two():
    assert edge(book("sgd", 0.1)) == pytest.approx(20, rel=1e-12)


# -- The book -------------------------------------------------------------------------


def test_the_first_steps_of_each_rule_are_those_of_its_formula():
    ones = np.ones(10)
    t = np.arange(1, 11)
    adagrad = updates_of(book("adagrad", 1.0), ones)
    # δ = 1e-7 beside a root of at least 1, and float32.
    np.testing.assert_allclose(adagrad, -1 / np.sqrt(t), rtol=5e-7)
    assert adagrad.sum() == pytest.approx(-5.0209979, rel=1e-6)
    rmsprop = updates_of(book("rmsprop", 1.0), ones)
    np.testing.assert_allclose(rmsprop, -1 / np.sqrt(1e-6 + 1 - 0.9**t), rtol=2e-6)
    # Without δ these are 3.162278, 2.294157, ...; δ changes 5 in the sixth digit.
    np.testing.assert_allclose(
        rmsprop[:4], [-3.162278, -2.294157, -1.920947, -1.705234], rtol=6e-6
    )
    for g in (1e-3, 1e3):
        # δ/√r = 1e-5 where the gradient is 1e-3; 1 − 0.999 has five digits in float32.
        exact = -0.1 * g / (g + 1e-8)
        assert updates_of(book("adam", 0.1), [g])[0] == pytest.approx(exact, rel=1e-5)


def test_momentum_reaches_its_terminal_velocity():
    velocity = updates_of(book("momentum", 0.1), np.ones(200))[-1]
    assert velocity == pytest.approx(-0.1 / (1 - 0.9), rel=1e-5)


def test_the_defaults_of_optax_are_not_those_of_the_book():
    ones = np.ones(3)
    theirs = updates_of(optax.adagrad(1.0), ones)
    np.testing.assert_allclose(theirs, [-0.95346, -0.69007, -0.56796], rtol=1e-5)
    ours = updates_of(book("adagrad", 1.0), ones)
    assert np.abs(theirs - ours)[0] > 0.04
    # A gradient of 1e-4 shows the δ of RMSProp.
    theirs, ours = (
        updates_of(tx, [1e-4])[0] for tx in (optax.rmsprop(1.0), book("rmsprop", 1.0))
    )
    assert ours == pytest.approx(-1e-4 / np.sqrt(1e-6 + 1e-9), rel=1e-5)
    assert theirs == pytest.approx(-1e-4 / np.sqrt(1e-8 + 1e-9), rel=1e-5)


def test_a_schedule_acts_inside_the_velocity():
    schedule = lambda count: jnp.where(count == 0, 1.0, 0.0)
    ours = updates_of(book("momentum", schedule), np.ones(3))
    np.testing.assert_allclose(ours, [-1, -0.9, -0.81], rtol=1e-6)
    theirs = updates_of(optax.sgd(schedule, momentum=0.9), np.ones(3))
    np.testing.assert_allclose(theirs, [-1, 0, 0], atol=1e-7)


@pytest.mark.parametrize("name", ["nesterov", "rmsprop-nesterov"])
def test_look_ahead_parameters_are_those_of_the_algorithm_as_it_is_written(name):
    gradient = lambda x: np.array([3.0, 0.5]) * x + 0.1 * np.sin(x)
    theta, v, r = np.array([1.0, -2.0]), np.zeros(2), np.zeros(2)
    eta, alpha, rho = 0.02, 0.8, 0.95
    tx = book(name, eta, momentum=alpha, decay=rho)
    kept = jnp.asarray(theta, jnp.float32)
    state = tx.init(kept)
    for _ in range(30):
        ahead = theta + alpha * v
        # Thirty steps in float32.
        np.testing.assert_allclose(kept, ahead, rtol=1e-5, atol=1e-6)
        g = gradient(ahead)
        r = rho * r + (1 - rho) * g * g
        v = alpha * v - eta * (g if name == "nesterov" else g / np.sqrt(r))
        theta = theta + v
        update, state = tx.update(
            jnp.asarray(gradient(np.asarray(kept)), jnp.float32), state
        )
        kept = kept + update


def test_zero_gradients_move_nothing():
    for name in [
        "sgd",
        "momentum",
        "nesterov",
        "adagrad",
        "rmsprop",
        "rmsprop-nesterov",
        "adam",
    ]:
        np.testing.assert_array_equal(updates_of(book(name, 0.1), [0.0, 0.0]), 0)


def test_unknown_algorithms_and_constants_are_refused():
    with pytest.raises(InputError, match="The book has no 'lion'"):
        book("lion", 0.1)
    with pytest.raises(InputError, match="`momentum`"):
        book("momentum", 0.1, momentum=1.0)


# -- Preconditioners ------------------------------------------------------------------


def first_moment(beta):
    """The corrected average of the gradients, in float64."""
    m = jax.tree.map(lambda x: np.zeros(x.shape), PARAMS)
    for g in GRADS:
        m = jax.tree.map(lambda m, g: beta * m + (1 - beta) * np.asarray(g), m, g)
    return jax.tree.map(lambda m: m / (1 - beta ** len(GRADS)), m)


LAST = jax.tree.map(np.asarray, GRADS[-1])


@pytest.mark.slow
@pytest.mark.parametrize(
    "tx, numerator, constants",
    [
        (optax.adam(1.0), first_moment(0.9), {}),
        (optax.adam(1.0, eps=0.1), first_moment(0.9), {"epsilon": 0.1}),
        (
            optax.adam(1.0, 0.8, 0.95, 1e-3, 1e-2),
            first_moment(0.8),
            {"decay": 0.95, "epsilon": 1e-3, "epsilon_root": 1e-2},
        ),
        (optax.adamw(1.0, weight_decay=0.0), first_moment(0.9), {}),
        (optax.amsgrad(1.0), first_moment(0.9), {}),
        (optax.adabelief(1.0), first_moment(0.9), {}),
        (optax.rmsprop(1.0), LAST, {}),
        (optax.rmsprop(1.0, eps=0.1), LAST, {"epsilon_root": 0.1}),
        (optax.rmsprop(1.0, eps=0.1, eps_in_sqrt=False), LAST, {"epsilon": 0.1}),
        (optax.rmsprop(1.0, bias_correction=True), LAST, {}),
        (optax.rmsprop(1.0, centered=True), LAST, {}),
        (optax.rmsprop(1.0, centered=True, bias_correction=True), LAST, {}),
        (optax.adagrad(1.0), LAST, {}),
        (optax.adagrad(1.0, eps=0.1), LAST, {"epsilon_root": 0.1}),
        (book("adagrad", 1.0), LAST, {}),
        (book("rmsprop", 1.0), LAST, {"epsilon_root": 1e-6}),
        (book("adam", 1.0), first_moment(0.9), {}),
        (optax.inject_hyperparams(optax.adam)(1.0, b2=0.9), first_moment(0.9), {}),
        (optax.inject_hyperparams(optax.rmsprop)(1.0, eps=0.1), LAST, {}),
        (
            optax.inject_hyperparams(optax.rmsprop)(1.0, eps=0.1, eps_in_sqrt=False),
            LAST,
            {"epsilon": 0.1},
        ),
        (
            optax.chain(optax.clip(1e9), optax.apply_if_finite(optax.adam(1.0), 3)),
            first_moment(0.9),
            {},
        ),
        (optax.MultiSteps(optax.adam(1.0), 1), first_moment(0.9), {}),
    ],
)
def test_what_is_read_is_what_the_update_was_divided_by(tx, numerator, constants):
    update, state = run(tx, GRADS)
    P = preconditioner(state, **constants)
    expected = jax.tree.map(lambda n, p: -n / np.asarray(p), numerator, P)
    for a, b in zip(jax.tree.leaves(update), jax.tree.leaves(expected), strict=True):
        # Differences of moments in float32: in the centred rules digits cancel.
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_what_no_adaptive_part_covers_is_divided_by_one():
    labels = {"a": "adam", "b": {"c": "sgd"}}
    groups = {"adam": optax.adam(1.0), "sgd": optax.sgd(1.0)}
    _, state = run(optax.multi_transform(groups, labels), GRADS)
    with pytest.raises(InputError, match="pass `params=`"):
        preconditioner(state)
    P = preconditioner(state, params=PARAMS)
    whole = preconditioner(run(optax.adam(1.0), GRADS)[1])
    np.testing.assert_array_equal(P["a"], whole["a"])
    np.testing.assert_array_equal(P["b"]["c"], 1)

    masked = optax.masked(optax.adam(1.0), {"a": True, "b": False})
    Q = preconditioner(run(masked, GRADS)[1], params=PARAMS)
    np.testing.assert_array_equal(Q["a"], whole["a"])
    np.testing.assert_array_equal(Q["b"]["c"], 1)


def test_groups_with_two_adaptive_parts_are_put_together():
    labels = {"a": "adam", "b": {"c": "rmsprop"}}
    groups = {"adam": optax.adam(1.0), "rmsprop": optax.rmsprop(1.0)}
    P = preconditioner(
        run(optax.multi_transform(groups, labels), GRADS)[1], params=PARAMS
    )
    adam = preconditioner(run(optax.adam(1.0), GRADS)[1])
    rmsprop = preconditioner(run(optax.rmsprop(1.0), GRADS)[1])
    np.testing.assert_array_equal(P["a"], adam["a"])
    np.testing.assert_array_equal(P["b"]["c"], rmsprop["b"]["c"])


def test_optimisers_that_divide_by_nothing_have_none():
    for tx in (optax.sgd(0.1), optax.sgd(0.1, 0.9, True), book("nesterov", 0.1)):
        assert preconditioner(run(tx, GRADS)[1]) is None


def test_the_state_may_be_read_inside_of_a_compiled_program():
    state = run(optax.adam(1.0), GRADS)[1]
    a, b = jax.jit(preconditioner)(state), preconditioner(state)
    np.testing.assert_allclose(a["a"], b["a"], rtol=1e-6)


def test_states_without_one_diagonal_are_refused():
    with pytest.raises(InputError, match="made no update yet"):
        preconditioner(optax.adam(0.1).init(PARAMS))
    for tx in (optax.lion(0.1), optax.adadelta(0.1), optax.adafactor(0.1)):
        with pytest.raises(InputError, match="no P"):
            preconditioner(tx.init(PARAMS))
    twice = optax.chain(optax.scale_by_adam(), optax.scale_by_rms())
    with pytest.raises(InputError, match="Two adaptive parts"):
        preconditioner(run(twice, GRADS)[1])
    overlap = optax.chain(
        *[
            optax.masked(optax.scale_by_rms(), {"a": True, "b": k})
            for k in (True, False)
        ]
    )
    with pytest.raises(InputError, match="Two adaptive parts"):
        preconditioner(run(overlap, GRADS)[1], params=PARAMS)


# -- Curvature that is seen -----------------------------------------------------------

A = RNG.normal(size=(6, 6))
H = A @ A.T + np.diag([100.0, 10, 1, 1, 1, 1])


def quadratic(params):
    v = ravel_pytree(params)[0]
    return 0.5 * v @ jnp.asarray(H, v.dtype) @ v


@pytest.mark.slow
def test_what_the_steps_see_is_the_scaled_hessian():
    params = {"x": jnp.ones(2), "y": jnp.ones((2, 2))}
    scale = np.geomspace(0.1, 10, 6).astype(np.float32)
    P = ravel_pytree(params)[1](jnp.asarray(scale))
    limit = stability_limit("adam", 0.9)
    found = seen_curvature(quadratic, params, P, step_size=0.5, limit=limit, key=KEY)
    plain = np.linalg.eigvalsh(H)[-1]
    seen = np.linalg.eigvalsh(H / np.sqrt(np.outer(scale, scale)))[-1]
    # Six steps of Lanczos in six dimensions, in float32.
    assert float(found.plain.value) == pytest.approx(plain, rel=1e-5)
    assert float(found.seen.value) == pytest.approx(seen, rel=1e-5)
    assert float(found.seen.residual) < 1e-3 * seen
    assert found.product == pytest.approx(0.5 * seen, rel=1e-5)
    assert found.ratio == pytest.approx(0.5 * seen / 38, rel=1e-5)
    assert found.largest_step == pytest.approx(38 / seen, rel=1e-5)
    assert found.plain.num_products == 6
    assert "beyond the limit 38" in str(found)


@pytest.mark.slow
def test_the_ratio_tells_stable_steps_from_unstable_ones():
    scale = jnp.asarray(np.geomspace(0.1, 10, 6), jnp.float32)
    at = jnp.ones(6)
    for factor in (0.9, 1.1):
        edge = seen_curvature(quadratic, at, scale, limit=2.0, step_size=1.0, key=KEY)
        eta = factor * edge.largest_step
        x, first = at, float(quadratic(at))
        step = jax.jit(lambda x, eta=eta: x - eta * jax.grad(quadratic)(x) / scale)
        for _ in range(200):
            x = step(x)
        ratio = seen_curvature(
            quadratic, at, scale, limit=2.0, step_size=eta, key=KEY
        ).ratio
        assert (ratio < 1) == (float(quadratic(x)) < first) == (factor < 1)


@pytest.mark.slow
def test_without_a_preconditioner_the_steps_see_the_hessian():
    found = seen_curvature(quadratic, jnp.ones(6), limit=2.0, step_size=1e-3, key=KEY)
    assert found.seen is found.plain and found.limit == 2.0
    concave = seen_curvature(
        lambda x: -jnp.sum(x**2), jnp.ones(6), limit=2.0, step_size=1.0, key=KEY
    )
    assert concave.largest_step == np.inf and concave.ratio < 0


def test_a_sign_step_lowers_a_quadratic_just_below_its_limit():
    x = jnp.asarray(RNG.normal(size=6), jnp.float32)
    limit = float(largest_sign_step(quadratic, x))
    g = jax.grad(quadratic)(x)
    for factor in (0.99, 1.01):
        after = quadratic(x - factor * limit * jnp.sign(g))
        assert (float(after) < float(quadratic(x))) == (factor < 1)
    assert np.isinf(largest_sign_step(lambda x: -jnp.sum(x**2), x))


@pytest.mark.parametrize("size", [-1.0, float("nan"), float("inf")])
def test_the_book_has_no_such_step_size(size):
    with pytest.raises(InputError, match="`step_size`"):
        book("sgd", size)


def test_bad_input_is_refused():
    x = jnp.ones(6)
    with pytest.raises(InputError, match="`P` must be positive"):
        seen_curvature(quadratic, x, jnp.zeros(6), limit=2.0, step_size=0.1, key=KEY)
    with pytest.raises(InputError, match="shape"):
        seen_curvature(quadratic, x, jnp.ones(5), limit=2.0, step_size=0.1, key=KEY)
    with pytest.raises(InputError, match="`step_size`"):
        seen_curvature(quadratic, x, limit=2.0, step_size=0.0, key=KEY)
    with pytest.raises(InputError, match="must return one"):
        seen_curvature(lambda x: x, x, limit=2.0, step_size=0.1, key=KEY)
