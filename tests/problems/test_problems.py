"""Named and random problems: they run, and sick ones differ in their fault alone."""

import functools
from dataclasses import fields, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from steepest import InputError
from steepest.checkup import RULES
from steepest.data import load
from steepest.problems import (
    DEFAULT,
    FAULTS,
    Case,
    describe,
    draw,
    make,
    names,
    programs,
)
from steepest.problems._named import HEALTHY, VARIANTS
from steepest.problems.spec import build
from steepest.training._validate import validate
from steepest.training.problem import first_batch, general_loss


KEY = jax.random.key(0)
REAL = ("digits", "breast-cancer", "wine", "iris", "diabetes")
SICK = [(base, fault) for base, faults in VARIANTS.items() for fault in faults]
ASKED = (
    "raw-inputs", "log-softmax", "deep-sigmoid", "step-too-large", "step-too-small",
    "dead-relu", "summed-loss", "broadcast", "softmax-twice", "sorted", "leakage",
    "few-samples",
)  # fmt: skip
#: Faults whose first loss may be anything.
NOT_FINITE = ("missing-values", "log-softmax-overflow", "exploding")


once = functools.cache(make)


def first_loss(case: Case):
    batch = first_batch(case.problem, case.recipe.batch_size)
    return general_loss(case.problem)(case.problem.model, batch, KEY, None)[0]


def same(a, b):
    """Whether two pytrees of arrays are equal to the bit."""
    a, b = jax.tree.leaves(a), jax.tree.leaves(b)
    return len(a) == len(b) and all(map(np.array_equal, a, b))


def test_there_are_six_on_real_data_each_in_two_sick_variants_or_more():
    real = [base for base in HEALTHY if base.split("/")[0] in REAL]
    assert len(real) >= 6 and all(len(VARIANTS[base]) >= 2 for base in real)
    assert set(ASKED) <= {fault for _, fault in SICK}
    assert DEFAULT in names() and len(names()) == len(set(names()))
    assert set(names()) == {*HEALTHY, *(f"{base}/{fault}" for base, fault in SICK)}


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_every_problem_can_be_trained_and_begins_at_a_finite_loss(name):
    case = once(name)
    validate(case.problem, case.recipe)
    loss = first_loss(case)
    assert loss.shape == ()
    assert case.fault in NOT_FINITE or np.isfinite(loss)
    assert case.problem.name == name
    assert case.about and case.about == describe(name)
    assert (case.fault == "") == (name in HEALTHY)
    x, y = case.problem.data
    predictions = case.problem.predict(case.problem.model, jnp.asarray(x[:5]))
    assert len(predictions) == 5 and len(x) == len(y)


DATA = ("data", "prepare", "prepare_targets", "raw_factor", "change_data")
MODEL = ("data", "model", "hidden", "activation", "outputs", "change_model")
RECIPE = ("optimizer", "learning_rate", "batch_size", "epochs", "weight_decay", "clip_norm", "epsilon", "shuffle", "seed")  # fmt: skip


def assert_differ_in_the_fault_alone(spec, fault, healthy, sick):
    planted = FAULTS[fault].plant(spec)
    touched = {
        f.name
        for f in fields(spec)
        if getattr(planted, f.name) != getattr(spec, f.name)
    }
    assert touched, "the fault changes nothing"
    known = {*DATA, *MODEL, *RECIPE, "loss", "predict", "recipe"}
    assert touched <= known - {"seed", "data"}
    touched = (touched - {"recipe"}) | set(planted.recipe)
    data = [(c.problem.data, c.problem.validation) for c in (healthy, sick)]
    assert same(*data) or touched & set(DATA)
    assert same(healthy.problem.model, sick.problem.model) or touched & set(MODEL)
    assert (healthy.problem.loss is sick.problem.loss) == ("loss" not in touched)
    assert (healthy.problem.predict is sick.problem.predict) == (
        "predict" not in touched
    )
    for name in RECIPE:
        equal = getattr(healthy.recipe, name) == getattr(sick.recipe, name)
        assert equal == (name not in touched)
    return touched


