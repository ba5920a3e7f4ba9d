import time
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from steepest import Problem, Recipe, Record, fit
from steepest.core.errors import InputError
from steepest.training import Aux, Probe
from steepest.training.probes import EVALUATION, NORMS

from .conftest import (
    apply,
    assert_bitwise_equal,
    assert_same_series,
    network,
    noisy,
    regression,
    squared,
)


@pytest.mark.slow
def test_two_runs_with_one_seed_agree_bit_for_bit(problem):
    recipe = Recipe(steps=300, batch_size=16, learning_rate=1e-2)
    probes = [NORMS._replace(every=50), EVALUATION._replace(every=50)]
    first, second = (fit(problem, recipe, probes=probes) for _ in range(2))
    assert_bitwise_equal(first.fitted.model, second.fitted.model)
    assert_same_series(first.record, second.record)


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("accumulate", [1, 3])
def test_grouping_updates_into_calls_changes_nothing(problem, precision, accumulate):
    recipe = Recipe(
        steps=130,
        batch_size=16,
        precision=precision,
        accumulate=accumulate,
        schedule="cosine",
        warmup=20,
    )
    problem = replace(problem, loss=squared if precision != "float32" else noisy)
    one, *others = (
        fit(problem, recipe, probes=(), steps_per_call=k) for k in (1, 7, 200)
    )
    for other in others:
        assert_bitwise_equal(one.fitted.model, other.fitted.model)
        assert_same_series(one.record, other.record)


def test_a_loop_of_updates_is_chosen_where_it_is_faster(problem, monkeypatch):
    """The clock is made to say so; that both give the same bits is not."""
    from steepest.training._run import Run

    seconds = {"one_by_one": 100.0, "loop": 10.0}  # more than any compilation

    def time(self, calls):
        calls()
        return seconds[calls.__name__]

    monkeypatch.setattr(Run, "_time", time)
    recipe = Recipe(steps=400, batch_size=16, learning_rate=1e-2)
    monkeypatch.setattr("steepest.training._run.SAVED", 1e3)
    monkeypatch.setattr("steepest.training._run.SLOW", 1e3)
    fitted, record = fit(problem, recipe, probes=())
    assert record.meta["steps_per_call"] > 1
    alone, _ = fit(problem, recipe, probes=(), steps_per_call=1)
    assert_bitwise_equal(fitted.model, alone.model)
    seconds["loop"] = 200.0
    _, record = fit(problem, recipe, probes=())
    assert record.meta["steps_per_call"] == 1


def test_another_seed_gives_another_run(problem):
    losses = [
        fit(problem, Recipe(steps=20, seed=seed), probes=()).record["loss"].value
        for seed in (0, 1)
    ]
    assert not np.array_equal(*losses)


def test_a_long_run_chooses_how_many_updates_a_call_makes(problem):
    recipe = Recipe(steps=1500, batch_size=16, learning_rate=1e-2)
    fitted, record = fit(problem, recipe, probes=())
    assert record.meta["steps_per_call"] >= 1
    alone, _ = fit(problem, recipe, probes=(), steps_per_call=1)
    assert_bitwise_equal(fitted.model, alone.model)


@pytest.mark.slow
def test_the_run_is_that_of_a_hand_written_loop():
    """The oracle is Optax alone, on the batches that the order gives."""
    from steepest.training.batches import Order

    x, y = regression()
    recipe = Recipe("adam", 1e-2, steps=40, batch_size=32, seed=3)
    fitted, record = fit(Problem(network(), squared, (x, y)), recipe, probes=())
    adam, order, losses = optax.adam(1e-2), Order(len(x), recipe), []
    params = jax.tree.map(jnp.asarray, network())
    state = adam.init(params)
    for step in range(40):
        chosen = order.take(step)[0]
        loss, g = jax.value_and_grad(squared)(params, (x[chosen], y[chosen]))
        with jax.numpy_dtype_promotion("standard"):
            updates, state = adam.update(g, state, params)
        params = optax.apply_updates(params, updates)
        losses.append(loss)
    # Compiled as a whole, XLA may fuse and reorder: a few ulp a step over 40 steps.
    np.testing.assert_allclose(record["loss"].value, losses, rtol=1e-4)
    for mine, theirs in zip(jax.tree.leaves(fitted.model), jax.tree.leaves(params)):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=1e-5)


