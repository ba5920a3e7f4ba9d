"""Pictures of vitals as SVG, drawn by hand.

Colours are CSS variables of the page, so that a picture follows it into the dark and
onto paper. Up to four lines carry their names at their ends; more are coloured by depth,
with a legend. What is not finite breaks the line and leaves a cross at the top; what is
zero or less on a logarithmic axis leaves a triangle at the bottom.
"""

from html import escape

import numpy as np

from .axes import Axis, tick_name, ticks, x_range, y_range
from .lines import Line
from .vitals import Vital
from .words import number


WIDTH, HEIGHT = 440, 240
TOP, BOTTOM, LEFT = 16, 34, 48
POINTS = 160  # of a line: pairs of extremes, so that no spike is lost
LINES = 40  # drawn at most, evenly over the depth
DIRECT = 4  # lines that carry their names
RAMP = 8  # colours from input to output
CHARACTER = 6.8  # pixels a character of a label takes
DOTS = 16  # measurements of a line at most that are shown as points
MARKS = 12  # crosses or triangles on one line at most


Place = tuple[str, float, float]  # of a text: anchor, x, y
Points = list[tuple[float, float]]


def svg(vital: Vital, name: str) -> str:
    """The picture of a vital; `name` is unique on the page."""
    lines = chosen(vital.lines)
    direct = len(lines) <= DIRECT and (len(lines) > 1 or vital.by_depth)
    labelled = lines if direct else []
    margin = 14 + (
        CHARACTER * max(len(short(n.name)) for n in labelled) if labelled else 0
    )
    x = Axis(*x_range(vital), LEFT, WIDTH - margin)
    y = Axis(*y_range(vital), HEIGHT - BOTTOM, TOP, log=vital.log)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-labelledby="{escape(name)}-t {escape(name)}-d">',
        f'<title id="{escape(name)}-t">{escape(vital.title)}</title>',
        f'<desc id="{escape(name)}-d">{escape(describe(vital))}</desc>',
        *band(vital, x, y),
        *grid(vital, x, y),
        *gap_between(vital, x, y),
    ]
    for i, line in enumerate(lines):
        parts += draw(line, colour(vital, i, len(lines)), x, y)
    parts += [*limit(vital, x, y), *event(vital, x, y)]
    parts += end_labels(vital, lines, labelled, x, y)
    return "".join([*parts, "</svg>"])


def legend(vital: Vital) -> list[tuple[str, str]]:
    """Colour class and name of each line, where the lines do not carry their names."""
    lines = chosen(vital.lines)
    if len(lines) <= DIRECT:
        return []
    return [(colour(vital, i, len(lines)), n.name) for i, n in enumerate(lines)]


def describe(vital: Vital) -> str:
    """The picture in words, for those who cannot see it."""
    show = lambda v: number(v, percent=vital.percent)
    parts = []
    for line in vital.lines[:6]:
        finite = line.value[np.isfinite(line.value)]
        if finite.size:
            parts.append(
                f"{line.name}: {show(float(finite[0]))} at first, "
                f"{show(float(finite[-1]))} at last, between "
                f"{show(float(finite.min()))} and {show(float(finite.max()))}."
            )
        if finite.size < line.value.size:
            parts.append(f"{line.name} is not finite in places.")
    if len(vital.lines) > 6:
        parts.append(f"And {len(vital.lines) - 6} more lines.")
    if vital.healthy:
        low, high = map(show, vital.healthy)
        parts.append(f"Healthy between {low} and {high}.")
    if vital.limit is not None:
        parts.append(f"The {vital.limit_name} is {show(vital.limit)}.")
    return " ".join(parts)


# -- Parts -----------------------------------------------------------------------------


def grid(vital: Vital, x: Axis, y: Axis) -> list[str]:
    """Axes, their ticks, and faint lines across."""
    parts = []
    for t in ticks(y, 5):
        at = y(t)
        parts.append(
            f'<path class="grid" d="M{x.start:.0f} {at:.1f}H{x.end:.0f}"/>'
            f'<text class="tick" text-anchor="end" x="{x.start - 6:.0f}" '
            f'y="{at + 4:.1f}">{tick_name(t, vital)}</text>'
        )
    base = y.start
    parts.append(f'<path class="axis" d="M{x.start:.0f} {base:.0f}H{x.end:.0f}"/>')
    for t in ticks(x, 5, whole=True):
        at = x(t)
        name = f"{t:.0f}" if t < 1e5 else f"{t / 1000:.0f} k"
        parts.append(
            f'<path class="axis" d="M{at:.1f} {base:.0f}v4"/>'
            f'<text class="tick" text-anchor="middle" x="{at:.1f}" '
            f'y="{base + 16:.0f}">{name}</text>'
        )
    parts.append(
        f'<text class="tick" text-anchor="end" x="{x.end:.0f}" '
        f'y="{HEIGHT - 3}">updates</text>'
    )
    return parts


