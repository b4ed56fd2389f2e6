import hashlib
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from reference.nifti_files import FLIPPED, write

from medgraph import files
from medgraph.data.fingerprint import fingerprint
from medgraph.data.volumes import VolumeCache, prepare
from medgraph.errors import DataError


def test_preparation_equals_its_formula(voxels):
    low, high = np.percentile(voxels.ravel(), [0.5, 99.5])
    expected = np.empty(voxels.size)
    clipped = [min(max(v, low), high) for v in voxels.ravel().tolist()]
    mean = sum(clipped) / len(clipped)
    std = (sum((v - mean) ** 2 for v in clipped) / len(clipped)) ** 0.5
    expected = [min(max(((v - mean) / std + 3) / 6, 0), 1) for v in clipped]
    prepared = prepare(voxels, (0.5, 99.5))
    assert prepared.dtype == np.float32
    np.testing.assert_allclose(prepared.ravel(), expected, atol=1e-6)


def test_the_range_of_scores_is_a_setting(voxels):
    """[0, 10] is what the authors' fine-tuning takes: the score over 10, clipped."""
    low, high = np.percentile(voxels, (0.5, 99.5))
    clipped = np.clip(voxels.astype(np.float64), low, high)
    scores = (clipped - clipped.mean()) / clipped.std()
    np.testing.assert_allclose(prepare(voxels, (0.5, 99.5), (0.0, 10.0)), np.clip(scores / 10, 0, 1), atol=1e-6)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_preparing_is_exact_and_leaves_the_voxels_as_they_are(voxels, kind):
    given = voxels.astype(kind)
    found = prepare(given, (0.5, 99.5), (-2.0, 5.0))
    np.testing.assert_array_equal(given, voxels)
    clipped = np.clip(voxels.astype(np.float64), *np.percentile(voxels, (0.5, 99.5)))
    scores = (clipped - clipped.mean()) / clipped.std()
    np.testing.assert_array_equal(found, np.clip((scores + 2) / 7, 0, 1).astype(np.float32))


def test_scale_and_shift_of_intensities_do_not_matter(voxels):
    np.testing.assert_allclose(prepare(voxels * 1e4 + 7, (0.5, 99.5)), prepare(voxels, (0.5, 99.5)), atol=1e-5)


def test_the_second_reading_is_mapped_and_equal(tmp_path, voxels, cache_folder):
    path = write(tmp_path / "a.nii.gz", voxels, FLIPPED)
    cache = VolumeCache()
    first = np.array(cache.prepared(path))
    second = cache.prepared(path)
    assert not second.flags.owndata
    assert not second.flags.writeable
    np.testing.assert_array_equal(first, second)
    assert first.shape == (10, 6, 8)
    report = cache.report()
    assert (report.hits, report.misses) == (1, 1)
    assert report.bytes == sum(file.stat().st_size for file in cache_folder.iterdir()) > 4 * voxels.size
    assert report.folder == cache_folder


def test_changed_content_and_parameters_are_prepared_anew(tmp_path, voxels):
    path = write(tmp_path / "a.nii.gz", voxels)
    old = np.array(VolumeCache().prepared(path))
    stat = path.stat()
    write(path, voxels[::-1].copy())
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    changed = VolumeCache()
    np.testing.assert_array_equal(changed.prepared(path), old[::-1])
    assert changed.report().misses == 1
    for cache in (
        VolumeCache(percentiles=(5, 95)),
        VolumeCache(spacing=(2.0, 2.0, 2.0)),
        VolumeCache(score_range=(0, 10)),
    ):
        cache.prepared(path)
        assert cache.report().misses == 1


def test_spacing_resamples_in_ras_order(tmp_path, voxels):
    path = write(tmp_path / "a.nii.gz", voxels, FLIPPED)  # RAS: 10, 6, 8 voxels of 2, 1.5, 1 mm
    assert VolumeCache(spacing=(1.0, 3.0, 1.0)).prepared(path).shape == (20, 3, 8)
    assert VolumeCache(spacing=(1.0, None, 0.5)).prepared(path).shape == (20, 6, 16)  # None keeps an axis


