"""Steps of the Newton family, in the coordinates of eigenvectors.

With H = V diag(λ) Vᵀ and c = Vᵀg the quadratic model of a loss falls apart into one
parabola for each eigenvector,

    m(p) = cᵀp + ½ Σ λᵢ pᵢ²,                                                 (1)

and each method is a choice of the denominator in p = −c / (·):

    Newton          λᵢ               goes to a saddle as gladly as to a minimum   (2)
    damped          λᵢ + μ           μ from −λ_min up: descent                    (3)
    saddle-free     max(|λᵢ|, δ)     repelled by saddles                          (4)
    trust region    λᵢ + ν           the minimum of (1) over ‖p‖ ≤ Δ              (5)
    cubic           λᵢ + σ‖p‖        the minimum of (1) + σ‖p‖³/3                 (6)
    dogleg          two legs         towards −(cᵀc / cᵀΛc) c, then to Newton      (7)

(5) and (6) are global minima, indefinite H included. Both have a multiplier
ν ≥ max(0, −λ_min), with ‖p(ν)‖ = Δ or ‖p(ν)‖ = ν/σ, the root of a secular equation. In
the *hard case*, c has no part along the lowest eigenvectors and ‖p(−λ_min)‖ is too
short; then ν = −λ_min and the lowest eigenvector makes up the length, either way.

(7) is the cheap answer to (5) for λ ≥ 0, and lowers the model less.

λ and c come from a dense Hessian, or from a Krylov section of it (Ritz values, and g in
the basis): then the steps are the minima over that subspace.

References
    Moré & Sorensen (1983), Computing a trust region step.                   -- (5)
    Nesterov & Polyak (2006), Cubic regularization of Newton method.         -- (6)
    Cartis, Gould & Toint (2011), Adaptive cubic regularisation methods, part I.
    Powell (1970), A new algorithm for unconstrained optimization.            -- (7)
    Dauphin et al. (2014), Identifying and attacking the saddle point problem.  -- (4)
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3.1, 8.6.1.    -- (2)-(4)
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..core.errors import InputError
from ..core.vectors import length


Values = Float[np.ndarray, " n"]
TINY = 1e-13  # of the largest |λ|, or of ‖c‖: zero


class ModelStep(NamedTuple):
    """A step in eigencoordinates."""

    coefficients: Values  # p
    decrease: float  # −m(p), of (1) alone: negative where the step goes uphill
    multiplier: float  # μ, ν or σ‖p‖: what was added to the eigenvalues


def newton_step(values: Values, slopes: Values, *, flat: float = TINY) -> ModelStep:
    """(2): to the critical point of the model, whatever its kind.

    Directions without curvature are left alone (the pseudo-inverse): up to the share
    `flat` of the largest |λ|.
    """
    check(values, slopes)
    floor = flat * np.abs(values).max()
    safe = np.where(np.abs(values) > floor, values, 1.0)
    return done(values, slopes, np.where(np.abs(values) > floor, -slopes / safe, 0.0))


def damped_step(values: Values, slopes: Values, damping: float) -> ModelStep:
    """(3). Raises `InputError` where `damping` leaves an eigenvalue that is not positive."""
    check(values, slopes)
    if not values.min() + damping > 0:
        raise InputError(
            f"With damping {damping:.3g} the smallest eigenvalue is "
            f"{values.min() + damping:.3g}; it must be positive: damp by more than "
            f"{-values.min():.3g}."
        )
    return done(values, slopes, -slopes / (values + damping), damping)


def saddle_free_step(
    values: Values, slopes: Values, floor: float | None = None
) -> ModelStep:
    """(4), with δ = `floor`, 10⁻⁸ of the largest |λ| where None.

    Exactly on a saddle, c = 0, it stands still, as every method here but (5) and (6).
    """
    check(values, slopes)
    size = np.abs(values).max()
    least = (1e-8 * size if floor is None else floor) or 1.0
    return done(values, slopes, -slopes / np.maximum(np.abs(values), least))


def trust_region_step(
    values: Values, slopes: Values, radius: float, *, flat: float = TINY
) -> ModelStep:
    """(5): the global minimum of the model over ‖p‖ ≤ `radius`."""
    check(values, slopes)
    if not radius > 0:
        raise InputError(f"`radius` must be positive, not {radius}.")
    inside = newton_step(values, slopes, flat=flat)
    reach = length(inside.coefficients)
    left = np.abs(values) <= flat * np.abs(values).max()
    downhill = bool((np.abs(slopes[left]) > 0).any())  # flat, but not level
    if values.min() >= 0 and not downhill and reach <= radius:
        return inside
    return secular(values, slopes, lambda nu: (radius, 0.0))


def cubic_step(values: Values, slopes: Values, sigma: float) -> ModelStep:
    """(6): the global minimum of the model with the cubic term of weight `sigma`."""
    check(values, slopes)
    if not sigma > 0:
        raise InputError(f"`sigma` must be positive, not {sigma}.")

    def wanted(nu: float) -> tuple[float, float]:
        return nu / sigma, -sigma / max(nu, 1e-150) ** 2

    return secular(values, slopes, wanted)


def dogleg_step(
    values: Values, slopes: Values, radius: float, *, flat: float = TINY
) -> ModelStep:
    """(7): along the steepest direction to its minimum, then towards Newton's step.

    Raises `InputError` for an eigenvalue that is negative beyond rounding.
    """
    check(values, slopes)
    if not radius > 0:
        raise InputError(f"`radius` must be positive, not {radius}.")
    if values.min() < -TINY * np.abs(values).max():
        raise InputError(
            f"The smallest eigenvalue is {values.min():.3g}; a dogleg needs curvature "
            "that is nowhere negative: take `trust_region_step`."
        )
    size = length(slopes)
    unit = slopes / (size or 1.0)
    bend = float(np.sum(values * unit**2))  # the curvature along the gradient
    end = newton_step(values, slopes, flat=flat).coefficients
    if length(end) <= radius:
        return done(values, slopes, end)
    if bend * radius <= size:  # the first leg leaves the region
        return done(values, slopes, -radius * unit)
    corner = -(size / bend) * unit
    leg = end - corner
    a, b, c = leg @ leg, corner @ leg, corner @ corner - radius**2
    root = max(b * b - a * c, 0.0) ** 0.5
    share = -c / (b + root) if b > 0 else (root - b) / a  # without cancellation
    return done(values, slopes, corner + min(share, 1.0) * leg)


# -- The secular equation --------------------------------------------------------------


def secular(
    values: Values, slopes: Values, wanted: Callable[[float], tuple[float, float]]
) -> ModelStep:
    """ν with ‖p(ν)‖ = wanted(ν), within a bracket; then the hard case.

    ‖p(ν)‖ falls and wanted(ν) does not, so that there is at most one root to the right
    of max(0, −λ_min). Newton's method goes by 1/‖p‖ − 1/wanted, which is nearly linear
    (Moré & Sorensen), and bisection where it leaves the bracket or gains too little.
    `wanted` gives the derivative of 1/wanted as well.
    """
    lowest = float(values.min())
    size = max(float(np.abs(values).max()), length(slopes), 1e-300)
    start = max(0.0, -lowest)

    def p(nu: float) -> Values:
        below = values + nu
        safe = np.where(below > 0, below, 1.0)
        return np.where(below > 0, -slopes / safe, 0.0)

    bottom = values - lowest <= TINY * size
    level = length(slopes[bottom]) <= TINY * length(slopes)
    if level and excess_at_start(values, slopes, bottom, start, wanted) <= 0:
        return hard_case(values, slopes, bottom, start, wanted(start)[0])
    low, high = start, start + size
    while length(p(high)) > wanted(high)[0]:
        low, high = high, start + 2 * (high - start)
    # ‖p‖ is at least each |cᵢ|/(λᵢ + ν): from the left Newton's method does not overshoot.
    nu = max(low, float(np.max(np.abs(slopes) / wanted(high)[0] - values)))
    nu = nu if lowest + nu > 0 else low + (high - low) / 2
    for _ in range(200):
        step = p(nu)
        reach, (most, slope) = length(step), wanted(nu)
        if abs(reach - most) <= 1e-12 * most:
            return done(values, slopes, step, nu)
        low, high = (nu, high) if reach > most else (low, nu)
        width = high - low
        if width <= 1e-15 * high:
            break
        middle = low + width / 2
        guess = middle
        if reach > 0 and most > 0 and lowest + nu > 0:
            unit = step / reach
            falls = float(np.sum(unit**2 / (values + nu))) / reach  # of 1/‖p‖
            if np.isfinite(falls) and falls - slope > 0:
                guess = nu - (1 / reach - 1 / most) / (falls - slope)
        nu = guess if low < guess < high else middle
        if nu in (low, high):
            break
    return done(values, slopes, p(high), high)


def excess_at_start(
    values: Values,
    slopes: Values,
    bottom: np.ndarray,
    start: float,
    wanted: Callable[[float], tuple[float, float]],
) -> float:
    """‖p‖ − wanted at the left end, without the lowest eigenvectors."""
    rest = ~bottom
    return length(slopes[rest] / (values[rest] + start)) - wanted(start)[0]


def hard_case(
    values: Values, slopes: Values, bottom: np.ndarray, nu: float, wanted: float
) -> ModelStep:
    """The step whose length the lowest eigenvector makes up."""
    p = np.zeros_like(values)
    p[~bottom] = -slopes[~bottom] / (values[~bottom] + nu)
    short = length(p)
    missing = (max(wanted - short, 0.0) * (wanted + short)) ** 0.5
    at = int(np.flatnonzero(bottom)[0])
    p[at] = -missing if slopes[at] > 0 else missing
    return done(values, slopes, p, nu)


def done(
    values: Values, slopes: Values, p: Values, multiplier: float = 0.0
) -> ModelStep:
    decrease = -float(slopes @ p + 0.5 * np.sum(values * p**2))
    return ModelStep(p, decrease, float(multiplier))


def check(values: Values, slopes: Values) -> None:
    """Refuse what is empty, of two lengths, or not finite."""
    if values.shape != slopes.shape or not values.size:
        raise InputError(
            f"{values.size} eigenvalues and {slopes.size} slopes: there must be one "
            "slope for each eigenvalue, and at least one."
        )
    if not (np.isfinite(values).all() and np.isfinite(slopes).all()):
        raise InputError("Eigenvalues and slopes must be finite; one of them is not.")
