"""Checkpoints: a killed run goes on where it was, to the bit.

A checkpoint holds everything that the next update depends on: parameters, statistics,
optimiser state, loss scale, the number of the update (from which the order of the data
and the random key follow), and the record so far. Files are written whole or not at
all, so whatever moment a run is killed at, the newest file in the directory is good;
should a disk damage it all the same, the one before it is taken.
"""

import os
from pathlib import Path
from typing import Any, NamedTuple

from ..core import archive
from ..core.errors import InputError
from .fitted import pack, unpack
from .record import Record, pack as pack_record, unpack as unpack_record
from .step import Carry


SCHEMA = 1
BEST = "best.npz"


class Checkpoint(NamedTuple):
    """A run, frozen after `step` updates."""

    step: int
    carry: Carry
    record: Record


def save(directory: Path, checkpoint: Checkpoint, keep: int, best: bool) -> None:
    """Write a checkpoint and remove all but the last `keep`; `best` writes it as best.

    Raises `InputError` when the directory cannot be written.
    """
    arrays, meta = pack(checkpoint.carry)
    record_arrays, record_meta = pack_record(checkpoint.record)
    named = {f"carry{k}": v for k, v in arrays.items()}
    named |= {f"record/{k}": v for k, v in record_arrays.items()}
    meta = {"step": checkpoint.step, "carry": meta, "record": record_meta}
    name = BEST if best else f"step-{checkpoint.step:09d}.npz"
    archive.write(directory / name, "checkpoint", SCHEMA, named, meta)
    for old in steps(directory)[:-keep]:
        old.unlink(missing_ok=True)


def load(path: str | os.PathLike[str], like: Carry) -> Checkpoint:
    """Read one checkpoint; `InputError` when it is damaged or of another model."""
    arrays, meta = archive.read(path, "checkpoint", SCHEMA)
    carry = {k[5:]: v for k, v in arrays.items() if k.startswith("carry")}
    record = {k[7:]: v for k, v in arrays.items() if k.startswith("record/")}
    return Checkpoint(
        meta["step"],
        unpack(archive.Archive(carry, meta["carry"]), like, path),
        unpack_record(archive.Archive(record, meta["record"])),
    )


def latest(directory: Path, like: Carry) -> Checkpoint | None:
    """The newest readable checkpoint of a directory, or None when there is none.

    Raises `InputError` when there are some and all are damaged, or when the newest
    readable one belongs to another model.
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
        if damage is not None:
            found.record.meta["damaged_checkpoint"] = str(damage)
        return found
    if damage is not None:
        raise damage
    return None


def steps(directory: Path) -> list[Path]:
    """The numbered checkpoints of a directory, oldest first."""
    return sorted(directory.glob("step-*.npz"))


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
    return path
