"""The least-squares problems of Moré, Garbow & Hillstrom (1981), written in JAX.

Thirty-five families of residuals r: Rⁿ → Rᵐ, from two standard starts each, one near
and one ten times as far, with the local minima of the sum of squares

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
from ._problems import TABLE, Row


@dataclass(frozen=True)
class Residuals:
    """A least-squares problem: its residuals, where to start, what can be reached."""

    name: str
    residuals: Callable[[Float[Array, " n"]], Float[Array, " m"]]
    starts: tuple[tuple[float, ...], ...]
    minima: tuple[float, ...]  # known ones of the sum of squares, the least first
    traps: tuple[float, ...]  # values at which methods stop that are no minima
    n: int  # parameters
    m: int  # residuals
    number: int  # in the paper

    def loss(self, x: Float[Array, " n"]) -> Float[Array, ""]:
        """The sum of squares (1), without a half."""
        return jnp.sum(self.residuals(x) ** 2)


def names() -> tuple[str, ...]:
    """The names of all problems, in the order of the paper."""
    return tuple(problem.name for problem in PROBLEMS)


def get(name: str) -> Residuals:
    """The least-squares problem of that name.

    Its `residuals` take a vector of shape (n,) of any floating-point dtype and compute
    in it; for other input they raise `InputError`.

    Raises `InputError`, with the nearest names, for one that does not exist.

    >>> problem = get("wood")
    >>> float(problem.loss(jnp.asarray(problem.starts[0])))
    19192.0
    """
    for problem in PROBLEMS:
        if problem.name == name:
            return problem
    where = "steepest.problems.functions.mgh.names()"
    raise unknown(name, names(), "least-squares problem", where)


def _problem(row: Row) -> Residuals:
    """What a row of the table says."""
    n = len(row.starts[0])
    residuals = of_vectors(row.residuals, row.name, n)
    return Residuals(
        row.name, residuals, row.starts, row.minima, row.traps, n, row.m, row.number
    )


PROBLEMS: tuple[Residuals, ...] = tuple(map(_problem, TABLE))
