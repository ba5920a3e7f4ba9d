"""`steepest spectrum`: its numbers against closed forms, its words, what is refused."""

import json
import re

import numpy as np
import pytest


QUADRATIC = """
    import jax.numpy as jnp, numpy as np, steepest
    from steepest import Recipe

    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 5)).astype(np.float32) * np.array([3, 2, 1, 1, 0.5], np.float32)
    y = rng.normal(size=64).astype(np.float32)

    def loss(model, batch):
        x, y = batch
        return jnp.mean((x @ model["w"] + model["b"] - y) ** 2) / 2

    def saddle(model, batch):
        return loss(model, batch) - 2 * jnp.sum(model["b"] ** 2)

    model = {"w": jnp.ones(5), "b": jnp.zeros(())}
    problem = steepest.Problem(model=model, loss=loss, data=(x, y))
    uphill = steepest.Problem(model=model, loss=saddle, data=(x, y))
    recipe = Recipe(optimizer="sgd", learning_rate=0.1, batch_size=64)
    broken = steepest.Problem(model=model, loss=lambda m, b: jnp.sqrt(-m["b"] - 1), data=(x, y))
"""


@pytest.fixture
def quadratic(program):
    return program("", base=QUADRATIC)


def hessian():
    """In float64, with the bias as a first column of ones: paths are sorted b, w."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 5)).astype(np.float32) * np.array(
        [3, 2, 1, 1, 0.5], np.float32
    )
    X = np.c_[np.ones(64), x.astype(float)]
    return X.T @ X / 64


def answer(steepest, *arguments):
    result = steepest("spectrum", *arguments, "--json", "--no-progress")
    assert result.status == 0, result
    return json.loads(result.out)


def test_the_numbers_are_those_of_the_matrix(steepest, quadratic):
    told = answer(steepest, f"{quadratic}:problem", "--top", 3, "--lowest", 2)
    lam = np.linalg.eigvalsh(hessian())
    np.testing.assert_allclose(told["largest"]["values"], lam[::-1][:3], rtol=1e-5)
    np.testing.assert_allclose(told["smallest"]["values"], lam[:2], rtol=1e-4)
    assert told["trace"]["value"] == pytest.approx(lam.sum(), rel=1e-5)
    assert told["condition"]["value"] == pytest.approx(lam[-1] / lam[0], rel=1e-3)
    assert told["condition"]["exact"] and told["exact"] and told["parameters"] == 6
    alpha = lam[-1] / 100
    dimension = (lam / (lam + alpha)).sum()
    assert told["effective_dimension"]["value"] == pytest.approx(dimension, rel=1e-4)
    assert told["negative_mass"]["value"] == 0
    # sgd: η λ < 2.
    assert told["largest_step"] == pytest.approx(2 / lam[-1], rel=1e-5)
    assert told["ratio"] == pytest.approx(0.1 * lam[-1] / 2, rel=1e-5)


def test_blocks_are_those_of_the_arrays(steepest, quadratic):
    told = answer(steepest, f"{quadratic}:problem", "--by-layer")
    H = hessian()
    found = {layer["path"]: layer["value"] for layer in told["layers"]}
    assert found["b"] == pytest.approx(1.0, rel=1e-5)
    assert found["w"] == pytest.approx(np.linalg.eigvalsh(H[1:, 1:])[-1], rel=1e-5)


def test_part_by_part_gives_the_same(steepest, quadratic):
    whole = answer(steepest, f"{quadratic}:problem", "--top", 2)
    parts = answer(steepest, f"{quadratic}:problem", "--top", 2, "--batch-size", 16)
    # Sums in another order, in float32.
    np.testing.assert_allclose(
        whole["largest"]["values"], parts["largest"]["values"], rtol=1e-5
    )


def test_a_text_says_where_it_stands_and_what_it_means(steepest, quadratic):
    result = steepest("spectrum", f"{quadratic}:problem", "--density", "--no-progress")
    assert result.status == 0, result
    assert "before training, on 64 training examples" in result.out
    for word in ("largest", "smallest", "trace", "κ =", "dimension", "negative"):
        assert word in result.out
    assert "All curvature that was found is positive." in " ".join(result.out.split())
    assert re.search("[▂▃▄▅▆▇█]", result.out)


def test_of_clipped_updates_no_largest_step_is_told(steepest, quadratic):
    told = answer(steepest, f"{quadratic}:problem", "--set", "clip_norm=0.01")
    assert told["limit"] is None and told["ratio"] is None
    assert told["why_no_step"].startswith("clipping by norm")
    assert "learning rate" not in told["verdict"]


def test_a_rate_beyond_the_limit_and_negative_curvature_are_called_so(
    steepest, quadratic
):
    told = answer(steepest, f"{quadratic}:uphill", "--set", "learning_rate=0.9")
    assert "times the limit of the quadratic model" in told["verdict"]
    assert "`steepest check` judges the run" in told["verdict"]
    assert "this is no minimum" in told["verdict"]
    assert told["negative_mass"]["value"] > 0


def test_adam_has_a_limit_only_when_it_has_moved(steepest, quadratic):
    adam = (f"{quadratic}:problem", "--set", "optimizer=adam")
    before, after = answer(steepest, *adam), answer(steepest, *adam, "--steps", 20)
    assert before["largest_step"] is None and "--steps" in before["why_no_step"]
    assert after["step"] == 20 and after["limit"] == pytest.approx(38)
    assert after["largest_step"] == pytest.approx(38 / after["seen_curvature"])


def test_the_picture_is_written(steepest, quadratic, tmp_path):
    path = tmp_path / "spectrum.svg"
    result = steepest("spectrum", f"{quadratic}:problem", "--picture", path)
    assert result.status == 0 and "<svg" in path.read_text("utf-8")
    assert str(path) in result.out


def test_a_part_of_the_data_is_said_to_be_biased(steepest, quadratic):
    result = steepest("spectrum", f"{quadratic}:problem", "--examples", 16)
    assert "on 16 of 64 training examples" in result.out and "biased" in result.out


def test_help_has_examples(steepest):
    assert "steepest spectrum digits/mlp" in steepest("spectrum", "--help").out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--top", 0), "--top"),
        (("--lowest", 0), "--lowest"),
        (("--batch-size", 0), "--batch-size"),
        (("--examples", 0), "--examples"),
        (("--steps", -1), "--steps"),
        (("--picture", "spectrum.png"), ".svg"),
        (("--set", "learning_rat=1"), "learning_rate"),
    ],
)
def test_options_without_sense_are_refused(refused, quadratic, arguments, word):
    assert word in refused("spectrum", f"{quadratic}:problem", *arguments)


def test_what_has_no_curvature_is_refused(refused, quadratic):
    assert "not finite" in refused("spectrum", f"{quadratic}:broken")


def test_a_record_has_no_loss_to_differentiate(refused, tmp_path):
    from steepest import Record

    record = Record()
    record.log(0, loss=1.0)
    record.save(tmp_path / "run.npz")
    assert "record" in refused("spectrum", tmp_path / "run.npz")


def test_an_unknown_problem_is_refused(refused):
    assert "digits" in refused("spectrum", "digit/mlp")


def test_ctrl_c_while_training_stops_without_an_answer(
    steepest, quadratic, monkeypatch
):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("steepest.training._objective.fit", interrupted)
    result = steepest("spectrum", f"{quadratic}:problem", "--steps", 5)
    assert (result.status, result.out) == (130, "") and "stopped" in result.err
