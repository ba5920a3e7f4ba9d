"""Tracking on a clock that the test moves, and on spectra that it knows.

The Hessian of Σ xᵢ³/6 is diag(x), so the parameters are the spectrum.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import InputError
from steepest.curvature import tracking
from steepest.training import Record


KEY = jax.random.key(0)
N = 60
TAIL = np.linspace(-0.2, 0.2, N - 2)


def loss(x):
    return jnp.sum(x**3) / 6


def spectrum(*outliers, tail=TAIL):
    return jnp.asarray(np.r_[outliers, tail], jnp.float32)


STEADY = spectrum(3.0, 1.0)


class Clock:
    """Stands still, but for what the test and the products take."""

    def __init__(self, monkeypatch, product):
        self.now = 100.0
        self.product = product
        follow = tracking.follow

        def costly(*args, **options):
            found = follow(*args, **options)
            self.now += self.product * found.num_products
            return found

        monkeypatch.setattr(tracking, "perf_counter", lambda: self.now)
        monkeypatch.setattr(tracking, "follow", costly)


@pytest.mark.parametrize("budget", [0.05, 0.2])
@pytest.mark.parametrize("product", [0.1, 1.5, 100.0])  # in steps of the loop
def test_the_budget_is_kept_and_used_at_any_pace(monkeypatch, product, budget):
    clock = Clock(monkeypatch, product)
    watch = tracking.tracker(loss, budget=budget, key=KEY)
    points = 0
    for step in range(int(60 * product / budget)):
        clock.now += 1.0
        if watch(step, STEADY) is not None:
            points += 1
            # the first is on credit; what others take was in the budget before
            assert points == 1 or watch.overhead <= 0.6 * budget * (1 + 1e-9)
    assert points >= 4
    assert 0.5 * budget <= watch.overhead <= 0.6 * budget
    steps = [seen.step for seen in watch.history]
    products = sum(seen.num_products for seen in watch.history)
    assert steps == sorted(set(steps)) and steps[0] == 0
    assert watch.seconds == pytest.approx(products * product)
    assert watch.loop_seconds == pytest.approx(step + 1 - tracking.SETTLING)


def test_a_product_of_a_step_and_a_half_comes_once_in_fifty_steps(monkeypatch):
    clock = Clock(monkeypatch, 1.5)
    watch = tracking.tracker(loss, key=KEY)
    for step in range(3000):
        clock.now += 1.0
        watch(step, STEADY)
    products = sum(seen.num_products for seen in watch.history)
    # 1.5 / (0.6 · 0.05) = 50, and what is still being saved for the next point
    assert 50 <= 3000 / products <= 56


def test_a_slow_loop_is_measured_at_every_step(monkeypatch):
    clock = Clock(monkeypatch, 1e-3)
    watch = tracking.tracker(loss, key=KEY)
    for step in range(20):
        clock.now += 1.0
        watch(step, STEADY)
    assert [seen.step for seen in watch.history][-17:] == list(range(3, 20))


def test_when_the_loop_slows_down_the_interval_shrinks(monkeypatch):
    clock = Clock(monkeypatch, 1.0)
    watch = tracking.tracker(loss, key=KEY)
    for step in range(3000):
        clock.now += 1.0 if step < 2000 else 10.0
        watch(step, STEADY)
    steps = np.array([seen.step for seen in watch.history])
    before = np.diff(steps[(steps > 500) & (steps < 2000)])
    after = np.diff(steps[steps > 2000])
    np.testing.assert_allclose(np.median(before) / np.median(after), 10, rtol=0.35)


def test_waiting_for_the_parameters_is_the_loop_s_time(monkeypatch):
    clock = Clock(monkeypatch, 1.0)

    def wait(tree):
        clock.now += 7.0
        return tree

    monkeypatch.setattr(jax, "block_until_ready", wait)
    watch = tracking.tracker(loss, key=KEY)
    for step in range(2000):
        watch(step, STEADY)
        clock.now += 1.0
    products = sum(seen.num_products for seen in watch.history)
    assert watch.seconds == pytest.approx(products)
    waits = 7.0 * (len(watch.history) - 1)  # the first comes before the loop is timed
    assert watch.loop_seconds == pytest.approx(1999 - 1 + waits)


def test_compilation_is_counted_apart(monkeypatch):
    clock = Clock(monkeypatch, 1.0)
    watch = tracking.tracker(loss, key=KEY)
    seen = watch(0, STEADY)
    assert watch.compile_seconds > 0
    assert watch.seconds == seen.seconds == seen.num_products
    assert clock.now == 100.0 + watch.compile_seconds + watch.seconds


def points_of(watch, spectra):
    """Every step measured: on an ample clock it takes a call, or two at the second."""
    found = []
    for step, x in enumerate(spectra):
        seen = watch(step, x) or watch(step, x)
        assert seen is not None
        found.append(seen)
    return found


@pytest.fixture
def ample(monkeypatch):
    """Time passes only between steps, and plenty."""
    ticks = itertools.count()
    monkeypatch.setattr(tracking, "perf_counter", lambda: float(next(ticks)))
    return {"budget": 1e6}


def test_both_ends_and_the_trace_of_a_known_spectrum(ample):
    watch = tracking.tracker(loss, lowest=True, trace=True, key=KEY, **ample)
    spectra = [spectrum(3 + 0.1 * t, -2 + 0.05 * t) for t in range(12)]
    for seen, x in zip(points_of(watch, spectra), spectra, strict=True):
        values = np.asarray(x, np.float64)
        assert seen.reliable and seen.residual <= 0.05 * seen.highest
        # r²/gap, the bound of a Ritz value, at r = 5 % of 3 and a gap of 2.8
        np.testing.assert_allclose(seen.highest, values.max(), atol=0.01)
        np.testing.assert_allclose(seen.lowest, values.min(), atol=0.1)
        assert seen.lowest >= values.min() - 1e-5
        # of 4 probes the standard error is itself known to within a factor of some 3
        assert abs(seen.trace - values.sum()) <= 6 * seen.trace_error + 1e-3
        assert (
            seen.trace_error < 1.0
        )  # plain signs would have 0: the matrix is diagonal


def test_what_was_not_asked_for_is_nan(ample):
    seen = tracking.tracker(loss, key=KEY, **ample)(0, STEADY)
    assert np.isnan([seen.lowest, seen.lowest_residual, seen.trace]).all()


def test_an_eigenvalue_that_overtakes_is_found(ample):
    """The warm start is an eigenvector: only the random part can leave it."""
    watch = tracking.tracker(loss, key=KEY, **ample)
    spectra = [spectrum(3.0, 0.5 + 0.5 * t) for t in range(16)]
    found = points_of(watch, spectra)
    last = [seen.highest for seen in found[-3:]]
    np.testing.assert_allclose(last, [7.0, 7.5, 8.0], rtol=0.01)
    behind = [seen.highest / float(x.max()) for seen, x in zip(found, spectra)]
    assert np.median(behind) > 0.99


def test_where_products_do_not_suffice_it_says_so_and_then_spends_more(monkeypatch):
    """A dense spectrum, whose largest eigenvalue converges slowly."""
    clock = Clock(monkeypatch, 1.0)
    watch = tracking.tracker(loss, tolerance=2e-3, key=KEY)
    dense = jnp.linspace(0.0, 1.0, 400)
    for step in range(4000):
        clock.now += 1.0
        watch(step, dense)
    first, second = watch.history[:2]
    assert not first.reliable and second.num_products > first.num_products
    for seen in watch.history:
        assert seen.reliable == (seen.residual <= 2e-3 * seen.highest)
    assert watch.history[-1].residual < first.residual / 2
    assert watch.overhead <= 0.05


def network(params, batch):
    x, y = batch
    h = jnp.tanh(x @ params["W"] + params["b"][None])
    return jnp.mean(jnp.square(h @ params["V"] - y))


def small(dtype=np.float32):
    rng = np.random.default_rng(1)
    params = {"W": rng.normal(size=(4, 10)) / 2, "b": rng.normal(size=10), "V": rng.normal(size=(10, 2))}  # fmt: skip
    x = rng.normal(size=(50, 4))
    y = np.sin(x[:, :2])
    return jax.tree.map(lambda a: jnp.asarray(a, dtype), (params, (x, y)))


def test_on_a_training_network_it_agrees_with_the_dense_hessian_in_float64(ample):
    params, data = small()
    with jax.enable_x64(True):
        wide = small(np.float64)[1]
        flat = jax.flatten_util.ravel_pytree(small(np.float64)[0])[1]
        dense = jax.jit(jax.hessian(lambda t: network(flat(t), wide)))
    watch = tracking.tracker(network, data=data, key=KEY, **ample)
    gradient = jax.jit(jax.grad(network))
    for _ in range(40):
        g = gradient(params, data)
        params = jax.tree.map(lambda p, d: p - jnp.float32(0.05) * d, params, g)
        (seen,) = points_of(watch, [params])
        theta = np.asarray(jax.flatten_util.ravel_pytree(params)[0], np.float64)
        with jax.enable_x64(True):
            top = np.linalg.eigvalsh(np.asarray(dense(jnp.asarray(theta))))[-1]
        assert seen.highest <= top * (1 + 1e-5)  # a float32 product
        if seen.reliable:
            assert seen.highest >= 0.95 * top


@pytest.mark.parametrize("late", [False, True])
def test_a_preconditioner_scales_both_sides(ample, late):
    P = jnp.linspace(0.5, 4.0, N)
    watch = tracking.tracker(
        loss, preconditioner=(lambda: P) if late else P, key=KEY, **ample
    )
    seen = points_of(watch, [STEADY] * 3)[-1]
    exact = float((np.asarray(STEADY) / np.asarray(P)).max())
    np.testing.assert_allclose(seen.highest, exact, rtol=1e-3)
    record = Record()
    watch.record(record)
    assert len(record["sharpness.preconditioned"].step) == 3


def test_nan_in_the_hessian_is_flagged_and_tracking_goes_on(ample):
    def kinked(x):
        return loss(x) + jnp.sum(jnp.abs(x) ** 1.5)  # curvature without bound at 0

    good = spectrum(3.0, 1.0, tail=np.full(N - 2, 0.1))
    watch = tracking.tracker(kinked, trace=True, key=KEY, **ample)
    bad = good.at[5].set(0.0)
    found = points_of(watch, [bad, good, bad, good, good])
    for seen, fine in zip(found, [False, True, False, True, True], strict=True):
        assert seen.reliable == fine == np.isfinite(seen.highest)
    # 3 + (3/4)/√3 = 3.43 is the largest of x + (3/4)/√x
    np.testing.assert_allclose(found[-1].highest, 3.433, rtol=1e-3)


def test_a_loss_without_curvature_is_reliably_flat(ample):
    watch = tracking.tracker(lambda x: jnp.sum(x), lowest=True, key=KEY, **ample)
    for seen in points_of(watch, [STEADY] * 3):
        assert seen.highest == seen.lowest == seen.residual == 0 and seen.reliable


@pytest.mark.parametrize("n", [1, 2, 4, 23])
def test_few_parameters_are_searched_whole(ample, n):
    x = jnp.arange(1.0, n + 1)
    watch = tracking.tracker(loss, lowest=True, trace=True, key=KEY, **ample)
    for seen in points_of(watch, [x, 2 * x]):
        assert seen.num_products <= n + 4
    np.testing.assert_allclose(seen.highest, 2 * n, rtol=0.01)
    assert abs(seen.trace - n * (n + 1)) <= 6 * seen.trace_error + 1e-3 * n * n


def test_the_history_becomes_series_of_a_record(ample):
    watch = tracking.tracker(loss, lowest=True, trace=True, key=KEY, **ample)
    points_of(watch, [STEADY] * 3)
    record = Record()
    watch.record(record)
    names = {"residual", "reliable", "lowest", "lowest_residual", "trace", "trace_error"}  # fmt: skip
    assert set(record.series) == {"sharpness", *(f"sharpness.{n}" for n in names)}
    assert list(record["sharpness"].step) == [0, 1, 2]
    assert record["sharpness.trace"].value[2] == watch.history[2].trace
    assert "3 measurements" in repr(watch)


def test_two_trackers_with_one_key_agree(ample):
    one, two = (
        points_of(tracking.tracker(loss, key=KEY, **ample), [STEADY] * 4)
        for _ in range(2)
    )
    assert [seen[1:3] for seen in one] == [seen[1:3] for seen in two]


@pytest.mark.parametrize(
    ("dtype", "rtol"),
    [("bfloat16", 0.02), ("float64", 1e-3)],  # 3 eps; what the warm start leaves
)
def test_any_format_of_parameters_will_do(ample, dtype, rtol):
    with jax.enable_x64(dtype == "float64"):
        x = STEADY.astype(dtype)
        watch = tracking.tracker(loss, lowest=True, trace=True, key=KEY, **ample)
        seen = points_of(watch, [x] * 3)[-1]
        np.testing.assert_allclose(seen.highest, 3.0, rtol=rtol)


@pytest.mark.parametrize(
    ("function", "params", "message"),
    [
        (lambda x: x, jnp.ones(3), "take a mean or a sum"),
        (lambda x: (jnp.sum(x), x), jnp.ones(3), "Return the loss alone"),
        (lambda x: jnp.sum(x) * 1.0, jnp.arange(3), "floating-point arrays only"),
        (lambda x: jnp.zeros(()), {}, "no numbers"),
    ],
)
def test_what_has_no_curvature_is_refused(function, params, message):
    with pytest.raises(InputError, match=message):
        tracking.tracker(function, key=KEY)(0, params)


@pytest.mark.parametrize("option", ["budget", "tolerance"])
@pytest.mark.parametrize("value", [0.0, -0.1, float("nan")])
def test_a_share_that_is_not_positive_is_refused(option, value):
    with pytest.raises(InputError, match=option):
        tracking.tracker(loss, key=KEY, **{option: value})


def donated():
    x = jnp.asarray(STEADY) + 0
    jax.jit(lambda x: x * 2, donate_argnums=0)(x)
    return x


@pytest.mark.parametrize(
    ("options", "step", "params", "message"),
    [
        ({}, 0, donated, "were donated"),
        ({}, "a", lambda: STEADY, "whole number"),
        ({"preconditioner": jnp.ones(5)}, 0, lambda: STEADY, "shape"),
        ({"preconditioner": -jnp.ones(N)}, 0, lambda: STEADY, "positive"),
        ({"preconditioner": lambda: jnp.zeros(N)}, 0, lambda: STEADY, "positive"),
    ],
)
def test_what_can_be_refused_is_refused_at_the_first_call(
    options, step, params, message
):
    with pytest.raises(InputError, match=message):
        tracking.tracker(loss, key=KEY, **options)(step, params())


def test_a_call_inside_of_jit_is_refused():
    watch = tracking.tracker(loss, key=KEY)
    with pytest.raises(InputError, match="inside of `jit`"):
        jax.jit(lambda x: (watch(0, x), x)[1])(STEADY)


@pytest.mark.parametrize(
    ("other", "step", "message"),
    [
        (lambda: {"x": STEADY}, 2, "structure"),
        (lambda: jnp.ones(5), 2, "shapes"),
        (lambda: STEADY.astype(jnp.bfloat16), 2, "dtypes"),
        (donated, 2, "deleted"),
        (lambda: STEADY, "two", "int"),
    ],
)
def test_later_trouble_is_a_measurement_of_nan_and_the_loop_goes_on(
    ample, other, step, message
):
    watch = tracking.tracker(loss, key=KEY, **ample)
    points_of(watch, [STEADY] * 2)
    seen = watch(step, other())
    assert np.isnan(seen.highest) and not seen.reliable and message in seen.trouble
    assert isinstance(seen.step, int) and seen.num_products == 0
    (after,) = points_of(watch, [STEADY])
    assert after.reliable and after.trouble == ""
    record = Record()
    watch.record(record)
    assert len(record["sharpness"].step) == 4


def test_a_preconditioner_that_turns_bad_is_trouble_too(ample):
    P = [jnp.ones(N)]
    watch = tracking.tracker(loss, preconditioner=lambda: P[0], key=KEY, **ample)
    points_of(watch, [STEADY] * 2)
    P[0] = jnp.zeros(N)
    (seen,) = points_of(watch, [STEADY])
    assert np.isnan(seen.highest) and "positive" in seen.trouble


def test_among_many_directions_one_that_overtakes_is_found_at_once(ample):
    """The old top keeps its residual near zero, which proves nothing of the new one."""
    n = 20_000
    bulk = np.linspace(0.0, 1.0, n - 2)
    watch = tracking.tracker(loss, key=KEY, **ample)
    spectra = [spectrum(10.0, float(t), tail=bulk) for t in range(8, 20)]
    for seen, x in zip(points_of(watch, spectra), spectra, strict=True):
        assert seen.reliable
        # two eigenvalues less than 5 % apart may both be meant
        assert seen.highest >= 0.95 * float(x.max())
        assert seen.num_products in (6, 12)
    assert [s.num_products for s in watch.history[::4]] == [12, 12, 12]
