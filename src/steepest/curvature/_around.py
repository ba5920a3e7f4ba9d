"""Whether a loss is, around a point, what its derivatives at the point say.

Derivatives at one point know nothing of a kink or a jump there: at 0 both
x² − max(x, 0) and min(x² − x, x² + x) are computed to have slope 0 and curvature 2, and
neither has a minimum. So before a point is called one, losses and gradients are computed
around it, on both sides along eigenvectors and along random directions, and must be

    ∇L(θ + tv) = g + t Hv     to a half of t‖Hv‖,                              (1)
    L(θ + tv)  = L + t gᵀv + ½ t² vᵀHv     but for rounding.                    (2)

Directions are measured so that vᵀHv = 1. In these units the gradient is known to about
eps q, with q = ‖H^{-1/2}|H||θ|‖ + √(2|L|), since θ is known to eps |θ| and the residuals
of a sum of squares L to eps √(2L). The radius leads beyond the minimum that the Newton
step p points at:

    t = max(64 eps q, 3 √(pᵀHp), eps^{3/4} √λ_min max(‖θ‖, 1)).                 (3)

Where (1) or (2) fails, radii down to (3) without √(2|L|) are tried, as a constant in a
loss makes no gradient less exact: with t what is smooth comes true, and no kink or jump
at the point itself does.

References
    Clarke (1990), Optimization and Nonsmooth Analysis, §2.
    Higham (2002), Accuracy and Stability of Numerical Algorithms, §1.5.     -- eps |θ|
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.vectors import OnVector
from .derivatives import gradients_at


OUTER = 16  # eigenvectors at either end
RANDOM = 24  # of signs, and as many normal ones
SHRINK = 8.0  # from radius to radius
JUMP = 1e3  # in units of eps times the size of the loss: more than rounding


class Seen(NamedTuple):
    """What is wrong around a point, or nothing."""

    trouble: str | None
    direction: Float[np.ndarray, " n"] | None  # along which the loss is lowest


def noise_of(
    natural: Float[np.ndarray, "k n"],
    H: Float[np.ndarray, "n n"],
    theta: Float[np.ndarray, " n"],
    value: float,
) -> float:
    """q, from H itself and the rows of H^{-1/2}."""
    return float(np.linalg.norm(natural @ (np.abs(H) @ np.abs(theta)))) + float(
        np.sqrt(2 * abs(value))
    )


def directions(
    natural: Float[np.ndarray, "k n"], rng: np.random.Generator
) -> Float[np.ndarray, "j n"]:
    """Eigenvectors, all or the outer ones, and random combinations, with vᵀHv = 1."""
    k = len(natural)
    rows = natural if k <= 2 * OUTER else np.r_[natural[:OUTER], natural[-OUTER:]]
    units = np.sqrt(np.sum(natural**2, axis=0))  # of each parameter, about
    normal = rng.normal(size=(2 * RANDOM, k)) / np.sqrt(k)
    signs = rng.choice([-1.0, 1.0], size=(RANDOM, natural.shape[1])) * units
    return np.concatenate([rows, normal @ natural, signs])


def around(
    loss: OnVector,
    theta: Float[Array, " n"],
    g: Float[np.ndarray, " n"],
    value: float,
    H: Float[np.ndarray, "n n"],
    natural: Float[np.ndarray, "n n"],
    *,
    sign: float,
    radii: tuple[float, float],
    scale: float,
    eps: float,
) -> Seen:
    """Compare losses and gradients with (1) and (2), for H of n × n; −L with `sign` −1.

    `radii` are the smallest and the largest.
    """
    rows = directions(natural, np.random.default_rng(0))
    rows /= np.sqrt(np.abs(np.einsum("ij,jk,ik->i", rows, H, rows)))[:, None]
    at = np.asarray(theta, np.float64)
    seen = Seen(None, None)
    for t in between(*radii):
        points = jnp.asarray(np.r_[at + t * rows, at - t * rows], theta.dtype)
        values, gradients = gradients_at(loss, theta.size, points)
        d = np.asarray(points, np.float64) - at
        L, G = np.asarray(values, np.float64), np.asarray(gradients, np.float64)
        expected = d @ ((H + H.T) / 2)
        off = np.linalg.norm((G - g - expected) @ natural.T, axis=1)
        size = np.linalg.norm(expected @ natural.T, axis=1)
        rise = np.einsum("ij,ij->i", d, g + expected / 2)
        slope = np.einsum("ij,ij->i", d, g + G) / 2
        noise = JUMP * eps * max(abs(value), scale)
        found = compared(d, L - value, slope, rise, off, size, sign, noise)
        if not found:
            return Seen(None, None)
        seen = worst(found)
    return seen


def around_section(
    loss: OnVector,
    theta: Float[Array, " n"],
    g: Float[np.ndarray, " n"],
    value: float,
    rows: Float[np.ndarray, "k n"],
    products: Float[np.ndarray, "k n"],
    *,
    sign: float,
    radii: tuple[float, float],
    scale: float,
    eps: float,
) -> Seen:
    """As `around`, of slopes along rows v whose products Hv are given."""
    curvature = np.abs(np.einsum("ij,ij->i", rows, products))
    unit = np.sqrt(np.maximum(curvature, 1e-300))[:, None]
    rows, products = np.r_[rows, -rows] / np.r_[unit, unit], products / unit
    products = np.r_[products, -products]
    at = np.asarray(theta, np.float64)
    seen = Seen(None, None)
    for t in between(*radii):
        d = t * rows
        values, gradients = gradients_at(loss, 0, jnp.asarray(at + d, theta.dtype))
        L, G = np.asarray(values, np.float64), np.asarray(gradients, np.float64)
        off = np.abs(np.einsum("ij,ij->i", G - g - t * products, rows))
        rise = np.einsum("ij,ij->i", d, g + t * products / 2)
        slope = np.einsum("ij,ij->i", d, g + G) / 2
        size = np.full(len(rows), t)
        noise = JUMP * eps * max(abs(value), scale)
        found = compared(d, L - value, slope, rise, off, size, sign, noise)
        if not found:
            return Seen(None, None)
        seen = worst(found)
    return seen


def between(smallest: float, largest: float) -> list[float]:
    """Radii from the largest down, both included."""
    steps = int(np.ceil(np.log(largest / smallest) / np.log(SHRINK)))
    return [largest / SHRINK**i for i in range(steps)] + [smallest]


def compared(
    d: Float[np.ndarray, "k n"],
    rises: Float[np.ndarray, " k"],
    slopes: Float[np.ndarray, " k"],
    expected: Float[np.ndarray, " k"],
    off: Float[np.ndarray, " k"],
    size: Float[np.ndarray, " k"],
    sign: float,
    noise: float,
) -> list[tuple[float, Float[np.ndarray, " n"], str]]:
    """Where (1) or (2) is broken: the fall of the loss, the step, and which.

    `slopes` are the rises by the mean of the gradients at both ends, which rounding of
    the loss does not reach.
    """
    broken = []
    for i in range(len(d)):
        rise = float(rises[i])
        if not (np.isfinite(rise) and np.isfinite(off[i])):
            broken.append((0.0, d[i], "the loss or its gradient is not finite"))
        elif off[i] > 0.5 * size[i]:
            broken.append((-sign * float(slopes[i]), d[i], "the gradient has a kink"))
        elif abs(rise - expected[i]) > noise + abs(expected[i]):
            broken.append((-sign * rise, d[i], "the loss jumps"))
    return broken


def worst(found: list[tuple[float, Float[np.ndarray, " n"], str]]) -> Seen:
    """The place where the loss falls most."""
    if not found:
        return Seen(None, None)
    fall, d, what = max(found, key=lambda one: one[0])
    size = float(np.linalg.norm(d))
    trouble = (
        f"{what} within {size:.2g}, so that derivatives here say nothing of the points "
        "around."
    )
    return Seen(trouble, d / size if fall > 0 else None)
