"""Curvature at the end of the run: its spectrum, and what steps of other sizes would do.

Two pictures of facts that a check measured once. The spectral density is a sum over the
nodes μᵢ and weights wᵢ of a Lanczos quadrature, smoothed by a Gaussian of width h,

    φ(λ) = mean over probes of Σᵢ wᵢ N(λ; μᵢ, h²),                           (1)

on a logarithmic scale: the bulk at zero is thousands of directions, an outlier one. A
step s times that of the run leads to the actual loss L(θ + su), which is set beside the
parabola of slope and curvature. Whatever is not finite is left out, and where nothing is
left there is no picture.

References
    Ubaru, Chen & Saad (2017), Fast estimation of tr(f(A)) via stochastic Lanczos
    quadrature.                                                              -- (1)
    Goodfellow, Bengio & Courville (2016), Deep Learning, §4.3.1.
"""

import math
from collections.abc import Callable
from html import escape
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ...curvature.spectrum import Density
from ...training._objective import limit_of
from ...training.record import Record
from ..rules.trend import recipe_of
from .axes import Axis, tick_name, ticks
from .charts import BOTTOM, HEIGHT, LEFT, TOP, WIDTH
from .vitals import Vital
from .words import number


DECADES = 4, 10  # of a density, at least and at most
FAR = 3.0  # times the largest eigenvalue: a limit beyond is told, not drawn
OUTLIER = 0.1  # of the largest |λ|
POINTS = 240  # of a curve
RIGHT = 16


class Picture(NamedTuple):
    """A drawing with its title and how to read it."""

    title: str
    says: str
    svg: str


def pictures(record: Record, name: str = "ground") -> tuple[Picture, ...]:
    """The pictures that the facts allow; `name` is unique on the page."""
    made = (spectrum(record, f"{name}-spectrum"), steps(record, f"{name}-steps"))
    return tuple(p for p in made if p is not None)


def sentence(record: Record) -> str:
    """The ends of the spectrum and what kind of point this is; empty if not measured."""
    parts = []
    for end, symbol in (("highest", "λ_max"), ("lowest", "λ_min")):
        value = scalar(record, f"curvature.{end}")
        if value is not None:
            residual = scalar(record, f"curvature.{end}_residual")
            error = "" if residual is None else f" ± {number(float(f'{residual:.1g}'))}"
            parts.append(f"{symbol} = {number(value)}{error}")
    kind, reason = (record.facts.get(f"curvature.{n}") for n in ("kind", "reason"))
    text = ", ".join(parts)
    if isinstance(kind, str) and kind:
        text += f"{'; ' if text else ''}{kind}"
        if isinstance(reason, str) and reason:
            text += f": {reason}"
    text = text.rstrip(".")
    return f"{text}." if text else ""


# -- The spectrum ----------------------------------------------------------------------


def spectrum(record: Record, name: str) -> Picture | None:
    """Density of the eigenvalues, its ends, and the limit of stability."""
    density = density_of(record)
    if density is None:
        return None
    at, phi, _, width = density.grid(POINTS)
    top = float(phi.max(initial=0.0))
    if not (np.isfinite(phi).all() and top > 0 and at[-1] > at[0]):
        return None
    least, most = (top * 10.0**-d for d in DECADES)
    one = 1 / (density.size * width * math.sqrt(2 * math.pi))  # a single eigenvalue
    floor = max(min(least, 0.3 * one), most)
    ends = [scalar(record, f"curvature.{end}") for end in ("lowest", "highest")]
    ends = [e for e in ends if e is not None]
    limit = stable_curvature(record)
    right = max([float(at[-1]), *ends])
    drawn = limit is not None and 0 < limit <= FAR * max(right, 0.0)
    low = min([float(at[0]), *ends])
    high = max(right, 1.03 * limit) if drawn and limit is not None else right
    x = Axis(low, high, LEFT, WIDTH - RIGHT)
    y = Axis(floor, 2 * top, HEIGHT - BOTTOM, TOP, log=True)
    base = HEIGHT - BOTTOM
    shown = phi > floor
    curve = "L".join(
        f"{x(a):.1f} {y(p) if s else base:.1f}" for a, p, s in zip(at, phi, shown)
    )
    parts = [
        *grid(x, y, "eigenvalue λ"),
        f'<path class="gap" d="M{x(at[0]):.1f} {base}L{curve}L{x(at[-1]):.1f} {base}z"/>',
        f'<g class="line s0"><path d="M{curve}"/></g>',
    ]
    for value in ends:
        what = f"the outermost eigenvalue, {number(value)}"
        parts.append(
            f'<g class="line s1"><path class="zero" d="M{x(value) - 5:.1f} {base - 9}h10'
            f'l-5 8z"><title>{escape(what)}</title></path></g>'
        )
    says = "Logarithmic: the bulk of the directions at zero, outliers to the right."
    says += counted(record, density)
    if limit is not None and drawn:
        parts += vertical(x, limit, "limit", f"limit {number(limit)}")
        says += " The dashed line is the largest curvature at which the step is stable."
    elif limit is not None:
        says += f" The step is stable up to a curvature of {number(limit)}."
    what = f"Eigenvalues of the Hessian between {number(low)} and {number(right)}."
    return Picture("Spectrum of the Hessian", says, frame(parts, name, what))


