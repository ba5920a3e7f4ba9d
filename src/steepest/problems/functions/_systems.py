"""The residuals of Moré, Garbow & Hillstrom that are systems of equations or penalties.

With as many equations as unknowns, m = n, the least sum of squares is zero where the
system r(x) = 0 has a solution. Penalties weigh equations that cannot all hold. Numbers
in brackets are those of the paper; functions of vectors of any length read n from x.

References
    Moré, Garbow & Hillstrom (1981), Testing unconstrained optimization software.
"""

import math

import jax.numpy as jnp
import numpy as np

from ._curve_fits import Residual, Vector, constants


def rosenbrock(x: Vector) -> Residual:
    """(1), (21) 10 (x_{2k} − x_{2k−1}²) and 1 − x_{2k−1}, pair by pair."""
    odd, even = x[0::2], x[1::2]
    return jnp.stack([10 * (even - odd**2), 1 - odd], 1).reshape(-1)


def freudenstein_roth(x: Vector) -> Residual:
    """(2) −13 + x₁ + ((5 − x₂) x₂ − 2) x₂ and −29 + x₁ + ((x₂ + 1) x₂ − 14) x₂."""
    a, b = x
    first = -13 + a + ((5 - b) * b - 2) * b
    return jnp.stack([first, -29 + a + ((b + 1) * b - 14) * b])


def powell_badly_scaled(x: Vector) -> Residual:
    """(3) 10⁴ x₁x₂ − 1 and exp(−x₁) + exp(−x₂) − 1.0001."""
    a, b = x
    return jnp.stack([1e4 * a * b - 1, jnp.exp(-a) + jnp.exp(-b) - 1.0001])


def brown_badly_scaled(x: Vector) -> Residual:
    """(4) x₁ − 10⁶, x₂ − 2·10⁻⁶ and x₁x₂ − 2."""
    a, b = x
    return jnp.stack([a - 1e6, b - 2e-6, a * b - 2])


def beale(x: Vector) -> Residual:
    """(5) y_i − x₁ (1 − x₂^i), y = 1.5, 2.25, 2.625."""
    a, b = x
    return jnp.stack(
        [y - a * (1 - b**i) for i, y in enumerate((1.5, 2.25, 2.625), start=1)]
    )


def helical_valley(x: Vector) -> Residual:
    """(7) 10 (x₃ − 10θ), 10 (√(x₁² + x₂²) − 1) and x₃; θ of (x₁, x₂) in turns.

    The angle is 0 on the positive first axis and jumps across the negative second one,
    between −1/4 and 3/4.
    """
    a, b, c = x
    turns = jnp.arctan2(-a, b) / (2 * math.pi) + 0.25
    return jnp.stack([10 * (c - 10 * turns), 10 * (jnp.sqrt(a**2 + b**2) - 1), c])


def powell_singular(x: Vector) -> Residual:
    """(13), (22) a + 10b, √5 (c − d), (b − 2c)², √10 (a − d)², four by four."""
    a, b, c, d = x.reshape(-1, 4).T
    columns = [
        a + 10 * b,
        math.sqrt(5) * (c - d),
        (b - 2 * c) ** 2,
        math.sqrt(10) * (a - d) ** 2,
    ]
    return jnp.stack(columns, 1).reshape(-1)


def wood(x: Vector) -> Residual:
    """(14) the six terms of Wood's function, each under the root."""
    a, b, c, d = x
    return jnp.stack(
        [
            10 * (b - a**2),
            1 - a,
            math.sqrt(90) * (d - c**2),
            1 - c,
            math.sqrt(10) * (b + d - 2),
            (b - d) / math.sqrt(10),
        ]
    )


def watson(x: Vector) -> Residual:
    """(20) p'(t) − p(t)² − 1, p(t) = Σ x_j t^(j−1), t = i/29; x₁; x₂ − x₁² − 1."""
    t, j = np.arange(1, 30)[:, None] / 29, np.arange(x.size)[None]
    slope = constants(x, j * t ** np.maximum(j - 1, 0)) @ x
    inner = slope - (constants(x, t**j) @ x) ** 2 - 1
    return jnp.concatenate([inner, jnp.stack([x[0], x[1] - x[0] ** 2 - 1])])


def penalty_1(x: Vector) -> Residual:
    """(23) √10⁻⁵ (x_i − 1) and Σ x² − ¼."""
    return jnp.append(math.sqrt(1e-5) * (x - 1), jnp.sum(x**2) - 0.25)


