"""`steepest landscape`: lines and planes of known losses, words, what is refused."""

import json

import numpy as np
import pytest
from test_spectrum_command import QUADRATIC, hessian


@pytest.fixture
def quadratic(program):
    return program("", base=QUADRATIC)


def answer(steepest, *arguments):
    result = steepest("landscape", *arguments, "--json", "--no-progress")
    assert result.status == 0, result
    return json.loads(result.out)


def test_a_quadratic_is_its_parabola_along_the_gradient(steepest, quadratic):
    told = answer(steepest, f"{quadratic}:problem", "--points", 21)
    # 64 additions in float32 of numbers of the size of the loss.
    close = {"rtol": 1e-4, "atol": 1e-4}
    np.testing.assert_allclose(told["losses"], told["taylor"], **close)
    assert told["slope"] < 0 < told["curvature"]
    lam = np.linalg.eigvalsh(hessian())
    assert lam[0] <= told["curvature"] <= lam[-1] * (1 + 1e-5)
    assert min(told["losses"]) < told["loss"]


def test_along_an_eigenvector_the_curvature_is_the_eigenvalue(steepest, quadratic):
    told = answer(steepest, f"{quadratic}:problem", "--along", "eigenvectors")
    assert told["curvature"] == pytest.approx(np.linalg.eigvalsh(hessian())[-1], 1e-4)


def test_along_the_update_one_is_the_next_step(steepest, quadratic):
    arguments = (f"{quadratic}:problem", "--along", "update", "--radius", 1)
    told = answer(steepest, *arguments, "--points", 3)
    # g is the slope over −η, twice: gᵀ(−ηg) = −η‖g‖².
    down = answer(steepest, f"{quadratic}:problem", "--points", 3)
    assert told["slope"] == pytest.approx(-0.1 * down["slope"] ** 2, rel=1e-4)


def test_a_trajectory_starts_at_its_first_loss(steepest, quadratic):
    first = answer(steepest, f"{quadratic}:problem")["loss"]
    told = answer(
        steepest, f"{quadratic}:problem", "--along", "trajectory", "--steps", 12
    )
    at = told["distances"].index(0.0)
    assert told["losses"][at] == pytest.approx(first, rel=1e-5)
    assert "falls all the way" in told["sentence"]  # a convex loss


@pytest.mark.slow
@pytest.mark.parametrize("along", ["gradient", "update", "random", "eigenvectors"])
def test_a_plane_has_the_loss_at_its_centre(steepest, program, along):
    path = program()  # the linear classifier, whose weights are a matrix
    told = answer(steepest, path, "--along", along, "--plane", "--points", 5)
    losses = np.array(told["losses"])
    assert losses.shape == (5, 5) and np.isfinite(losses).all()
    assert losses[2, 2] == pytest.approx(told["loss"], rel=1e-5)


def test_the_plane_of_a_trajectory_has_the_path_on_it(steepest, quadratic, tmp_path):
    picture = tmp_path / "plane.svg"
    told = answer(
        steepest,
        f"{quadratic}:problem",
        *("--along", "trajectory", "--plane", "--steps", 12, "--points", 5),
        *("--picture", picture),
    )
    assert len(told["path"]) >= 10 and told["path"][-1] == [0.0, 0.0]
    assert "<svg" in picture.read_text("utf-8")


def test_a_text_has_a_row_of_characters_and_a_sentence(steepest, quadratic, tmp_path):
    picture = tmp_path / "line.svg"
    result = steepest("landscape", f"{quadratic}:problem", "--picture", picture)
    assert result.status == 0, result
    assert "▁" in result.out and "█" in result.out
    assert "Slope" in result.out and "downhill" in result.out
    assert "<svg" in picture.read_text("utf-8")


def test_help_has_examples(steepest):
    assert "--along trajectory --plane" in steepest("landscape", "--help").out


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (("--along", "gradeint"), "gradient"),
        (("--radius", 0), "--radius"),
        (("--radius", "inf"), "--radius"),
        (("--points", 2), "--points"),
        (("--along", "trajectory"), "--steps 1"),
        (("--along", "trajectory", "--plane", "--steps", 2), "--steps 3"),
        (("--along", "random"), "two axes"),  # of vectors alone no filter is made
        (("--picture", "nowhere/at/all.svg"), "directory"),
    ],
)
def test_what_makes_no_sense_is_refused(refused, quadratic, arguments, word):
    assert word in refused("landscape", f"{quadratic}:problem", *arguments)


FLAT = """
    import jax.numpy as jnp, numpy as np, steepest

    x = np.ones((8, 1), np.float32)
    loss = lambda model, batch: jnp.mean((batch[0] * model["w"][0] ** 2) ** 2)
    at_rest = steepest.Problem(model={"w": jnp.zeros(1)}, loss=loss, data=(x, x))
    single = steepest.Problem(model={"w": jnp.ones(1)}, loss=loss, data=(x, x))
"""


def test_the_cure_is_an_option_and_no_function(refused, program):
    file = program("", base=FLAT)
    assert "`--along random`" in refused("landscape", f"{file}:at_rest")
    assert "leave `--plane` out" in refused("landscape", f"{file}:single", "--plane")
