"""Reading the user's own files: idx, npz, csv, from a directory of data.

Nothing is downloaded and nothing is unpickled. A checksum, when given, is verified
before the file is read.
"""

import gzip
import hashlib
import os
import struct
from pathlib import Path

import numpy as np
from jaxtyping import Float

from ..core.errors import InputError


IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def find(name: str, directory: str | os.PathLike[str] | None = None) -> Path:
    """The file `name` in `directory`, or in the one that STEEPEST_DATA names.

    Raises `InputError` when no directory is known or the file is not in it.
    """
    root = directory or os.environ.get("STEEPEST_DATA")
    if root is None:
        raise InputError(
            f"`{name}` is read from a data directory: pass `directory`, or name one in "
            "the environment variable STEEPEST_DATA."
        )
    path = Path(root) / name
    if not path.is_file():
        raise InputError(f"There is no file `{path}`.")
    return path


def read_idx(path: str | os.PathLike[str], sha256: str | None = None) -> np.ndarray:
    """An array in the idx format of MNIST, gzipped or not.

    Raises `InputError` for a file that is missing, cut short or of another format, or
    whose checksum is not `sha256`.
    """
    raw = read_bytes(path, sha256)
    try:
        data = gzip.decompress(raw) if raw[:2] == b"\x1f\x8b" else raw
        zero, kind, ndim = struct.unpack(">HBB", data[:4])
        shape = struct.unpack(f">{ndim}I", data[4 : 4 + 4 * ndim])
        dtype = np.dtype(IDX_TYPES[kind])
        array = np.frombuffer(data, dtype, offset=4 + 4 * ndim).reshape(shape)
    except (struct.error, KeyError, ValueError, EOFError, OSError) as error:
        raise InputError(f"`{path}` is not a whole idx file ({error}).") from error
    if zero != 0:
        raise InputError(f"`{path}` is not an idx file: it does not begin with zeros.")
    return array.astype(dtype.newbyteorder("="))


def read_npz(
    path: str | os.PathLike[str], sha256: str | None = None
) -> dict[str, np.ndarray]:
    """The arrays of an npz file by name.

    Raises `InputError` for a file that is missing, damaged or would need unpickling, or
    whose checksum is not `sha256`.
    """
    read_bytes(path, sha256)
    try:
        with np.load(path, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except Exception as error:
        raise InputError(f"`{path}` is not a plain npz file ({error}).") from error


def read_csv(
    path: str | os.PathLike[str], sha256: str | None = None, *, delimiter: str = ","
) -> tuple[Float[np.ndarray, "rows columns"], tuple[str, ...]]:
    """A table of numbers with one header line: `(rows × columns, names)`.

    An empty cell becomes NaN. Raises `InputError` that names the line of a bad cell.
    """
    text = read_bytes(path, sha256).decode("utf-8-sig", errors="replace")
    numbered = enumerate(text.splitlines(), start=1)
    lines = [(number, line) for number, line in numbered if line.strip()]
    if len(lines) < 2:
        raise InputError(f"`{path}` has no rows below its header.")
    names = tuple(cell.strip() for cell in lines[0][1].split(delimiter))
    rows = []
    for number, line in lines[1:]:
        cells = [cell.strip() for cell in line.split(delimiter)]
        if len(cells) != len(names):
            raise InputError(
                f"`{path}`, line {number}: {len(cells)} cells, but {len(names)} columns."
            )
        try:
            rows.append([float(cell) if cell else np.nan for cell in cells])
        except ValueError as error:
            raise InputError(f"`{path}`, line {number}: {error}.") from error
    return np.array(rows, np.float32), names


def read_bytes(path: str | os.PathLike[str], sha256: str | None = None) -> bytes:
    """The bytes of a file; `InputError` unless it is there and of the given checksum."""
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"Cannot read `{path}`: {error.strerror}.") from error
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise InputError(
            f"`{path}` has the checksum {found[:12]}…, not {sha256[:12]}…: it is "
            "damaged or another version."
        )
    return data