def band(vital: Vital, x: Axis, y: Axis) -> list[str]:
    """The healthy band."""
    if vital.healthy is None:
        return []
    low, high = (y(v) for v in vital.healthy)
    name = "healthy"
    places = [(a, at, low - 5) for a, at in sides(x)]
    if low - high > 34:
        places += [(a, at, high + 13) for a, at in sides(x)]
    return [
        f'<rect class="healthy" x="{x.start:.0f}" y="{high:.1f}" '
        f'width="{x.end - x.start:.1f}" height="{max(low - high, 1):.1f}"/>',
        text("band-name", name, free(places, name, traces(vital, x, y))),
    ]


def limit(vital: Vital, x: Axis, y: Axis) -> list[str]:
    """The limit, with its value where the fewest lines pass."""
    if vital.limit is None:
        return []
    at = y(vital.limit)
    name = f"{vital.limit_name} {number(vital.limit, percent=vital.percent)}"
    heights = [
        at + d for d in (-5, 13) if at + d - 8 >= TOP - 4 and at + d < HEIGHT - BOTTOM
    ]
    places = [(a, start, h) for h in heights for a, start in sides(x)]
    return [
        f'<path class="limit" d="M{x.start:.0f} {at:.1f}H{x.end:.0f}"/>',
        text("limit-name", name, free(places, name, traces(vital, x, y))),
    ]


def sides(x: Axis) -> tuple[tuple[str, float], tuple[str, float]]:
    """Where a text may stand in a picture: at the right, at the left."""
    return ("end", x.end - 4), ("start", x.start + 6)


def text(css: str, name: str, place: Place) -> str:
    anchor, x, y = place
    return (
        f'<text class="{css}" text-anchor="{anchor}" x="{x:.0f}" y="{y:.1f}">'
        f"{escape(name)}</text>"
    )


def free(places: list[Place], name: str, points: Points) -> Place:
    """The place where a text covers the fewest points of lines."""
    long = CHARACTER * len(name)

    def covered(place: Place) -> int:
        anchor, start, base = place
        left = start - long if anchor == "end" else start
        return sum(
            left - 4 < px < left + long + 4 and base - 12 < py < base + 4
            for px, py in points
        )

    return min(places, key=covered)


def traces(vital: Vital, x: Axis, y: Axis) -> Points:
    """Points along all lines, close enough to see what a text would cover."""
    points = []
    for line in chosen(vital.lines):
        good = np.isfinite(line.value) & ((line.value > 0) if y.log else True)
        if good.any():
            at = np.array([x(s) for s in line.step[good]])
            height = np.array([y(v) for v in line.value[good]])
            across = np.arange(at[0], at[-1] + 1, 4.0)
            points += zip(across, np.interp(across, at, height))
    return points


def event(vital: Vital, x: Axis, y: Axis) -> list[str]:
    """A moment of the run: a dotted line from top to bottom, named where it is free."""
    if vital.event is None:
        return []
    step, name = vital.event
    at = x(step)
    side, start = ("end", at - 6) if at > (x.start + x.end) / 2 else ("start", at + 6)
    name = f"{name}, update {step}"
    places = [
        (side, start, height)
        for height in np.linspace(TOP + 12, HEIGHT - BOTTOM - 8, 7)
    ]
    return [
        f'<path class="event" d="M{at:.1f} {TOP}V{HEIGHT - BOTTOM}"/>',
        text("event-name", name, free(places, name, traces(vital, x, y))),
    ]


def draw(line: Line, css: str, x: Axis, y: Axis) -> list[str]:
    """One line: finite stretches, crosses and triangles."""
    step, value = thinned(line)
    drawable = np.isfinite(value) & ((value > 0) if y.log else True)
    faint = " faint" if line.faint else ""
    parts = [f'<g class="line {css}{faint}"><title>{escape(line.name)}</title>']
    path, alone = [], []
    for run in stretches(drawable):
        points = [f"{x(step[i]):.1f} {y(value[i]):.1f}" for i in run]
        if len(points) == 1:
            alone.append(run[0])
        path.append("M" + "L".join(points))
    if path:
        parts.append(f'<path d="{"".join(path)}"/>')
    if not line.faint:
        dots = np.flatnonzero(drawable) if len(step) <= DOTS else alone[:MARKS]
        parts += [
            f'<circle cx="{x(step[i]):.1f}" cy="{y(value[i]):.1f}" r="2.2"/>'
            for i in dots
        ]
    for run in stretches(~np.isfinite(value))[:MARKS]:
        at, what = x(step[run[0]]), number(float(value[run[0]]))
        parts.append(
            f'<path class="cross" d="M{at - 4:.1f} {TOP - 4}l8 8m0-8l-8 8">'
            f"<title>{escape(line.name)}: {what} at update {step[run[0]]}</title></path>"
        )
    if y.log and not line.faint:
        for run in stretches(value <= 0)[:MARKS]:
            at, base = x(step[run[0]]), HEIGHT - BOTTOM - 1
            parts.append(
                f'<path class="below" d="M{at:.1f} {base}H{x(step[run[-1]]):.1f}"/>'
                f'<path class="zero" d="M{at - 4:.1f} {base - 7}h8l-4 7z">'
                f"<title>{escape(line.name)}: {number(float(value[run[0]]))} from "
                f"update {step[run[0]]}</title></path>"
            )
    return [*parts, "</g>"]


