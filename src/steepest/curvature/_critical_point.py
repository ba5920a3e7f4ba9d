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
  parameters the Hessian is formed and the statement is exact but for (3). Beyond, the
  smallest Ritz value may hide a smaller eigenvalue, by at most `beyond` but for a chance
  of 10⁻³ (see `eigenpairs`), and what may hide must not reach zero.

- The critical point lies somewhere near, at a distance of about r = ‖H⁻¹g‖, and H
  changes on the way. A minimum must keep vᵀHv > 0 at θ ± 2rv along the flattest
  direction v: x³ at x = 10⁻⁹ has a positive second derivative and no minimum.

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
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PRNGKeyArray

from ..core.errors import InputError
from ._eigenpairs import FLOOR, eigenpairs
from .operators import Operator, hessian
from .products import Loss, Params, check, curvature_along
from .taylor import ROUNDING, eps_of


Kind = Literal["minimum", "maximum", "saddle", "inconclusive", "not critical"]
DENSE = 512  # parameters up to which the Hessian is formed
PRODUCTS = 256  # with larger ones
WAYS = 24  # step lengths tried along the flattest direction, each a factor of 2


class Extreme(NamedTuple):
    """An extreme eigenvalue."""

    value: float
    error: float  # its rounding and residual
    beyond: float  # how far out another may hide (0: none can)
    direction: Params  # the unit eigenvector


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
    check(loss, params)
    key = jax.random.key(0) if key is None else key
    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    g = ravel_pytree(gradient)[0]
    theta = ravel_pytree(params)[0]
    if not (bool(jnp.isfinite(value)) and bool(jnp.isfinite(g).all())):
        raise InputError(
            f"The loss is {float(value):.4g} with a gradient that has "
            f"{int(jnp.sum(~jnp.isfinite(g)))} non-finite entries; a critical point "
            "must be finite."
        )
    operator = hessian(loss, params)
    ends = dense_ends if theta.size <= DENSE else krylov_ends
    spectrum = ends(operator, key, max_products)
    low, high, noise = spectrum.lowest, spectrum.highest, spectrum.noise
    size = max(abs(low.value), abs(high.value))
    tau = noise + max(low.error, high.error)
    norm = float(jnp.linalg.norm(g))
    limit = eps_of(params) ** 0.5 * size * max(float(jnp.linalg.norm(theta)), 1.0)
    limit = limit if gradient_tolerance is None else gradient_tolerance
    down = low.value < -tau
    up = high.value > tau
    kind: Kind
    if norm > limit:
        kind, reason = (
            "not critical",
            (
                f"the gradient has norm {norm:.3g}, above {limit:.3g}; the nearest critical "
                "point, if any, is some way off."
            ),
        )
    elif down and up:
        kind, reason = (
            "saddle",
            (
                f"λ_min = {low.value:.4g} and λ_max = {high.value:.4g}, both beyond what "
                f"counts as zero, {tau:.1g}."
            ),
        )
    else:
        kind, reason = sided(loss, params, spectrum, tau, norm)
    escape, decrease = None, 0.0
    if down or kind == "inconclusive":
        escape, decrease = way_out(loss, params, low.direction, float(value), down)
        if kind == "inconclusive" and escape is not None:
            reason += " It is no minimum: the loss falls along the flattest direction."
    return CriticalPoint(
        kind,
        reason,
        float(value),
        norm,
        limit,
        low,
        high,
        tau,
        None if spectrum.values is None else int(np.sum(spectrum.values < -tau)),
        None
        if spectrum.values is None
        else int(np.sum(np.abs(spectrum.values) <= tau)),
        escape,
        decrease,
        spectrum.num_products,
    )


class Ends(NamedTuple):
    """Both ends of a spectrum, and all of it where it was computed."""

    lowest: Extreme
    highest: Extreme
    noise: float  # the rounding of the products
    values: Float[np.ndarray, " n"] | None
    num_products: int


