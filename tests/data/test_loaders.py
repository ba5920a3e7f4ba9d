"""The user's files are read, or refused with a sentence that names the fault."""

import gzip
import hashlib
import struct

import numpy as np
import pytest

from steepest import InputError
from steepest.data import find, read_csv, read_idx, read_npz


def idx(array, kind):
    header = struct.pack(">HBB", 0, kind, array.ndim)
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return header + sizes + array.tobytes()


KINDS = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
PICTURES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("compress", [False, True])
def test_idx_of_every_type_is_read(tmp_path, kind, compress):
    array = (np.arange(24).reshape(2, 3, 4) - 5 * (kind != 8)).astype(KINDS[kind])
    raw = idx(array, kind)
    path = tmp_path / "images-idx3"
    path.write_bytes(gzip.compress(raw) if compress else raw)
    ours = read_idx(path)
    np.testing.assert_array_equal(ours, array)
    assert ours.dtype.isnative and ours.flags.writeable


@pytest.mark.parametrize("cut", [0, 1, 3, 7, 15, 20, 39])
def test_a_truncated_idx_file_is_refused(tmp_path, cut):
    path = tmp_path / "images"
    path.write_bytes(idx(PICTURES, 8)[:cut])
    with pytest.raises(InputError, match="not a whole idx file"):
        read_idx(path)


def test_other_damage_to_idx_is_refused(tmp_path):
    path = tmp_path / "images"
    whole = idx(PICTURES, 8)
    for content in (
        whole + b"more",
        b"\x00\x00\x07" + whole[3:],  # no such type
        b"\x01" + whole[1:],
        gzip.compress(whole)[:-9],
        b"\x1f\x8bnonsense",
        b"PK\x03\x04 a zip file",
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match="idx file"):
            read_idx(path)


def test_npz_is_read_and_what_needs_unpickling_is_refused(tmp_path):
    path = tmp_path / "data.npz"
    np.savez(path, x=PICTURES, y=np.array([1, 0]))
    data = read_npz(path)
    np.testing.assert_array_equal(data["x"], PICTURES)
    assert set(data) == {"x", "y"}
    np.savez(path, x=np.array([{"a": 1}, None], dtype=object))
    with pytest.raises(InputError, match="not a plain npz"):
        read_npz(path)
    path.write_bytes(b"nonsense")
    with pytest.raises(InputError, match="not a plain npz"):
        read_npz(path)
    np.save(tmp_path / "one.npy", PICTURES)
    with pytest.raises(InputError, match="not a plain npz"):
        read_npz(tmp_path / "one.npy")


def test_csv_is_read_with_its_names_and_gaps(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("\ufefflength, width\n1,2.5\n\n-3e2,\n", encoding="utf-8")
    table, names = read_csv(path)
    assert names == ("length", "width") and table.dtype == np.float32
    np.testing.assert_array_equal(table, np.float32([[1, 2.5], [-300, np.nan]]))
    path.write_text("a;b\n1;2\n")
    assert read_csv(path, delimiter=";")[0].tolist() == [[1.0, 2.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n1,x\n", r"line 3.*'x'"),
        ("a,b\n\n\n1,x\n", r"line 4.*'x'"),
        ("a,b\n1,2,3\n", r"line 2: 3 cells, but 2 columns"),
        ("a,b\n", "no rows"),
        ("", "no rows"),
    ],
)
def test_a_bad_table_is_refused_by_the_line(tmp_path, text, message):
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_csv(path)


@pytest.mark.parametrize("read", [read_idx, read_npz, read_csv])
def test_the_checksum_is_verified_first(tmp_path, read):
    path = tmp_path / "data"
    if read is read_npz:
        np.savez(tmp_path / "data.npz", x=PICTURES)
        path = tmp_path / "data.npz"
    else:
        path.write_bytes(idx(PICTURES, 8) if read is read_idx else b"a\n1\n")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    read(path, digest)
    with pytest.raises(InputError, match=f"checksum {digest[:12]}.*not 000000000000"):
        read(path, "0" * 64)


def test_the_data_directory_is_the_one_that_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("STEEPEST_DATA", raising=False)
    with pytest.raises(InputError, match="STEEPEST_DATA"):
        find("a.csv")
    (tmp_path / "a.csv").write_text("a\n1\n")
    monkeypatch.setenv("STEEPEST_DATA", str(tmp_path))
    assert find("a.csv") == tmp_path / "a.csv"
    with pytest.raises(InputError, match="There is no file"):
        find("b.csv")
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(InputError, match="There is no file"):
        find("a.csv", other)


def test_a_file_that_is_not_there_is_named(tmp_path):
    for read in (read_idx, read_npz, read_csv):
        with pytest.raises(InputError, match=r"Cannot read .*nothing.*No such file"):
            read(tmp_path / "nothing")
        with pytest.raises(InputError, match="Cannot read"):
            read(tmp_path)