def density_of(record: Record) -> Density | None:
    """(1), without what is not finite; None where nothing is left."""
    nodes, weights = (
        array(record, f"curvature.ritz_{n}") for n in ("values", "weights")
    )
    if nodes is None or weights is None or nodes.shape != weights.shape:
        return None
    if nodes.ndim == 1:
        nodes, weights = nodes[None], weights[None]
    good = np.isfinite(nodes) & np.isfinite(weights) & (weights > 0)
    if nodes.ndim != 2 or not good.any() or np.abs(nodes[good]).max() > 1e150:
        return None
    keep = good.any(axis=1)
    nodes, weights = (
        np.where(good, nodes, np.nan)[keep],
        np.where(good, weights, 0)[keep],
    )
    size = record.meta.get("parameters")
    count = int(size) if isinstance(size, int | float) and math.isfinite(size) else 1
    return Density(nodes, weights / weights.sum(axis=1, keepdims=True), count, 0)


def counted(record: Record, density: Density) -> str:
    """About how many directions are outliers."""
    if density.size < 2:
        return ""
    limit = OUTLIER * float(np.nanmax(np.abs(density.nodes)))
    if limit == 0:
        return ""
    beyond = density.total(lambda lam: np.asarray(np.abs(lam) > limit, float)).value
    return (
        f" About {max(round(beyond), 1)} of {density.size} directions have more than a "
        "tenth of the largest curvature."
    )


def stable_curvature(record: Record) -> float | None:
    """The limit of the optimiser over the last step size; None where H is not its matter."""
    recipe = recipe_of(record)
    kind = recipe.get("optimizer")
    if kind not in ("sgd", "momentum", "nesterov") or "learning_rate" not in record:
        return None
    try:
        momentum = float(recipe.get("momentum", 0.9))
        rates = np.asarray(record["learning_rate"].value, float).ravel()
    except (KeyError, TypeError, ValueError):
        return None
    rates = rates[np.isfinite(rates) & (rates > 0)]
    if not rates.size or not 0 <= momentum < 1:
        return None
    limit = limit_of(kind, momentum, 0.9)
    return None if limit is None else limit / float(rates[-1])


# -- The step --------------------------------------------------------------------------


def steps(record: Record, name: str) -> Picture | None:
    """The loss after steps of other sizes, and what slope and curvature predict."""
    names = ("step_sizes", "step_actual", "step_predicted")
    found = [array(record, f"curvature.{n}") for n in names]
    found = [np.ravel(f) for f in found if f is not None]
    if len(found) < len(names):
        return None
    size, actual, predicted = found
    if not size.shape == actual.shape == predicted.shape:
        return None
    order = np.argsort(size, kind="stable")
    size, actual, predicted = size[order], actual[order], predicted[order]
    good = np.isfinite(size) & (size > 0)
    size, actual, predicted = size[good], actual[good], predicted[good]
    finite = actual[np.isfinite(actual)]
    if len(size) < 2 or size[-1] <= size[0] or not finite.size:
        return None
    low, high = float(finite.min()), float(finite.max())
    if not math.isfinite(high - low):
        return None
    log = low > 0 and high > 30 * low
    room = 0.08 * (high - low) or 0.1 * abs(high) or 1.0
    x = Axis(float(size[0]), float(size[-1]), LEFT, WIDTH - RIGHT, log=True)
    y = Axis(low / 1.3, high * 1.3, HEIGHT - BOTTOM, TOP, log=True)
    if not log:
        y = Axis(low - room, high + room, HEIGHT - BOTTOM, TOP)
    inside = (predicted >= y.low) & (predicted <= y.high)
    parts = [
        *grid(x, y, "times the step of the run"),
        curve_of(size, predicted, inside, x, y, "s1 predicted"),
        curve_of(size, actual, np.isfinite(actual), x, y, "s0"),
    ]
    own = scalar(record, "curvature.step_size")
    if own is not None and x.low <= own <= x.high:
        parts += vertical(x, own, "own", "the run's own step")
    says = (
        "Solid: the loss after a step along the optimiser's next update. Dashed: what "
        f"slope and curvature predict{where_they_part(size, actual, predicted)}."
    )
    what = f"The loss after a step lies between {number(low)} and {number(high)}."
    title = "The next step, shorter and longer"
    return Picture(title, says, frame(parts, name, what))


