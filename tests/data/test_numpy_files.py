"""Arrays come back from whole files; what is damaged, or no array, is named and never opened as a pickle."""

import pickle

import numpy as np
import pytest

from medgraph.data.numpy_files import open_arrays, read_array
from medgraph.errors import DataError


def test_arrays_come_back(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(3))
    np.savez_compressed(tmp_path / "b.npz", x=np.arange(4), y=np.ones(2))
    assert read_array(tmp_path / "a.npy", "numbers").tolist() == [0, 1, 2]
    with open_arrays(tmp_path / "b.npz", "numbers") as stored:
        assert {name: stored[name].tolist() for name in stored} == {"x": [0, 1, 2, 3], "y": [1, 1]}


@pytest.mark.parametrize("raw", [b"", b"hello\n", pickle.dumps([1]), b"\x93NUMPY\x01\x00v\x00{", b"PK\x03\x04abc"])
def test_other_files_are_named(tmp_path, raw):
    (tmp_path / "a").write_bytes(raw)
    with pytest.raises(DataError, match=r"a: expected three numbers, never a pickle: .*Fetch or write it again"):
        read_array(tmp_path / "a", "three numbers")
    with (
        pytest.raises(DataError, match=r"a: expected three numbers, never a pickle: .*Fetch or write it again"),
        open_arrays(tmp_path / "a", "three numbers"),
    ):
        pass


def test_an_array_that_is_damaged_is_named_when_it_is_read(tmp_path):
    rng = np.random.default_rng(0)
    np.savez_compressed(tmp_path / "a.npz", x=rng.integers(0, 9, 4000), y=np.ones(2))
    raw = bytearray((tmp_path / "a.npz").read_bytes())
    raw[300:400] = bytes(100)
    (tmp_path / "a.npz").write_bytes(raw)
    with open_arrays(tmp_path / "a.npz", "numbers") as stored:
        assert stored["y"].tolist() == [1, 1]
    for name in ("x", "z"):
        with (
            pytest.raises(DataError, match=r"a.npz: expected numbers"),
            open_arrays(tmp_path / "a.npz", "numbers") as s,
        ):
            _ = s[name]


def test_errors_of_the_reader_pass_as_they_are(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.ones(1))
    with pytest.raises(DataError, match=r"^mine$"), open_arrays(tmp_path / "a.npz", "numbers"):
        raise DataError("mine")
