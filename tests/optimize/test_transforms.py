"""The transformations on a logistic regression, and against the functions behind them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from steepest import InputError
from steepest.optimize.steepest import steepest_direction
from steepest.optimize.step_rules import armijo, best_of, polyak
from steepest.optimize.transforms import (
    CANDIDATES,
    scale_by_inverse_curvature,
    scale_by_line_search,
    scale_by_polyak,
    steepest_descent,
)
from steepest.optimize.wolfe import strong_wolfe


RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(60, 4)) * [1, 3, 0.3, 1], jnp.float32)
Y = jnp.asarray(RNG.random(60) < 0.5, jnp.float32)
PARAMS = {"w": jnp.ones(4), "b": jnp.zeros(())}
ZERO = jax.tree.map(jnp.zeros_like, PARAMS)
KEY = jax.random.key(0)
EPS = 1.2e-7


def loss(params, x=X, y=Y):
    logits = x @ params["w"] + params["b"]
    data = jnp.mean(optax.sigmoid_binary_cross_entropy(logits, y))
    return data + 0.005 * jnp.sum(params["w"] ** 2)


def least():
    """The least value, by Newton's method in float64."""
    with jax.enable_x64(True):
        flat, unravel = jax.flatten_util.ravel_pytree(
            jax.tree.map(lambda p: jnp.zeros(p.shape, jnp.float64), PARAMS)
        )
        x, y = jnp.asarray(X, jnp.float64), jnp.asarray(Y, jnp.float64)
        f = lambda v: loss(unravel(v), x, y)
        newton = jax.jit(
            lambda v: v - jnp.linalg.solve(jax.hessian(f)(v), jax.grad(f)(v))
        )
        for _ in range(20):
            flat = newton(flat)
        assert float(jnp.linalg.norm(jax.grad(f)(flat))) < 1e-12
        return float(f(flat))


LEAST = least()


def run(tx, steps, value_fn=loss, start=PARAMS, **batch):
    @jax.jit
    def advance(carry, _):
        params, state = carry
        value, grad = jax.value_and_grad(loss)(params)
        updates, state = tx.update(
            grad, state, params, value=value, grad=grad, value_fn=value_fn, **batch
        )
        return (optax.apply_updates(params, updates), state), value

    carry, values = jax.lax.scan(advance, (start, tx.init(start)), length=steps)
    return carry, np.asarray(values)


