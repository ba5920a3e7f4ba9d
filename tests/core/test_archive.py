"""A file is the old one or the new one, and says what it is."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
import zipfile

import ml_dtypes
import numpy as np
import pytest

from steepest import InputError
from steepest.core import archive


ARRAYS = {
    "layers/0.weight": np.arange(6.0, dtype=np.float32).reshape(2, 3),
    "bfloat16": np.array([1.5, -2.0], ml_dtypes.bfloat16),
    "float8_e4m3fn": np.array([0.5, 448.0], ml_dtypes.float8_e4m3fn),
    "float8_e5m2": np.array([[np.inf, 2.0]], ml_dtypes.float8_e5m2),
    "float64": np.array([np.nan, 1e300]),
    "bool": np.array([True, False]),
    "complex": np.array([1 + 2j], np.complex64),
    "int": np.array(7),
    "empty": np.zeros((0, 3), np.float16),
    "names": np.array(["ä", "bc"]),
}


def test_what_was_written_is_read_to_the_bit(tmp_path):
    path = tmp_path / "run with spaces.npz"
    archive.write(path, "record", 3, ARRAYS, {"seed": 1, "text": "λ", "none": None})
    arrays, meta = archive.read(path, "record", 3)
    assert meta == {"seed": 1, "text": "λ", "none": None, "schema": 3}
    assert list(arrays) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert arrays[name].dtype == array.dtype and arrays[name].shape == array.shape
        assert arrays[name].tobytes() == array.tobytes()
    assert os.listdir(tmp_path) == [path.name]  # nothing is left beside it


@pytest.mark.parametrize("order", ["transposed", "every other"])
def test_arrays_that_are_not_contiguous_are_written_too(tmp_path, order):
    whole = np.arange(12, dtype=np.float32).astype(ml_dtypes.bfloat16).reshape(3, 4)
    part = whole.T if order == "transposed" else whole[:, ::2]
    archive.write(tmp_path / "a", "record", 1, {"a": part}, {})
    np.testing.assert_array_equal(
        archive.read(tmp_path / "a", "record", 1)[0]["a"], part
    )


WRITER = """
import sys, numpy as np
from steepest.core import archive
generation = 0
while True:
    generation += 1
    arrays = {"a": np.full(200_000, generation), "b": np.full(10, generation)}
    archive.write(sys.argv[1], "record", 1, arrays, {"generation": generation})
    print(generation, flush=True)
"""


@pytest.mark.slow
def test_a_writer_that_is_killed_leaves_a_whole_file(tmp_path):
    path = tmp_path / "record.npz"
    seen = set()
    for trial in range(5):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, path], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        writer.stdout.readline()  # it has begun
        time.sleep(0.003 * trial + 0.01)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
        arrays, meta = archive.read(path, "record", 1)
        assert (arrays["a"] == meta["generation"]).all()
        assert (arrays["b"] == meta["generation"]).all()
        seen.add(meta["generation"])
    assert seen


def test_a_writer_that_fails_midway_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "record.npz"
    archive.write(path, "record", 1, {"a": np.ones(3)}, {"run": "old"})

    def put(file):
        file.write(b"half")
        raise RuntimeError("full disk")

    with pytest.raises(RuntimeError, match="full disk"):
        archive.atomically(path, put)
    with pytest.raises(TypeError):
        archive.write(path, "record", 1, {}, {"not JSON": object()})
    with pytest.raises(ValueError, match="Object arrays"):
        archive.write(path, "record", 1, {"o": np.array([{}, None])}, {})
    assert archive.read(path, "record", 1).meta["run"] == "old"
    assert os.listdir(tmp_path) == ["record.npz"]


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / "record.npz"
    archive.write(path, "record", 1, ARRAYS, {})
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole))])
    with pytest.raises(InputError, match="not a readable record"):
        archive.read(path, "record", 1)


def test_a_flipped_bit_is_noticed(tmp_path):
    path = tmp_path / "record.npz"
    archive.write(path, "record", 1, {"a": np.zeros(1000)}, {})
    data = bytearray(path.read_bytes())
    data[2000] ^= 1  # amid the zeros
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="damaged"):
        archive.read(path, "record", 1)


def test_other_files_are_refused_by_what_they_are(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(InputError, match="There is no file"):
        archive.read(path, "record", 1)
    with pytest.raises(InputError, match="is a directory"):
        archive.read(tmp_path, "record", 1)
    with open(path, "wb") as file:
        np.savez(file, a=np.ones(2))
    with pytest.raises(InputError, match="not a readable record"):
        archive.read(path, "record", 1)
    archive.write(path, "checkpoint", 1, {}, {})
    with pytest.raises(InputError, match="not a record; it says it is a checkpoint"):
        archive.read(path, "record", 1)
    archive.write(path, "record", 9, {}, {})
    with pytest.raises(InputError, match=r"schema 9.*Upgrade"):
        archive.read(path, "record", 1)


class Trap:
    def __reduce__(self):
        return (exec, ("raise SystemExit('it was unpickled')",))


def test_nothing_is_unpickled(tmp_path):
    path = tmp_path / "record.npz"
    np.save(tmp_path / "trap.npy", np.array([Trap()], object), allow_pickle=True)
    header = {"kind": "record", "schema": 1, "dtypes": {"a": "object"}, "meta": {}}
    with zipfile.ZipFile(path, "w") as z:
        z.write(tmp_path / "trap.npy", "a/a.npy")
        z.writestr(archive.META, json.dumps(header))
    with pytest.raises(InputError, match="not a readable record"):
        archive.read(path, "record", 1)
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(InputError):
        archive.read(path, "record", 1)


@pytest.mark.parametrize(
    "header",
    [[], "record", {}, {"kind": "record"}, {"kind": "record", "schema": 1}, {"kind": "record", "schema": 1, "dtypes": {"missing": "bfloat16"}, "meta": {}}, {"kind": "record", "schema": "new", "dtypes": {}, "meta": {}}],
)  # fmt: skip
def test_a_header_that_makes_no_sense_is_refused(tmp_path, header):
    path = tmp_path / "record.npz"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr(archive.META, json.dumps(header))
    with pytest.raises(InputError):
        archive.read(path, "record", 1)


def test_a_directory_that_is_missing_is_named_with_the_cure(tmp_path):
    with pytest.raises(
        InputError, match=r"Cannot write .* Name a directory that exists"
    ):
        archive.write_text(tmp_path / "nowhere" / "report.html", "")


def test_text_is_written_as_utf8_with_the_rights_of_an_ordinary_file(tmp_path):
    path, plain = tmp_path / "report.html", tmp_path / "plain"
    archive.write_text(path, "λ ≤ 2/η")
    assert path.read_bytes().decode() == "λ ≤ 2/η"
    plain.touch()
    assert path.stat().st_mode == plain.stat().st_mode
