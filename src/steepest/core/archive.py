"""Files that outlive a run: arrays and plain values, one atomic file, no pickle.

An archive is an uncompressed `.npz` (a zip of `.npy` members, each with a CRC) with
one more member, `meta.json`, that holds everything that is not an array: the kind of
the file, its schema number, and the type of every array whose dtype NumPy cannot name
by itself (bfloat16, float8).

A write goes to a neighbour of the target, is flushed to the disk and then renamed over
it. POSIX makes the rename atomic, so a reader sees the old file or the new one, never a
part, whenever the writer was killed.
"""

import json
import os
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from .errors import InputError


META = "meta.json"
#: What reading a file of unknown origin can raise.
DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    KeyError,
    ValueError,
    OSError,
    EOFError,
    RuntimeError,
)


class Archive(NamedTuple):
    """What a file holds: `arrays` by name, and `meta`, which JSON can carry."""

    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]  # anything JSON can say


def write(
    path: str | os.PathLike[str],
    kind: str,
    schema: int,
    arrays: Mapping[str, np.ndarray],
    meta: Mapping[str, Any],
) -> None:
    """Write an archive to `path`, whole or not at all.

    Raises `InputError` when the directory is missing or cannot be written.
    """
    plain, dtypes = {}, {}
    for name, array in arrays.items():
        array = np.asarray(array)
        dtypes[name] = array.dtype.name
        ours = hasattr(ml_dtypes, array.dtype.name)
        plain[name] = array.view(f"u{array.dtype.itemsize}") if ours else array
    header = {"kind": kind, "schema": schema, "dtypes": dtypes, "meta": dict(meta)}

    def put(file: Any) -> None:  # a binary file object
        np.savez(file, allow_pickle=False, **{f"a/{k}": v for k, v in plain.items()})
        with zipfile.ZipFile(file, "a") as archive:
            archive.writestr(META, json.dumps(header))

    atomically(path, put)


def read(path: str | os.PathLike[str], kind: str, newest: int) -> Archive:
    """Read an archive of `kind`, of any schema up to `newest`.

    Raises `InputError` when the file is missing, damaged, of another kind, or written
    by a later version.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            header = json.loads(archive.read(META))
        with np.load(path, allow_pickle=False) as data:
            arrays = {k[2:]: data[k] for k in data.files if k.startswith("a/")}
    except FileNotFoundError:
        raise InputError(f"There is no file `{path}`.") from None
    except IsADirectoryError:
        raise InputError(f"`{path}` is a directory, not a {kind}.") from None
    except DAMAGE as error:
        raise InputError(
            f"`{path}` is not a readable {kind}: it is damaged, or another kind of "
            f"file ({_line(error)}). Write it again."
        ) from error
    if not isinstance(header, dict) or header.get("kind") != kind:
        found = header.get("kind") if isinstance(header, dict) else None
        raise InputError(f"`{path}` is not a {kind}; it says it is a {found}.")
    if not isinstance(header.get("schema"), int):
        raise InputError(f"`{path}` is damaged: it has no schema number.")
    if header["schema"] > newest:
        raise InputError(
            f"`{path}` has schema {header['schema']}, later than this version of "
            f"steepest reads ({newest}). Upgrade steepest."
        )
    try:
        for name, dtype in header["dtypes"].items():
            if hasattr(ml_dtypes, dtype):
                arrays[name] = arrays[name].view(getattr(ml_dtypes, dtype))
        return Archive(arrays, header["meta"] | {"schema": header["schema"]})
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"`{path}` is damaged: parts of it are missing.") from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` as UTF-8 to `path`, whole or not at all."""
    atomically(path, lambda file: file.write(text.encode("utf-8")))


def atomically(path: str | os.PathLike[str], put: Any) -> None:
    """Let `put(file)` fill a neighbour of `path`, then rename it to `path`."""
    path = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise InputError(
            f"Cannot write `{path}`: {error.strerror}. Name a directory that exists "
            "and that you may write to."
        ) from error
    try:
        with os.fdopen(handle, "w+b") as file:
            put(file)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
