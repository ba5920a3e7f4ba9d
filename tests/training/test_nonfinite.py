"""A non-finite loss stops the run, keeps the last good state, and says where it began."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import Aux, Problem, Recipe, fit

from .conftest import assert_bitwise_equal, network, regression, squared


def line_of(text):
    """Where this file says `text`, as a place reads."""
    with open(__file__) as file:
        number = next(i for i, line in enumerate(file, 1) if text in line)
    return f"test_nonfinite.py:{number}"


def descent(loss, w, rate=1.0, precision="float32", **options):
    """SGD on one number: what the losses are is known."""
    problem = Problem({"w": jnp.float32(w)}, loss, np.zeros((8, 1), np.float32))
    recipe = Recipe("sgd", rate, steps=400, precision=precision)
    return fit(problem, recipe, probes=(), **options)


@pytest.mark.parametrize("steps_per_call", [1, 50, None])
def test_a_value_that_is_not_finite(steps_per_call):
    """w falls by 1 an update: the log of 0 is met at update 100, in mid-block."""

    def loss(model, batch):
        value = jnp.sqrt(model["w"] - jax.lax.stop_gradient(model["w"]) + 1)
        fall = 2 * (value - 1)  # gradient 1, value 0
        fine = jax.lax.stop_gradient(model["w"])
        return fall + jnp.where(fine > 0.5, 0.0, jnp.log(fine))  # the logarithm

    fitted, record = descent(loss, 100.0, steps_per_call=steps_per_call)
    origin = record.meta["nonfinite"]
    assert record.meta["ended"] == "non-finite"
    assert origin["step"] == 100 and origin["primitive"] == "log"
    assert origin["where"] == "value" and origin["place"] == line_of("# the logarithm")
    assert "log" in origin["sentence"]
    assert float(fitted.model["w"]) == 0.0  # the last good state, exact in float32
    assert len(record["loss"].step) == 100 and record.meta["steps"] == 100
    assert np.isfinite(record["loss"].value).all()


def test_a_gradient_that_is_not_finite_while_the_loss_is():
    def loss(model, batch):
        w = model["w"]
        return w + 0.0 * jnp.sqrt(jnp.maximum(w, 0.0))  # the root

    fitted, record = descent(loss, 70.0)
    origin = record.meta["nonfinite"]
    assert origin["step"] == 70 and origin["where"] == "gradient"
    assert origin["place"] == line_of("# the root")
    assert float(fitted.model["w"]) == 0.0


@pytest.mark.slow
def test_the_good_state_is_that_of_a_run_that_stops_there():
    x, y = regression()

    def loss(model, batch, key, state):
        value = squared(model, batch)
        bad = jnp.where(state == 77, jnp.log(-jnp.float32(1.0) * (state == 77)), 0.0)
        return value + bad, Aux(state + 1)

    problem = Problem(network(), loss, (x, y), state=jnp.int32(0))
    recipe = lambda steps: Recipe(steps=steps, learning_rate=1e-2)
    with jax.numpy_dtype_promotion("standard"):
        broken, record = fit(problem, recipe(300), probes=())
        whole, _ = fit(problem, recipe(77), probes=())
    assert record.meta["nonfinite"]["step"] == 77
    assert_bitwise_equal(broken.model, whole.model)
    assert int(broken.state) == 77


def test_the_bad_one_of_several_accumulated_batches_is_found():
    x = np.ones((64, 1), np.float32)
    x[40:48] = -1.0

    def loss(model, batch):
        return jnp.mean(model["w"] * jnp.log(batch))  # of the data

    problem = Problem({"w": jnp.float32(1)}, loss, x)
    recipe = Recipe(steps=9, batch_size=8, accumulate=8, shuffle=False)
    _, record = fit(problem, recipe, probes=())
    origin = record.meta["nonfinite"]
    assert origin["step"] == 0 and origin["primitive"] == "log"
    assert origin["place"] == line_of("# of the data")


def test_a_bad_batch_of_an_iterable_is_found():
    def batches():
        for i in range(90):
            x = np.ones((8, 1), np.float32)
            yield np.zeros_like(x) if i == 65 else x

    def loss(model, batch):
        return jnp.mean(model["w"] * jnp.log(batch))  # of a batch

    problem = Problem({"w": jnp.float32(1)}, loss, batches)
    _, record = fit(problem, Recipe(steps=90), probes=())
    origin = record.meta["nonfinite"]
    assert origin["step"] == 65 and origin["place"] == line_of("# of a batch")


def test_overflow_in_float16_is_skipped_and_the_run_recovers():
    """The first scale, 2¹⁵, overflows a gradient of 8: two halvings cure it."""

    def loss(model, batch):
        return 8 * jnp.abs(model["w"] - batch).mean()

    problem = Problem({"w": jnp.float32(1)}, loss, np.zeros((8,), np.float32))
    recipe = Recipe("sgd", 1e-3, steps=230, precision="float16")
    fitted, record = fit(problem, recipe, probes=())
    scale, w = record["loss_scale"].value, fitted.model["w"]
    assert record.meta["ended"] == "completed" and w.dtype == jnp.float32
    skipped = ~np.isfinite(record["gradient_norm"].value)
    n = int(skipped[:20].sum())
    assert n >= 1 and skipped[:n].all() and not skipped[n:201].any()
    np.testing.assert_array_equal(scale[: n + 1], 2.0 ** (15 - np.arange(n + 1)))
    assert scale[n + 200] == 2 * scale[n]  # after 200 good updates
    np.testing.assert_array_equal(record["loss"].value[: n + 1], 8.0)


def test_a_gradient_that_overflows_at_any_scale_ends_the_run_in_float16():
    def loss(model, batch):
        w = model["w"]
        return (w + 0 * jnp.sqrt(w - w)).astype(jnp.float32) + 0 * batch.sum().astype(
            jnp.float32
        )

    _, record = descent(loss, 1.0, rate=1e-3, precision="float16")
    origin = record.meta["nonfinite"]
    assert origin["where"] == "gradient" and origin["step"] == 15  # 2¹⁵ → 1


def test_an_overflow_of_the_loss_itself_in_float16():
    def loss(model, batch):
        return jnp.exp(12 * model["w"]) + 0 * batch.sum()  # beyond 65504

    _, record = descent(loss, 1.0, rate=1e-6, precision="float16")
    origin = record.meta["nonfinite"]
    assert origin["step"] == 0 and origin["primitive"] == "exp"
    assert origin["place"] == line_of("# beyond 65504")


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_a_narrow_loss_leaves_the_parameters_in_float32(problem, precision):
    seen = set()

    def loss(model, batch):
        seen.add((str(batch[0].dtype), str(model["first"]["W"].dtype)))
        return squared(model, batch)

    x, y = regression()
    recipe = Recipe(steps=150, precision=precision, learning_rate=1e-2)
    fitted, record = fit(Problem(network(), loss, (x, y)), recipe, probes=())
    assert all(a.dtype == jnp.float32 for a in jax.tree.leaves(fitted.model))
    assert (precision, precision) in seen
    _, reference = fit(
        Problem(network(), squared, (x, y)),
        Recipe(steps=150, learning_rate=1e-2),
        probes=(),
    )
    # Eight and eleven bits of the batch and of every activation: 2⁻⁸ each, some ten of
    # them in a row.
    np.testing.assert_allclose(
        record["loss"].value[:20], reference["loss"].value[:20], rtol=0.05
    )
    assert record["loss"].value[-20:].mean() < 0.2 * record["loss"].value[:5].mean()
