"""Training reads NRRD, MetaImage, DICOM and PNG as it reads NIfTI: same slices, same labels, same ids."""

import os

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


NAMED = {
    "one.mhd": ("ElementDataFile = voxels of one.raw\n", ["voxels of one.raw"]),
    "local.mhd": ("ElementDataFile = LOCAL\n", []),
    "list.mhd": ("ElementDataFile = LIST\na.raw\nb.raw\n", ["a.raw", "b.raw"]),
    "many.mhd": ("ElementDataFile = s%02d.raw 1 3 1\n", ["s01.raw", "s02.raw", "s03.raw"]),
    "one.nhdr": ("NRRD0004\ntype: short\ndata file: ../else/voxels.raw\n", ["../else/voxels.raw"]),
    "list.nhdr": ("NRRD0004\ndatafile: LIST 2\na.raw\nb.raw\n", ["a.raw", "b.raw"]),
    "none.nhdr": ("NRRD0004\n", []),
}


@pytest.mark.parametrize("header", NAMED)
def test_the_files_that_a_header_names_belong_to_its_case(tmp_path, header):
    text, names = NAMED[header]
    place = tmp_path / "set" / header
    for folder in (place.parent, tmp_path / "else"):
        folder.mkdir()
    place.write_text(text)
    for name in (*names, "other.raw"):
        (place.parent / name).write_bytes(b"0")
    assert formats.files_of(place) == sorted([place, *(place.parent / name for name in names)])


def test_voxels_under_another_name_are_prepared_anew_when_they_change(tmp_path):
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    itk.write_volume(tmp_path / "case.mhd", voxels, np.eye(4))
    (voxel_file,) = (file for file in formats.files_of(tmp_path / "case.mhd") if file.suffix != ".mhd")
    moved = voxel_file.rename(tmp_path / f"voxels{voxel_file.suffix}")
    header = tmp_path / "case.mhd"
    header.write_text(header.read_text().replace(voxel_file.name, moved.name))
    before = np.array(VolumeCache().prepared(header))
    itk.write_volume(tmp_path / "new.mhd", voxels[::-1].copy(), np.eye(4))
    (tmp_path / f"new{voxel_file.suffix}").replace(moved)
    np.testing.assert_allclose(VolumeCache().prepared(header), before[::-1], atol=1e-6)


def test_a_series_rewritten_in_place_has_its_new_grid(tmp_path):
    voxels = np.arange(60, dtype=np.int16).reshape(3, 4, 5)
    write_series(tmp_path / "case", voxels, np.eye(4))
    stat = (tmp_path / "case").stat()
    assert formats.read_grid(tmp_path / "case").spacing == (1, 1, 1)
    write_series(tmp_path / "case", voxels, np.diag([2.0, 2.0, 3.0, 1.0]))
    os.utime(tmp_path / "case", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert formats.read_grid(tmp_path / "case").spacing == (2, 2, 3)


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