DOWN = optax.scale(-1.0)
CHAINS = {
    "armijo": optax.chain(DOWN, scale_by_line_search("armijo")),
    "wolfe": optax.chain(DOWN, scale_by_line_search("wolfe")),
    "best": optax.chain(DOWN, scale_by_line_search("best")),
    "l1": optax.chain(steepest_descent(1.0, "l1"), scale_by_line_search("wolfe")),
    "linf": optax.chain(steepest_descent(1.0, "linf"), scale_by_line_search("armijo")),
    "clipped": optax.chain(
        optax.clip_by_global_norm(0.1), DOWN, scale_by_line_search("armijo")
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CHAINS)
def test_the_loss_falls_monotonically_to_the_least_value(name):
    _, values = run(CHAINS[name], 150)
    # rises by rounding alone: NOISE eps
    assert np.all(np.diff(values) <= 16 * EPS * values[:-1])
    np.testing.assert_allclose(values[-1], LEAST, rtol=1e-3)


@pytest.mark.slow
def test_with_the_inverse_of_the_curvature_the_loss_falls_where_curvature_does():
    # a logistic loss is curved most at 0; from afar, where it is flat, 1/λ overshoots
    tx = optax.chain(DOWN, scale_by_inverse_curvature(key=KEY, every=5, num_products=4))
    _, values = run(tx, 150, start=ZERO)
    assert np.all(np.diff(values) <= 16 * EPS * values[:-1])
    np.testing.assert_allclose(values[-1], LEAST, rtol=1e-3)


def test_polyaks_steps_approach_the_least_value():
    _, values = run(optax.chain(DOWN, scale_by_polyak(LEAST)), 300)
    # not monotonic in the loss: it is the distance to the minimiser that falls
    np.testing.assert_allclose(values[-20:].min(), LEAST, rtol=1e-3)


def gradient_and_direction(params):
    value, grad = jax.value_and_grad(loss)(params)
    return value, grad, jax.tree.map(jnp.negative, grad)


def first_size(tx):
    value, grad, direction = gradient_and_direction(PARAMS)
    updates, _ = jax.jit(
        lambda d, s, p: tx.update(d, s, p, value=value, grad=grad, value_fn=loss)
    )(direction, tx.init(PARAMS), PARAMS)
    # every entry of the update is that of the direction times the size
    ratios = jax.tree.map(jnp.divide, updates, direction)
    flat = np.asarray(jax.flatten_util.ravel_pytree(ratios)[0])
    np.testing.assert_allclose(flat, flat[0], rtol=1e-6)
    return flat[0]


@pytest.mark.slow
def test_each_transformation_takes_the_step_of_its_function():
    value, grad, d = gradient_and_direction(PARAMS)
    functions = jax.jit(
        lambda: (
            armijo(loss, PARAMS, d, initial=64.0).size,
            strong_wolfe(loss, PARAMS, d, initial=64.0).size,
            best_of(loss, PARAMS, d, CANDIDATES).size,
            polyak(value, LEAST, grad),
        )
    )
    transforms = (
        scale_by_line_search("armijo", initial=64.0),
        scale_by_line_search("wolfe", initial=64.0),
        scale_by_line_search("best"),
        scale_by_polyak(LEAST),
    )
    for tx, size in zip(transforms, functions()):
        assert size > 0
        np.testing.assert_allclose(first_size(tx), size, rtol=1e-5)


@pytest.mark.slow
def test_the_inverse_of_the_curvature_is_that_of_the_dense_hessian():
    tx = scale_by_inverse_curvature(key=KEY, every=3, num_products=5)
    flat, unravel = jax.flatten_util.ravel_pytree(PARAMS)
    H = jax.jit(jax.hessian(lambda v: loss(unravel(v))))(flat)
    np.testing.assert_allclose(first_size(tx), 1 / np.linalg.eigvalsh(H)[-1], rtol=1e-4)


@pytest.mark.slow
def test_an_estimate_is_kept_until_the_next_is_due_and_warms_it():
    tx = scale_by_inverse_curvature(key=KEY, every=3, num_products=2)
    state, params, sizes = tx.init(ZERO), ZERO, []
    update = jax.jit(lambda d, s, p: tx.update(d, s, p, value_fn=loss))
    for _ in range(7):
        direction = gradient_and_direction(params)[2]
        updates, state = update(direction, state, params)
        params = optax.apply_updates(params, updates)
        sizes.append(float(state.size))
    assert sizes[0] == sizes[1] == sizes[2] != sizes[3]
    assert sizes[3] == sizes[4] == sizes[5] != sizes[6]
    # two products from the last vector are enough for three digits
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    H = jax.jit(jax.hessian(lambda v: loss(unravel(v))))(flat)
    np.testing.assert_allclose(sizes[6], 1 / np.linalg.eigvalsh(H)[-1], rtol=5e-2)


@pytest.mark.slow
def test_without_positive_curvature_the_size_stays_what_it_was():
    tx = scale_by_inverse_curvature(key=KEY, every=1)
    params = jnp.array([1.0, -2.0])
    either = lambda p, sign: sign * jnp.sum(p**2)
    update = jax.jit(
        lambda state, sign: tx.update(params, state, params, value_fn=either, sign=sign)
    )
    updates, state = update(tx.init(params), -1.0)
    assert jnp.all(updates == 0) and state.sharpness < 0
    _, state = update(state, 1.0)
    _, state = update(state, -1.0)
    np.testing.assert_allclose(state.size, 0.5, rtol=1e-5)


@pytest.mark.parametrize("rule", ["armijo", "wolfe"])
def test_a_search_begins_at_a_multiple_of_the_last_size(rule):
    stiff = lambda p: 1e4 * jnp.sum(p**2)
    tx = scale_by_line_search(rule)
    params = jnp.array([1.0, -2.0])
    state, counts = tx.init(params), []
    for _ in range(3):
        value, grad = jax.value_and_grad(stiff)(params)
        updates, state = tx.update(
            -grad, state, params, value=value, grad=grad, value_fn=stiff
        )
        params = optax.apply_updates(params, 0.9 * updates)
        counts.append(int(state.num_evaluations))
    assert counts[1] < counts[0] and counts[2] <= counts[1]


def test_a_search_that_fails_makes_no_update_and_the_next_begins_afresh():
    tx = scale_by_line_search("armijo", max_evaluations=3)
    params = jnp.array([1.0])
    bowl = lambda p: jnp.sum(p**2)
    value, grad = jax.value_and_grad(bowl)(params)
    given = {"value": value, "grad": grad, "value_fn": bowl}
    updates, state = tx.update(grad, tx.init(params), params, **given)  # uphill
    assert not state.success and jnp.all(updates == 0) and state.value == 1
    _, state = tx.update(-grad, state, params, **given)
    assert state.success and state.size == 0.5


@pytest.mark.slow
def test_optax_finds_value_and_gradient_in_the_state_of_the_wolfe_rule():
    tx = optax.chain(DOWN, scale_by_line_search("wolfe"))
    state, params = tx.init(PARAMS), PARAMS
    value_and_grad = jax.jit(optax.value_and_grad_from_state(loss))
    update = jax.jit(lambda *a, **k: tx.update(*a, **k, value_fn=loss))
    for _ in range(3):
        value, grad = value_and_grad(params, state=state)
        fresh, fresh_grad = jax.value_and_grad(loss)(params)
        np.testing.assert_allclose(value, fresh, rtol=1e-6)
        # logits of up to 10 are rounded: their eps times 10
        np.testing.assert_allclose(grad["w"], fresh_grad["w"], atol=1e-6)
        updates, state = update(grad, state, params, value=value, grad=grad)
        params = optax.apply_updates(params, updates)


@pytest.mark.slow
def test_further_keywords_reach_the_loss_that_names_them():
    def batch_loss(params, x, y):
        return loss(params, x, y)

    (params, _), _ = run(CHAINS["armijo"], 5, batch_loss, x=X, y=Y, unused=3)
    (again, _), _ = run(CHAINS["armijo"], 5)
    np.testing.assert_allclose(params["w"], again["w"], rtol=1e-6)


def test_in_l2_steepest_descent_is_gradient_descent():
    g = jax.grad(loss)(PARAMS)
    ours, _ = steepest_descent(0.3).update(g, steepest_descent(0.3).init(PARAMS))
    theirs, _ = optax.sgd(0.3).update(g, optax.sgd(0.3).init(PARAMS))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs)):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(
    "norm", ["l1", "linf", {"w": 2 * jnp.ones(4), "b": jnp.ones(())}]
)
def test_the_update_is_the_dual_norm_times_the_direction_and_follows_a_schedule(norm):
    g = jax.grad(loss)(PARAMS)
    direction, slope = steepest_direction(g, norm)
    tx = steepest_descent(lambda count: 0.5 / (1 + count.astype(jnp.float32)), norm)
    state = tx.init(PARAMS)
    for eta in (0.5, 0.25):
        updates, state = tx.update(g, state)
        for u, d in zip(jax.tree.leaves(updates), jax.tree.leaves(direction)):
            np.testing.assert_allclose(u, -eta * slope * d, rtol=1e-6)


