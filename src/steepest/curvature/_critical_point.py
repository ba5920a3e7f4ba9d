"""What kind of point it is: minimum, maximum, saddle — or not to be told.

At a critical point, ∇L = 0, the Hessian decides (DL §4.3.1, figure 4.5):

    all eigenvalues > 0    local minimum
    all eigenvalues < 0    local maximum                                     (1)
    some of either sign    saddle

and otherwise, when one is zero, the test is inconclusive. A computed point is never
exactly critical and a computed eigenvalue never exactly zero, so that each verdict rests
on margins:

- *Critical* is a point whose gradient could be removed by a move of relative length
  √eps against the largest curvature:

    ‖g‖ ≤ √eps · ‖H‖ · max(‖θ‖, 1)                                           (2)

- An eigenvalue counts as zero within

    τ = 32 eps ‖H‖ + ½‖H − Hᵀ‖ + residual                                    (3)

  where the middle term, the asymmetry of the computed H, measures the rounding of the
  products themselves (for large ones, |uᵀHw − wᵀHu| of two random vectors).

- *Negative* curvature is proved by one direction, vᵀHv < −τ: a Ritz value is at least
  λ_min. *Positive* definiteness is a statement about all directions. Up to 512
  parameters the Hessian is formed, and its sign is judged in the units that suit it
  best (`_definite`): a problem with parameters of 10⁻⁶ and 10⁶ has its minimum as well.
  Beyond, the smallest Ritz value may hide a smaller eigenvalue, by at most `beyond` but
  for a chance of 10⁻³ (see `eigenpairs`), and what may hide must not reach zero.

- The critical point lies somewhere near, and H changes on the way. A minimum must keep
  three quarters of its curvature as far as the Newton step leads (`_definite`), or with
  a Krylov space on that of the gradient (`_newton_section`) and along the flattest
  direction, at θ ± rv with r = ‖g‖/λ_min: x³ at x = 10⁻⁹ has a positive second
  derivative and no minimum.

- Where the Newton step would still lower the loss by more than

    max(½ eps λ_min max(‖θ‖, 1)², min(8 eps |L|, ½ (32 eps q)²))             (4)

  the point is not critical, however small the gradient looks beside the stiffest
  parameter: the first is a step of √eps, the second what the loss resolves or, where it
  is less, what the gradient resolves (q of `_around`). A constant in a loss hides much
  of the loss and little of its gradient.

- Derivatives at a point say nothing of a kink or a jump there, so that losses and
  gradients around are computed as well (`_around`), and curvature of which a gradient
  would be lost below the smallest numbers proves nothing.

So a minimum is never claimed where there may be none; *inconclusive* is an answer.

At a saddle v = v_min is the way out: a step along ±v lowers the loss by ½|λ_min|t²,
while the gradient says nothing. Where the test is inconclusive the losses along the
flattest direction are tried as well: if they fall, the point is no minimum either.

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3.1, 8.2.3.
    Dauphin et al. (2014), Identifying and attacking the saddle point problem.
    Nocedal & Wright (2006), Numerical Optimization, §2.1.                   -- (1)
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..core._fixed import fixed
from ..core.errors import InputError
from ..core.vectors import OnVector, length, on_vector
from ._around import Seen, noise_of
from ._definite import Definite
from ._ends import Ends, Extreme, dense_ends, krylov_ends
from ._nearby import holds_nearby, look_around, way_out
from ._newton_section import NewtonSection, keeps, newton_section
from .derivatives import value_and_gradient
from .operators import hessian
from .products import Loss, Params, check, check_params
from .taylor import eps_of


Kind = Literal["minimum", "maximum", "saddle", "inconclusive", "not critical"]
DENSE = 512  # parameters up to which the Hessian is formed
PRODUCTS = 256  # with larger ones
RESOLVED, RESOLUTION = 8.0, 32.0  # of (4)


class CriticalPoint(NamedTuple):
    """A verdict and what it rests on."""

    kind: Kind
    reason: str  # one sentence
    value: float  # the loss
    gradient_norm: float
    gradient_tolerance: float  # (2)
    lowest: Extreme  # λ_min
    highest: Extreme  # λ_max
    tolerance: float  # (3): what counts as zero
    num_negative: int | None  # eigenvalues below −τ; None where not all are known
    num_zero: int | None  # within τ
    escape: Params | None  # a step that lowers the loss
    escape_decrease: float  # by this much, as measured; 0 where none was found
    num_products: int
    newton_decrease: float | None = None  # ½ gᵀH⁻¹g; None where H is not definite
    decrease_tolerance: float | None = None  # (4)

    def __str__(self) -> str:
        text = f"{self.kind}: {self.reason}"
        if self.escape is not None and self.kind != "not critical":
            text += (
                f" A step of `escape` lowers the loss by {self.escape_decrease:.3g}."
            )
        return text


def critical_point(
    loss: Loss,
    params: Params,
    *,
    key: PRNGKeyArray | None = None,
    gradient_tolerance: float | None = None,
    max_products: int = PRODUCTS,
) -> CriticalPoint:
    """Judge a point: minimum, maximum, saddle, inconclusive, or not critical.

    Never says "minimum" where rounding, a flat direction or too short a search leave it
    open. Up to 512 parameters all eigenvalues are computed; beyond, `max_products`
    products at each end. `gradient_tolerance` replaces (2).

    Raises `InputError` for a loss that is not one finite number at `params`.
    """
    check_tolerance(gradient_tolerance)
    check_params(params)
    loss = fixed(loss, params)
    check(loss, params)
    key = jax.random.key(0) if key is None else key
    flat, theta = on_vector(loss, params)
    start, g = value_and_gradient(flat, theta)
    value, norm, eps = float(start), float(length(g)), eps_of(params)
    if not (np.isfinite(value) and bool(jnp.isfinite(g).all())):
        raise InputError(
            f"The loss is {value:.4g} with a gradient that has "
            f"{int(jnp.sum(~jnp.isfinite(g)))} non-finite entries; a critical point "
            "must be finite."
        )
    if theta.size <= DENSE:
        spectrum = dense_ends(flat, theta, g, eps)
    else:
        spectrum = krylov_ends(hessian(loss, params), key, max_products)
    low, high = spectrum.lowest, spectrum.highest
    tau = spectrum.noise + max(low.error, high.error)
    most = max(abs(low.value), abs(high.value))
    size = max(float(length(theta)), 1.0)
    limit = eps**0.5 * most * size
    limit = limit if gradient_tolerance is None else gradient_tolerance
    down, up = low.value < -tau, high.value > tau
    section: NewtonSection | None = None
    left, q = None, 0.0
    if spectrum.definite is not None:
        left = spectrum.definite.decrease
    elif spectrum.matrix is None and (low.value > tau or high.value < -tau):
        section = newton_section(flat, theta, g, np.sign(low.value), key)
        spectrum = spectrum._replace(
            num_products=spectrum.num_products + section.num_products
        )
        left = section.decrease
    left = None if left is None or np.isnan(left) else left
    least = min(abs(low.value), abs(high.value))
    enough = float("inf")
    if left is not None:
        q = most**0.5 * float(length(theta)) + (2 * abs(value)) ** 0.5
        if spectrum.definite is not None and spectrum.matrix is not None:
            x = np.asarray(theta, np.float64)
            q = noise_of(spectrum.definite.natural, spectrum.matrix, x, value)
        resolved = min(RESOLVED * eps * abs(value), 0.5 * (RESOLUTION * eps * q) ** 2)
        enough = max(0.5 * eps * least * size**2, resolved)
    kind: Kind
    if norm > limit:
        kind = "not critical"
        reason = (
            f"the gradient has norm {norm:.3g}, above {limit:.3g}; the nearest critical "
            "point, if any, is some way off."
        )
    elif down and up:
        kind = "saddle"
        reason = (
            f"λ_min = {low.value:.4g} and λ_max = {high.value:.4g}, both beyond what "
            f"counts as zero, {tau:.1g}."
        )
    elif gradient_tolerance is None and left is not None and left > enough:
        kind = "not critical"
        reason = (
            f"the gradient is small only beside the largest curvature or the loss: a "
            f"Newton step would still lower the loss by {left:.3g}, more than {enough:.1g}."
        )
    elif spectrum.values is not None:
        kind, reason = by_definiteness(spectrum, tau)
    else:
        kind, reason = by_ends(flat, theta, spectrum, section, tau, norm, eps)
    seen = Seen(None, None)
    if kind in ("minimum", "maximum"):
        numbers = jnp.finfo(theta.dtype)  # a half keeps digits below its `tiny`
        wide = numbers.bits > 16
        small = float(numbers.tiny if wide else numbers.smallest_subnormal)
        if least * eps**0.75 * size < 16 * small:
            kind = "inconclusive"
            reason = (
                f"the curvature, {least:.2g}, is so small that gradients near here are "
                "lost below the smallest numbers: multiply the loss by a constant."
            )
        else:
            sign = 1.0 if kind == "minimum" else -1.0
            seen = look_around(
                flat, theta, g, value, spectrum, section, sign, eps, q, left
            )
    if seen.trouble is not None:
        kind, reason = "inconclusive", seen.trouble
    escape, decrease = None, 0.0
    if down or kind == "inconclusive":
        direction = low.direction
        if seen.direction is not None:
            direction = jnp.asarray(seen.direction, theta.dtype)
        t, decrease = way_out(flat, theta, direction, value, down, eps)
        escape = None if t is None else t * direction
        if kind == "inconclusive" and escape is not None:
            where = (
                "this way" if seen.direction is not None else "the flattest direction"
            )
            reason += f" It is no minimum: the loss falls along {where}."
    signs = spectrum.values
    return CriticalPoint(
        kind,
        reason,
        value,
        norm,
        limit,
        low._replace(direction=flat.unravel(low.direction)),
        high._replace(direction=flat.unravel(high.direction)),
        tau,
        None if signs is None else int(np.sum(signs < -tau)),
        None if signs is None else int(np.sum(np.abs(signs) <= tau)),
        None if escape is None else flat.unravel(escape),
        decrease,
        spectrum.num_products,
        left,
        None if left is None else enough,
    )


def check_tolerance(gradient_tolerance: float | None) -> None:
    """Refuse a tolerance that is no length."""
    if gradient_tolerance is not None and not gradient_tolerance > 0:
        raise InputError(
            f"`gradient_tolerance` must be positive, not {gradient_tolerance}; leave it "
            "out for one that follows from the precision."
        )


def by_definiteness(spectrum: Ends, tau: float) -> tuple[Kind, str]:
    """The verdict from all eigenvalues, where no two signs were seen."""
    low, high = spectrum.lowest, spectrum.highest
    sides: tuple[tuple[Kind, Definite | None, bool], ...]
    sides = (
        ("minimum", spectrum.definite, low.value < -tau),
        ("maximum", spectrum.negative, high.value > tau),
    )
    for kind, found, against in sides:
        if against or found is None or found.lowest <= found.tolerance:
            continue
        if not found.nearby:
            return "inconclusive", (
                f"the curvature, between {low.value:.3g} and {high.value:.3g}, changes "
                "too much within the distance at which the critical point lies."
            )
        if min(abs(low.value), abs(high.value)) > tau:
            return kind, (
                f"the eigenvalues lie between {low.value:.4g} and {high.value:.4g}, all "
                f"beyond what counts as zero, {tau:.1g}."
            )
        return kind, (
            f"in units of each parameter's own curvature the eigenvalues have sizes "
            f"between {found.lowest:.2g} and {found.highest:.2g}, all beyond what counts "
            f"as zero, {found.tolerance:.1g}."
        )
    return "inconclusive", flatness(spectrum, tau)


def flatness(spectrum: Ends, tau: float) -> str:
    low, high = spectrum.lowest, spectrum.highest
    flat = low if abs(low.value) <= abs(high.value) else high
    return (
        f"an eigenvalue is {flat.value:.2g}, zero to within {tau:.1g}, so that higher "
        "derivatives decide."
    )


def by_ends(
    loss: OnVector,
    theta: Float[Array, " n"],
    spectrum: Ends,
    section: NewtonSection | None,
    tau: float,
    norm: float,
    eps: float,
) -> tuple[Kind, str]:
    """The verdict from Ritz values, where no two signs were seen."""
    low, high = spectrum.lowest, spectrum.highest
    sides: tuple[tuple[Kind, Extreme, float], ...]
    sides = (("minimum", low, 1.0), ("maximum", high, -1.0))
    for kind, inner, sign in sides:
        margin = sign * inner.value - tau
        if margin <= 0:
            continue
        if margin <= inner.beyond:
            return "inconclusive", (
                f"all curvature that was seen has one sign, but {spectrum.num_products} "
                f"products prove it only to {inner.beyond:.2g}, and the flattest is "
                f"{inner.value:.3g}."
            )
        if not holds_nearby(loss, theta, inner, tau, norm, eps):
            return "inconclusive", (
                f"the flattest curvature, {inner.value:.3g}, changes too much within the "
                "distance at which the critical point lies."
            )
        if section is None or not section.values.min(initial=np.inf) > tau:
            return "inconclusive", flatness(spectrum, tau)
        if not keeps(loss, theta, section, sign):
            return "inconclusive", (
                f"the curvature, between {low.value:.3g} and {high.value:.3g}, changes "
                "too much on the way to the critical point."
            )
        return kind, (
            f"the eigenvalues lie between {low.value:.4g} and {high.value:.4g}, all "
            f"beyond what counts as zero, {tau:.1g}."
        )
    return "inconclusive", flatness(spectrum, tau)
