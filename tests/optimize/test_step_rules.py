"""Step rules on quadratics in closed form, on scaled losses and on bad trials."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import InputError
from steepest.optimize.step_rules import (
    armijo,
    best_of,
    constant,
    exact_quadratic,
    inverse_curvature,
    polyak,
)


KAPPA = 10.0
START = jnp.array([KAPPA, 1.0])


def canyon(x):
    return 0.5 * (x[0] ** 2 + KAPPA * x[1] ** 2)


def descent(loss, params):
    return jax.tree.map(jnp.negative, jax.grad(loss)(params))


def test_exact_steps_from_the_worst_start_fall_by_the_known_ratio():
    @jax.jit
    def advance(x):
        d = descent(canyon, x)
        x = x + exact_quadratic(canyon, x, d).size * d
        return x, canyon(x)

    x, values = START, [55.0]
    for _ in range(3):
        x, value = advance(x)
        values.append(float(value))
    # 55 ((κ − 1)/(κ + 1))^2k; a few roundings of float32 a step
    np.testing.assert_allclose(values, 55 * 0.669421487603 ** np.arange(4), rtol=3e-6)
    np.testing.assert_allclose(values[1:], [36.81818, 24.64688, 16.49915], rtol=1e-6)


def test_the_best_constant_size_is_two_over_the_sum_of_the_extremes():
    def fall(size):
        d = descent(canyon, START)
        step = constant(canyon, START, d, size=size)
        return float(step.value) / 55

    rate = ((KAPPA - 1) / (KAPPA + 1)) ** 2
    best = 2 / (1 + KAPPA)
    np.testing.assert_allclose(fall(best), rate, rtol=1e-5)
    # beside it one of the two components shrinks more slowly
    factors = [
        max(abs(1 - s), abs(1 - KAPPA * s)) for s in (0.9 * best, best, 1.1 * best)
    ]
    assert factors[1] == min(factors)
    np.testing.assert_allclose(factors[1] ** 2, rate, rtol=1e-9)


def test_a_constant_step_is_refused_where_it_leads_uphill_or_nowhere():
    d = descent(canyon, START)
    for size in (0.5, jnp.inf, jnp.nan):
        step = constant(canyon, START, d, size=size)
        assert not step.success and step.size == 0 and step.value == 55
    # the largest constant size that still falls here: 2 gᵀg / gᵀHg = 4/11
    assert constant(canyon, START, d, size=0.363).success
    assert not constant(canyon, START, d, size=0.364).success


def test_the_best_candidate_wins_whatever_the_others_are():
    def choose(x, sizes):
        return best_of(canyon, x, descent(canyon, x), sizes)

    sizes = jnp.array([jnp.nan, 1e-3, jnp.inf, 0.2, -jnp.inf, 0.15, 1e30, -1.0])
    step = jax.jit(choose)(START, sizes)
    assert step.success and step.size == jnp.float32(0.2)
    # 55 − 200 t + 550 t² at t = 0.2
    np.testing.assert_allclose(step.value, 37.0, rtol=1e-6)
    assert step.num_evaluations == 9


def test_without_a_better_candidate_there_is_no_step():
    d = descent(canyon, START)
    for sizes in ([1.0, 2.0, jnp.nan], [jnp.nan] * 3, [0.0, -0.1, -1.0]):
        step = best_of(canyon, START, d, sizes)
        assert not step.success and step.size == 0 and step.value == 55


def test_candidates_at_which_the_loss_is_minus_infinity_are_ignored():
    loss = lambda x: jnp.log(jnp.maximum(x[0], 0))
    step = best_of(loss, jnp.array([1.0]), jnp.array([-1.0]), [0.5, 1.0, 2.0])
    assert step.success and step.size == 0.5


def test_armijo_finds_a_sufficient_fall_at_every_scale_of_the_loss():
    def search(scale):
        loss = lambda x: scale * canyon(x)
        return armijo(loss, START, descent(loss, START))

    scales = np.array([1e-10, 1e-3, 1.0, 1e3, 1e10], np.float32)
    step = jax.jit(jax.vmap(search))(scales)
    assert np.all(step.success)
    # along −g the loss is scale (55 − 200 T + 550 T²), T = scale t: (1) holds up to
    limit = (1 - 1e-4) * 200 / 550 / scales
    assert np.all(step.size <= limit)
    # and the first size that is tried is 1, every other half of one refused
    assert np.all((step.size == 1) | (step.size > limit / 2))


def test_armijo_takes_the_first_size_that_suffices():
    sizes = 0.7 ** np.arange(20)
    enough = 200 * sizes - 550 * sizes**2 >= 0.3 * sizes * 200
    k = int(np.argmax(enough))
    d = descent(canyon, START)
    search = jax.jit(
        lambda known: armijo(canyon, START, d, shrink=0.7, slope_share=0.3, known=known)
    )
    step = search(None)
    np.testing.assert_allclose(step.size, sizes[k], rtol=1e-5)
    assert step.num_evaluations == k + 2
    again = search((canyon(START), -d))
    assert again.size == step.size and again.num_evaluations == k + 1


def test_armijo_backs_out_of_where_the_loss_is_not_finite():
    loss = lambda x: jnp.sum(x - jnp.log(x))  # NaN for x < 0, infinite at 0
    step = armijo(loss, jnp.array([4.0]), jnp.array([-64.0]))
    assert step.success and step.size == 1 / 32 and jnp.isfinite(step.value)


def test_armijo_goes_nowhere_uphill_or_from_a_bad_start():
    nowhere = jax.jit(lambda x, d: armijo(canyon, x, d))
    for x, d in (
        (START, START),
        (START, jnp.zeros(2)),
        (jnp.array([jnp.nan, 1.0]), -START),
        (jnp.array([jnp.inf, 1.0]), -START),
        (START, jnp.array([jnp.nan, 1.0])),
    ):
        step = nowhere(x, d)
        assert not step.success and step.size == 0
    few = armijo(canyon, START, -1e6 * START, max_evaluations=5)
    assert not few.success and few.value == 55 and few.num_evaluations == 5


def test_where_the_fall_drowns_in_rounding_the_slope_decides():
    # at 1e6 neighbours in float32 are 0.06 apart: the fall of 5e-3 is not seen
    loss = lambda x: 1e6 + 50 * jnp.sum(x**2)
    x = jnp.array([0.01])
    g = jax.grad(loss)(x)
    step = jax.jit(lambda x: armijo(loss, x, -g))(x)
    # the model: x (1 − 100 t), which falls by (1) for t up to 0.02 (1 − c)
    assert step.success and 0.009 < step.size <= 0.02
    there = x - step.size * g
    assert abs(float(there[0])) < 0.01


def test_armijo_is_mapped_over_starts():
    starts = jnp.array([[10.0, 1.0], [0.0, 0.0], [-3.0, 2.0]])
    search = jax.jit(lambda x: armijo(canyon, x, descent(canyon, x)))
    batch = jax.jit(jax.vmap(search))(starts)
    for i, x in enumerate(starts):
        one = search(x)
        np.testing.assert_allclose(batch.size[i], one.size)
        np.testing.assert_allclose(batch.value[i], one.value, rtol=1e-6)
    np.testing.assert_array_equal(batch.success, [True, False, True])


def test_a_gradient_written_by_hand_is_no_obstacle():
    @jax.custom_vjp
    def square(x):
        return jnp.sum(x**2)

    square.defvjp(lambda x: (square(x), x), lambda x, g: (2 * g * x,))
    x = jnp.array([1.0, 2.0])
    assert armijo(square, x, -2 * x).size == 0.5
    assert exact_quadratic(square, x, -2 * x).size == 0.5


def test_the_quadratic_rule_says_where_the_model_has_no_minimum():
    saddle = lambda x: 0.5 * (x[0] ** 2 - x[1] ** 2)
    x = jnp.array([1.0, 1.0])
    down = exact_quadratic(saddle, x, jnp.array([0.0, 1.0]))
    assert not down.finite and down.size == 0 and down.curvature == -1
    flat = exact_quadratic(saddle, x, jnp.array([1.0, 1.0]))
    assert not flat.finite and flat.size == 0
    across = exact_quadratic(saddle, x, jnp.array([-1.0, 0.0]))
    assert across.finite and across.size == 1
    assert not exact_quadratic(saddle, x, jnp.zeros(2)).finite


@pytest.mark.parametrize("length", [1e-30, 1e15])
def test_the_quadratic_rule_does_not_mind_the_length_of_the_direction(length):
    d = jnp.float32(length) * descent(canyon, START)
    step = exact_quadratic(canyon, START, d)
    np.testing.assert_allclose(step.size * jnp.float32(length), 2 / 11, rtol=1e-5)


def test_rosenbrocks_optimal_step_is_found():
    with jax.enable_x64(True):
        loss = lambda x: 100 * (x[1] - x[0] ** 2) ** 2 + (1 - x[0]) ** 2
        x = jnp.array([-1.2, 1.0])
        step = jax.jit(lambda x: exact_quadratic(loss, x, descent(loss, x)))(x)
        # −gᵀd/dᵀHd with g = (−215.6, −88), H = [[1330, 480], [480, 200]]
        np.testing.assert_allclose(step.size, 6.646686267390896e-4, rtol=1e-12)


def test_polyaks_size_lands_on_the_minimum_of_a_cone():
    # f = ‖x‖ falls by 1 for each unit: the size is the distance
    x = jnp.array([3.0, 4.0])
    size = jax.jit(polyak)(jnp.float32(5), 0.0, x / 5)
    np.testing.assert_allclose(size, 5.0, rtol=1e-6)


def test_polyaks_size_is_zero_where_there_is_nothing_to_gain():
    assert polyak(jnp.float32(1), 1.0, jnp.ones(2)) == 0
    assert polyak(jnp.float32(1), 2.0, jnp.ones(2)) == 0
    assert polyak(jnp.float32(1), 0.0, jnp.zeros(2)) == 0
    assert polyak(1.0, 0.0, jnp.ones(2)) == 0.5  # a Python number will do
    np.testing.assert_allclose(
        polyak(jnp.float32(1e30), 0.0, jnp.full((4,), 1e25)), 2.5e-21, rtol=1e-5
    )


def test_the_inverse_of_the_curvature_is_the_size_of_the_stiffest_direction():
    key = jax.random.key(0)
    step = jax.jit(lambda x: inverse_curvature(canyon, x, key=key))(START)
    assert step.success
    np.testing.assert_allclose(step.size, 1 / KAPPA, rtol=1e-5)
    hill = jax.jit(lambda x: inverse_curvature(lambda x: -canyon(x), x, key=key))(START)
    assert not hill.success and hill.size == 0


def test_parameters_of_half_precision_are_stepped_through_in_float32():
    loss = lambda p: jnp.sum(jnp.square(p["a"].astype(jnp.float32)) + p["b"] ** 2)
    params = {"a": jnp.ones(3, jnp.bfloat16), "b": jnp.ones(3)}
    d = descent(loss, params)
    steps = jax.jit(
        lambda: (
            armijo(loss, params, d),
            constant(loss, params, d, size=0.5),
            best_of(loss, params, d, [0.25, 0.5]),
            exact_quadratic(loss, params, d),
        )
    )
    for step in steps():
        assert step.size == 0.5 and step.size.dtype == jnp.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: armijo(canyon, {}, {}), "no numbers"),
        (lambda: armijo(canyon, jnp.arange(2), jnp.ones(2)), "floating-point"),
        (lambda: armijo(canyon, START, jnp.ones(3)), "structure and the shapes"),
        (lambda: armijo(jnp.sin, START, -START), "one floating-point number"),
        (lambda: armijo(canyon, START, -START, shrink=1.0), "`shrink`"),
        (lambda: armijo(canyon, START, -START, slope_share=0.0), "`slope_share`"),
        (lambda: armijo(canyon, START, -START, initial=0.0), "`initial`"),
        (lambda: armijo(canyon, START, -START, max_evaluations=1), "at least 2"),
        (lambda: best_of(canyon, START, -START, []), "`candidates`"),
        (lambda: constant(jnp.sin, START, -START, size=1.0), "take its mean"),
        (lambda: exact_quadratic(jnp.sin, START, -START), "take its mean"),
        (lambda: polyak(jnp.float32(1), 0.0, jnp.arange(2)), "floating-point"),
        (lambda: inverse_curvature(canyon, {}, key=jax.random.key(0)), "no numbers"),
    ],
)
def test_what_no_rule_can_use_is_refused(call, message):
    with pytest.raises(InputError, match=message):
        call()
