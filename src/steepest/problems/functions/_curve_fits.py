"""The residuals of Moré, Garbow & Hillstrom in which a model is fitted to data.

Observations y_i at t_i and a model of n parameters make m residuals

    r_i(x) = model(x, t_i) − y_i     (or its negative, as the paper has it).  (1)

Numbers in brackets are those of the paper. Here as there u, v, w, t and y are the
constants of a problem. Sums of exponentials are what makes most of these hard: far from
the solution they are flat, and several parameters do nearly the same.

References
    Moré, Garbow & Hillstrom (1981), Testing unconstrained optimization software.
"""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


Vector = Float[Array, " n"]
Residual = Float[Array, " m"]


def constants(x: Array, values: Sequence[float] | np.ndarray) -> Array:
    """Constants in the precision of x."""
    return jnp.asarray(values, x.dtype)


def jennrich_sampson(x: Vector) -> Residual:
    """(6) 2 + 2i − (exp(i x₁) + exp(i x₂)), i = 1 … 10."""
    i = constants(x, np.arange(1, 11))
    return 2 + 2 * i - (jnp.exp(i * x[0]) + jnp.exp(i * x[1]))


BARD = (
    0.14, 0.18, 0.22, 0.25, 0.29, 0.32, 0.35, 0.39, 0.37, 0.58, 0.73, 0.96, 1.34,
    2.10, 4.39,
)  # fmt: skip


def bard(x: Vector) -> Residual:
    """(8) y − (x₁ + u / (v x₂ + w x₃)), u = i, v = 16 − i, w = min(u, v)."""
    u = np.arange(1, 16)
    v = 16 - u
    w = constants(x, np.minimum(u, v))
    model = x[0] + constants(x, u) / (constants(x, v) * x[1] + w * x[2])
    return constants(x, BARD) - model


GAUSSIAN = (0.0009, 0.0044, 0.0175, 0.0540, 0.1295, 0.2420, 0.3521)


def gaussian(x: Vector) -> Residual:
    """(9) x₁ exp(−x₂ (t − x₃)² / 2) − y, t = (8 − i)/2, i = 1 … 15."""
    t = constants(x, (8 - np.arange(1, 16)) / 2)
    y = constants(x, (*GAUSSIAN, 0.3989, *reversed(GAUSSIAN)))
    return x[0] * jnp.exp(-x[1] * (t - x[2]) ** 2 / 2) - y


MEYER = (
    34780, 28610, 23650, 19630, 16370, 13720, 11540, 9744, 8261, 7030, 6005, 5147,
    4427, 3820, 3307, 2872,
)  # fmt: skip


def meyer(x: Vector) -> Residual:
    """(10) x₁ exp(x₂ / (t + x₃)) − y, t = 45 + 5i, i = 1 … 16."""
    t = constants(x, 45 + 5 * np.arange(1, 17))
    return x[0] * jnp.exp(x[1] / (t + x[2])) - constants(x, MEYER)


def gulf(x: Vector) -> Residual:
    """(11) exp(−|y − x₂|^x₃ / x₁) − t, t = i/100, y = 25 + (−50 log t)^(2/3).

    The paper prints a product where a difference is meant: with this one the minimum
    is at the paper's (50, 25, 1.5), and 0.
    """
    t = np.arange(1, 100) / 100
    y = constants(x, 25 + (-50 * np.log(t)) ** (2 / 3))
    return jnp.exp(-(jnp.abs(y - x[1]) ** x[2]) / x[0]) - constants(x, t)


def box(x: Vector) -> Residual:
    """(12) exp(−t x₁) − exp(−t x₂) − x₃ (exp(−t) − exp(−10t)), t = i/10, i = 1 … 10."""
    t = np.arange(1, 11) / 10
    third = constants(x, np.exp(-t) - np.exp(-10 * t))
    t = constants(x, t)
    return jnp.exp(-t * x[0]) - jnp.exp(-t * x[1]) - x[2] * third


