import os
import time

import numpy as np
import pytest

from medgraph.data.array_cache import ArrayCache, content_key, default_folder
from medgraph.errors import DataError

ARRAYS = {"a": np.arange(6).reshape(2, 3), "b": np.array([0.5, 1.5])}


def test_what_was_put_is_found_again():
    cache = ArrayCache("room")
    assert cache.get("key", "ab") is None
    cache.put("key", ARRAYS)
    found = ArrayCache("room").get("key", "ab")
    assert [*found] == ["a", "b"]
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(found[name], array)
    assert ArrayCache("other").get("key", "ab") is None


def test_a_part_that_is_missing_or_damaged_hides_the_whole(cache_folder):
    cache = ArrayCache("room")
    cache.put("key", ARRAYS)
    file = cache_folder / "room" / "key.b.npy"
    file.write_bytes(file.read_bytes()[:20])
    assert cache.get("key", "ab") is None
    assert cache.get("key", "a") is not None
    file.unlink()
    assert cache.get("key", "ab") is None


def test_what_was_not_used_for_longest_goes_first(cache_folder):
    array = {"a": np.zeros(100)}
    size = 800 + 128  # of an .npy
    cache = ArrayCache("room", max_bytes=2 * size)
    for name, age in (("one", 50), ("two", 100)):
        cache.put(name, array)
        os.utime(cache_folder / "room" / f"{name}.a.npy", (time.time() - age,) * 2)
    cache.put("three", array)
    assert [cache.get(name, "a") is None for name in ("one", "two", "three")] == [False, True, False]


def test_the_newest_stays_even_if_it_is_too_large():
    cache = ArrayCache("room", max_bytes=10)
    cache.put("key", ARRAYS)
    assert cache.get("key", "ab") is not None


def test_a_folder_that_cannot_be_made(cache_folder):
    cache_folder.write_text("")
    with pytest.raises(DataError, match=r"the cache cannot be written .* Set MEDGRAPH_CACHE"):
        ArrayCache("room").put("key", ARRAYS)


def test_folder_from_the_environment_or_home(monkeypatch, tmp_path):
    assert default_folder() == tmp_path / "cache"
    monkeypatch.delenv("MEDGRAPH_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_folder() == tmp_path / ".cache" / "medgraph"


@pytest.mark.parametrize(
    "other",
    [
        ([np.array([1, 2, 4])], {"k": 1}),
        ([np.array([1, 2, 3])], {"k": 2}),
        ([np.array([1, 2, 3], dtype=np.int32)], {"k": 1}),
        ([np.array([[1, 2, 3]])], {"k": 1}),
    ],
)
def test_a_key_tells_content_type_shape_and_facts_apart(other):
    assert content_key([np.array([1, 2, 3])], {"k": 1}) == content_key([np.array([1, 2, 3])], {"k": 1})
    assert content_key(*other) != content_key([np.array([1, 2, 3])], {"k": 1})