def refused(tx, **given):
    return lambda: tx.update(ZERO, tx.init(PARAMS), **given)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: scale_by_line_search("golden"), '"armijo", "wolfe" or "best"'),
        (lambda: scale_by_line_search(growth=0.5), "`growth`"),
        (lambda: scale_by_line_search(initial=0.0), "`initial`"),
        (lambda: scale_by_line_search(initial=float("nan")), "`initial`"),
        (lambda: scale_by_line_search(max_evaluations=1), "`max_evaluations`"),
        (lambda: scale_by_line_search("best", candidates=()), "`candidates`"),
        (lambda: scale_by_line_search("best", candidates=(-1.0,)), "`candidates`"),
        (lambda: scale_by_polyak(float("nan")), "`lowest`"),
        (lambda: scale_by_inverse_curvature(key=KEY, every=0), "`every`"),
        (lambda: scale_by_polyak().init({}), "no numbers"),
        (refused(scale_by_line_search(), params=PARAMS), "needs `value_fn`"),
        (refused(scale_by_line_search(), value_fn=loss), "needs `params`"),
        (
            refused(scale_by_line_search(), value_fn=loss, params=PARAMS),
            "needs `value`",
        ),
        (
            refused(scale_by_line_search(), value_fn=loss, params=PARAMS, value=1.0),
            "needs `grad`",
        ),
        (refused(scale_by_polyak()), "needs `value`"),
        (
            refused(scale_by_inverse_curvature(key=KEY), params=PARAMS),
            "needs `value_fn`",
        ),
    ],
)
def test_what_cannot_be_scaled_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()


def test_at_a_critical_point_steepest_descent_stays():
    tx = steepest_descent(0.1)
    updates, _ = tx.update(ZERO, tx.init(PARAMS))
    assert all(not np.any(u) for u in jax.tree.leaves(updates))
