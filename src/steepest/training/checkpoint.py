"""Checkpoints: a killed run goes on where it was, to the bit.

A checkpoint holds everything that the next update depends on: parameters, statistics,
optimiser state, loss scale, the number of the update (from which the order of the data
and the random key follow), the record so far, and when the probes are next due. Files
are written whole or not at all, so whatever moment a run is killed at, the newest file
in the directory is good; should a disk damage it all the same, the one before it is
taken.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core import archive
from ..core.errors import InputError
from .fitted import pack, unpack
from .recipe import Recipe, describe
from .record import Record, pack as pack_record, unpack as unpack_record
from .step import Carry


SCHEMA = 1
BEST = "best.npz"
MAY_CHANGE = ("steps", "epochs")  # a run may be made longer


class Checkpoint(NamedTuple):
    """A run, frozen after `step` updates."""

    step: int
    carry: Carry
    record: Record
    plan: dict[str, Any]  # of the probes
    recipe: dict[str, Any]


def save(directory: Path, checkpoint: Checkpoint, keep: int) -> None:
    """Write a checkpoint and remove all but the last `keep` of this run.

    Raises `InputError` when the directory cannot be written.
    """
    _write(directory / f"step-{checkpoint.step:09d}.npz", checkpoint)
    files = steps(directory)
    # What lies beyond is of an earlier run, or damaged: this run has not been there.
    beyond = [path for path in files if _step_of(path) > checkpoint.step]
    mine = [path for path in files if path not in beyond]
    for old in beyond + mine[:-keep]:
        old.unlink(missing_ok=True)


def save_best(directory: Path, checkpoint: Checkpoint) -> None:
    """Write the best checkpoint so far, in place of the last best."""
    _write(directory / BEST, checkpoint)


def _write(path: Path, checkpoint: Checkpoint) -> None:
    arrays, meta = pack(checkpoint.carry)
    record_arrays, record_meta = pack_record(checkpoint.record)
    named = {f"carry{k}": v for k, v in arrays.items()}
    named |= {f"record/{k}": v for k, v in record_arrays.items()}
    parts = {"step": checkpoint.step, "carry": meta, "record": record_meta}
    parts |= {"plan": checkpoint.plan, "recipe": checkpoint.recipe}
    archive.write(path, "checkpoint", SCHEMA, named, parts)


def load(path: str | os.PathLike[str], like: Carry) -> Checkpoint:
    """Read one checkpoint; `InputError` when it is damaged or of another model."""
    arrays, meta = archive.read(path, "checkpoint", SCHEMA)
    carry = {k[5:]: v for k, v in arrays.items() if k.startswith("carry")}
    record = {k[7:]: v for k, v in arrays.items() if k.startswith("record/")}
    try:
        found = Checkpoint(
            meta["step"],
            unpack(archive.Archive(carry, meta["carry"]), like, path),
            unpack_record(archive.Archive(record, meta["record"])),
            dict(meta.get("plan", {})),
            dict(meta.get("recipe", {})),
        )
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(
            f"`{path}` is damaged: parts of the checkpoint are missing."
        ) from error
    if not (isinstance(found.step, int) and found.step >= 0):
        raise InputError(f"`{path}` is damaged: its step is {found.step!r}.")
    return found


def latest(directory: Path, like: Carry, recipe: Recipe) -> Checkpoint | None:
    """The newest readable checkpoint of a directory, or None when there is none.

    Raises `InputError` when there are some and all are damaged, or when the newest
    readable one belongs to another model or another recipe.
    """
    damage: InputError | None = None
    for path in reversed(steps(directory)):
        try:
            found = load(path, like)
        except InputError as error:
            if "another model" in str(error):
                raise
            damage = damage or error
            continue
        _check_recipe(directory, found.recipe, describe(recipe))
        if damage is not None:
            found.record.meta["damaged_checkpoint"] = str(damage)
        return found
    if damage is not None:
        raise damage
    return None


def _check_recipe(directory: Path, then: dict[str, Any], now: dict[str, Any]) -> None:
    for name, value in then.items():
        if name in now and name not in MAY_CHANGE and value != now[name]:
            raise InputError(
                f"The checkpoints in `{directory}` are of a run with "
                f"{name}={value!r}, not {now[name]!r}. Name another directory, or "
                "start afresh with `resume=False`."
            )


def best_score(record: Record) -> float:
    """The least loss that the probes have seen so far; infinity before the first."""
    for name in ("validation.loss", "train.loss"):
        if name in record.series:
            values = np.asarray(record[name].value, float)
            return float(np.min(values[np.isfinite(values)], initial=np.inf))
    return np.inf


def steps(directory: Path) -> list[Path]:
    """The numbered checkpoints of a directory, oldest first."""
    return sorted(directory.glob("step-*.npz"))


def _step_of(path: Path) -> int:
    number = path.stem.removeprefix("step-")
    return int(number) if number.isdigit() else -1


def prepare(directory: Any) -> Path:
    """The checkpoint directory, made if need be; `InputError` where it cannot be."""
    path = Path(directory)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"Cannot make the checkpoint directory `{path}`: {error.strerror}."
        ) from error
    if not os.access(path, os.W_OK):
        raise InputError(f"The checkpoint directory `{path}` cannot be written.")
    for name in ("step-*.npz", BEST):  # what a killed writer left half done
        for part in path.glob(f".{name}.*"):
            part.unlink(missing_ok=True)
    return path
