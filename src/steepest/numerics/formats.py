"""What each floating format can hold, and where the common functions leave it.

Nothing here is a constant: every limit is found by running the operation on the device,
since devices differ (a CPU flushes the subnormal numbers of float32 to zero). The
non-negative numbers of a format have the order of their bit patterns, so the place
where a statement about them becomes true is found by bisection over the patterns, 512
of them at a time.

Types that the device does not compute with (float8) are computed in float32, and each
result is rounded back; `computed_in` says so.
"""

import functools
import html
import json
import math
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from ..core.errors import InputError


NAMES = (
    "float64",
    "float32",
    "bfloat16",
    "float16",
    "float8_e4m3fn",
    "float8_e5m2",
)
SECTION = 256


class Format(NamedTuple):
    """One format on one device. Thresholds are the last number on the good side."""

    name: str
    backend: str
    computed_in: str
    bits: int
    max: float
    smallest_normal: float
    smallest_subnormal: float
    eps: float
    flushes_subnormals: bool
    overflow_to: str
    integers_exact_to: float
    exp_overflows_above: float
    exp_vanishes_below: float
    expm1_overflows_above: float
    expm1_is_minus_one_below: float
    log_of_max: float
    log_of_smallest: float
    square_overflows_above: float
    square_vanishes_below: float
    cube_overflows_above: float
    cube_vanishes_below: float
    reciprocal_overflows_below: float
    one_plus_exp_is_one_below: float
    one_plus_x_is_one_below: float
    sigmoid_is_one_above: float
    sigmoid_vanishes_below: float
    tanh_is_one_above: float
    softmax_is_one_beyond: float
    softmax_vanishes_beyond: float


class Formats(tuple[Format, ...]):
    """A table of formats, as text, as HTML and as JSON."""

    def rows(self) -> list[tuple[str, ...]]:
        """A line for each quantity, a column for each format."""
        lines = [("", *(f.name for f in self))]
        for field in Format._fields[1:]:
            cells = (_text(getattr(f, field)) for f in self)
            lines.append((field.replace("_", " "), *cells))
        return lines

    def __str__(self) -> str:
        rows = self.rows()
        sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
        first = sizes[0]
        return "\n".join(
            (
                row[0].ljust(first)
                + "".join(
                    "  " + cell.rjust(n)
                    for cell, n in zip(row[1:], sizes[1:], strict=True)
                )
            ).rstrip()
            for row in rows
        )

    def _repr_html_(self) -> str:
        head, *body = self.rows()
        line = lambda tag, cells: "".join(
            f"<{tag}>{html.escape(c)}</{tag}>" for c in cells
        )
        lines = "".join(f"<tr>{line('td', row)}</tr>" for row in body)
        return f"<table><tr>{line('th', head)}</tr>{lines}</table>"

    def as_json(self) -> str:
        """A list of objects."""
        return json.dumps([f._asdict() for f in self], indent=2)


def table(backend: str | None = None, names: Iterable[str] = NAMES) -> Formats:
    """Measure every format of `names` on a backend (the default one if None)."""
    return Formats(measure(name, backend) for name in names)


def measure(dtype: Any, backend: str | None = None) -> Format:
    """Measure one format, by the name or the type.

    >>> from steepest.numerics import formats
    >>> formats.measure("bfloat16").integers_exact_to
    256.0
    """
    try:
        name = jnp.dtype(dtype).name
    except TypeError:
        name = str(dtype)
    if name not in NAMES:
        raise InputError(
            f"There is no table for the format {name!r}; name one of {', '.join(NAMES)}."
        )
    try:
        device = jax.devices(backend)[0]
    except RuntimeError as error:
        raise InputError(
            f"There is no backend {backend!r} here; the default is "
            f"{jax.default_backend()!r}."
        ) from error
    return _measure(name, device)


@functools.lru_cache
def _measure(name: str, device: Any) -> Format:  # a device of JAX
    quiet = np.errstate(all="ignore")
    with jax.enable_x64(True), jax.default_device(device), quiet:
        return _Numbers(name).format(device.platform)


