"""What pictures of curvature are drawn with: one style, axes, contours and paths.

Text and axes are of one grey and the ground is transparent, so that a picture reads on
white and on black. Contours stand at heights h above the lowest loss in a geometric
sequence,

    h_k = h_0 rᵏ,                                                            (1)

because the floor of a valley is lost among equally spaced ones. With a fixed salt and no
date the same arrays give the same text, byte for byte.

References
    Tufte (2001), The Visual Display of Quantitative Information, chapter 4.
"""

import html
import io
import math
from typing import Any

import numpy as np
from jaxtyping import Float

from ..core.errors import InputError


GREY = "#7d7d7d"  # text and axes: 4 to 1 and more against white and near-black
PALE = "#f7f7f7"
BLUE, ORANGE, GREEN, RED = "#3a87d9", "#e07b28", "#2f9e5b", "#d64550"
VIOLET = "#8a63d2"
STYLE: dict[Any, Any] = {
    "svg.hashsalt": "steepest",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": GREY,
    "axes.labelcolor": GREY,
    "axes.edgecolor": GREY,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titlecolor": GREY,
    "axes.unicode_minus": True,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "figure.constrained_layout.use": True,
}
LEVELS = 14  # contours, evenly spaced in the logarithm of the height
MARKED = 40  # iterates of a path at most that are marked one by one
DECADES = 4.0  # below the highest point: contours start here
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def svg(draw: Any, title: str, size: tuple[float, float]) -> str:
    """One <svg> element; `draw` fills the figure that it is given."""
    try:
        import matplotlib
        from matplotlib.backends.backend_svg import FigureCanvasSVG
        from matplotlib.figure import Figure
    except ImportError as error:
        raise InputError(
            "Install matplotlib (pip install 'steepest[plot]') for pictures."
        ) from error
    text = io.StringIO()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size)
        FigureCanvasSVG(figure)
        draw(figure)
        figure.savefig(text, format="svg", metadata={"Date": None, "Title": title})
    drawn = text.getvalue()
    drawn = drawn[drawn.index("<svg") :]  # without the prologue it may stand in a page
    label = html.escape(title, quote=True)
    return drawn.replace("<svg", f'<svg role="img" aria-label="{label}"', 1)


def contours(
    figure: Any,
    ax: Any,
    x: Float[np.ndarray, " a"],
    y: Float[np.ndarray, " b"],
    losses: Float[np.ndarray, "a b"],
    bar: bool = True,
) -> None:
    """Filled contours by equal factors of the height; blank where it is not finite."""
    finite = np.isfinite(losses)
    if not finite.any():
        say(ax, "no finite loss on this plane")
        return
    low, high = float(losses[finite].min()), float(losses[finite].max())
    height = high - low
    if not np.isfinite(height) or height <= 1e-12 * max(abs(low), abs(high)):
        say(ax, f"the loss is {number(low)} everywhere")
        return
    heights = np.ma.masked_invalid(np.where(finite, losses - low, np.nan)).T
    above = heights.compressed()
    above = above[above > 10.0**-DECADES * height]
    levels = np.geomspace(above.min(), height, LEVELS) if len(above) else [height]
    levels = np.unique(np.concatenate([[0.0], np.atleast_1d(levels)]))
    if len(levels) < 3:
        levels = np.linspace(0, height, LEVELS)
    levels[-1] = height * (1 + 1e-9)
    import matplotlib

    shades = np.linspace(0.1, 0.95, len(levels) - 1)
    colours = matplotlib.colormaps["viridis"](shades)
    filled = ax.contourf(x, y, heights, levels=levels, colors=colours, alpha=0.75)
    ax.contour(x, y, heights, levels=levels[1:-1], colors=GREY, linewidths=0.4)
    if bar:
        shown = figure.colorbar(filled, ax=ax, spacing="uniform")
        ticks = levels[:: max(1, len(levels) // 6)]
        shown.set_ticks(list(ticks), labels=[number(low + h) for h in ticks])
        shown.ax.minorticks_off()
        shown.outline.set_visible(False)
        shown.set_label("loss", color=GREY)


def path(ax: Any, points: np.ndarray, colour: str, name: str | None) -> None:
    """Iterates joined by a line: a ring at the first, a star at the last."""
    x, y = clean(points).T
    ax.plot(x, y, color=PALE, linewidth=2.8, alpha=0.7)  # sets it off the ground
    style = "o-" if len(points) <= MARKED else "-"
    ax.plot(x, y, style, color=colour, linewidth=1.2, markersize=2.8, label=name)
    if len(points):
        ax.plot(x[0], y[0], "o", color=colour, markersize=7, fillstyle="none")
        ax.plot(x[-1], y[-1], "*", color=colour, markersize=9)


def rule(ax: Any, value: float, name: str) -> None:
    """A horizontal line that carries its name at its right end."""
    ax.axhline(value, color=GREY, linestyle=":", linewidth=0.9)
    ax.annotate(
        name,
        (1.01, value),
        xycoords=("axes fraction", "data"),
        xytext=(0, 0),
        textcoords="offset points",
        va="center",
        fontsize=8,
    )


def say(ax: Any, text: str) -> None:
    ax.text(0.5, 0.5, text, transform=ax.transAxes, ha="center", va="center")


def clean(values: np.ndarray) -> np.ndarray:
    """Infinities break a line as NaN does."""
    return np.where(np.isfinite(values), values, np.nan)


def limits(finite: np.ndarray) -> tuple[float, float]:
    """An axis for finite losses, with a margin."""
    if not len(finite):
        return 0.0, 1.0
    low, high = float(finite.min()), float(finite.max())
    margin = 0.06 * (high - low) or 0.1 * abs(high) or 1.0
    if not math.isfinite(margin):
        return low, high
    return low - 2 * margin, high + margin


def log_axis(ax: Any, which: str) -> None:
    """A logarithmic axis with ticks in plain text: 1, 10, 10², or 0.1."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis = ax.yaxis if which == "y" else ax.xaxis
    (ax.set_yscale if which == "y" else ax.set_xscale)("log")
    axis.set_major_locator(LogLocator(10, numticks=7))
    axis.set_major_formatter(FuncFormatter(lambda x, _: number(x)))
    axis.set_minor_formatter(NullFormatter())


def number(x: float) -> str:
    """A number in three digits, its power of ten in superscripts: 1.5·10⁻⁷."""
    if not math.isfinite(x):
        return "∞" if x > 0 else "−∞" if x < 0 else "undefined"
    if x == 0 or 1e-3 <= abs(x) < 1e5:
        digits = f"{x:.3g}" if abs(x) < 1000 else f"{x:.0f}"
        return digits.replace("-", "−")
    mantissa, exponent = f"{x:.2e}".split("e")
    power = "10" + str(int(exponent)).translate(SUPERSCRIPT)
    mantissa = mantissa.rstrip("0").rstrip(".").replace("-", "−")
    return power if mantissa == "1" else f"{mantissa}·{power}"