def test_a_damaged_cache_file_is_replaced(tmp_path, voxels, cache_folder):
    path = write(tmp_path / "a.nii.gz", voxels)
    good = np.array(VolumeCache().prepared(path))
    file = next(cache_folder.glob("*.npy"))
    file.write_bytes(file.read_bytes()[:300])
    np.testing.assert_array_equal(VolumeCache().prepared(path), good)
    file.write_bytes(b"")
    np.testing.assert_array_equal(VolumeCache().prepared(path), good)


def test_the_volume_not_used_for_longest_goes_first(tmp_path, voxels, cache_folder):
    paths = [write(tmp_path / f"{i}.nii.gz", voxels + i * voxels**2) for i in range(3)]
    one = VolumeCache()
    one.prepared(paths[0])
    size = one.report().bytes
    cache = VolumeCache(max_bytes=2 * size)
    for path, age in zip(paths[:2], (50, 100), strict=True):
        cache.prepared(path)
        newest = max(cache_folder.glob("*.npy"), key=lambda file: file.stat().st_mtime)
        os.utime(newest, (time.time() - age, time.time() - age))
    cache.prepared(paths[2])  # drops paths[1]
    assert cache.report().bytes == 2 * size
    before = cache.report().misses
    cache.prepared(paths[0])
    assert cache.report().misses == before
    cache.prepared(paths[1])
    assert cache.report().misses == before + 1


def test_unfinished_files_of_dead_processes_are_cleared(tmp_path, voxels, cache_folder):
    cache_folder.mkdir()
    old, young = cache_folder / "old.tmp", cache_folder / "young.tmp"
    for file in (old, young):
        file.write_bytes(b"half")
    os.utime(old, (time.time() - 7200, time.time() - 7200))
    VolumeCache().prepared(write(tmp_path / "a.nii.gz", voxels))
    assert (old.exists(), young.exists()) == (False, True)


def test_contrast_lost_by_clipping(tmp_path):
    voxels = np.zeros((10, 10, 10), np.float32)
    voxels[0, 0, 0] = 1
    path = write(tmp_path / "dot.nii.gz", voxels)
    with pytest.raises(DataError, match=r"dot.nii.gz: all voxels are 0 between percentiles 0.5 and 99.5"):
        VolumeCache().prepared(path)


def test_a_folder_that_cannot_be_made(tmp_path, voxels):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"the cache cannot be written .* Set MEDGRAPH_CACHE"):
        VolumeCache(folder=tmp_path / "file").prepared(write(tmp_path / "a.nii.gz", voxels))


@pytest.mark.slow
def test_processes_share_a_folder(tmp_path, cache_folder):
    noise = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    path = write(tmp_path / "a.nii.gz", noise)
    code = "import sys; from medgraph.data.volumes import VolumeCache; print(VolumeCache().prepared(sys.argv[1]).sum())"
    runs = [subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE) for _ in range(3)]
    sums = {run.communicate()[0] for run in runs}
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert len(sums) == 1
    assert len(list(cache_folder.iterdir())) == 1
    assert nib.load(path).shape == VolumeCache().prepared(path).shape


def test_a_file_is_hashed_once_for_each_of_its_states_whoever_asks(tmp_path, voxels):
    path = write(tmp_path / "a.nii.gz", voxels)
    before = files._content_hash.cache_info()
    highest = [VolumeCache(percentiles).prepared(path).max() for percentiles in ((1, 99), (1, 99), (5, 95))]
    found = fingerprint(SimpleNamespace(source=SimpleNamespace(cases=[SimpleNamespace(image=path, label=None)])))
    after = files._content_hash.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 3)
    assert highest[0] == highest[1] != highest[2]
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found == {"num_files": 1, "sha256": hashlib.sha256(content.encode()).hexdigest()}