def test_training_learns_and_leaves_the_problem_as_it_was(problem):
    before = jax.tree.map(np.array, problem.model)
    fitted, record = fit(
        problem, Recipe(steps=300, learning_rate=1e-2, batch_size=32), probes=()
    )
    loss = record["loss"].value
    assert loss[-20:].mean() < 0.2 * loss[:5].mean()
    assert_bitwise_equal(problem.model, before)
    assert fitted.predict(problem.data[0]).shape == (96, 1)


def test_the_record_tells_what_the_run_was(problem):
    recipe = Recipe(steps=30, batch_size=32)
    _, record = fit(problem, recipe, probes=[NORMS])
    meta = record.meta
    assert meta["ended"] == "completed" and meta["steps"] == 30
    assert meta["parameters"] == 3 * 8 + 8 + 8 + 1
    assert meta["parameter_paths"] == ["first.W", "first.b", "last.W", "last.b"]
    assert meta["recipe"]["optimizer"] == "adam" and meta["seed"] == 0
    assert meta["batches_per_epoch"] == 3 and meta["steps_per_second"] > 0
    assert {"jax", "python"} <= set(meta["versions"])
    np.testing.assert_array_equal(record["loss"].step, np.arange(30))
    assert record["layer.gradient_norm"].labels == tuple(meta["parameter_paths"])
    assert record["layer.gradient_norm"].step[0] == 0
    assert record["layer.gradient_norm"].step[-1] == 30


def test_a_given_record_is_added_to(problem):
    record = Record(facts={"known": 1})
    _, same = fit(problem, Recipe(steps=5), probes=(), record=record)
    assert same is record and record.facts == {"known": 1}
    assert len(record["loss"].step) == 5


# -- A general loss ----------------------------------------------------------------------


def test_a_general_loss_carries_state_and_reports_metrics():
    def loss(model, batch, key, state):
        x, y = batch
        error = ((apply(model, x) - y) ** 2).mean()
        return error, Aux(
            {"count": state["count"] + 1, "last": error}, {"twice": 2 * error}
        )

    state = {"count": jnp.int32(0), "last": jnp.float32(0)}
    problem = Problem(network(), loss, regression(), state=state)
    fitted, record = fit(problem, Recipe(steps=25), probes=())
    assert int(fitted.state["count"]) == 25
    assert fitted.state["last"] == record["loss"].value[-1]
    np.testing.assert_array_equal(
        record["metric.twice"].value, 2 * record["loss"].value
    )


def test_accumulation_threads_the_state_through_every_batch():
    def loss(model, batch, key, state):
        return squared(model, batch), Aux(state + 1)

    problem = Problem(network(), loss, regression(), state=jnp.int32(0))
    fitted, _ = fit(problem, Recipe(steps=5, accumulate=3, batch_size=8), probes=())
    assert int(fitted.state) == 15


def test_a_state_that_changes_its_form_is_refused():
    loss = lambda model, batch, key, state: (squared(model, batch), Aux(None))
    with pytest.raises(InputError, match="state of another form"):
        fit(Problem(network(), loss, regression(), state=jnp.int32(0)))


def test_a_metric_that_is_not_a_scalar_is_refused():
    def loss(model, batch, key, state):
        return squared(model, batch), Aux(state, {"each": batch[0][:, 0]})

    with pytest.raises(InputError, match=r"metric `each` has shape \[32\]"):
        fit(Problem(network(), loss, regression()))


# -- What ends a run ---------------------------------------------------------------------


def test_a_budget_of_seconds_ends_the_run(problem):
    _, record = fit(problem, Recipe(steps=10**7, batch_size=8), probes=(), seconds=0.5)
    assert record.meta["ended"] == "out of time"
    assert 0 < record.meta["steps"] < 10**7
    assert len(record["loss"].step) == record.meta["steps"]


def test_ctrl_c_leaves_a_usable_record(problem, tmp_path):
    def prepare(context):
        def measure(snapshot):
            if snapshot.step >= 60:
                raise KeyboardInterrupt
            return {"here": 1.0}

        return measure

    recipe = Recipe(steps=500)
    fitted, record = fit(
        problem,
        recipe,
        probes=[Probe("interrupting", prepare, every=20)],
        checkpoint=tmp_path / "run",
    )
    assert record.meta["ended"] == "interrupted" and record.meta["steps"] == 60
    assert len(record["loss"].step) == 60
    record.save(tmp_path / "record.npz")
    assert Record.load(tmp_path / "record.npz").meta["ended"] == "interrupted"
    unbroken, _ = fit(problem, replace(recipe, steps=60), probes=())
    assert_bitwise_equal(fitted.model, unbroken.model)
    _, record = fit(problem, recipe, probes=(), checkpoint=tmp_path / "run")
    assert record.meta["ended"] == "completed" and len(record["loss"].step) == 500