@pytest.mark.parametrize(("base", "fault"), SICK)
def test_a_sick_program_and_its_twin_differ_in_the_fault_alone(base, fault):
    spec = HEALTHY[base][0]
    healthy, sick = once(base), once(f"{base}/{fault}")
    assert FAULTS[fault].fits(spec)
    touched = assert_differ_in_the_fault_alone(spec, fault, healthy, sick)
    # and what was touched shows: in the data, the first weights, the loss, the recipe
    if not touched & {*RECIPE, "loss", "predict"}:
        assert not same(
            (healthy.problem.data, healthy.problem.model),
            (sick.problem.data, sick.problem.model),
        )


def test_the_rules_that_should_find_a_fault_exist():
    ids = {rule.id for rule in RULES}
    assert all(fault.rules and set(fault.rules) <= ids for fault in FAULTS.values())


@pytest.mark.parametrize("seed", [0, 1])
def test_seeds_give_other_splits_and_weights_and_the_same_seed_the_same(seed):
    first, again = make("wine/mlp", seed=seed), make("wine/mlp", seed=seed)
    other = make("wine/mlp", seed=seed + 1)
    assert same(first.problem.data, again.problem.data)
    assert same(first.problem.model, again.problem.model)
    assert not same(first.problem.data, other.problem.data)
    assert not same(first.problem.model, other.problem.model)


# -- Each fault is there -----------------------------------------------------------------


def arrays(name):
    problem = once(name).problem
    return *problem.data, *problem.validation


def test_raw_inputs_are_on_unlike_scales_and_prepared_ones_are_not():
    raw, prepared = (arrays(n)[0] for n in ("wine/mlp/raw-inputs", "wine/mlp"))
    assert raw.std(0).max() / raw.std(0).min() > 100
    np.testing.assert_allclose(prepared.std(0), 1, rtol=1e-4)
    assert arrays("digits/mlp/raw-inputs")[0].max() == 255
    assert arrays("digits/mlp")[0].max() == 1


def test_the_data_faults_are_planted():
    _, y, *_ = arrays("digits/mlp/sorted")
    assert (np.diff(y) >= 0).all() and not make("digits/mlp/sorted").recipe.shuffle
    x, _, held, _ = arrays("digits/mlp/leakage")
    rows = {row.tobytes() for row in x}
    leaked = np.mean([row.tobytes() in rows for row in held])
    assert 0.25 < leaked < 0.4
    clean, _, held, _ = arrays("digits/mlp")
    assert not {row.tobytes() for row in clean} & {row.tobytes() for row in held}
    x, *_ = arrays("digits/mlp/missing-values")
    assert 0.005 < np.isnan(x).any(axis=1).mean() < 0.02
    counts = np.bincount(arrays("breast-cancer/mlp/rare-class")[1])
    assert counts.max() > 10 * counts.min()
    assert len(arrays("digits/mlp/few-samples")[0]) == 60
    assert np.abs(arrays("diabetes/mlp/unscaled-target")[1]).mean() > 1e4


def test_the_dead_are_dead_and_the_healthy_alive():
    for name, share in (("digits/mlp/dead-relu", 1.0), ("digits/mlp", 0.0)):
        model, x = make(name).problem.model, arrays(name)[0]
        z = x @ np.asarray(model.weights[0]) + np.asarray(model.biases[0])
        assert (z.max(axis=0) <= 0).mean() == pytest.approx(share, abs=0.05)


@pytest.mark.parametrize(
    ("sick", "ratio"),
    [
        (programs.summed_cross_entropy, 32.0),
        (programs.log_of_softmax, 1.0),
        (programs.hand_written_softmax, 1.0),
    ],
)
def test_losses_that_are_wrong_only_numerically_or_in_scale_agree_where_that_is_no_matter(
    sick, ratio
):
    case = make("digits/mlp")
    batch = first_batch(case.problem, 32)
    healthy = programs.cross_entropy(case.problem.model, batch, KEY)
    np.testing.assert_allclose(
        sick(case.problem.model, batch, KEY), ratio * healthy, rtol=1e-5
    )


def test_the_broadcast_loss_compares_every_prediction_with_every_target():
    case = make("diabetes/mlp/broadcast")
    x, y = first_batch(case.problem, 8)
    outputs = np.asarray(case.problem.model(x))
    expected = np.mean([(o - t) ** 2 for o in outputs[:, 0] for t in np.asarray(y)])
    loss = programs.broadcast_squared_error(case.problem.model, (x, y), KEY)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)


