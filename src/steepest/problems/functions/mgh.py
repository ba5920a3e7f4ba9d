"""The least-squares problems of Moré, Garbow & Hillstrom (1981), written in JAX.

Thirty-five families of residuals r: Rⁿ → Rᵐ, from two standard starts each, one near
and one ten times as far, with the least sums of squares

    f(x) = ‖r(x)‖² = Σ_i r_i(x)²                                             (1)

that are known. A solver is judged by the share of starts from which it reaches one of
them, by what that costs, and above all by how often it says that it has and has not.

    ∇f = 2 Jᵀr,     H = 2 JᵀJ + 2 Σ_i r_i ∇²r_i.                             (2)

In most problems the first term of H is a good model; where the residuals are large at
the solution (6, 10, 16) or J is singular there (13, 22, 33) it is not.

References
    Moré, Garbow & Hillstrom (1981), Testing unconstrained optimization software,
        ACM Transactions on Mathematical Software 7, 17-41.
    Nocedal & Wright (2006), Numerical Optimization, §10.2.                  -- (2)
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax.numpy as jnp
from jaxtyping import Array, Float

from ._function import of_vectors, unknown
from ._problems import TABLE


@dataclass(frozen=True)
class Residuals:
    """A least-squares problem: its residuals, where to start, what can be reached."""

    name: str
    residuals: Callable[[Float[Array, " n"]], Float[Array, " m"]]
    starts: tuple[tuple[float, ...], ...]
    minima: tuple[
        float, ...
    ]  # known local minima of the sum of squares, the least first
    n: int  # parameters
    m: int  # residuals
    number: int  # in the paper

    def loss(self, x: Float[Array, " n"]) -> Float[Array, ""]:
        """The sum of squares (1), without a half."""
        return jnp.sum(self.residuals(x) ** 2)


def names() -> tuple[str, ...]:
    """The names of all problems, in the order of the paper."""
    return tuple(row.name for row in TABLE)


def get(name: str) -> Residuals:
    """The least-squares problem of that name.

    Its `residuals` take a vector of shape (n,) of any floating-point dtype and compute
    in it; for other input they raise `InputError`.

    Raises `InputError`, with the nearest names, for one that does not exist.
    """
    for row in TABLE:
        if row.name == name:
            n = len(row.starts[0])
            fun = of_vectors(row.residuals, name, n)
            return Residuals(name, fun, row.starts, row.minima, n, row.m, row.number)
    where = "steepest.problems.functions.mgh.names()"
    raise unknown(name, names(), "least-squares problem", where)
