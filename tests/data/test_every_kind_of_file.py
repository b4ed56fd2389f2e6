"""Training reads NRRD, MetaImage, DICOM and PNG as it reads NIfTI: same slices, same labels, same ids."""

import numpy as np
import pytest
import torch
from PIL import Image
from reference.dicom_files import write_series
from reference.nifti_files import FLIPPED, rotation, write

from medgraph.data import formats, itk
from medgraph.data.decathlon import DecathlonSource
from medgraph.data.fingerprint import fingerprint
from medgraph.data.folder import FolderSource
from medgraph.data.labelled_slices import LabelledSliceData
from medgraph.data.labelled_volumes import LabelledVolumeData
from medgraph.data.manifest import ManifestSource
from medgraph.data.volumes import VolumeCache
from medgraph.errors import DataError

CLASSES = ("background", "a", "b")
SPLIT = {"fractions": (0.5, 0.0, 0.5)}


def write_set(root, ending):
    """Four volumes and their labels, oblique and flipped; images end in `ending`, "" for DICOM; labels in NRRD."""
    rng = np.random.default_rng(1)
    for i in range(4):
        affine = FLIPPED if i % 2 else rotation(10)
        voxels = rng.integers(0, 900, (9 + i, 12, 11)).astype(np.int16)
        labels = rng.integers(0, 3, voxels.shape).astype(np.uint8)
        for folder in ("images", "labels"):
            (root / folder).mkdir(parents=True, exist_ok=True)
        if ending == ".nii.gz":
            write(root / f"images/sub{i}.nii.gz", voxels, affine)
            write(root / f"labels/sub{i}.nii.gz", labels, affine)
        else:
            itk.write_volume(root / f"labels/sub{i}.nrrd", labels, affine)
            if ending:
                itk.write_volume(root / f"images/sub{i}{ending}", voxels, affine)
            else:
                write_series(root / f"images/sub{i}", voxels, affine, uid=f"1.2.{i + 1}")
    return root


def source_of(root, ending):
    pattern = f"labels/*{'.nii.gz' if ending == '.nii.gz' else '.nrrd'}"
    return FolderSource(str(root), f"images/*{ending}", pattern, CLASSES, **SPLIT)


@pytest.mark.parametrize("ending", [".nrrd", ".mha", ".mhd", ".nhdr", ""])
@pytest.mark.parametrize("made", [LabelledSliceData, LabelledVolumeData])
def test_a_set_in_another_kind_of_file_gives_the_same_batches(tmp_path, ending, made):
    size = (10, 12) if made is LabelledSliceData else (8, 8, 8)
    ours = made(source_of(write_set(tmp_path / "ours", ending), ending), seed=0, size=size)
    theirs = made(source_of(write_set(tmp_path / "theirs", ".nii.gz"), ".nii.gz"), seed=0, size=size)
    assert ours.spec == theirs.spec
    first, second = (data.train().__getitems__(range(20)) for data in (ours, theirs))
    assert torch.equal(first.ids, second.ids)
    assert torch.equal(first.images, second.images)
    assert torch.equal(first.labels, second.labels)
    for a, b in zip(ours.test(), theirs.test(), strict=True):
        assert a.id == b.id
        np.testing.assert_array_equal(a.labels, b.labels)
        np.testing.assert_allclose(a.affine, b.affine, atol=1e-3)
        assert torch.equal(a.images, b.images)


def test_a_changed_slice_or_voxel_file_is_prepared_and_hashed_anew(tmp_path):
    write_set(tmp_path / "dicom", "")
    write_set(tmp_path / "header", ".mhd")
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    for ending, folder in (("", "dicom"), (".mhd", "header")):
        source = source_of(tmp_path / folder, ending)
        case = source.cases[0].image
        before, cached = fingerprint(source), np.array(VolumeCache().prepared(case))
        if ending:
            itk.write_volume(case, voxels[::-1].copy(), np.eye(4))
        else:
            for file in case.iterdir():
                file.unlink()
            write_series(case, voxels, np.eye(4))
        assert VolumeCache().prepared(case).shape != cached.shape
        assert fingerprint(source)["sha256"] != before["sha256"]


def test_manifests_and_indexes_name_a_case_without_its_ending(tmp_path):
    write_set(tmp_path, "")
    (tmp_path / "list.csv").write_text("subject,image\ns1,images/sub1\ns2,labels/sub2.nrrd\ns3,images/sub3\n")
    assert [case.id for case in ManifestSource(str(tmp_path / "list.csv")).cases] == [
        "images/sub1",
        "images/sub3",
        "labels/sub2",
    ]
    (tmp_path / "dataset.json").write_text('{"training": ["labels/sub1.nrrd", "labels/sub2.nrrd", "labels/sub0.nrrd"]}')
    assert [case.id for case in DecathlonSource(str(tmp_path)).cases] == ["sub0", "sub1", "sub2"]


def test_png_images_with_png_labels_are_slices_along_the_last_axis(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    truth = {}
    for i in range(4):
        pixels = np.random.default_rng(i).integers(0, 40, (12, 14), dtype=np.uint8)
        truth[f"im{i}"] = (pixels > 30).astype(np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"images/im{i}.png")
        Image.fromarray(truth[f"im{i}"]).save(tmp_path / f"labels/im{i}.png")
    source = FolderSource(str(tmp_path), "images/*.png", "labels/*.png", ("background", "cell"), **SPLIT)
    data = LabelledSliceData(source, seed=0, axis=2, size=(12, 14))
    for case in data.test():
        np.testing.assert_array_equal(case.labels[..., 0], truth[case.id])
        np.testing.assert_array_equal(case.to_native(case.labels[None, ..., 0])[..., 0], truth[case.id])
    assert data.train().__getitems__([0]).images.shape == (1, 1, 12, 14)
    assert data.test()[0].unit == "px"
    with pytest.raises(DataError, match=r"is an image, one slice along axis 2, but axis is 1\. Set axis to 2"):
        LabelledSliceData(source, seed=0, axis=1).train()


def test_labels_on_another_grid_are_refused_in_every_kind(tmp_path):
    itk.write_volume(tmp_path / "a.nrrd", np.zeros((3, 4, 5), np.uint8), rotation(10))
    grid = formats.read_grid(write(tmp_path / "a.nii.gz", np.zeros((3, 4, 5), np.float32)))
    with pytest.raises(DataError, match="Resample the labels to the image, nearest neighbour"):
        formats.read_labels(tmp_path / "a.nrrd", grid, CLASSES)
