"""The record: what was measured, when, in plain arrays.

A record is all that a check-up reads. It holds

- `series`: quantities over the run, each a list of steps and the values at them;
- `facts`: what was measured once, before or after the run, by name;
- `missing`: for what could not be measured, the reason in words;
- `meta`: what the run was: recipe, seed, versions, cost, how it ended.

`fit` fills one; a foreign training loop does so with one call a step:

    record = Record()
    for step, batch in enumerate(batches):
        params, loss, grads = my_step(params, batch)
        record.log(step, loss=loss, gradient_norm=optax.tree.norm(grads))

It is saved without pickle and stays readable: the file has a schema number.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Int, Num, PyTree

from ..core import archive
from ..core.errors import InputError


SCHEMA = 1


class Series(NamedTuple):
    """One quantity over the run: `value[i]` was measured after `step[i]` updates."""

    step: Int[np.ndarray, " time"]
    value: Num[np.ndarray, "time ..."]
    labels: tuple[str, ...] = ()  # names along the last axis of `value`, if it has one


@dataclass(eq=False)
class Record:
    """What was measured during one run. See the module docstring."""

    facts: dict[str, Any] = field(default_factory=dict)  # JSON-able values or arrays
    missing: dict[str, str] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)  # JSON-able
    # For each series its pieces, (steps, values), joined when it is read.
    _pieces: dict[str, list[tuple[Any, Any]]] = field(default_factory=dict)
    _labels: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __repr__(self) -> str:
        name, ended = self.meta.get("problem", "record"), self.meta.get("ended", "open")
        steps = max(
            (s.step[-1] for s in self.series.values() if len(s.step)), default=0
        )
        return (
            f"<Record of {name}: {len(self._pieces)} series, {len(self.facts)} facts, "
            f"up to step {steps}, {ended}>"
        )

    def log(self, step: int, **values: Any) -> None:
        """Note the `values` (scalars or small arrays) measured after `step` updates."""
        for name, value in values.items():
            self.add(name, step, value)

    def add(self, name: str, step: int, value: Any, labels: Sequence[str] = ()) -> None:
        """Append one value to the series `name`, whose last axis `labels` may name."""
        if labels:
            self._labels[name] = tuple(labels)
        self._pieces.setdefault(name, []).append(([int(step)], [value]))

    def extend(
        self,
        name: str,
        steps: Sequence[int] | np.ndarray,
        values: Sequence[Any] | np.ndarray,
    ) -> None:
        """Append many values to a series at once."""
        if len(steps):
            self._pieces.setdefault(name, []).append((steps, values))

    @property
    def series(self) -> Mapping[str, Series]:
        """Every series by name, as arrays."""
        return {name: self[name] for name in self._pieces}

    def __contains__(self, name: str) -> bool:
        return name in self._pieces or name in self.facts

    def __getitem__(self, name: str) -> Series:
        """The series `name`; `KeyError` when it was not measured."""
        pieces = self._pieces[name]
        if len(pieces) > 1:
            step = np.concatenate([np.asarray(s, np.int64) for s, _ in pieces])
            value = np.concatenate([_values(v) for _, v in pieces])
            pieces[:] = [(step, value)]
        step, value = pieces[0]
        labels = self._labels.get(name, ())
        return Series(np.array(step, np.int64), np.array(_values(value)), labels)

    def continue_from(self, earlier: "Record") -> None:
        """Take over what an earlier part of the run has measured."""
        self.facts = earlier.facts | self.facts
        self.missing = earlier.missing | self.missing
        self.meta = earlier.meta | self.meta
        self._pieces = earlier._pieces | self._pieces
        self._labels = earlier._labels | self._labels

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the record to `path`, whole or not at all.

        Raises `InputError` when the directory cannot be written.
        """
        archive.write(path, "record", SCHEMA, *pack(self))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Record":
        """Read a record; `InputError` when it is missing or damaged."""
        packed = archive.read(path, "record", SCHEMA)
        try:
            return unpack(packed)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(
                f"`{path}` is damaged: parts of the record are missing."
            ) from error


def pack(record: Record) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """A record as arrays and JSON-able values."""
    arrays: dict[str, np.ndarray] = {}
    labels, plain = {}, {}
    for name, series in record.series.items():
        arrays[f"step/{name}"] = series.step
        arrays[f"value/{name}"] = series.value
        labels[name] = list(series.labels)
    for name, fact in record.facts.items():
        if isinstance(fact, np.ndarray) or hasattr(fact, "__array__"):
            arrays[f"fact/{name}"] = np.asarray(fact)
        else:
            plain[name] = jsonable(fact)
    meta = {"labels": labels, "facts": plain, "missing": dict(record.missing)}
    return arrays, {**meta, "run": jsonable(record.meta)}


def unpack(packed: archive.Archive) -> Record:
    """The inverse of `pack`."""
    arrays, meta = packed
    record = Record(dict(meta["facts"]), dict(meta["missing"]), dict(meta["run"]))
    for name in arrays:
        kind, _, rest = name.partition("/")
        if kind == "step":
            record.extend(rest, arrays[name].tolist(), list(arrays[f"value/{rest}"]))
            if meta["labels"].get(rest):
                record._labels[rest] = tuple(meta["labels"][rest])
        elif kind == "fact":
            record.facts[rest] = arrays[name]
    return record


def _values(values: Any) -> np.ndarray:
    """Values as one array, wherever they are now."""
    if isinstance(values, np.ndarray):
        return values
    return np.asarray([np.asarray(v) for v in values])


def jsonable(value: PyTree) -> Any:
    """`value` with NumPy's numbers and tuples turned into Python's, for JSON."""
    if isinstance(value, Mapping):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, tuple | list | set | frozenset):
        return [jsonable(v) for v in value]
    if hasattr(value, "tolist"):
        return jsonable(value.tolist())
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return str(value)