def test_a_softmax_over_one_unit_says_one_and_learns_nothing():
    case = make("breast-cancer/mlp/one-unit-softmax")
    batch = first_batch(case.problem, 16)
    gradient = jax.grad(lambda m: case.problem.loss(m, batch, KEY))(case.problem.model)
    assert all(not np.any(leaf) for leaf in jax.tree.leaves(gradient))


def test_what_is_cut_off_has_no_gradient():
    case = make("iris/mlp/cut-off")
    batch = first_batch(case.problem, 16)
    gradient = jax.grad(lambda m: case.problem.loss(m, batch, KEY))(case.problem.model)
    assert not gradient.weights[0].any() and gradient.weights[-1].any()


# -- At random ---------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_a_draw_is_decided_by_its_seed_and_its_twin_is_healthy(seed):
    first, again, twin = draw(seed), draw(seed), draw(seed, None)
    assert first.fault in FAULTS and first.fault == again.fault and twin.fault == ""
    assert same(first.problem.data, again.problem.data)
    assert same(first.problem.model, again.problem.model)
    assert first.recipe == again.recipe
    validate(first.problem, first.recipe)
    assert np.isfinite(first_loss(twin))
    assert first.fault in NOT_FINITE or np.isfinite(first_loss(first))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_every_fault_that_fits_a_draw_leaves_the_rest_of_its_twin(seed, monkeypatch):
    specs = []
    keep = lambda spec: specs.append(spec) or build(spec)
    monkeypatch.setattr("steepest.problems._named.build", keep)
    twin = draw(seed, None)
    (spec,) = specs
    for name, fault in FAULTS.items():
        if fault.fits(spec):
            assert_differ_in_the_fault_alone(spec, name, twin, draw(seed, name))
        else:
            with pytest.raises(InputError, match="cannot be planted"):
                draw(seed, name)


def test_draws_vary(monkeypatch):
    specs = []
    monkeypatch.setattr("steepest.problems._named.build", specs.append)
    for seed in range(40):
        draw(seed, None)
    assert len({spec.data for spec in specs}) >= 8
    assert len({spec.learning_rate for spec in specs}) >= 6
    assert {spec.optimizer for spec in specs} == {"adam", "momentum", "sgd"}
    assert {len(spec.hidden) for spec in specs} == {1, 2, 3}
    assert {"relu", "tanh", "gelu", "silu"} == {spec.activation for spec in specs}


# -- Names that are wrong ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("digit/mlp", "digits/mlp"),
        ("digits/mlp/log-sofmax", "digits/mlp/log-softmax"),
        ("iris", "iris/mlp"),
        ("digits/mlp/", "digits/mlp"),
        ("Wine/mlp", "wine/mlp"),
    ],
)
def test_a_name_that_is_not_there_is_refused_with_near_ones(name, near):
    with pytest.raises(InputError, match=f"no problem '{name}'.*Did you mean.*{near}"):
        make(name)


def test_a_name_like_no_other_is_refused_without_a_guess():
    with pytest.raises(InputError, match=r"no problem 'zzz'\. `steepest problems`"):
        make("zzz")


def test_a_fault_that_does_not_fit_is_refused():
    with pytest.raises(InputError, match="'broadcast' cannot be planted in 'iris/mlp'"):
        make("iris/mlp/broadcast")
    with pytest.raises(InputError, match="no fault 'flu'; there are raw-inputs"):
        draw(0, "flu")


def test_a_fault_that_fits_can_be_planted_where_it_is_not_listed():
    assert make("wine/mlp/softmax-twice").fault == "softmax-twice"


def test_the_healthy_program_is_put_together_from_its_data():
    spec = replace(HEALTHY["iris/mlp"][0], prepare=False)
    case = build(spec)
    x = np.concatenate([case.problem.data[0], case.problem.validation[0]])
    iris = load("iris").inputs
    assert sorted(map(bytes, x)) == sorted(map(bytes, iris))
    assert case.problem.notes["classes"] == ["setosa", "versicolor", "virginica"]