class _Numbers:
    """The non-negative numbers of a format by bit pattern, and what happens to them."""

    def __init__(self, name: str) -> None:
        self.dtype = jnp.dtype(name)
        self.bits = 8 * self.dtype.itemsize
        self.pattern = np.dtype(f"uint{self.bits}")
        self.wide = jnp.dtype("float32") if self.bits < 16 else self.dtype
        self.top = 2 ** (self.bits - 1) - 1
        finite = lambda x: ~np.isfinite(x.astype(np.float64))
        self.last = self.first_pattern(finite) - 1

    def at(self, patterns: Any) -> np.ndarray:  # an array of the format
        return np.asarray(patterns).astype(self.pattern).view(self.dtype)

    def first_pattern(
        self, holds: Callable[[np.ndarray], np.ndarray], top: int = -1
    ) -> int:
        """The first pattern at which a monotone statement holds, `top` + 1 if nowhere."""
        low, high = -1, (self.top if top < 0 else top) + 1
        while high - low > 1:
            step = max(1, (high - low) // SECTION)
            marks = [min(low + step * (k + 1), high - 1) for k in range(2 * SECTION)]
            known = np.asarray(holds(self.at(marks)))
            if not known[-1]:
                return high
            k = int(np.argmax(known))
            low, high = (marks[k - 1] if k else low), marks[k]
        return high

    def run(self, f: Callable[[Array], Array], x: np.ndarray) -> np.ndarray:
        """f on the device, each result rounded to the format, as float64."""
        y = f(jnp.asarray(x).astype(self.wide))
        return np.asarray(y.astype(self.dtype)).astype(np.float64)

    def edge(
        self,
        f: Callable[[Array], Array],
        becomes: Callable[[np.ndarray], np.ndarray],
        after: bool = False,
    ) -> float:
        """The last x for which f(x) has not become so yet, or the first `after`."""
        k = self.first_pattern(lambda x: becomes(self.run(f, x)), self.last)
        return float(self.at([k if after else max(k - 1, 0)])[0])

    def format(self, backend: str) -> Format:
        gone = lambda y: y == 0
        finite = np.isfinite
        over = lambda y: ~np.isfinite(y)
        one, minus = lambda y: y == 1, lambda y: y == -1
        value = lambda pattern: float(self.at([pattern])[0])
        largest = self.at([self.last])
        gap = lambda k: value(k + 1) - value(k)
        unit = int(self.at([0]).dtype.type(1).view(self.pattern))
        eps = gap(unit)
        normal = self.first_pattern(self._is_normal(eps), self.last - 1)
        tiny = self.at([normal])
        logs = lambda x: float(self.run(jnp.log, x)[0])
        logged = self.first_pattern(
            lambda x: np.isfinite(self.run(jnp.log, x)), self.last
        )
        two = lambda x: jnp.stack([jnp.zeros_like(x), -x])
        share = lambda k: lambda x: jax.nn.softmax(two(x), axis=0)[k]
        return Format(
            name=self.dtype.name,
            backend=backend,
            computed_in=self.wide.name,
            bits=self.bits,
            max=float(largest[0]),
            smallest_normal=float(tiny[0]),
            smallest_subnormal=value(1),
            eps=eps,
            flushes_subnormals=bool(self.run(lambda x: x / 2, tiny)[0] == 0),
            overflow_to=str(self.run(lambda x: x + x, largest)[0]),
            integers_exact_to=self._stagnates(),
            exp_overflows_above=self.edge(jnp.exp, over),
            exp_vanishes_below=-self.edge(lambda x: jnp.exp(-x), gone),
            expm1_overflows_above=self.edge(jnp.expm1, over),
            expm1_is_minus_one_below=-self.edge(lambda x: jnp.expm1(-x), minus),
            log_of_max=logs(largest),
            log_of_smallest=logs(self.at([logged])),
            square_overflows_above=self.edge(lambda x: x * x, over),
            square_vanishes_below=self.edge(lambda x: x * x, lambda y: y != 0, True),
            cube_overflows_above=self.edge(lambda x: x * x * x, over),
            cube_vanishes_below=self.edge(lambda x: x * x * x, lambda y: y != 0, True),
            reciprocal_overflows_below=self.edge(lambda x: 1 / x, finite, True),
            one_plus_exp_is_one_below=-self.edge(lambda x: 1 + jnp.exp(-x), one),
            one_plus_x_is_one_below=self.edge(lambda x: 1 + x, lambda y: y != 1, True),
            sigmoid_is_one_above=self.edge(jax.nn.sigmoid, one),
            sigmoid_vanishes_below=-self.edge(lambda x: jax.nn.sigmoid(-x), gone),
            tanh_is_one_above=self.edge(jnp.tanh, one),
            softmax_is_one_beyond=self.edge(share(0), one),
            softmax_vanishes_beyond=self.edge(share(1), gone),
        )

    def _is_normal(self, eps: float) -> Callable[[np.ndarray], np.ndarray]:
        """Whether the gap after x is at most eps · x: no digit is missing."""

        def holds(x: np.ndarray) -> np.ndarray:
            after = self.at(x.view(self.pattern).astype(np.int64) + 1)
            here = x.astype(np.float64)
            return ((after.astype(np.float64) - here) / eps <= here) & (here > 0)

        return holds

    def _stagnates(self) -> float:
        """The first sum of ones that one more does not change: a power of two."""
        powers = 2.0 ** np.arange(self.bits)
        x = powers[powers <= float(self.at([self.last])[0])].astype(self.dtype)
        still = self.run(lambda v: v + 1, x) == x.astype(np.float64)
        return float(x[np.argmax(still)]) if still.any() else math.nan


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        whole = value.is_integer() and abs(value) < 1e9
        return f"{int(value)}" if whole else f"{value:.4g}"
    return str(value)