def dense_ends(operator: Operator, key: PRNGKeyArray, _: int) -> Ends:
    """From the matrix itself; its asymmetry is its rounding."""
    n, eps = operator.size, float(jnp.finfo(operator.theta.dtype).eps)
    rows = jax.vmap(operator.matvec)(jnp.eye(n, dtype=operator.theta.dtype))
    H = np.asarray(rows, np.float64)
    refuse_nonfinite(H)
    values, vectors = np.linalg.eigh((H + H.T) / 2)
    error = FLOOR * eps * float(np.abs(values).max())

    def extreme(i: int) -> Extreme:
        v = jnp.asarray(vectors[:, i], operator.theta.dtype)
        return Extreme(float(values[i]), error, 0.0, operator.unravel(v))

    skew = float(np.linalg.norm(H - H.T, 2)) / 2
    return Ends(extreme(0), extreme(-1), skew, values, n)


def krylov_ends(operator: Operator, key: PRNGKeyArray, max_products: int) -> Ends:
    """From a Krylov space at each end, and a symmetry check of the products."""
    k1, k2, k3 = jax.random.split(key, 3)
    extremes, spent = [], 2
    for which in ("smallest", "largest"):
        found = eigenpairs(operator, which=which, key=k1, max_products=max_products)
        one = jax.tree.map(lambda v: v[0], found.vectors)
        error = float(found.residuals[0]) + found.floor
        extremes.append(Extreme(float(found.values[0]), error, found.beyond, one))
        spent += found.num_products
    shape, dtype = operator.theta.shape, operator.theta.dtype
    u = jax.random.normal(k2, shape, dtype) / shape[0] ** 0.5
    w = jax.random.normal(k3, shape, dtype) / shape[0] ** 0.5
    skew = float(abs(u @ operator.matvec(w) - w @ operator.matvec(u)))
    return Ends(*extremes, noise=skew, values=None, num_products=spent)


def sided(
    loss: Loss, params: Params, spectrum: Ends, tau: float, norm: float
) -> tuple[Kind, str]:
    """The verdict where no two signs were seen."""
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
        if not holds_nearby(loss, params, inner, tau, norm, sign):
            return "inconclusive", (
                f"the flattest curvature, {inner.value:.3g}, changes its sign within the "
                "distance at which the critical point lies."
            )
        return kind, (
            f"the eigenvalues lie between {low.value:.4g} and {high.value:.4g}, all "
            f"beyond what counts as zero, {tau:.1g}."
        )
    flat = low if abs(low.value) <= tau else high
    return "inconclusive", (
        f"an eigenvalue is {flat.value:.2g}, zero to within {tau:.1g}, so that higher "
        "derivatives decide."
    )


def holds_nearby(
    loss: Loss, params: Params, flattest: Extreme, tau: float, norm: float, sign: float
) -> bool:
    """Whether the flattest curvature keeps its sign as far as the critical point."""
    theta = float(jnp.linalg.norm(ravel_pytree(params)[0]))
    least = eps_of(params) * max(theta, 1.0)
    radius = 2 * norm / abs(flattest.value) + least
    for t in (-radius, radius):
        moved = shifted(params, flattest.direction, t)
        there = float(curvature_along(loss, moved, flattest.direction))
        if not sign * there > tau:
            return False
    return True


def way_out(
    loss: Loss, params: Params, direction: Params, value: float, proved: bool
) -> tuple[Params | None, float]:
    """The step along ±direction with the lowest loss, among lengths from 1 down."""
    eps = eps_of(params)
    theta = float(jnp.linalg.norm(ravel_pytree(params)[0]))
    lengths = max(theta, 1.0) * 2.0 ** -np.arange(WAYS)
    ts = np.r_[lengths, -lengths]
    at = jax.jit(jax.vmap(lambda t: loss(shifted(params, direction, t))))
    dtype = jax.tree.leaves(params)[0].dtype
    losses = np.asarray(at(jnp.asarray(ts, dtype)), np.float64)
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
        best = eps**0.25 * max(theta, 1.0)  # too little for the loss to show
    t = jnp.asarray(best, dtype)
    return jax.tree.map(lambda d: t.astype(d.dtype) * d, direction), decrease


def shifted(params: Params, direction: Params, t: float | Float[Array, ""]) -> Params:
    return jax.tree.map(lambda p, d: p + jnp.asarray(t, p.dtype) * d, params, direction)


def refuse_nonfinite(H: Float[np.ndarray, "n n"]) -> None:
    """Say what a Hessian with NaN means."""
    if not np.isfinite(H).all():
        raise InputError(
            "The Hessian is not finite here, although the gradient is (a square root or "
            "a norm at zero does that); `steepest.locate_nonfinite` on the gradient's "
            "derivative names the operation."
        )
