"""Small real NIfTI files, and a cache folder for each test."""

import numpy as np
import pytest
from reference.nifti_files import FLIPPED, rotation, write


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("MEDGRAPH_CACHE", str(folder))
    return folder


@pytest.fixture
def voxels():
    """A float32 volume in which every voxel differs."""
    return np.random.default_rng(0).permutation(6 * 8 * 10).reshape(6, 8, 10).astype(np.float32)


@pytest.fixture
def labelled_folder(tmp_path):
    """Six labelled volumes of differing shapes under images/ and labels/; returns the folder."""
    rng = np.random.default_rng(1)
    for i in range(6):
        shape = (9 + i, 12, 11)
        affine = FLIPPED if i % 2 else rotation(10)
        write(tmp_path / f"set/images/sub{i}.nii.gz", rng.normal(size=shape).astype(np.float32), affine)
        write(tmp_path / f"set/labels/sub{i}.nii.gz", rng.integers(0, 3, shape).astype(np.uint8), affine)
    return tmp_path / "set"
