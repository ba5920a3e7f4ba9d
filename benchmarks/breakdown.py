"""Hessians whose Krylov spaces end early, and known ones: who finds their eigenvalues?

Dead units, unused columns and repeated eigenvalues end the Lanczos recurrence after few
steps. Each row is one Hessian, in float64; each figure the worst error of the ten largest
eigenvalues and of the smallest, relative to ‖H‖, against a dense decomposition (NumPy).

- ours: `eigenpairs`, with the number of pairs that it flags as not converged;
- matfree: `eigh_partial(tridiag_sym(m))` for m = 40, or all n (needs the extra `peers`);
- power: the stopping rule of PyHessian, power iteration and deflation until an estimate
  changes by less than 1e-3, 100 products at most; it has no smallest eigenvalue.
"""

import importlib.util
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from steepest.curvature import eigenpairs, from_matrix, hessian
from steepest.problems import functions


TOP, STEPS = 10, 40


class Errors(NamedTuple):
    ours: float
    flagged: int
    matfree: float
    power: float


def cases() -> Iterator[tuple[str, Any]]:
    """Name and operator."""
    rng = np.random.default_rng(0)
    for active in (1, 3, 10):
        X = np.zeros((100, 50))
        X[:, :active] = rng.standard_normal((100, active))
        yield f"least squares, {active} of 50 columns active", least_squares(X)
    for dead in (8, 13):
        yield f"ReLU network, {dead} of 16 units dead", dead_relu(rng, dead)
    yield "identity", from_matrix(jnp.eye(100))
    yield "two values, fifty times each", spectrum(rng, np.r_[[3.0] * 50, [-1.0] * 50])
    yield "opposite extremes", spectrum(rng, np.r_[5.0, -4.99, np.linspace(-1, 1, 98)])
    yield "rank three of 300", spectrum(rng, np.r_[2.57, 1, 0.3, np.zeros(297)])
    bulk = np.linspace(-0.1, 1, 390)
    yield "ten outliers over a bulk", spectrum(rng, np.r_[np.linspace(5, 50, 10), bulk])
    yield "softmax at W = 0", softmax(rng)
    for name in functions.names():
        function = functions.get(name)
        for point in function.points[:1]:
            yield name, hessian(function.fun, jnp.asarray(point.x))


def least_squares(X: np.ndarray) -> Any:
    """A mean of squares whose inputs are mostly constant zero."""
    inputs = jnp.asarray(X)
    return hessian(lambda w: jnp.mean((inputs @ w - 1.0) ** 2), jnp.zeros(X.shape[1]))


def dead_relu(rng: np.random.Generator, dead: int) -> Any:
    """A layer of 16 ReLU units, the biases of some of which are far below zero."""
    x, y = (
        jnp.asarray(rng.standard_normal((64, 5))),
        jnp.asarray(rng.standard_normal(64)),
    )
    params = {
        "W": jnp.asarray(rng.standard_normal((5, 16))),
        "b": jnp.where(jnp.arange(16) < dead, -100.0, 0.5),
        "v": jnp.asarray(rng.standard_normal(16)),
    }

    def loss(p: Any) -> Any:
        h = jnp.maximum(x @ p["W"] + p["b"][None], 0)
        return jnp.mean((h @ p["v"] - y) ** 2)

    return hessian(loss, params)


def softmax(rng: np.random.Generator) -> Any:
    """Six inputs, five classes: every eigenvalue occurs four times, six are zero."""
    x = jnp.asarray(rng.standard_normal((40, 6)))
    y = jnp.asarray(rng.integers(0, 5, 40))
    loss = lambda W: -jnp.mean(jax.nn.log_softmax(x @ W)[jnp.arange(40), y])
    return hessian(loss, jnp.zeros((6, 5)))


def spectrum(rng: np.random.Generator, values: np.ndarray) -> Any:
    """A matrix with these eigenvalues."""
    Q = np.linalg.qr(rng.standard_normal((len(values), len(values))))[0]
    return from_matrix(jnp.asarray((Q * values) @ Q.T))


def matfree_values(operator: Any, n: int) -> np.ndarray:
    """What its Lanczos iteration returns, without a word of warning."""
    from matfree import decomp, eig

    solve = eig.eigh_partial(decomp.tridiag_sym(min(STEPS, n)))
    start = jnp.asarray(np.random.default_rng(1).standard_normal(n))
    return np.asarray(solve(operator.matvec, start)[0])


def power_values(A: np.ndarray, num: int) -> np.ndarray:
    """Power iteration with deflation, stopped by the change of its estimate."""
    rng, found, values = np.random.default_rng(1), [], []
    for _ in range(num):
        v, last = rng.standard_normal(len(A)), None
        for _ in range(100):
            for q in found:
                v = v - (q @ v) * q
            v = v / max(np.linalg.norm(v), 1e-300)
            w = A @ v
            now = float(v @ w)
            v = w / max(np.linalg.norm(w), 1e-300)
            if last is not None and abs(last - now) / (abs(last) + 1e-6) < 1e-3:
                break
            last = now
        found.append(v)
        values.append(now)
    return np.array(values)


def judged(operator: Any) -> Errors:
    n = operator.size
    A = np.asarray(operator.dense(), np.float64)
    truth = np.linalg.eigvalsh((A + A.T) / 2)
    size, top = np.abs(truth).max() or 1.0, min(TOP, n)
    best = truth[::-1][:top]

    def worst(values: np.ndarray, lowest: float | None) -> float:
        """Of the `top` largest, and of the smallest where there is one."""
        if not np.isfinite(values).all():
            return np.nan
        values = np.sort(values)[::-1]
        error = np.abs(values[: min(top, len(values))] - best[: len(values)]).max()
        return max(error, 0 if lowest is None else abs(lowest - truth[0])) / size

    high = eigenpairs(operator, top, key=jax.random.key(0))
    low = eigenpairs(operator, 1, "smallest", key=jax.random.key(1))
    flagged = int((~high.converged).sum() + (~low.converged).sum())
    other = np.nan
    if importlib.util.find_spec("matfree"):
        values = matfree_values(operator, n)
        other = worst(values, float(values.min()))
    ours = worst(high.values, float(low.values[0]))
    return Errors(ours, flagged, other, worst(power_values(A, top), None))


def main() -> None:
    print(f"{'':44}{'ours':>9}{'flagged':>9}{'matfree':>10}{'power':>10}")
    rows: list[Errors] = []
    with jax.enable_x64(True):
        for name, operator in cases():
            errors = judged(operator)
            rows.append(errors)
            print(
                f"{name:44}{errors.ours:9.0e}{errors.flagged:9}{errors.matfree:10.0e}"
                f"{errors.power:10.0e}"
            )
    right: Callable[[float], bool] = lambda error: error < 1e-6
    count = lambda name: sum(right(getattr(row, name)) for row in rows)
    print(
        f"to 1e-6 of the norm: ours {count('ours')}, matfree {count('matfree')}, power "
        f"iteration {count('power')} of {len(rows)}"
    )


if __name__ == "__main__":
    main()