def where_they_part(size: Any, actual: Any, predicted: Any) -> str:
    """The first size at which the prediction is off by a tenth of all that is seen."""
    finite = np.isfinite(actual) & np.isfinite(predicted)
    if not finite.any():
        return ""
    spread = np.ptp(actual[np.isfinite(actual)])
    with np.errstate(invalid="ignore"):
        off = ~(np.abs(actual - predicted) <= 0.1 * spread)
    if not off.any():
        return "; they agree to within a tenth of what is seen"
    first = int(np.argmax(off))
    if first == 0:
        return "; they agree nowhere here"
    return f"; they part from {number(float(size[first]))} times the step on"


# -- Drawing ---------------------------------------------------------------------------


def frame(parts: list[str], name: str, what: str) -> str:
    name = escape(name, quote=True)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="{name}-d"><desc id="{name}-d">{escape(what)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def grid(x: Axis, y: Axis, below: str) -> list[str]:
    """Both axes with round numbers, and what runs along the lower one."""
    parts, base = [], HEIGHT - BOTTOM
    for t in ticks(y, 5):
        at = y(t)
        parts.append(
            f'<path class="grid" d="M{x.start:.0f} {at:.1f}H{x.end:.0f}"/>'
            f'<text class="tick" text-anchor="end" x="{x.start - 6:.0f}" '
            f'y="{at + 4:.1f}">{named(t)}</text>'
        )
    parts.append(f'<path class="axis" d="M{x.start:.0f} {base}H{x.end:.0f}"/>')
    for t in ticks(x, 6):
        parts.append(
            f'<path class="axis" d="M{x(t):.1f} {base}v4"/>'
            f'<text class="tick" text-anchor="middle" x="{x(t):.1f}" '
            f'y="{base + 16}">{named(t)}</text>'
        )
    parts.append(
        f'<text class="tick" text-anchor="end" x="{x.end:.0f}" y="{HEIGHT - 3}">'
        f"{escape(below)}</text>"
    )
    return parts


def named(value: float) -> str:
    """A number on an axis: plain digits from 10⁻⁴ to 10⁵."""
    if 1e-4 <= abs(value) < 1e5:
        return f"{value:.4g}".replace("-", "−")
    return tick_name(value, Vital(""))


def vertical(x: Axis, value: float, css: str, name: str) -> list[str]:
    """A line from top to bottom with its name beside it, on the side with more room."""
    at = x(value)
    left = at > (x.start + x.end) / 2
    anchor, place = ("end", at - 6) if left else ("start", at + 6)
    return [
        f'<path class="{css}" d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}"/>',
        f'<text class="{css}-name" text-anchor="{anchor}" x="{place:.0f}" '
        f'y="{TOP + 10}">{escape(name)}</text>',
    ]


def curve_of(
    across: Float[np.ndarray, " k"],
    up: Float[np.ndarray, " k"],
    shown: Any,
    x: Axis,
    y: Axis,
    css: str,
) -> str:
    """A curve, broken where it is not shown."""
    path, pen = "", "M"
    for a, b, inside in zip(across, up, shown, strict=True):
        if inside:
            path += f"{pen}{x(a):.1f} {y(b):.1f}"
        pen = "L" if inside else "M"
    return f'<g class="line {css}"><path d="{path}"/></g>' if path else ""


# -- Reading ---------------------------------------------------------------------------


def array(record: Record, name: str) -> Float[np.ndarray, "..."] | None:
    """A fact as numbers; None where it is not there, empty, or no numbers."""
    return _read(record, name, lambda x: x.size > 0)


def scalar(record: Record, name: str) -> float | None:
    """A fact as one finite number."""
    found = _read(record, name, lambda x: x.size == 1 and bool(np.isfinite(x).all()))
    return None if found is None else float(found.ravel()[0])


def _read(record: Record, name: str, good: Callable[[np.ndarray], bool]) -> Any:
    if name not in record.facts:
        return None
    fact = record.facts[name]
    if isinstance(fact, list):  # JSON has null for NaN
        fact = [np.nan if v is None else v for v in fact]
    try:
        value = np.asarray(fact, np.float64)
    except (TypeError, ValueError):
        return None
    return value if good(value) else None
