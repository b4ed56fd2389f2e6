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


def test_several_writers_keep_the_limit_without_a_look_at_the_folder_each_time(cache_folder):
    size = 800 + 128  # of an .npy
    caches = [ArrayCache("room", max_bytes=40 * size) for _ in range(4)]
    for number in range(120):
        caches[number % 4].put(f"{number}", {"a": np.zeros(100)})
        assert caches[0].size() <= 40 * size
    assert caches[0].size() > 30 * size
    leftover = cache_folder / "room" / "old.tmp"
    roomy = ArrayCache("room", max_bytes=10**6)
    roomy.put("first", ARRAYS)
    leftover.write_bytes(b"half")
    os.utime(leftover, (time.time() - 7200,) * 2)
    roomy.put("second", ARRAYS)
    assert leftover.exists()  # a listing would have cleared it


def test_what_may_not_be_removed_stays(cache_folder):
    (cache_folder / "room" / "theirs.a.npy").mkdir(parents=True)  # no file: it cannot be unlinked
    cache = ArrayCache("room", max_bytes=10)
    cache.put("one", ARRAYS)
    cache.put("two", ARRAYS)
    assert [cache.get(name, "ab") is None for name in ("one", "two")] == [True, False]


def test_a_group_may_share_the_folder_and_nothing_unfinished_is_left(cache_folder):
    cache, mask = ArrayCache("room"), os.umask(0o027)
    try:
        cache.put("key", ARRAYS)
    finally:
        os.umask(mask)
    room = cache_folder / "room"
    assert {file.stat().st_mode & 0o777 for file in room.iterdir()} == {0o640}
    (room / "taken.a.npy").mkdir()
    with pytest.raises(DataError, match="the cache cannot be written"):
        cache.put("taken", ARRAYS)
    assert sorted(file.name for file in room.iterdir()) == ["key.a.npy", "key.b.npy", "taken.a.npy"]


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_mapped_array_is_the_same_read_only_and_keeps_no_file_open(order):
    array, cache = np.asarray(np.random.default_rng(0).random((4, 5, 6)), dtype=np.float32, order=order), ArrayCache()
    cache.put("key", {"a": array})
    before = len(os.listdir("/dev/fd"))
    held = [cache.get("key", "a", mapped=True)["a"] for _ in range(20)]
    assert len(os.listdir("/dev/fd")) == before
    for found in held:
        np.testing.assert_array_equal(found, array)
        assert not found.flags.writeable
        assert not found.flags.owndata


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
