"""The vital signs: which quantities a report always shows, with what healthy band.

A vital is a set of lines over the run, with the limit that theory sets for them, or the
band in which they usually stay. The terminal shows it as a sparkline, the page as a
picture; a finding's chart is made of the same stuff.
"""

from typing import NamedTuple

import numpy as np

from ...training.record import Record
from ..finding import Chart
from ..rules.stability import stability_of
from ..rules.trend import layers, recipe_of
from .lines import Line, by_layer, columns, named, reason, spans_decades


UPDATE_BAND = (1e-4, 1e-2)  # of ‖update‖ ÷ ‖weights‖; about 1e-3 is usual
SHARE_LIMIT = 0.5  # of the units of a layer


class Vital(NamedTuple):
    """A picture to be drawn: lines, limit, band."""

    title: str
    lines: tuple[Line, ...] = ()
    says: str = ""  # how to read it, one sentence
    limit: float | None = None
    limit_name: str = "limit"
    healthy: tuple[float, float] | None = None
    log: bool = False
    percent: bool = False
    by_depth: bool = False  # the lines are layers, from the input to the output
    shade: bool = False  # the gap between the first two lines is the point
    missing: str = ""  # why there are no lines
    event: tuple[int, str] | None = None  # a step to mark
    last: int = 0  # the run's last update: all pictures have one time axis


def vitals(record: Record) -> tuple[Vital, ...]:
    """Every vital sign, measured or not, in the order of a report."""
    found = (
        losses(record),
        gap(record),
        gradient(record),
        update_ratio(record),
        stability(record),
        units(record, "dead"),
        units(record, "saturated"),
        activations(record),
        rates(record),
    )
    return tuple(timed(v, record) for v in found if v is not None)


def losses(record: Record) -> Vital:
    """Training and validation loss, over the loss of single batches."""
    lines = (
        *named(record, "loss", "each batch", faint=True),
        *named(record, "train.loss", "training"),
        *named(record, "validation.loss", "validation"),
    )
    if len(lines) == 1:
        lines = (lines[0]._replace(faint=False),)
    return Vital(
        "Loss",
        lines,
        "In evaluation mode, over the loss of single batches."
        if len(lines) > 1
        else "The loss of single batches.",
        log=spans_decades(lines),
        missing="" if lines else reason(record, "loss"),
    )


def gap(record: Record) -> Vital:
    """Training against validation: accuracy where there is one, else the losses."""
    train, held_out = (
        named(record, f"{part}.accuracy", name)
        for part, name in (("train", "training"), ("validation", "validation"))
    )
    if train and held_out:
        return Vital(
            "Accuracy",
            (*train, *held_out),
            "The shaded gap is what does not carry over to new data.",
            percent=True,
            shade=True,
        )
    title = "Train/validation gap"
    train, held_out = (
        named(record, f"{part}.loss", title) for part in ("train", "validation")
    )
    if train and held_out and np.array_equal(train[0].step, held_out[0].step):
        line = train[0]._replace(value=held_out[0].value - train[0].value)
        return Vital(
            title,
            (line,),
            "Validation loss less training loss: what does not carry over to new data.",
        )
    return Vital(title, missing=reason(record, "validation.loss"))


def gradient(record: Record) -> Vital:
    """The gradient norm of every layer, or of the whole where that is all there is."""
    lines = by_layer(record, "layer.gradient_norm")
    if lines:
        says = "Layers from the input to the output; they should stay together."
        if len(lines) <= 4:
            says = "The norms of the layers should stay together."
        return Vital(
            "Gradient norm of each layer", lines, says, log=True, by_depth=True
        )
    lines = named(record, "gradient_norm", "gradient norm")
    return Vital(
        "Gradient norm",
        lines,
        "The global norm before clipping.",
        log=spans_decades(lines),
        missing="" if lines else reason(record, "layer.gradient_norm"),
    )


def update_ratio(record: Record) -> Vital:
    """‖update‖ ÷ ‖weights‖ of every layer against the usual band."""
    title = "Update ÷ weight norm of each layer"
    over, under = "layer.update_norm", "layer.weight_norm"
    shapes = [[n.value.shape for n in columns(record, name)] for name in (over, under)]
    if not shapes[0] or shapes[0] != shapes[1]:
        return Vital(title, missing=reason(record, over))
    step, update, paths = layers(record, over)
    _, weight, _ = layers(record, under)
    with np.errstate(all="ignore"):
        ratio = np.where(weight > 0, update / weight, np.nan)
    lines = tuple(
        Line(path, step, ratio[:, i])
        for i, path in enumerate(paths)
        if np.isfinite(ratio[:, i]).any()
    )
    return Vital(
        title,
        lines,
        "How fast each layer changes; about 10⁻³ an update is usual.",
        healthy=UPDATE_BAND,
        log=True,
        by_depth=True,
        missing="" if lines else "no layer has weights that differ from zero",
    )