def gap_between(vital: Vital, x: Axis, y: Axis) -> list[str]:
    """The area between the first two lines, where both are finite."""
    if not vital.shade or len(vital.lines) < 2:
        return []
    a, b = vital.lines[:2]
    if not np.array_equal(a.step, b.step):
        return []
    good = np.flatnonzero(np.isfinite(a.value) & np.isfinite(b.value))
    if y.log:
        good = good[(a.value[good] > 0) & (b.value[good] > 0)]
    if len(good) < 2:
        return []
    good = good[:: max(1, len(good) // POINTS)]
    there = [f"{x(a.step[i]):.1f} {y(a.value[i]):.1f}" for i in good]
    back = [f"{x(b.step[i]):.1f} {y(b.value[i]):.1f}" for i in good[::-1]]
    return [f'<path class="gap" d="M{"L".join([*there, *back])}z"/>']


def end_labels(
    vital: Vital, lines: list[Line], labelled: list[Line], x: Axis, y: Axis
) -> list[str]:
    """The names of the lines at their right ends, kept apart."""
    placed = []
    for line in labelled:
        good = np.isfinite(line.value) & ((line.value > 0) if y.log else True)
        ends = np.flatnonzero(good)
        if len(ends):
            i = next(i for i, n in enumerate(lines) if n is line)
            css = colour(vital, i, len(lines)) + (" faint" if line.faint else "")
            placed.append([y(float(line.value[ends[-1]])), css, line.name])
    placed.sort(key=lambda p: p[0])
    for i in range(1, len(placed)):
        placed[i][0] = max(placed[i][0], placed[i - 1][0] + 13)
    over = placed[-1][0] - (HEIGHT - BOTTOM) if placed else 0
    for i in range(len(placed) - 1, -1, -1):
        ceiling = HEIGHT - BOTTOM if i == len(placed) - 1 else placed[i + 1][0] - 13
        placed[i][0] = min(placed[i][0], ceiling) if over > 0 else placed[i][0]
    return [
        f'<text class="name {css}" x="{x.end + 6:.1f}" y="{at + 4:.1f}">'
        f"{escape(short(name))}<title>{escape(name)}</title></text>"
        for at, css, name in placed
    ]


# -- Lines and names ---------------------------------------------------------------------


def chosen(lines: tuple[Line, ...]) -> list[Line]:
    """At most `LINES` of the lines, evenly over the depth."""
    if len(lines) <= LINES:
        return list(lines)
    return [lines[i] for i in np.linspace(0, len(lines) - 1, LINES).astype(int)]


def colour(vital: Vital, i: int, n: int) -> str:
    """The CSS class of the i-th of n lines."""
    if vital.by_depth and n > 1:
        return f"d{round(i * (RAMP - 1) / (n - 1))}"
    if n > DIRECT:
        return f"d{i % RAMP}"
    faint = sum(line.faint for line in vital.lines[:i])
    return "s3" if vital.lines[i].faint else f"s{i - faint}"


def short(name: str, most: int = 18) -> str:
    """A long name without its middle."""
    if len(name) <= most:
        return name
    return f"{name[: most // 2 - 1]}…{name[-(most - most // 2) :]}"


def stretches(mask: np.ndarray) -> list[np.ndarray]:
    """The runs of True in a mask, each as its indices."""
    inside = np.flatnonzero(mask)
    if not inside.size:
        return []
    return np.split(inside, np.flatnonzero(np.diff(inside) > 1) + 1)


def thinned(line: Line, points: int = POINTS) -> tuple[np.ndarray, np.ndarray]:
    """The line by the extremes of `points` / 2 stretches; what is not finite stays."""
    n = len(line.value)
    if n <= points:
        return line.step, line.value
    keep = {0, n - 1}
    for part in np.array_split(np.arange(n), points // 2):
        value = line.value[part]
        finite = np.isfinite(value)
        if not finite.all():
            keep.add(int(part[np.argmin(finite)]))
        if finite.any():
            keep.add(int(part[np.argmin(np.where(finite, value, np.inf))]))
            keep.add(int(part[np.argmax(np.where(finite, value, -np.inf))]))
    index = np.array(sorted(keep))
    return line.step[index], line.value[index]
