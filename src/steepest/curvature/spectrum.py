"""The whole spectrum at the price of some products: density, trace, diagonal, condition.

For random v with independent entries ±1, E[vᵀ f(A) v] = tr f(A). A Lanczos section T of
A from v is a Gauss quadrature of that quantity (Golub & Meurant):

    vᵀ f(A) v ≈ n Σᵢ wᵢ f(μᵢ),   wᵢ = (first entry of T's i-th eigenvector)²   (1)

exact for polynomials of degree 2m − 1 after m steps. So each probe gives the spectral
density φ(λ) = (1/n) Σ δ(λ − λᵢ) as m weighted points. The error of a number read from it
has two parts, the scatter over probes and what the steps have not resolved, for which the
change by the second half of them is taken:

    trace  n ∫ λ φ,    ‖A‖_F²  n ∫ λ² φ,    effective dimension  n ∫ λ/(λ + α) φ  (2)

The last counts the directions that a penalty of strength α leaves to the data (negative
curvature counts as none).

References
    Hutchinson (1990), A stochastic estimator of the trace of the influence matrix.
    Bekas, Kokiopoulou & Saad (2007), An estimator for the diagonal of a matrix.
    Golub & Meurant (2010), Matrices, Moments and Quadrature.                -- (1)
    Ubaru, Chen & Saad (2017), Fast estimation of tr(f(A)) via stochastic Lanczos
    quadrature.
    MacKay (1992), Bayesian interpolation.                                   -- (2)
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from ..core.errors import InputError
from ..core.progress import hidden, progress
from ..core.vectors import working_dtype
from ._certificates import FLOOR
from ._eigenpairs import NOT_FINITE, eigenpairs
from ._krylov import begin, grow
from .operators import DENSE, Operator
from .products import Params


class Estimate(NamedTuple):
    """A number with its standard error; 0 where it is exact but for rounding."""

    value: float
    sem: float
    num_products: int

    def __str__(self) -> str:
        return f"{self.value:.6g} ± {self.sem:.2g}"


class Density(NamedTuple):
    """The spectral density by stochastic Lanczos quadrature: (1) for each probe."""

    nodes: Float[np.ndarray, "probes m"]  # μᵢ, ascending; NaN where a space ended early
    weights: Float[np.ndarray, "probes m"]  # wᵢ, which add up to 1 in each row
    size: int  # n
    num_products: int
    # The quadratures of half of the steps, which tell what steps are worth.
    coarse: (
        tuple[Float[np.ndarray, "probes k"], Float[np.ndarray, "probes k"]] | None
    ) = None

    def mean(self, f: Callable[[np.ndarray], np.ndarray]) -> Estimate:
        """∫ f φ, the mean of f over the eigenvalues, with its error.

        That is the standard error over the probes and what the second half of the steps
        has changed, as independent errors: too small for an f that changes faster than
        the nodes lie apart.
        """
        value, error = self._read(lambda nodes, w: np.sum(w * f(nodes), axis=1))
        return Estimate(float(value), float(error), self.num_products)

    def _read(self, number: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> tuple:
        """A number of each probe, (probes, …): its mean and error."""
        each = number(np.nan_to_num(self.nodes), self.weights)
        error = np.apply_along_axis(sem, 0, each)
        if self.coarse is not None:
            nodes, weights = self.coarse
            less = number(np.nan_to_num(nodes), weights)
            error = np.hypot(error, each.mean(axis=0) - less.mean(axis=0))
        return each.mean(axis=0), error

    def total(self, f: Callable[[np.ndarray], np.ndarray]) -> Estimate:
        """tr f(A), n times the mean."""
        value, error, products = self.mean(f)
        return Estimate(self.size * value, self.size * error, products)

    def curve(
        self, points: Float[np.ndarray, " p"], width: float
    ) -> tuple[Float[np.ndarray, " p"], Float[np.ndarray, " p"]]:
        """φ at some points, smoothed by a Gaussian of this width; and its error."""
        if not width > 0:
            raise InputError(f"`width` must be positive, not {width}.")

        def bells(nodes: np.ndarray, weights: np.ndarray) -> np.ndarray:
            z = (points - nodes[..., None]) / width
            bell = np.exp(-0.5 * z**2) / (width * np.sqrt(2 * np.pi))
            return np.sum(bell * weights[..., None], axis=1)

        return self._read(bells)

    def grid(self, points: int = 400, width: float | None = None) -> tuple:
        """Places over the whole spectrum, φ there, its error and the width used."""
        low, high = np.nanmin(self.nodes), np.nanmax(self.nodes)
        spread = max(float(high - low), abs(float(high)), 1e-30)
        width = 0.01 * spread if width is None else width
        at = np.linspace(low - 4 * width, high + 4 * width, points)
        return (at, *self.curve(at, width), width)

    def effective_dimension(self, alpha: float) -> Estimate:
        """Σ λ/(λ + α) over the positive eigenvalues: (2)."""
        if not alpha > 0:
            raise InputError(f"`alpha` must be positive, not {alpha}.")
        return self.total(lambda x: np.maximum(x, 0) / (np.maximum(x, 0) + alpha))


def spectral_density(
    operator: Operator,
    *,
    key: PRNGKeyArray,
    num_probes: int = 8,
    num_steps: int = 64,
) -> Density:
    """The density of the eigenvalues, from `num_probes · num_steps` products.

    Raises `InputError` for numbers below one, and where a product is not finite.
    """
    check_positive(num_probes=num_probes, num_steps=num_steps)
    n, dtype = operator.size, operator.theta.dtype
    working = working_dtype(dtype)
    num_steps = min(num_steps, n)
    shape, fewer = (num_probes, num_steps), max(1, num_steps // 2)
    nodes, weights = np.full(shape, np.nan), np.zeros(shape)
    coarse = np.full(shape, np.nan), np.zeros(shape)
    done = 0

    def matvec(q: Array) -> Array:
        return operator.matvec(q.astype(dtype)).astype(working)

    with progress("spectral density", num_probes * num_steps) as update, hidden():
        for i in range(num_probes):
            start_key, step_key = jax.random.split(jax.random.fold_in(key, i))
            space = begin(signs(start_key, n, working)[None], step_key)
            for _ in range(num_steps):
                space = grow(matvec, space, step_key)
                done += 1
                update(done, "")
                if space.last_break >= 0:
                    break  # all that this probe can see has been seen
            j = space.done
            T = space.T[:j, :j]
            require_finite(T)
            nodes[i, :j], S = np.linalg.eigh((T + T.T) / 2)
            weights[i, :j] = S[0] ** 2
            k = j if space.last_break >= 0 or j == n else fewer  # else it is exact
            T = T[:k, :k]
            coarse[0][i, :k], S = np.linalg.eigh((T + T.T) / 2)
            coarse[1][i, :k] = S[0] ** 2
    return Density(nodes, weights, n, done, coarse)


def trace(operator: Operator, *, key: PRNGKeyArray, num_probes: int = 32) -> Estimate:
    """tr A by Hutchinson's estimator; exact with as many probes as parameters.

    One product a probe. The error is relative to ‖A‖_F, not to the trace: where
    positive and negative eigenvalues cancel, it may exceed it.
    """
    check_positive(num_probes=num_probes)
    n, dtype = operator.size, operator.theta.dtype
    working = working_dtype(dtype)
    if num_probes >= n:
        exact = np.asarray(jnp.diagonal(operator.dense()), np.float64)
        require_finite(exact)
        return Estimate(float(np.sum(exact)), 0.0, n)
    each = np.empty(num_probes)
    with progress("trace", num_probes) as update, hidden():
        for i in range(num_probes):
            v = signs(jax.random.fold_in(key, i), n, dtype)
            product = operator.matvec(v).astype(working)
            each[i] = float(v.astype(working) @ product)
            update(i + 1, "")
    require_finite(each)
    return Estimate(float(each.mean()), sem(each), num_probes)


class Diagonal(NamedTuple):
    """The diagonal of an operator, in the structure of the parameters."""

    value: Params
    sem: Params
    num_products: int


def diagonal(
    operator: Operator, *, key: PRNGKeyArray, num_probes: int = 32
) -> Diagonal:
    """diag A, the mean of v ⊙ Av over random signs v; exact with n probes or more.

    The variance of an entry is the sum of the squares of the others in its row.
    """
    check_positive(num_probes=num_probes)
    n, dtype = operator.size, operator.theta.dtype
    if num_probes >= n:
        exact = jnp.diagonal(operator.dense())
        zero = jnp.zeros_like(exact)
        return Diagonal(operator.unravel(exact), operator.unravel(zero), n)
    mean, square = jnp.zeros(n, dtype), jnp.zeros(n, dtype)
    with progress("diagonal", num_probes) as update, hidden():
        for i in range(num_probes):
            v = signs(jax.random.fold_in(key, i), n, dtype)
            x = v * operator.matvec(v)
            change = x - mean  # Welford's update: no squares of large numbers cancel
            mean = mean + change / jnp.asarray(i + 1, dtype)
            square = square + change * (x - mean)
            update(i + 1, "")
    freedom = jnp.asarray(max(num_probes - 1, 1) * num_probes, dtype)
    error = jnp.sqrt(square / freedom) if num_probes > 1 else jnp.full(n, jnp.nan)
    return Diagonal(
        operator.unravel(mean), operator.unravel(error.astype(dtype)), num_probes
    )


class Conditioning(NamedTuple):
    """The condition number, and what kind of matrix it belongs to.

    κ = max |λ| / min |λ|, over the eigenvalues that are not zero to within `floor`: the
    number that governs solving with the matrix. Its root or itself times the digits
    wanted is the number of steps of descent only where the matrix is positive definite.
    """

    value: float  # κ over the eigenvalues above the floor; a lower bound if not `exact`
    exact: bool  # all eigenvalues were computed
    largest: float  # max |λ|
    smallest: float  # min |λ| above the floor, as far as it was found
    floor: float  # below it an eigenvalue cannot be told from zero in this format
    singular: bool  # an eigenvalue was found below the floor
    indefinite: bool  # eigenvalues of either sign were found
    num_zero: int | None  # eigenvalues below the floor, where all are known
    num_products: int
    resolved: bool = True  # the smallest |λ| was found, and told from the floor

    def __str__(self) -> str:
        if self.largest == 0:
            return "κ is undefined: the matrix is zero"
        sign = "=" if self.exact else "≥"
        if self.resolved:
            start = f"κ {sign} {self.value:.4g} (|λ| from {self.smallest:.4g} to"
        else:
            start = f"κ is not resolved, above {self.value:.3g} (|λ| from less than"
            start += f" {self.smallest:.2g} to"
        text = f"{start} {self.largest:.4g})"
        if self.singular and self.num_zero:
            text += (
                f"; without {self.num_zero} below {self.floor:.1g}, which count as zero"
            )
        if self.indefinite:
            text += "; indefinite: descent has no rate here"
        return text


def condition_number(
    operator: Operator, *, key: PRNGKeyArray, max_products: int = 400
) -> Conditioning:
    """κ of an operator: exact up to `max_products` parameters, else a lower bound.

    Beyond, both ends of the spectrum come from a Krylov space. Where both have one sign
    the smallest |λ| is at an end. Else it lies inside, where products find it as the
    lowest eigenvalue of A² and tell nothing below √(32 eps) of the largest: `resolved`
    says whether it was found, as it seldom is for a network; κ is a lower bound then.
    """
    check_positive(max_products=max_products)
    n = operator.size
    eps = float(jnp.finfo(operator.theta.dtype).eps)
    if n <= min(max_products, DENSE):
        matrix = np.asarray(operator.dense(), np.float64)
        require_finite(matrix)
        values = np.linalg.eigvalsh((matrix + matrix.T) / 2)
        size = float(np.abs(values).max())
        floor = FLOOR * eps * size
        left = np.abs(values)[np.abs(values) > floor]
        smallest = float(left.min()) if len(left) else 0.0
        zeros = int(n - len(left))
        kappa = size / smallest if smallest else float("nan")
        both = bool((values > floor).any() and (values < -floor).any())
        return Conditioning(
            kappa, True, size, smallest, floor, zeros > 0, both, zeros, n
        )
    ends = eigenpairs(operator, 2, "both", key=key, max_products=max_products)
    high, low = map(float, ends.values)
    size, floor, spent = max(abs(high), abs(low)), ends.floor, ends.num_products
    indefinite = high > floor and low < -floor
    definite = (low > floor or high < -floor) and bool(ends.converged.all())
    if definite:  # then an end is the smallest
        smallest, reach, settled = min(abs(high), abs(low)), floor, True
    elif size == 0:
        smallest, reach, settled = 0.0, 0.0, True
    else:
        squared = Operator(
            lambda v: operator.matvec(operator.matvec(v)),
            operator.theta,
            operator.unravel,
            f"{operator.name}, squared",
        )
        fewer = max(1, max_products // 8)
        inner = eigenpairs(squared, which="smallest", key=key, max_products=fewer)
        spent += 2 * inner.num_products
        # Of A² the floor is ‖A‖² times eps, a root of which is all that it can tell.
        reach = max(floor, float(np.sqrt(inner.floor)))
        smallest = float(np.sqrt(max(inner.values[0], 0.0)))
        settled = bool(inner.converged.all())
    resolved = settled and smallest > reach
    smallest = max(smallest, reach)
    kappa = size / smallest if size else float("nan")
    singular = min(abs(high), abs(low)) <= floor
    return Conditioning(
        kappa, False, size, smallest, reach, singular, indefinite, None, spent, resolved
    )


# -- What they share -------------------------------------------------------------------


def signs(key: PRNGKeyArray, n: int, dtype: jnp.dtype) -> Float[Array, " n"]:
    """A vector of independent ±1: of all probes it has the least variance."""
    return jax.random.rademacher(key, (n,), dtype)


def sem(x: Float[np.ndarray, " k"]) -> float:
    """The standard error of a mean; NaN of one number, which has none."""
    return float(np.std(x, ddof=1) / np.sqrt(len(x))) if len(x) > 1 else float("nan")


def require_finite(values: Any) -> None:
    """Refuse what has no spectrum."""
    if not np.isfinite(values).all():
        raise InputError(NOT_FINITE)


def check_positive(**counts: int) -> None:
    """Refuse numbers of probes or steps below one."""
    for name, count in counts.items():
        if count < 1:
            raise InputError(f"`{name}` must be at least 1, not {count}.")
