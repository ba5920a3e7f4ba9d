"""The state of one run in p bits: what it lost, what it could not decide, what it cost.

Values are NumPy arrays: of objects (`mpmath.mpf`, `mpmath.mpc`) where the program has
floats or complex numbers, of integers or truth values where it has those. Random keys
stay as they are.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

from ...core import jaxpr
from ...core.errors import InputError
from ...core.jaxpr import is_float as is_float


Values: TypeAlias = Any  # a NumPy array, or an array of random keys

DIGITS = 20  # of a result that have to be certain

#: A term of 2⁻⁹⁰⁰⁰ of a sum, 10⁻²⁷⁰⁰, counts as none.
FARTHEST = 9_000


class Run:
    """What is counted while a program is evaluated."""

    def __init__(self, precision: int, size: int) -> None:
        self.precision = precision  # bits
        self.half = precision // 2
        self.lost = 0.0  # bits: the sum over equations of the worst element
        self.undecided = False
        self.gap = 0  # bits from a sum down to a term that was lost in it
        self.left = size
        self.size = size
        self.seen: list[tuple[Any, ...]] | None = None  # what was computed, if wanted
        self._worst = 0.0

    @property
    def certain(self) -> bool:
        """Whether `DIGITS` digits of every result are."""
        kept = self.precision - self.lost
        return not self.undecided and not self.gap and kept > DIGITS * 3.33 + 8

    @contextmanager
    def reporting(self) -> Iterator[None]:
        """Around one equation: what its elements report counts once."""
        self._worst = 0.0
        yield
        self.lost += self._worst

    def absorb(self, gap: int) -> None:
        """Report a term that is `gap` bits below a sum, if it was too far to count."""
        if self.precision <= gap + 4 and gap < FARTHEST:
            self.gap = max(self.gap, gap)

    def report(self, bits: float) -> None:
        self._worst = max(self._worst, bits)

    def spend(self, equation: jaxpr.Equation) -> None:
        """Count the floats that an equation computes."""
        avals = [v for v in equation.outputs if is_float(v)]
        self.count(sum(int(np.prod(v.shape)) for v in avals))

    def count(self, operations: int) -> None:
        """Count scalar operations; refuse more than were allowed."""
        self.left -= operations
        if self.left < 0:
            raise InputError(
                f"The program has more than {self.size} scalar operations, too many "
                "for exact arithmetic. Take smaller arrays or fewer turns of a loop, "
                "or raise `size`."
            )

    def exact(self, x: Any) -> bool:
        """Whether a number has so few bits that it was not rounded."""
        if isinstance(x, mpmath.mpf):
            return x._mpf_[3] <= self.half
        return all(part[3] <= self.half for part in x._mpc_)


def size_of(x: Any) -> int:
    """⌊log₂ |x|⌋ + 1; of 0, ±∞ and NaN something meaningless."""
    if isinstance(x, mpmath.mpf):
        return x._mpf_[2] + x._mpf_[3]
    return max(part[2] + part[3] for part in x._mpc_)


def lift(x: Any) -> Values:
    """An array of the program as an array of exact numbers."""
    if isinstance(x, mpmath.mpf | mpmath.mpc):
        return boxed(x)
    if isinstance(x, np.ndarray) and x.dtype == object:
        return x
    dtype = getattr(x, "dtype", None)
    if dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.extended):
        return x
    array = np.asarray(x)
    if jnp.issubdtype(array.dtype, jnp.complexfloating):
        return each(lambda z: mpmath.mpc(complex(z)), array)
    if jnp.issubdtype(array.dtype, jnp.floating):
        return each(mpmath.mpf, array.astype(np.float64))
    return array


def boxed(x: Any) -> np.ndarray:
    """One number as an array of shape ()."""
    out = np.empty((), object)
    out[()] = x
    return out


def each(f: Callable[..., Any], *arrays: Any) -> np.ndarray:
    """`f` at every element, as an array of objects."""
    with np.errstate(all="ignore"):
        out = np.frompyfunc(f, len(arrays), 1)(*arrays)
    return out if isinstance(out, np.ndarray) else boxed(out)


def native(x: Any, aval: Any) -> Any:
    """Exact numbers rounded to the format that the program has."""
    if not (isinstance(x, np.ndarray) and x.dtype == object):
        return x
    kind = complex if jnp.issubdtype(aval.dtype, jnp.complexfloating) else float
    flat = [_rounded(kind, v) for v in x.ravel()]
    wide = np.complex128 if kind is complex else np.float64
    return jnp.asarray(np.asarray(flat, wide).reshape(x.shape).astype(aval.dtype))


def _rounded(kind: type, value: Any) -> Any:
    try:
        return kind(value)
    except OverflowError:
        return kind("inf") if value > 0 else kind("-inf")
