"""The hash of data follows the contents of their files, and nothing else."""

from types import SimpleNamespace

import numpy as np
from PIL import Image

from medgraph.data.fingerprint import fingerprint
from medgraph.data.folder import FolderSource
from medgraph.data.images import ImageFolderData
from medgraph.data.mixed import MixedData
from medgraph.data.slices import SliceData
from medgraph.data.two_folders import TwoFoldersSource


def test_contents_count_and_places_do_not(labelled_folder):
    images = FolderSource(str(labelled_folder), "images/*.nii.gz")
    labels = FolderSource(str(labelled_folder), "images/*.nii.gz", "labels/*.nii.gz", ("a", "b", "c"))
    first = fingerprint(SliceData(images))
    assert first["num_files"] == 6
    assert fingerprint(SliceData(labels))["num_files"] == 12
    moved = labelled_folder / "images" / "sub5.nii.gz"
    moved.rename(labelled_folder / "images" / "other.nii.gz")
    assert fingerprint(SliceData(FolderSource(str(labelled_folder), "images/*.nii.gz"))) == first
    (labelled_folder / "images" / "other.nii.gz").write_bytes(b"another")
    assert fingerprint(SliceData(FolderSource(str(labelled_folder), "images/*.nii.gz"))) != first


def test_mixtures_and_groups_count_all_their_files(tmp_path, labelled_folder):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        Image.fromarray(np.full((4, 4), len(folder), np.uint8)).save(tmp_path / folder / "x.png")
    images = ImageFolderData(str(tmp_path / "a"), labels=None)
    slices = SliceData(FolderSource(str(labelled_folder), "images/*.nii.gz"))
    assert fingerprint(MixedData([images, slices]))["num_files"] == 7
    groups = SimpleNamespace(
        source=TwoFoldersSource(str(tmp_path / "a"), str(tmp_path / "b"), fractions=(1.0, 0.0, 0.0))
    )
    assert fingerprint(groups)["num_files"] == 2


def test_data_that_name_no_files_have_none():
    assert fingerprint(SimpleNamespace(source=SimpleNamespace())) is None
