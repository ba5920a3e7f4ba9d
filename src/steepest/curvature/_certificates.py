"""What is known of the Ritz pairs of a Krylov space: good enough, how near, which ones.

The mathematics is that of `_eigenpairs`, whose formulas the numbers refer to.
"""

from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from ..core.errors import InputError
from ..core.vectors import working_dtype
from ._krylov import Krylov, Ritz
from .operators import Operator


Which = Literal["largest", "smallest", "both", "magnitude"] | float
FLOOR = 32.0  # in units of eps ‖T‖
CHANCE = 1e-3  # of (3)
SHARP = 1e-6  # the relative error of an eigenvalue that is asked for
SEEN = 4.0  # times the rounding that was seen


class Bar(NamedTuple):
    """What a pair must meet, and the rounding that it cannot be better than."""

    tolerance: float  # of the residual, relative
    error: float  # (2), relative
    floor: float  # in units of ‖T‖
    narrow: float  # eps of the narrowest parameters; 0 unless narrower than the basis
    eps: float  # of the basis


def bar_of(operator: Operator, tolerance: float | None) -> Bar:
    """The requirement, and the formats."""
    eps = float(jnp.finfo(working_dtype(operator.theta.dtype)).eps)
    leaves = jax.tree.leaves(jax.eval_shape(operator.unravel, operator.theta))
    widest = max(float(jnp.finfo(leaf.dtype).eps) for leaf in leaves)
    narrow = widest if widest > eps else 0.0
    wanted = (eps**0.5, SHARP) if tolerance is None else (tolerance, float("inf"))
    return Bar(*wanted, max(FLOOR * eps, narrow), narrow, eps)


class Found(NamedTuple):
    """A space and the pairs chosen from it."""

    space: Krylov
    ritz: Ritz
    chosen: Int[np.ndarray, " k"]
    good: Bool[np.ndarray, " k"]
    residuals: Float[np.ndarray, " k"]
    errors: Float[np.ndarray, " k"]
    floor: float
    exhausted: bool

    @property
    def values(self) -> Float[np.ndarray, " k"]:
        return self.ritz.values[self.chosen]


def judged(
    space: Krylov, found: Ritz, num_pairs: int, which: Which, bar: Bar, exhausted: bool
) -> Found:
    """The pairs that are asked for, and whether (1) and the error hold of them."""
    values, size = found.values, float(np.abs(found.values).max())
    chosen = select(values, num_pairs, which)
    floor = max(bar.floor * size, SEEN * found.noise)
    residuals = found.residuals + (bar.eps + bar.narrow) * size
    gaps = np.abs(values[chosen][:, None] - values) - residuals
    gaps[np.arange(len(chosen)), chosen] = np.inf
    gap = gaps.min(axis=1)
    r = residuals[chosen]
    errors = np.where(gap > r, r**2 / np.where(gap > r, gap, 1.0), r)
    errors = np.maximum(errors, np.minimum(r, (bar.eps + bar.narrow) * size))
    limit = np.maximum(bar.tolerance * np.abs(values[chosen]), floor)
    sharp = np.maximum(bar.error * np.abs(values[chosen]), floor)
    good = (r <= limit) & (errors <= sharp)
    whole = space.done == space.size
    return Found(space, found, chosen, good | whole, r, errors, floor, exhausted)


def single(num_pairs: int, which: Which) -> bool:
    """Whether only outermost values are asked for, of which copies do not matter."""
    return num_pairs == 1 or (num_pairs == 2 and which == "both")


def margin(
    chosen: Float[np.ndarray, " k"], which: Which, values: Float[np.ndarray, " m"]
) -> Float[np.ndarray, " m"]:
    """How far each value lies outside of the innermost of those chosen."""
    match which:
        case "largest":
            return values - chosen.min()
        case "smallest":
            return chosen.max() - values
        case "magnitude":
            return np.abs(values) - np.abs(chosen).min()
        case "both":
            top = (len(chosen) + 1) // 2
            return np.maximum(values - chosen[:top].min(), chosen[top:].max() - values)
        case _:
            return np.abs(chosen - which).max() - np.abs(values - which)


def select(
    values: Float[np.ndarray, " j"], num: int, which: Which
) -> Int[np.ndarray, " k"]:
    """Which Ritz values are meant, best first; `values` ascend."""
    order = np.arange(len(values))
    num = min(num, len(values))
    match which:
        case "largest":
            return order[::-1][:num]
        case "smallest":
            return order[:num]
        case "magnitude":
            return np.argsort(-np.abs(values), kind="stable")[:num]
        case "both":
            top = (num + 1) // 2
            return np.r_[order[::-1][:top], order[: num - top]]
        case int() | float():
            return np.argsort(np.abs(values - which), kind="stable")[:num]
        case _:
            raise InputError(
                f"`which` is {which!r}; it must be 'largest', 'smallest', 'both', "
                "'magnitude' or a number."
            )


def hiding(n: int, steps: int, spread: float) -> float:
    """ε · spread of (3), where the spread itself is known only up to 2 ε."""
    root = np.log(1.648 * np.sqrt(n) / CHANCE) / (2 * steps - 1)
    epsilon = min(1.0, root**2)
    return float("inf") if epsilon >= 0.5 else epsilon * spread / (1 - 2 * epsilon)
