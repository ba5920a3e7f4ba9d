"""The ground at the end of a run, against dense Hessians and closed forms."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from small import classes, classifier, net, weights

from steepest import Problem, Recipe, Record, fit
from steepest.checkup.preflight._krylov import krylov
from steepest.checkup.preflight.ground import SIZES, measure_after, plan
from steepest.training.probes.keeping import keep_end
from steepest.training.probes.moments import MOMENTS


RECIPE = Recipe(optimizer="momentum", learning_rate=0.05, batch_size=60, steps=60)


def measured(problem, recipe=RECIPE, seconds=1e3):
    keeping, end = keep_end()
    _, record = fit(problem, recipe, probes=(MOMENTS, keeping), record=Record())
    measure_after(end(), record, seconds)
    return record, end()


def dense(end):
    """The Hessian, gradient and loss by JAX alone."""
    from jax.flatten_util import ravel_pytree

    context, carry = end.context, end.snapshot.carry
    theta, unravel = ravel_pytree(carry.params)
    f = lambda t: context.problem.loss(unravel(t), context.batch)
    H, g = jax.jit(lambda t: (jax.hessian(f)(t), jax.grad(f)(t)))(theta)
    return np.asarray(H, np.float64), np.asarray(g, np.float64), jax.jit(f), theta


@pytest.fixture(scope="module")
def run():
    return measured(classifier(weights((4, 8), (8, 3)), net))


@pytest.fixture(scope="module")
def truth(run):
    return dense(run[1])


def test_the_ends_of_the_spectrum_are_those_of_the_dense_hessian(run, truth):
    record, _ = run
    values = np.linalg.eigvalsh(truth[0])
    for place, name in ((0, "lowest"), (-1, "highest")):
        found = record.facts[f"curvature.{name}"]
        error = record.facts[f"curvature.{name}_residual"]
        # float32: its rounding relative to the largest eigenvalue, and the residual
        assert found == pytest.approx(values[place], abs=error + 1e-5 * values[-1])


def test_the_quadrature_has_the_trace_and_the_dimension_of_the_dense_hessian(
    run, truth
):
    record, _ = run
    values = np.linalg.eigvalsh(truth[0])
    value, sem = record.facts["curvature.trace"]
    # four probes: their standard error is itself uncertain, six of them are enough
    assert abs(value - values.sum()) < 6 * sem + 1e-5
    alpha = 1e-3 * values[-1]
    positive = np.maximum(values, 0)
    value, sem = record.facts["curvature.effective_dimension"]
    assert abs(value - np.sum(positive / (positive + alpha))) < 6 * sem + 0.5
    weight = record.facts["curvature.ritz_weights"]
    np.testing.assert_allclose(weight.sum(axis=1), 1, rtol=1e-10)
    assert weight.shape == record.facts["curvature.ritz_values"].shape


def test_gradient_and_the_curvature_along_it_are_right(run, truth):
    record, _ = run
    H, g, _, _ = truth
    facts = record.facts
    # float32 products
    assert facts["curvature.gradient_norm"] == pytest.approx(
        np.linalg.norm(g), rel=1e-4
    )
    along = g @ H @ g / (g @ g)
    assert facts["curvature.along_gradient"] == pytest.approx(along, rel=1e-3)


def test_the_line_follows_the_update_that_the_optimiser_would_make(run, truth):
    record, end = run
    H, g, f, theta = truth
    trace = np.concatenate(
        [np.ravel(x) for x in jax.tree.leaves(end.snapshot.carry.moments)]
    )
    u = -0.05 * (g + 0.9 * trace)
    facts = record.facts
    np.testing.assert_allclose(facts["curvature.step_sizes"], SIZES)
    assert facts["curvature.step_size"] == 1.0
    actual = [float(f(theta + np.float32(s) * u.astype(np.float32))) for s in SIZES]
    # both are float32 losses
    np.testing.assert_allclose(facts["curvature.step_actual"], actual, rtol=1e-5)
    model = float(f(theta)) + SIZES * (g @ u) + 0.5 * SIZES**2 * (u @ H @ u)
    np.testing.assert_allclose(facts["curvature.step_predicted"], model, rtol=1e-5)


def test_the_noise_scale_is_that_of_the_gradients_of_single_examples(run):
    record, end = run
    params, (x, y) = end.snapshot.carry.params, end.context.batch
    loss = end.context.problem.loss
    one = lambda a, b: jax.grad(loss)(params, (a[None], b[None]))
    each = jax.jit(jax.vmap(one))(x, y)
    rows = [
        np.asarray(a, np.float64).reshape(len(x), -1) for a in jax.tree.leaves(each)
    ]
    G = np.concatenate(rows, axis=1)
    trace = G.var(axis=0, ddof=1).sum()
    square = np.sum(G.mean(axis=0) ** 2) - trace / len(G)
    assert record.facts["noise.trace"][0] == pytest.approx(trace, rel=1e-4)
    assert record.facts["noise.gradient"][0] == pytest.approx(square, abs=1e-4 * trace)
    low, high = record.facts["noise.scale_interval"]
    assert low <= record.facts["noise.scale"] <= high


# -- Where it stands -------------------------------------------------------------------


def factors(a, b, **more):
    """½(ab − 1)² of two numbers: a saddle at 0, minima on ab = 1."""

    def loss(params, batch):
        return 0.5 * (params["a"] * params["b"] - 1.0) ** 2 * jnp.mean(batch) + sum(
            0.5 * c * params["c"] ** 2 for c in [1.0]
        )

    start = {"a": jnp.float32(a), "b": jnp.float32(b), "c": jnp.float32(0)}
    return Problem(start, loss, np.ones(60, np.float32), **more)


STILL = replace(RECIPE, optimizer="sgd", learning_rate=1e-12, steps=30)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("a", "b", "kind"),
    [
        (0.0, 0.0, "saddle"),
        (1.0, 1.0, "inconclusive"),  # a valley of minima: one eigenvalue is zero
        (2.0, 1.0, "moving"),
    ],
)
def test_the_verdict_is_that_of_the_critical_point(a, b, kind):
    record, _ = measured(factors(a, b), STILL)
    assert record.facts["curvature.kind"] == kind
    assert record.facts["curvature.reason"].endswith(".")


def test_a_minimum_is_called_one():
    def loss(params, batch):
        return jnp.sum((params - 1) ** 2) * jnp.mean(batch)

    problem = Problem(jnp.ones(3), loss, np.ones(60, np.float32))
    record, _ = measured(problem, STILL)
    assert record.facts["curvature.kind"] == "minimum"
    assert record.facts["curvature.lowest"] == pytest.approx(2.0, rel=1e-5)


# -- What is left out ------------------------------------------------------------------


def test_without_time_the_reason_is_given():
    record, _ = measured(classifier(weights((4, 8), (8, 3)), net), seconds=0.01)
    assert "curvature.kind" not in record.facts
    assert "too little time" in record.missing["curvature.ritz_values"]
    assert "too little time" in record.missing["noise.scale"]


def test_an_interrupted_run_has_no_end():
    record = Record()
    measure_after(None, record, 10.0)
    assert record.missing["noise.scale"] == "the run was interrupted"


def test_a_slow_program_gets_fewer_products_and_none_if_there_is_no_time(run):
    record, end = run
    slow = Record(meta=dict(record.meta) | {"steps_per_second": 20.0})
    fast = Record(meta=dict(record.meta) | {"steps_per_second": 1e6})
    probes, steps = plan(end, slow, 10.0)
    assert 0 < probes * steps < np.prod(plan(end, fast, 10.0))
    slow.meta["steps_per_second"] = 0.1
    assert plan(end, slow, 10.0) == (0, 0)


@pytest.mark.slow
def test_a_loss_that_couples_its_examples_has_no_noise_scale():
    def apply(params, x):
        z = x @ params[0]
        mean, std = z.mean(axis=0, keepdims=True), z.std(axis=0, keepdims=True)
        z = (z - mean) / (std + 1e-2)
        return jax.nn.relu(z) @ params[1]

    record, _ = measured(classifier(weights((4, 8), (8, 3)), apply, classes()))
    assert "no mean over the examples" in record.missing["noise.scale"]
    assert "curvature.highest" in record.facts


def test_an_exhausted_krylov_space_is_complete():
    """diag(3, 1, 0, …, 0) from signs: three different eigenvalues, three steps."""
    d = np.zeros(50)
    d[:2] = 3.0, 1.0
    section = krylov(lambda v: d * v, 50, 2, 20)
    for nodes, weights_ in zip(section.nodes, section.weights, strict=True):
        kept = nodes[weights_ > 1e-12]
        # of a product in float64
        np.testing.assert_allclose(kept, [0, 1, 3], atol=1e-9)
        np.testing.assert_allclose(weights_[weights_ > 1e-12], [0.96, 0.02, 0.02])