def stability(record: Record) -> Vital:
    """Step size × sharpness against the stability limit of the optimiser."""
    title = "Step size × sharpness"
    scalar = named(record, "sharpness", "") and named(record, "learning_rate", "")
    known = stability_of(record) if scalar else None
    if known is not None:
        value = np.asarray(known.product, float)
        scaled = ", preconditioned" if known.series.endswith("preconditioned") else ""
        return Vital(
            title + scaled,
            (Line("step size × sharpness", known.steps, value),),
            f"Stable while {known.formula}; beyond, the sharpest direction grows at "
            "every update.",
            limit=known.limit,
            limit_name="stability limit",
            log=True,
        )
    lines = named(record, "sharpness", "sharpness")
    if lines:
        adaptive = "sharpness.preconditioned" not in record and known_adaptive(record)
        return Vital(
            "Sharpness",
            lines,
            "The largest eigenvalue of the Hessian. The limit of this optimiser is for "
            "the preconditioned Hessian, which was not measured."
            if adaptive
            else "The largest eigenvalue of the Hessian; no limit is known for this "
            "optimiser.",
            log=spans_decades(lines),
        )
    return Vital(title, missing=reason(record, "sharpness"))


def known_adaptive(record: Record) -> bool:
    """Whether the optimiser divides by a root of second moments."""
    return recipe_of(record).get("optimizer") in ("adam", "adamw", "rmsprop")


def units(record: Record, what: str) -> Vital | None:
    """The share of dead or saturated units for each non-linearity."""
    lines = columns(record, f"unit.{what}")
    if not lines:
        return None
    says = {
        "dead": "Dead units are zero for every example and cannot learn.",
        "saturated": "Saturated units have almost no slope and hardly learn.",
    }[what]
    return Vital(
        f"{what.capitalize()} units of each layer",
        lines,
        says,
        limit=SHARE_LIMIT,
        percent=True,
        by_depth=True,
        healthy=(0.0, 0.3 if what == "dead" else 0.2),
    )


def activations(record: Record) -> Vital:
    """The spread of what goes into each non-linearity."""
    lines = columns(record, "activation.std")
    return Vital(
        "Spread of the inputs of each non-linearity",
        lines,
        "Standard deviation over the probe batch; it should neither die out nor blow "
        "up with depth.",
        log=spans_decades(lines),
        by_depth=True,
        missing="" if lines else reason(record, "activation.std"),
    )


def rates(record: Record) -> Vital | None:
    """The learning rate, where it changes."""
    lines = named(record, "learning_rate", "learning rate")
    good = [v[np.isfinite(v)] for v in (line.value for line in lines)]
    if not good or not good[0].size or np.ptp(good[0]) <= 1e-6 * np.abs(good[0]).max():
        return None
    return Vital("Learning rate", lines, "As the schedule set it.")


def chart(record: Record, wanted: Chart) -> Vital | None:
    """The picture that a finding asks for, or None if the series is not there."""
    match wanted.series:
        case "loss" | "train.loss" | "validation.loss":
            vital = losses(record)
        case "train.accuracy" | "validation.accuracy":
            vital = gap(record)
        case "layer.gradient_norm":
            vital = gradient(record)
        case "layer.update_norm":
            vital = update_ratio(record)
        case "unit.dead":
            vital = units(record, "dead")
        case "unit.saturated":
            vital = units(record, "saturated")
        case "sharpness" | "sharpness.preconditioned" as series:
            scaled = ", preconditioned" if series.endswith("preconditioned") else ""
            vital = Vital(
                f"Sharpness{scaled}",
                named(record, series, "sharpness"),
                "The limit is the optimiser's, divided by the step size."
                if wanted.limit
                else "",
                log=True,
            )
        case series:
            name = series.replace(".", " ").replace("_", " ")
            lines = columns(record, series) or named(record, series, name)
            vital = Vital(
                name[:1].upper() + name[1:],
                lines,
                log=wanted.log or spans_decades(lines),
                by_depth=len(lines) > 1,
            )
    if vital is None or not vital.lines:
        return None
    if wanted.limit is not None:
        vital = vital._replace(limit=float(wanted.limit))
    if wanted.healthy is not None:
        low, high = wanted.healthy
        vital = vital._replace(healthy=(float(low), float(high)))
    if wanted.log:
        vital = vital._replace(log=True)
    return timed(vital, record)


def timed(vital: Vital, record: Record) -> Vital:
    """The vital on the run's time axis, with the step at which the loss was lost."""
    steps = record.meta.get("steps")
    if not isinstance(steps, int):
        steps = max((s.step[-1] for s in record.series.values()), default=0)
    return vital._replace(event=stop(record), last=int(steps))


def stop(record: Record) -> tuple[int, str] | None:
    """The step at which the loss stopped being a number, if it did."""
    step = (record.meta.get("nonfinite") or {}).get("step")
    return (int(step), "not a number") if isinstance(step, int) else None
