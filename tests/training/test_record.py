import io
import json
import pickle
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from steepest import Record
from steepest.core.errors import InputError


@pytest.fixture
def record():
    record = Record({"number": 1.5, "array": np.arange(3), "list": [1, None, "a"]})
    record.missing["sharpness"] = "no second derivative"
    record.meta |= {"seed": 3, "nonfinite": {"step": 4}, "tuple": (1, np.float32(2))}
    for step in range(5):
        record.log(step, loss=jnp.float32(1 / (step + 1)))
    record.extend("loss", np.arange(5, 9), np.ones(4, np.float32))
    record.add("layer.norm", 0, np.array([1.0, 2.0]), ("a/W", "b"))
    record.add("layer.norm", 10, np.array([3.0, np.nan]), ("a/W", "b"))
    return record


def test_a_record_is_saved_and_loaded_as_it_was(record, tmp_path):
    record.save(tmp_path / "r.npz")
    loaded = Record.load(tmp_path / "r.npz")
    assert set(loaded.series) == {"loss", "layer.norm"}
    for name in record.series:
        for mine, theirs in zip(record[name], loaded[name], strict=True):
            np.testing.assert_array_equal(mine, theirs)
    assert loaded["loss"].value.dtype == np.float32
    assert loaded["layer.norm"].labels == ("a/W", "b")
    np.testing.assert_array_equal(loaded.facts["array"], np.arange(3))
    assert loaded.facts["number"] == 1.5 and loaded.facts["list"] == [1, None, "a"]
    assert loaded.missing == record.missing
    assert loaded.meta == {"seed": 3, "nonfinite": {"step": 4}, "tuple": [1, 2.0]}


def test_a_loaded_record_can_be_added_to(record, tmp_path):
    record.save(tmp_path / "r.npz")
    loaded = Record.load(tmp_path / "r.npz")
    loaded.log(9, loss=0.5)
    np.testing.assert_array_equal(loaded["loss"].step, np.arange(10))


def test_a_foreign_loop_logs_with_one_call_a_step():
    record = Record()
    for step in range(4):
        record.log(step, loss=1.0 / (step + 1), layers=np.ones(2) * step)
    np.testing.assert_array_equal(record["loss"].step, range(4))
    assert record["layers"].value.shape == (4, 2)
    assert "loss" in record and "other" not in record
    with pytest.raises(KeyError):
        record["other"]


def test_what_was_read_does_not_change_the_record(record):
    record["loss"].value[:] = 7
    record["loss"].step[:] = 7
    assert record["loss"].value[0] == 1 and record["loss"].step[-1] == 8


def test_there_is_no_pickle_in_a_record(record, tmp_path):
    record.save(tmp_path / "r.npz")
    with zipfile.ZipFile(tmp_path / "r.npz") as archive:
        for name in archive.namelist():
            data = archive.read(name)
            if name == "meta.json":
                json.loads(data)
            else:
                np.load(io.BytesIO(data), allow_pickle=False)
            with pytest.raises(Exception):  # noqa: B017
                pickle.loads(data)


def test_a_record_of_a_later_version_is_refused(record, tmp_path):
    path = tmp_path / "r.npz"
    record.save(path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(members["meta.json"]) | {"schema": 99}
    members["meta.json"] = json.dumps(header).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    with pytest.raises(InputError, match=r"schema 99.*Upgrade"):
        Record.load(path)


def test_no_damaged_byte_passes_unseen(record, tmp_path):
    """Whatever byte is hit, the file is refused or reads as it was written."""
    path = tmp_path / "r.npz"
    record.save(path)
    whole = path.read_bytes()
    generator = np.random.default_rng(0)
    for at in generator.integers(0, len(whole), 150):
        data = bytearray(whole)
        data[at] ^= int(generator.integers(1, 256))
        path.write_bytes(bytes(data))
        try:
            loaded = Record.load(path)
        except InputError:
            continue
        for name, series in loaded.series.items():
            np.testing.assert_array_equal(series.value, record[name].value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_file_is_refused(record, tmp_path, share):
    path = tmp_path / "r.npz"
    record.save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match="not a readable record"):
        Record.load(path)


def test_a_file_that_is_not_there_and_one_of_another_kind(record, tmp_path):
    with pytest.raises(InputError, match="no file"):
        Record.load(tmp_path / "none.npz")
    np.savez(tmp_path / "other.npz", a=np.ones(3))
    with pytest.raises(InputError):
        Record.load(tmp_path / "other.npz")


def test_an_unwritable_path_is_refused(record, tmp_path):
    with pytest.raises(InputError, match="Cannot write"):
        record.save(tmp_path / "no such" / "r.npz")
