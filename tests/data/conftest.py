"""Small real NIfTI files, and a cache folder for each test."""

import numpy as np
import pytest
from reference.nifti_files import FLIPPED, rotation, write

from medgraph.data.folder import FolderSource


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


@pytest.fixture
def labelled_source(labelled_folder):
    """Four of them to train on, two to test on."""
    return FolderSource(str(labelled_folder), "images/*.nii.gz", "labels/*.nii.gz", fractions=(0.67, 0.0, 0.33))


@pytest.fixture
def ages(tmp_path):
    """A table with an age and a kind for each."""
    (tmp_path / "ages.csv").write_text("case,age,kind\n" + "".join(f"sub{i},{50 + i},k{i % 2}\n" for i in range(6)))
    return str(tmp_path / "ages.csv")
