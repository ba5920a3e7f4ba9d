"""Looks at the neighbourhood of a point: its curvature, its losses, and a way down.

The flattest curvature, with eigenvector v, must be kept as far as the critical point,

    vᵀH(θ ± rv)v ≥ ¾ vᵀHv,     r = ‖g‖/|vᵀHv|,                               (1)

losses and gradients must agree with the derivatives at the point (`_around`), and where
they do not, or some direction is flat or curved downwards, the losses along it,

    L(θ ± 2⁻ᵏ max(‖θ‖, 1) v),     k = 0, 1, …, 23,                           (2)

say whether there is a step that lowers the loss.

References
    Ortega & Rheinboldt (1970), Iterative Solution of Nonlinear Equations, §12.6. -- (1)
"""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..core.vectors import OnVector, length
from ._around import RANDOM, Seen, around, around_section, noise_of
from ._ends import Ends, Extreme
from ._newton_section import NewtonSection
from .derivatives import hessian_product, hessian_products, values_along
from .taylor import ROUNDING


WAYS = 24  # step lengths tried along a direction, each a factor of 2


def holds_nearby(
    loss: OnVector,
    theta: Float[Array, " n"],
    flattest: Extreme,
    tau: float,
    norm: float,
    eps: float,
) -> bool:
    """Whether the flattest curvature is kept as far as the critical point."""
    v, sign = flattest.direction, np.sign(flattest.value)
    radius = norm / abs(flattest.value) + eps * max(float(length(theta)), 1.0)
    for t in (-radius, radius):
        step = jnp.asarray(t, theta.dtype) * v
        there = sign * float(v @ hessian_product(loss, theta + step, v))
        if not there > max(tau, 0.75 * abs(flattest.value) - tau):
            return False
    return True


def look_around(
    loss: OnVector,
    theta: Float[Array, " n"],
    g: Float[Array, " n"],
    value: float,
    spectrum: Ends,
    section: NewtonSection | None,
    sign: float,
    eps: float,
    q: float,
    left: float | None,
) -> Seen:
    """Losses and gradients around what looks like a minimum, or with `sign` −1 a maximum."""
    low, high = spectrum.lowest, spectrum.highest
    least = min(abs(low.value), abs(high.value))
    most = max(abs(low.value), abs(high.value))
    size = max(float(length(theta)), 1.0)
    slope, H = np.asarray(g, np.float64), spectrum.matrix
    scale = 0.5 * most * size**2
    found = spectrum.definite if sign > 0 else spectrum.negative
    if H is not None and found is not None:
        q = noise_of(found.natural, H, np.asarray(theta, np.float64), value)
        left = found.decrease
    elif q == 0:
        q = most**0.5 * float(length(theta)) + (2 * abs(value)) ** 0.5
    far = 3 * (2 * (left or 0.0)) ** 0.5
    shift = q - (2 * abs(value)) ** 0.5  # q of the loss less its value
    smallest = max(64 * eps * shift, far, eps**0.75 * least**0.5 * size)
    radii = (smallest, max(64 * eps * q, smallest))
    if H is not None and found is not None:
        return around(
            *(loss, theta, slope, value, H, found.natural),
            sign=sign,
            radii=radii,
            scale=scale,
            eps=eps,
        )
    rng = np.random.default_rng(0)
    normal = rng.normal(size=(RANDOM, theta.size)) / theta.size**0.5
    signs = rng.choice([-1.0, 1.0], size=(RANDOM, theta.size)) / theta.size**0.5
    ends = np.stack([np.asarray(e.direction, np.float64) for e in (low, high)])
    own = np.zeros((0, theta.size)) if section is None else section.rows[:8]
    rows = np.concatenate([ends, own, normal, signs])
    products = hessian_products(loss, theta, jnp.asarray(rows, theta.dtype))
    products = np.asarray(products, np.float64)
    return around_section(
        *(loss, theta, slope, value, rows, products),
        sign=sign,
        radii=radii,
        scale=scale,
        eps=eps,
    )


def way_out(
    loss: OnVector,
    theta: Float[Array, " n"],
    direction: Float[Array, " n"],
    value: float,
    proved: bool,
    eps: float,
) -> tuple[Float[Array, ""] | None, float]:
    """The step along ±direction with the lowest loss, among lengths from 1 down."""
    longest = max(float(length(theta)), 1.0)
    lengths = longest * 2.0 ** -np.arange(WAYS)
    ts = np.r_[lengths, -lengths]
    losses = values_along(loss, theta, direction, jnp.asarray(ts, theta.dtype))
    losses = np.asarray(losses, np.float64)
    losses = np.where(np.isfinite(losses), losses, np.inf)
    noise = ROUNDING * eps * abs(value)
    # Near by, not beyond a hill: every shorter step this way must go down as well.
    best, decrease = None, 0.0
    for half in (slice(0, WAYS), slice(WAYS, None)):
        falls = value - losses[half]
        for i in range(WAYS - 1, -1, -1):  # from the shortest
            if falls[i] < -noise:
                break
            if falls[i] > max(decrease, noise):
                best, decrease = ts[half][i], float(falls[i])
    if best is None:
        if not proved:
            return None, 0.0
        best = eps**0.25 * longest  # too little for the loss to show
    return jnp.asarray(best, theta.dtype), decrease
