"""What a test function and a labelled critical point of it are.

At a critical point x* of f: Rⁿ → R the gradient is zero, and along every line

    f(x* + tv) = f(x*) + ½ t² vᵀHv + O(t³).                                  (1)

The eigenvalues of H, the spectrum, decide what the point is in three cases of four:
all positive, a minimum; all negative, a maximum; some of both signs, a saddle. Where
none is of the other sign but some are zero, higher terms of (1) decide, and a test that
knows only H must answer that it does not know. Such points are labelled "degenerate".

References
    Goodfellow, Bengio & Courville (2016), Deep Learning, §§4.3, 8.2.3.
    Nocedal & Wright (2006), Numerical Optimization, §2.1.
"""

import difflib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from ...core.errors import InputError, type_name


Kind = Literal[
    "minimum", "maximum", "saddle", "degenerate minimum", "degenerate saddle"
]


class Point(NamedTuple):
    """A critical point, with what is known about it.

    "saddle": eigenvalues of both signs, zeros beside them or not. "degenerate
    minimum", "degenerate saddle": H is semidefinite and singular; what the point is
    follows from the formula of the function and not from H.
    """

    x: tuple[float, ...]
    kind: Kind
    value: float  # of the function at x
    spectrum: tuple[float, ...] | None = None  # eigenvalues of H, ascending


@dataclass(frozen=True)
class Function:
    """A test function, where to start, where to look, and its critical points.

    `points` are all critical points in the domain where `about` says so; otherwise
    they are some of them.
    """

    name: str
    fun: Callable[[Float[Array, " n"]], Float[Array, ""]]
    starts: tuple[tuple[float, ...], ...]
    domain: tuple[tuple[float, ...], tuple[float, ...]]  # lower and upper bounds
    points: tuple[Point, ...]
    about: str

    @property
    def n(self) -> int:
        """The number of variables."""
        return len(self.starts[0])

    @property
    def minima(self) -> tuple[Point, ...]:
        """The labelled minima, degenerate ones among them, the lowest first."""
        minima = [p for p in self.points if p.kind.endswith("minimum")]
        return tuple(sorted(minima, key=lambda p: p.value))


def row(
    name: str,
    fun: Callable[[Float[Array, " n"]], Float[Array, ""]],
    *starts: tuple[float, ...],
    about: str,
    lower: float | tuple[float, ...],
    upper: float | tuple[float, ...],
    points: tuple[Point, ...],
) -> Function:
    """A row of the catalogue; bounds may be given as one number for all variables."""
    n = len(starts[0])
    low = lower if isinstance(lower, tuple) else (lower,) * n
    high = upper if isinstance(upper, tuple) else (upper,) * n
    return Function(name, fun, starts, (low, high), points, about)


def of_vectors(
    fun: Callable[[Float[Array, " n"]], Array], name: str, n: int
) -> Callable[[Float[Array, " n"]], Array]:
    """The function, refusing all but vectors of n floating-point numbers."""

    def checked(x: Array) -> Array:
        if not hasattr(x, "dtype") or not jnp.issubdtype(x.dtype, jnp.floating):
            kind = getattr(x, "dtype", type_name(x))
            raise InputError(
                f"{name!r} takes an array of floating-point numbers, not {kind}; give "
                "it `jnp.asarray(x, float)`."
            )
        if x.shape != (n,):
            raise InputError(
                f"{name!r} is a function of a vector of shape ({n},), not of "
                f"{x.shape}; use `jax.vmap` for several points."
            )
        return fun(x)

    return checked


def unknown(name: str, known: Iterable[str], what: str, where: str) -> InputError:
    """The error for a name that does not exist, with the nearest that do."""
    near = difflib.get_close_matches(str(name), list(known), n=3, cutoff=0.4)
    hint = f" Did you mean {' or '.join(near)}?" if near else ""
    return InputError(f"There is no {what} {name!r}.{hint} `{where}` lists them all.")
