"""Pictures: well-formed, the same twice, without NaN; the numbers that they show."""

import re
import xml.etree.ElementTree as ET
from types import SimpleNamespace

import matplotlib
import numpy as np
import pytest

from steepest import InputError
from steepest.curvature.pictures import (
    canyon,
    descents,
    picture_of_curvature_weights,
    picture_of_descents,
    picture_of_line,
    picture_of_plane,
    picture_of_spectrum,
    picture_of_step,
)


T = np.linspace(-1, 1, 41)
HOLES = np.where(np.abs(T - 0.5) < 0.2, np.nan, T**2)
HOLES[-1] = np.inf
GRID = np.linspace(-2, 2, 15)
BOWL = GRID[:, None] ** 2 + 10 * GRID[None, :] ** 2
PATH = np.array([[1.5, 1.5], [1.0, 0.2], [0.0, 0.0]])


def line(losses=HOLES, barrier=None, taylor=T**2):
    return SimpleNamespace(distances=T, losses=losses, taylor=taylor, barrier=barrier)


def plane(losses=BOWL):
    return SimpleNamespace(alphas=GRID, betas=GRID, losses=losses)


HILL = np.where(BOWL > 20, np.nan, BOWL)
PICTURES = {
    "a line with holes": lambda: picture_of_line(line()),
    "a line between models": lambda: picture_of_line(line((T * 2 - 1) ** 2, 0.25)),
    "a line of three decades": lambda: picture_of_line(line(np.exp(9 * T))),
    "a constant line": lambda: picture_of_line(line(np.full(41, 2.0))),
    "a line without a finite loss": lambda: picture_of_line(line(T * np.nan, np.nan)),
    "a line without a parabola": lambda: picture_of_line(line(taylor=T * np.nan)),
    "a plane": lambda: picture_of_plane(plane()),
    "a plane with a path": lambda: picture_of_plane(plane(), PATH),
    "a plane with paths": lambda: picture_of_plane(
        plane(), {"straight": PATH, "round": PATH[::-1]}
    ),
    "a plane with holes": lambda: picture_of_plane(plane(HILL)),
    "a plane below zero": lambda: picture_of_plane(plane(-BOWL)),
    "a constant plane": lambda: picture_of_plane(plane(0 * BOWL)),
    "a plane without a finite loss": lambda: picture_of_plane(plane(np.nan * BOWL)),
    "a plane of a step": lambda: picture_of_plane(plane(np.sign(BOWL - 9.0))),
    "a plane of 300 decades": lambda: picture_of_plane(plane(1e290 * BOWL)),
    "a canyon": lambda: canyon(np.diag([1.0, 20.0]), [10.0, 1.0]),
    "a canyon with steps": lambda: canyon(
        np.array([[3.0, 1.0], [1.0, 2.0]]), [1.0, 1.0], step_sizes=(0.1, 0.9), steps=8
    ),
    "weights": lambda: picture_of_curvature_weights(
        np.array([0.1, 0.2, 0.7]), np.array([-1.0, 0.5, 9.0])
    ),
    "one weight": lambda: picture_of_curvature_weights(np.ones(1), np.array([2.0])),
    "a spectrum": lambda: picture_of_spectrum(
        T, np.exp(-30 * T**2), 0.1 * np.exp(-20 * T**2), [0.9, 0.95]
    ),
    "a bare spectrum": lambda: picture_of_spectrum(T, np.exp(-30 * T**2)),
    "descents": lambda: picture_of_descents(
        {"fast": 0.1 ** np.arange(9.0), "lost": np.array([1.0, np.inf, 0.0, np.nan])}
    ),
    "a step": lambda: picture_of_step(
        np.geomspace(1e-3, 1, 9), np.r_[np.ones(8), np.inf], np.ones(9), 0.1, 0.3
    ),
    "a step without limit": lambda: picture_of_step(
        np.linspace(0, 1, 9), np.ones(9), np.full(9, np.nan), np.inf, None
    ),
}


def words(svg):
    return " ".join(t.strip() for t in ET.fromstring(svg).itertext() if t.strip())


@pytest.mark.slow
@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_xml_without_nan_and_equal_twice(name):
    before = dict(matplotlib.rcParams)
    svg = PICTURES[name]()
    root = ET.fromstring(svg)
    assert root.tag == "{http://www.w3.org/2000/svg}svg" and root.get("aria-label")
    assert not re.search(r"\b(nan|inf)\b", svg, re.IGNORECASE)
    assert svg == PICTURES[name]()
    assert dict(matplotlib.rcParams) == before
    # On black ground black text is lost, on white ground white.
    assert not re.search(r"(fill|stroke): ?#(000000|ffffff)", svg)