KOWALIK_OSBORNE = (
    0.1957, 0.1947, 0.1735, 0.1600, 0.0844, 0.0627, 0.0456, 0.0342, 0.0323, 0.0235,
    0.0246,
)  # fmt: skip
DOSES = (4, 2, 1, 0.5, 0.25, 0.167, 0.125, 0.1, 0.0833, 0.0714, 0.0625)


def kowalik_osborne(x: Vector) -> Residual:
    """(15) y − x₁ (u² + u x₂) / (u² + u x₃ + x₄)."""
    u = constants(x, DOSES)
    model = x[0] * (u**2 + u * x[1]) / (u**2 + u * x[2] + x[3])
    return constants(x, KOWALIK_OSBORNE) - model


def brown_dennis(x: Vector) -> Residual:
    """(16) (x₁ + t x₂ − exp t)² + (x₃ + x₄ sin t − cos t)², t = i/5, i = 1 … 20."""
    t = np.arange(1, 21) / 5
    line = x[0] + constants(x, t) * x[1] - constants(x, np.exp(t))
    wave = x[2] + constants(x, np.sin(t)) * x[3] - constants(x, np.cos(t))
    return line**2 + wave**2


OSBORNE_1 = (
    0.844, 0.908, 0.932, 0.936, 0.925, 0.908, 0.881, 0.850, 0.818, 0.784, 0.751,
    0.718, 0.685, 0.658, 0.628, 0.603, 0.580, 0.558, 0.538, 0.522, 0.506, 0.490,
    0.478, 0.467, 0.457, 0.448, 0.438, 0.431, 0.424, 0.420, 0.414, 0.411, 0.406,
)  # fmt: skip


def osborne_1(x: Vector) -> Residual:
    """(17) y − (x₁ + x₂ exp(−t x₄) + x₃ exp(−t x₅)), t = 10(i − 1), i = 1 … 33."""
    t = constants(x, 10 * np.arange(33))
    model = x[0] + x[1] * jnp.exp(-t * x[3]) + x[2] * jnp.exp(-t * x[4])
    return constants(x, OSBORNE_1) - model


def biggs_exp6(x: Vector) -> Residual:
    """(18) x₃ exp(−t x₁) − x₄ exp(−t x₂) + x₆ exp(−t x₅) − y, t = i/10, i = 1 … 13."""
    t = np.arange(1, 14) / 10
    y = constants(x, np.exp(-t) - 5 * np.exp(-10 * t) + 3 * np.exp(-4 * t))
    t = constants(x, t)
    first, second = x[2] * jnp.exp(-t * x[0]), x[3] * jnp.exp(-t * x[1])
    return first - second + x[5] * jnp.exp(-t * x[4]) - y


OSBORNE_2 = (
    1.366, 1.191, 1.112, 1.013, 0.991, 0.885, 0.831, 0.847, 0.786, 0.725, 0.746,
    0.679, 0.608, 0.655, 0.616, 0.606, 0.602, 0.626, 0.651, 0.724, 0.649, 0.649,
    0.694, 0.644, 0.624, 0.661, 0.612, 0.558, 0.533, 0.495, 0.500, 0.423, 0.395,
    0.375, 0.372, 0.391, 0.396, 0.405, 0.428, 0.429, 0.523, 0.562, 0.607, 0.653,
    0.672, 0.708, 0.633, 0.668, 0.645, 0.632, 0.591, 0.559, 0.597, 0.625, 0.739,
    0.710, 0.729, 0.720, 0.636, 0.581, 0.428, 0.292, 0.162, 0.098, 0.054,
)  # fmt: skip


def osborne_2(x: Vector) -> Residual:
    """(19) y less x₁ exp(−t x₅) and three bells x_k exp(−(t − c_k)² w_k), t = (i − 1)/10.

    Their heights are x₂ to x₄, their widths w x₆ to x₈, their places c x₉ to x₁₁.
    """
    t = constants(x, np.arange(65) / 10)
    model = x[0] * jnp.exp(-t * x[4])
    for k in (1, 2, 3):
        model = model + x[k] * jnp.exp(-((t - x[k + 7]) ** 2) * x[k + 4])
    return constants(x, OSBORNE_2) - model
