"""Lines to be drawn, read from a record.

A record may come from anybody's loop: what is no number is not a line, and steps are
put in order.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ...training.record import Record
from ..rules.trend import layers


class Line(NamedTuple):
    """One quantity over the run."""

    name: str
    step: Int[np.ndarray, " time"]
    value: Float[np.ndarray, " time"]  # not always finite
    faint: bool = False  # background: the loss of single batches


def named(
    record: Record, series: str, name: str, faint: bool = False
) -> tuple[Line, ...]:
    """A scalar series as one line, or nothing where it is not one."""
    read = _read(record, series)
    if read is None or read[1].ndim != 1:
        return ()
    return (Line(name, *read, faint),)


def columns(record: Record, series: str) -> tuple[Line, ...]:
    """A series with labels as one line for each label."""
    read = _read(record, series)
    if read is None or read[1].ndim != 2:
        return ()
    step, value = read
    labels = record[series].labels or tuple(str(i) for i in range(value.shape[1]))
    return tuple(Line(str(n), step, value[:, i]) for i, n in enumerate(labels))


def by_layer(record: Record, series: str) -> tuple[Line, ...]:
    """One line for each weight array, by depth."""
    if not columns(record, series):
        return ()
    step, value, paths = layers(record, series)
    return tuple(Line(path, step, value[:, i]) for i, path in enumerate(paths))


def _read(record: Record, series: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Steps and values in time's order; None where they are no numbers."""
    if series not in record or series in record.facts:
        return None
    try:
        step, value, _ = record[series]
        value = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return None
    order = np.argsort(step, kind="stable")
    return step[order], value[order]


def reason(record: Record, series: str) -> str:
    """Why a series is not there."""
    return record.missing.get(series, "not measured")


def spans_decades(lines: tuple[Line, ...]) -> bool:
    """Whether a logarithmic axis shows more: never negative, and a factor of thirty."""
    values = [line.value[np.isfinite(line.value)] for line in lines]
    every = np.concatenate(values) if values else np.zeros(0)
    positive = every[every > 0]
    if 2 * positive.size <= every.size or every.min() < 0:
        return False
    return bool(positive.max() > 30 * positive.min())