@pytest.mark.slow
def test_pictures_say_what_they_show():
    assert "barrier 0.25" in words(PICTURES["a line between models"]())
    assert "no finite loss" in words(PICTURES["a line without a finite loss"]())
    assert "the loss is 0 everywhere" in words(PICTURES["a constant plane"]())
    assert "the curvature: 6.3" in words(PICTURES["weights"]())  # −0.1 + 0.1 + 6.3
    assert "2 eigenvalues" in words(PICTURES["a spectrum"]())
    step = words(PICTURES["a step"]())
    assert "optimal step 0.1" in step and "limit 2/λ_max 0.3" in step
    assert "optimal" not in words(PICTURES["a step without limit"]())
    shown = words(PICTURES["a canyon"]())
    for text in ("κ = 20", "λ_min = 1", "λ_max = 20", "exact line search", "Newton"):
        assert text in shown
    assert "momentum 0.4" in shown  # ((√20 − 1)/(√20 + 1))²
    paths = words(PICTURES["a plane with paths"]())
    assert "straight" in paths and "round" in paths


def test_each_iterate_of_a_path_is_marked():
    marks = lambda svg: svg.count("<use ")
    # three iterates, a ring and a star
    assert (
        marks(picture_of_plane(plane(), PATH)) - marks(picture_of_plane(plane())) == 5
    )


def test_infinite_losses_break_the_line_and_leave_the_axis():
    huge = np.where(T > 0.5, np.inf, T**2)
    assert (
        "1.2" not in words(picture_of_line(line(huge))).split()
    )  # the axis ends near 1


def test_paths_through_a_canyon_obey_their_theory():
    H, start = np.diag([1.0, 10.0]), [10.0, 1.0]
    constant, exact, ball, newton = descents(H, start)
    loss = lambda path: 0.5 * np.einsum("ki,ij,kj->k", path.points, H, path.points)
    rate = (9 / 11) ** 2  # ((κ − 1)/(κ + 1))², the worst case, for this start
    # 24 products of rounded numbers
    np.testing.assert_allclose(loss(exact)[1:] / loss(exact)[:-1], rate, rtol=1e-10)
    np.testing.assert_allclose(
        loss(constant)[1:] / loss(constant)[:-1], rate, rtol=1e-10
    )
    np.testing.assert_array_equal(constant.step_sizes, 2 / 11)
    np.testing.assert_array_equal(newton.points[-1], 0)
    for path in (constant, exact, ball, newton):
        assert ((path.curvatures >= 1) & (path.curvatures <= 10)).all()
    np.testing.assert_allclose(exact.step_sizes * exact.curvatures, 1, rtol=1e-14)
    # successive gradients of an exact search are at right angles
    g = exact.points @ H
    cosines = np.sum(g[1:] * g[:-1], axis=1) / (
        np.linalg.norm(g[1:], axis=1) * np.linalg.norm(g[:-1], axis=1)
    )
    np.testing.assert_allclose(cosines, 0, atol=1e-10)


def test_a_heavy_ball_takes_the_root_of_the_condition_number():
    """In the long run √β a step, with a factor of k for the double root (Polyak)."""
    kappa = 100.0
    constant, _, ball, _ = descents(np.diag([1.0, kappa]), [kappa, 1.0], steps=60)
    root = np.sqrt(kappa)
    beta = ((root - 1) / (root + 1)) ** 2
    length = np.linalg.norm(ball.points, axis=1)
    k = np.arange(1, 61)
    assert (length[1:] <= 2 * (k + 1) * beta ** (k / 2) * length[0]).all()
    assert length[-1] < 1e-2 * np.linalg.norm(constant.points[-1])


def test_too_large_a_step_leaves_the_canyon_and_is_cut_off():
    diverging, *_ = descents(
        np.diag([1.0, 10.0]), [1.0, 1.0], step_sizes=(0.4,), steps=99
    )
    assert len(diverging.points) < 10 and np.isfinite(diverging.points).all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: canyon(np.diag([1.0, -1.0]), [1.0, 1.0]), "positive definite"),
        (lambda: canyon(np.array([[1.0, 1], [0, 1]]), [1.0, 1.0]), "symmetric"),
        (lambda: canyon(np.eye(2), [0.0, 0.0]), "start elsewhere"),
        (lambda: canyon(np.eye(2), [1.0, np.nan]), "finite 2 × 2"),
        (lambda: canyon(np.eye(2), [1.0, 0.0], step_sizes=(-1.0,)), "positive"),
        (lambda: picture_of_plane(plane(), np.ones((2, 2))[0:1].T), "`path`"),
        (
            lambda: picture_of_curvature_weights(np.full(2, 0.4), np.ones(2)),
            "add up to 1",
        ),
        (lambda: picture_of_spectrum(T, 0 * T), "somewhere positive"),
        (lambda: picture_of_step(-T, T, T), "from 0"),
        (lambda: picture_of_descents({"none": -np.ones(3)}), "some of them positive"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_a_sentence(call, message):
    with pytest.raises(InputError, match=re.escape(message)):
        call()


def test_without_matplotlib_the_cure_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "matplotlib", None)
    with pytest.raises(InputError, match=re.escape("pip install 'steepest[plot]'")):
        picture_of_line(line())
