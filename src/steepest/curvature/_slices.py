"""Losses along a line and on a plane: what they hold, and how to read them in words.

A line carries the parabola of the slope and the curvature at its start,

    q(t) = L(θ) + t gᵀd + ½ t² dᵀHd,                                         (1)

and is said to follow it as far from t = 0 as

    |L(θ + t d) − q(t)| ≤ τ (|t gᵀd| + ½ t² |dᵀHd|) + rounding,   τ = 1/10.   (2)

The right side is made of the terms of q and not of their sum, which is zero where a
parabola comes back to its first height. Between two models a and b a line carries the
height of the barrier above the straight line of their losses,

    max over 0 ≤ t ≤ 1 of  L((1 − t)a + t b) − (1 − t) L(a) − t L(b).        (3)

Losses that are not finite stay as they are, and are counted.

References
    Conn, Gould & Toint (2000), Trust-Region Methods, §6.1.                  -- (2)
    Frankle et al. (2020), Linear mode connectivity and the lottery ticket
    hypothesis.                                                              -- (3)
"""

import html
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..core.errors import InputError
from . import pictures
from .products import Params


TRUST = 0.1  # the share of its own terms by which the parabola may be wrong


class Line(NamedTuple):
    """The loss along a line; NaN and infinities are kept as they are."""

    distances: Float[np.ndarray, " points"]  # t, in units of the direction
    losses: Float[np.ndarray, " points"]
    value: float  # L(θ), at t = 0
    slope: float  # gᵀd
    curvature: float  # dᵀHd
    rounding: float  # the noise of a difference of two losses
    barrier: float | None = None  # (3), of a line between two models

    @property
    def taylor(self) -> Float[np.ndarray, " points"]:
        """The parabola (1) at `distances`."""
        t = self.distances
        with np.errstate(invalid="ignore", over="ignore"):
            return self.value + self.slope * t + self.curvature / 2 * t**2

    @property
    def trusted(self) -> tuple[float, float]:
        """From where to where around t = 0 the parabola holds, as far as was looked.

        By (2); beyond a point where that fails it is not looked at again.
        """
        t = self.distances
        with np.errstate(invalid="ignore", over="ignore"):
            size = np.abs(self.slope * t) + np.abs(self.curvature / 2) * t**2
            wrong = np.abs(self.losses - self.taylor)
            holds = wrong <= TRUST * size + self.rounding  # False of NaN
        right = t[(t >= 0) & (t < np.min(t[(t >= 0) & ~holds], initial=np.inf))]
        left = t[(t <= 0) & (t > np.max(t[(t <= 0) & ~holds], initial=-np.inf))]
        return float(np.min(left, initial=0.0)), float(np.max(right, initial=0.0))

    def __str__(self) -> str:
        if self.barrier is not None:
            return _of_barrier(self)
        low, high = self.trusted
        text = (
            f"Slope {self.slope:.4g} and curvature {self.curvature:.4g} at t = 0, where "
            f"the loss is {self.value:.4g}"
        )
        finite = np.isfinite(self.losses)
        if finite.any():
            i = int(np.argmin(np.where(finite, self.losses, np.inf)))
            lowest = f"; the lowest seen is {self.losses[i]:.4g} at t = {self.distances[i]:.4g}"
            text += lowest if self.losses[i] < self.value - self.rounding else ""
        text += ". "
        if low == high == 0:
            text += (
                "Their parabola holds at no other point of this line: look closer to 0."
            )
        else:
            text += f"Their parabola holds for {low:.4g} ≤ t ≤ {high:.4g}" + (
                ", all of this line."
                if (low, high) == (self.distances[0], self.distances[-1])
                else "; beyond, derivatives at t = 0 do not tell what a step does."
            )
        return text + _of_holes(self.losses)

    def _repr_html_(self) -> str:
        return _page(str(self), lambda: pictures.picture_of_line(self))


class Plane(NamedTuple):
    """The loss on a plane; NaN and infinities are kept as they are."""

    alphas: Float[np.ndarray, " a"]
    betas: Float[np.ndarray, " b"]
    losses: Float[np.ndarray, "a b"]  # losses[i, j] at alphas[i] and betas[j]
    value: float  # L(θ), at the centre
    directions: tuple[Params, Params]  # u and v as they were used

    def __str__(self) -> str:
        text = f"The loss is {self.value:.4g} at the centre"
        finite = np.isfinite(self.losses)
        if finite.any():
            i, j = np.unravel_index(
                np.argmin(np.where(finite, self.losses, np.inf)), self.losses.shape
            )
            text += (
                f" and on this plane lowest, {self.losses[i, j]:.4g}, at α = "
                f"{self.alphas[i]:.4g}, β = {self.betas[j]:.4g}; the highest is "
                f"{self.losses[finite].max():.4g}"
            )
        return (
            f"{text}. From one contour to the next the height above the lowest grows by "
            "the same factor; other directions may be far steeper."
            + _of_holes(self.losses)
        )

    def _repr_html_(self) -> str:
        return _page(str(self), lambda: pictures.picture_of_plane(self))


# -- Words -----------------------------------------------------------------------------


def _of_barrier(line: Line) -> str:
    inside = (line.distances >= 0) & (line.distances <= 1)
    t, losses = line.distances[inside], line.losses[inside]
    ends = f"their losses, {losses[0]:.4g} (t = 0) and {losses[-1]:.4g} (t = 1)"
    barrier = line.barrier
    if barrier is None or np.isnan(barrier):
        text = (
            f"The barrier between the models cannot be told from {ends}: the loss is "
            f"not a number at {int(np.isnan(losses).sum())} of {len(t)} points between."
        )
    elif barrier <= line.rounding:
        text = (
            f"No barrier between the models: the loss stays below the straight line of "
            f"{ends}, so along this line they lie in one basin."
        )
    else:
        chord = (1 - t) * losses[0] + t * losses[-1]
        at = t[int(np.argmax(losses - chord))]
        text = (
            f"A barrier of {barrier:.4g} at t = {at:.4g}, above the straight line of "
            f"{ends}: along this line the models lie in different basins."
        )
    return text + _of_holes(line.losses)


def _of_holes(losses: np.ndarray) -> str:
    holes = int(losses.size - np.isfinite(losses).sum())
    if not holes:
        return ""
    return f" At {holes} of {losses.size} points the loss is not finite (left blank)."


def _page(text: str, picture: Callable[[], str]) -> str:
    """The sentences, with the picture where Matplotlib is there to draw it."""
    try:
        drawn = picture()
    except InputError:
        drawn = ""
    return f"<p>{html.escape(text)}</p>{drawn}"