def test_ctrl_c_while_an_iterable_is_read():
    x, y = regression()

    def batches():
        for i in range(70):
            if i == 41:
                raise KeyboardInterrupt
            yield x[:8], y[:8]

    counts = iter(range(100))

    def source():
        return batches() if next(counts) > 1 else [(x[:8], y[:8])]

    _, record = fit(Problem(network(), squared, source), Recipe(steps=60), probes=())
    assert record.meta["ended"] == "interrupted"
    assert 0 < len(record["loss"].step) == record.meta["steps"]


def test_unusable_options_are_refused(problem):
    for option in ({"budget": 0.0}, {"keep": 0}, {"every": 0}, {"steps_per_call": 0}):
        (name,) = option
        with pytest.raises(InputError, match=f"`{name}`"):
            fit(problem, Recipe(steps=2), **option)


# -- Probes ------------------------------------------------------------------------------


def test_a_probe_that_fails_does_not_cost_the_run(problem):
    def prepare(context):
        def measure(snapshot):
            raise RuntimeError("no such thing\nand more")

        return measure

    _, record = fit(problem, Recipe(steps=20), probes=[Probe("broken", prepare), NORMS])
    assert record.meta["ended"] == "completed"
    assert record.missing["probe broken"] == "RuntimeError: no such thing"
    assert "layer.gradient_norm" in record


def test_a_probe_that_cannot_be_prepared_does_not_cost_the_run(problem):
    def prepare(context):
        raise ValueError("not for this model")

    _, record = fit(problem, Recipe(steps=20), probes=[Probe("unfit", prepare), NORMS])
    assert record.meta["ended"] == "completed"
    assert record.missing["probe unfit"] == "ValueError: not for this model"


@pytest.mark.slow
def test_probes_change_nothing(problem):
    recipe = Recipe(steps=60)
    looked, _ = fit(problem, recipe)
    alone, _ = fit(problem, recipe, probes=())
    assert_bitwise_equal(looked.model, alone.model)


def test_an_expensive_probe_is_taken_seldom(problem):
    """It costs 100 updates or more; at a budget of 10 % a thousand lie between."""

    def prepare(context):
        def measure(snapshot):
            time.sleep(0.05)
            return {"slow": 1.0}

        return measure

    _, record = fit(
        problem, Recipe(steps=4000, batch_size=8), probes=[Probe("slow", prepare)]
    )
    seconds = record.meta["steps"] / record.meta["steps_per_second"]
    allowed = 0.10 * seconds / 0.05
    # the first, the first timing and the last are taken whatever the budget is
    assert len(record["slow"].step) <= 3 + 2 * allowed
    assert record.meta["overhead"] > 0


def test_complex_parameters_go_downhill():
    target = jnp.asarray([1 + 2j, -3 - 1j], jnp.complex64)

    def distance(model, batch):
        return jnp.mean(batch) * 0 + jnp.sum(jnp.abs(model["w"] - target) ** 2)

    start = {"w": jnp.zeros(2, jnp.complex64)}
    problem = Problem(start, distance, np.ones((8, 1), np.float32))
    recipe = Recipe("sgd", 0.1, steps=100)
    model = fit(problem, recipe, probes=()).fitted.model
    np.testing.assert_allclose(model["w"], target, atol=1e-5)


def test_a_loss_may_be_a_python_number():
    problem = Problem(network(), lambda model, batch: 1.0, regression())
    record = fit(problem, Recipe(steps=3), probes=()).record
    np.testing.assert_array_equal(record["loss"].value, 1.0)


def test_what_fails_while_the_program_runs_is_told_in_one_sentence():
    def fails(value):
        raise RuntimeError("the disk is gone")

    def loss(model, batch):
        value = squared(model, batch)
        shape = jax.ShapeDtypeStruct((), jnp.float32)
        return value + jax.pure_callback(fails, shape, jax.lax.stop_gradient(value))

    with pytest.raises(InputError, match=r"fails while it runs.*the disk is gone"):
        fit(Problem(network(), loss, regression()), Recipe(steps=3), probes=())


def test_a_recipe_and_a_problem_are_told_from_other_things(problem):
    with pytest.raises(InputError, match=r"`steepest\.Recipe` is needed .* a dict"):
        fit(problem, {"learning_rate": 1.0})
    with pytest.raises(InputError, match=r"`steepest\.Problem` is needed .* a str"):
        fit("digits/mlp")