def penalty_2(x: Vector) -> Residual:
    """(24) x₁ − 0.2; √10⁻⁵ (exp(x_i/10) + exp(x_{i−1}/10) − y_i) for i ≥ 2;
    √10⁻⁵ (exp(x_i/10) − exp(−1/10)) for i ≥ 2; Σ (n − i + 1) x_i² − 1.
    """
    i = np.arange(2, x.size + 1)
    y = constants(x, np.exp(i / 10) + np.exp((i - 1) / 10))
    root, powers = math.sqrt(1e-5), jnp.exp(x / 10)
    weights = constants(x, np.arange(x.size, 0, -1))
    return jnp.concatenate(
        [
            x[:1] - 0.2,
            root * (powers[1:] + powers[:-1] - y),
            root * (powers[1:] - math.exp(-0.1)),
            jnp.sum(weights * x**2)[None] - 1,
        ]
    )


def variably_dimensioned(x: Vector) -> Residual:
    """(25) x_i − 1, s and s², s = Σ i (x_i − 1)."""
    s = constants(x, np.arange(1, x.size + 1)) @ (x - 1)
    return jnp.concatenate([x - 1, jnp.stack([s, s**2])])


def trigonometric(x: Vector) -> Residual:
    """(26) n − Σ cos x_j + i (1 − cos x_i) − sin x_i."""
    i = constants(x, np.arange(1, x.size + 1))
    return x.size - jnp.sum(jnp.cos(x)) + i * (1 - jnp.cos(x)) - jnp.sin(x)


def brown_almost_linear(x: Vector) -> Residual:
    """(27) x_i + Σ x − (n + 1) for i < n, and Π x − 1."""
    return jnp.append(x[:-1] + jnp.sum(x) - (x.size + 1), jnp.prod(x) - 1)


def discrete_boundary_value(x: Vector) -> Residual:
    """(28) 2x_i − x_{i−1} − x_{i+1} + h² (x_i + t_i + 1)³ / 2, zero beyond both ends."""
    h = 1 / (x.size + 1)
    t = constants(x, h * np.arange(1, x.size + 1))
    inner = jnp.pad(x, 1)
    return 2 * x - inner[:-2] - inner[2:] + h**2 * (x + t + 1) ** 3 / 2


def discrete_integral(x: Vector) -> Residual:
    """(29) x_i + h/2 Σ_j min(t_i, t_j) (1 − max(t_i, t_j)) (x_j + t_j + 1)³."""
    h = 1 / (x.size + 1)
    t = h * np.arange(1, x.size + 1)
    kernel = np.minimum.outer(t, t) * (1 - np.maximum.outer(t, t))
    return x + constants(x, h / 2 * kernel) @ (x + constants(x, t) + 1) ** 3


def broyden_tridiagonal(x: Vector) -> Residual:
    """(30) (3 − 2x_i) x_i − x_{i−1} − 2x_{i+1} + 1, zero beyond both ends."""
    inner = jnp.pad(x, 1)
    return (3 - 2 * x) * x - inner[:-2] - 2 * inner[2:] + 1


def broyden_banded(x: Vector) -> Residual:
    """(31) x_i (2 + 5x_i²) + 1 − Σ x_j (1 + x_j) over j ≠ i, i − 5 ≤ j ≤ i + 1."""
    i = np.arange(x.size)
    offset = i[None] - i[:, None]
    band = (offset >= -5) & (offset <= 1) & (offset != 0)
    return x * (2 + 5 * x**2) + 1 - constants(x, band) @ (x * (1 + x))


def linear_full_rank(x: Vector) -> Residual:
    """(32) x_i − (2/m) Σ x − 1, and −(2/m) Σ x − 1 for i > n; m = 2n."""
    m = 2 * x.size
    return jnp.pad(x, (0, m - x.size)) - 2 / m * jnp.sum(x) - 1


def linear_rank_one(x: Vector) -> Residual:
    """(33) i Σ j x_j − 1; m = 2n."""
    i = constants(x, np.arange(1, 2 * x.size + 1))
    return i * (i[: x.size] @ x) - 1


def linear_rank_one_zeros(x: Vector) -> Residual:
    """(34) (i − 1) Σ j x_j − 1 over 2 ≤ j < n, and −1 for i = 1 and i = m; m = 2n."""
    m = 2 * x.size
    i = np.arange(m)
    i[-1] = 0
    j = constants(x, np.arange(2, x.size))
    return constants(x, i) * (j @ x[1:-1]) - 1


def chebyquad(x: Vector) -> Residual:
    """(35) means of T_i(2x − 1) over the n points, less its integral over [0, 1]."""
    z = 2 * x - 1
    before, now = jnp.ones_like(z), z
    rows = []
    for i in range(1, x.size + 1):
        integral = 0.0 if i % 2 else -1 / (i**2 - 1)
        rows.append(jnp.mean(now) - integral)
        before, now = now, 2 * z * now - before
    return jnp.stack(rows)
