"""The pictures of the page on rounding, computed when the pages are built.

Every curve is measured: the naive and the stable form run in float32, operation by
operation, and are compared with mpmath. A picture is an SVG that follows the reader's
light or dark colours; nothing but NumPy draws it.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
from mpmath import mp, mpf


STYLE = """
  text { font: 12px sans-serif; fill: #333 }
  .axis { stroke: #888; fill: none }
  .grid { stroke: #ccc; stroke-dasharray: 2 3 }
  .naive { stroke: #c22; fill: none; stroke-width: 1.8 }
  .stable { stroke: #27c; fill: none; stroke-width: 1.8 }
  .a { stroke: #c22 } .b { stroke: #27c } .c { stroke: #292 } .d { stroke: #b70 }
  .line { fill: none; stroke-width: 1.8 }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd } .axis { stroke: #999 } .grid { stroke: #444 }
    .naive, .a { stroke: #f66 } .stable, .b { stroke: #6af }
    .c { stroke: #6d6 } .d { stroke: #fb4 }
  }
"""


def pictures() -> dict[str, str]:
    """File name -> SVG."""
    return {
        "rounding-numbers.svg": numbers(),
        "rounding-spacing.svg": spacing(),
        "rounding-digits.svg": digits(),
    }


# -- The numbers themselves --------------------------------------------------------------


def numbers() -> str:
    """Every number of float8 (e4m3) from 0 to 4, as a mark on a line."""
    codes = np.arange(128, dtype=np.uint8).view(ml_dtypes.float8_e4m3fn)
    values = codes.astype(float)
    values = values[np.isfinite(values) & (values <= 4)]
    at = lambda x: 30 + 580 * x / 4
    marks = [
        f'<line class="axis b" x1="{at(v):.1f}" x2="{at(v):.1f}" y1="22" y2="42"/>'
        for v in values
    ]
    named = [
        f'<text x="{at(v):.1f}" y="60" text-anchor="middle">{v:g}</text>'
        for v in (0, 0.5, 1, 2, 3, 4)
    ]
    base = '<line class="axis" x1="30" x2="610" y1="32" y2="32"/>'
    return svg(640, 72, [base, *marks, *named])


def spacing() -> str:
    """The distance to the next number against the number, of four formats."""
    formats = (
        ("float32", np.float32, "a"),
        ("float16", np.float16, "b"),
        ("bfloat16", ml_dtypes.bfloat16, "c"),
        ("float8 e4m3", ml_dtypes.float8_e4m3fn, "d"),
    )
    frame = Frame((50, 20, 520, 300), (-10, 6), (-18, 5))
    parts = frame.drawn("x", "distance to the next number", range(-9, 7, 3))
    for i, (name, dtype, style) in enumerate(formats):
        info = ml_dtypes.finfo(dtype)
        smallest, most = float(info.smallest_normal), float(info.max)
        exponents = np.arange(np.log2(1e-10) // 1, np.log2(1e6) + 1)
        points = []
        for e in exponents:
            if 2.0**e > most:
                break
            gap = float(info.eps) * max(2.0**e, smallest)
            points += [(e * np.log10(2), np.log10(gap))]
            points += [((e + 1) * np.log10(2), np.log10(gap))]
        parts.append(frame.line(points, f"line {style}"))
        parts.append(key(590, 60 + 22 * i, name, style))
    return svg(700, 360, parts)


# -- Digits that are left ------------------------------------------------------------------


class Trap(NamedTuple):
    """A formula, its stable form, and the truth, over a range of x."""

    title: str
    naive: Callable[[Any], Any]
    stable: Callable[[Any], Any]
    truth: Callable[[Any], Any]
    decades: tuple[int, int]  # of x


def one_pass(x: Any) -> Any:
    """The variance of x, x + 1 and x + 2 as E[x²] − E[x]²."""
    rows = jnp.stack([x, x + 1, x + 2])
    return jnp.mean(rows * rows, 0) - jnp.mean(rows, 0) ** 2


def two_pass(x: Any) -> Any:
    return jnp.var(jnp.stack([x, x + 1, x + 2]), axis=0)


TRAPS = (
    Trap(
        "exp(x) − 1, expm1(x)",
        lambda x: jnp.exp(x) - 1,
        jnp.expm1,
        mp.expm1,
        (-9, 1),
    ),
    Trap(
        "log(1 + x), log1p(x)",
        lambda x: jnp.log(1 + x),
        jnp.log1p,
        mp.log1p,
        (-9, 1),
    ),
    Trap(
        "1 − cos x, 2 sin²(x/2)",
        lambda x: 1 - jnp.cos(x),
        lambda x: 2 * jnp.sin(x / 2) ** 2,
        lambda x: 2 * mp.sin(x / 2) ** 2,
        (-6, 0),
    ),
    Trap(
        "√(x+1) − √x, 1/(√(x+1) + √x)",
        lambda x: jnp.sqrt(x + 1) - jnp.sqrt(x),
        lambda x: 1 / (jnp.sqrt(x + 1) + jnp.sqrt(x)),
        lambda x: 1 / (mp.sqrt(x + 1) + mp.sqrt(x)),
        (-2, 9),
    ),
    Trap(
        "1 − σ(x), σ(−x)",
        lambda x: 1 - jax.nn.sigmoid(x),
        lambda x: jax.nn.sigmoid(-x),
        lambda x: 1 / (1 + mp.exp(x)),
        (-1, 2),
    ),
    Trap(
        "E[x²] − E[x]², E[(x − E[x])²]",
        one_pass,
        two_pass,
        lambda x: mpf(2) / 3,
        (-1, 4),
    ),
)


def digits_left(fun: Callable[[Any], Any], x: np.ndarray, truth: np.ndarray) -> Any:
    """Decimal digits of float32 that are right: −log₁₀ of the relative error, 0 to 7.2."""
    from steepest.core.compiled import op_by_op

    y = np.asarray(op_by_op(fun)(jnp.asarray(x)), np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.abs(y - truth) / np.abs(truth)
    error = np.where(np.isfinite(error), error, 1.0)
    return -np.log10(np.clip(error, 6e-8, 1.0))


def digits() -> str:
    """Six small pictures: correct digits against x, naive and stable."""
    parts = []
    for i, trap in enumerate(TRAPS):
        left, top = 40 + 230 * (i % 3), 30 + 200 * (i // 3)
        frame = Frame((left, top, 190, 140), trap.decades, (0, 7.5))
        step = max(1, (trap.decades[1] - trap.decades[0]) // 3)
        parts += frame.drawn("", "", range(trap.decades[0], trap.decades[1] + 1, step))
        parts.append(f'<text x="{left}" y="{top - 8}">{trap.title}</text>')
        x = np.logspace(*trap.decades, 160).astype(np.float32)
        with mp.workdps(40):
            truth = np.array([float(trap.truth(mpf(float(v)))) for v in x])
        for fun, style in ((trap.naive, "naive"), (trap.stable, "stable")):
            y = worst_of(digits_left(fun, x, truth), 4)
            points = zip(np.log10(x.astype(float)[2::4]), y, strict=False)
            parts.append(frame.line(list(points), style))
    parts.append(key(300, 420, "as it is usually written", "a"))
    parts.append(key(500, 420, "stable form", "b"))
    return svg(740, 440, parts)


def worst_of(values: np.ndarray, size: int) -> np.ndarray:
    """The least of every `size` neighbours: rounding errors are erratic."""
    return values.reshape(-1, size).min(axis=1)


# -- Drawing ---------------------------------------------------------------------------------


class Frame(NamedTuple):
    """A rectangle with axes in decades across and plain units up."""

    box: tuple[float, float, float, float]  # left, top, width, height
    across: tuple[float, float]
    up: tuple[float, float]

    def at(self, x: float, y: float) -> tuple[float, float]:
        left, top, width, height = self.box
        u = (x - self.across[0]) / (self.across[1] - self.across[0])
        u = min(max(u, 0.0), 1.0)
        v = (y - self.up[0]) / (self.up[1] - self.up[0])
        return left + width * u, top + height * (1 - min(max(v, 0.0), 1.0))

    def drawn(self, below: str, beside: str, decades: Sequence[int]) -> list[str]:
        left, top, width, height = self.box
        out = [
            f'<rect class="axis" x="{left}" y="{top}" width="{width}" height="{height}"/>'
        ]
        for d in decades:
            x, y = self.at(d, self.up[0])
            out.append(f'<line class="grid" x1="{x}" x2="{x}" y1="{top}" y2="{y}"/>')
            out.append(
                f'<text x="{x}" y="{y + 16}" text-anchor="middle">{power(d)}</text>'
            )
        span = self.up[1] - self.up[0]
        every = 1 if span < 5 else 2 if span < 12 else 5
        first = int(np.ceil(self.up[0] / every) * every)
        for v in range(first, int(self.up[1]) + 1, every):
            x, y = self.at(self.across[0], v)
            name = power(v) if beside else str(v)
            out.append(
                f'<line class="grid" x1="{x}" x2="{left + width}" y1="{y}" y2="{y}"/>'
            )
            out.append(f'<text x="{x - 5}" y="{y + 4}" text-anchor="end">{name}</text>')
        if below:
            out.append(
                f'<text x="{left + width}" y="{top + height + 32}" text-anchor="end">'
                f"{below}</text>"
            )
        if beside:
            out.append(f'<text x="{left}" y="{top - 6}">{beside}</text>')
        return out

    def line(self, points: Sequence[tuple[float, float]], style: str) -> str:
        places = " ".join("{:.1f},{:.1f}".format(*self.at(*p)) for p in points)
        return f'<polyline class="{style}" points="{places}"/>'


SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power(exponent: int) -> str:
    return "1" if exponent == 0 else "10" + str(exponent).translate(SUPERSCRIPT)


def key(x: float, y: float, name: str, style: str) -> str:
    return (
        f'<line class="line {style}" x1="{x}" x2="{x + 20}" y1="{y}" y2="{y}"/>'
        f'<text x="{x + 26}" y="{y + 4}">{name}</text>'
    )


def svg(width: float, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}"><style>{STYLE}</style>{"".join(parts)}</svg>\n'
    )
