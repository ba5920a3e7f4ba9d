"""The truth of a function and of its derivatives, in many digits, and the comparison.

Derivatives are central differences with a relative step of 10⁻⁴⁰ in hundreds of digits,
so that they need no formula that could share a mistake with the code. A result passes if
its error is at most 4 units in the last place times the condition number |x f′/f| of
what is computed, which is what rounding the input alone may cost, and the smallest
normal number, below which the device may flush to zero. Half precision is
computed in float32 and rounded once: half a unit, and the error of float32.
"""

import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import mpmath
import numpy as np


STEP = mpmath.mpf(10) ** -40
DIGITS = {"float64": 1300, "float32": 420, "bfloat16": 420, "float16": 420}
DTYPES = ("float64", "float32", "bfloat16", "float16")


def grid(dtype: str, low: float = -np.inf, high: float = np.inf, n: int = 40):
    """Numbers of the format on a logarithmic grid of either sign, within a domain."""
    info = jnp.finfo(dtype)
    lo, hi = np.log10(float(info.tiny)) + 1e-3, np.log10(float(info.max)) - 1e-3
    sizes = 10.0 ** np.concatenate([np.linspace(lo, hi, n), np.linspace(-3, 2.3, n)])
    sizes = sizes[sizes < float(info.max)]
    points = np.concatenate([-sizes, sizes]).astype(dtype).astype(np.float64)
    return np.unique(points[(points > low) & (points < high)])


def truths(f: Callable, x: float, digits: int) -> list[tuple[mpmath.mpf, mpmath.mpf]]:
    """(f, f′, f″) at x, each with what a relative change of x does to it, |x f′|."""
    with mpmath.workdps(digits):
        x = mpmath.mpf(x)
        h = x * STEP
        v = {k: f(x + k * h) for k in (-2, -1, 0, 1, 2)}
        d = [
            v[0],
            (v[1] - v[-1]) / (2 * h),
            (v[1] - 2 * v[0] + v[-1]) / h**2,
            (v[2] - 2 * v[1] + 2 * v[-1] - v[-2]) / (2 * h**3),
        ]
        return [(y, abs(x * slope)) for y, slope in itertools.pairwise(d)]


def excess(got: float, truth: mpmath.mpf, change: mpmath.mpf, dtype: str) -> float:
    """The error in units of what is allowed: at most 1 is right."""
    info, single = jnp.finfo(dtype), jnp.finfo("float32")
    eps, largest = float(info.eps), float(info.max)
    if mpmath.isnan(truth):
        return 0.0 if np.isnan(got) else np.inf
    sensitive = max(abs(truth), change)
    allowed = 4 * eps * sensitive + float(info.tiny)
    if info.bits < 32:
        rounding = 0.51 * eps * abs(truth) + float(info.tiny)
        allowed = rounding + 4 * float(single.eps) * sensitive
    if np.isinf(got):
        beyond = abs(truth) + allowed > largest and (got > 0) == (truth > 0)
        return 0.0 if beyond else np.inf
    if np.isnan(got):
        return np.inf
    return float(abs(mpmath.mpf(got) - truth) / allowed)


def orders(f: Callable) -> dict[str, Callable]:
    """Value, first and second derivative of an elementwise f, in both modes of each."""
    ones = jnp.ones_like
    backward = lambda g: lambda x: jax.vjp(g, x)[1](ones(x))[0]
    forward = lambda g: lambda x: jax.jvp(g, (x,), (ones(x),))[1]
    return {
        "value": f,
        "reverse": backward(f),
        "forward": forward(f),
        "forward over reverse": forward(backward(f)),
        "reverse over forward": backward(forward(f)),
    }


ORDER = {"value": 0, "reverse": 1, "forward": 1}


def worst(
    f: Callable, truth: Callable, points: Sequence[float], dtype: str
) -> list[tuple[float, str, float, float, float]]:
    """Where f, elementwise, errs by more than is allowed: how much, what, x, got, truth.

    Eagerly, operation by operation, and compiled as one program.
    """
    found = []
    with jax.enable_x64(dtype == "float64"):
        x = jnp.asarray(np.asarray(points), dtype)
        exact = [truths(truth, float(p), DIGITS[dtype]) for p in points]
        for name, g in orders(f).items():
            with jax.disable_jit():
                eager = g(x)
            for mode, y in (("eager", eager), ("jit", jax.jit(g)(x))):
                assert y.dtype == x.dtype
                for p, got, all_orders in zip(points, y, exact, strict=True):
                    t, change = all_orders[ORDER.get(name, 2)]
                    e = excess(float(got), t, change, dtype)
                    if e > 1:
                        found.append((e, f"{name}, {mode}", p, float(got), float(t)))
    return sorted(found, reverse=True)
