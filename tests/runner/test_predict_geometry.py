"""Landmarks of a mask lie where those of its image lie, as nibabel and SimpleITK read both files themselves."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from reference.dicom_files import write_series
from reference.nifti_files import FLIPPED, rotation, write

from medgraph.data import itk
from medgraph.runner.predict import predict

OBLIQUE = rotation(25)
TURNED = OBLIQUE[:, [2, 0, 1, 3]] * [1.0, -1.0, 1.0, 1.0]  # axes in another order, one backwards, and oblique
BOX = np.argwhere(np.ones((3, 4, 6))) + np.array([3, 5, 6])


def read(path):
    """A file as SimpleITK reads it."""
    if path.is_dir():
        return sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(path)))
    return sitk.ReadImage(str(path))


def sorted_points(points):
    """Points (n, 3) in an order that rounding does not change."""
    return points[np.lexsort(np.round(points, 2).T)]


def points_of(image, indices):
    """Where voxels of an image lie, in millimetres to the left, back and top."""
    return sorted_points(np.array([image.TransformIndexToPhysicalPoint([int(i) for i in index]) for index in indices]))


def marked(image):
    """Indices of the voxels of class 1."""
    return np.argwhere(sitk.GetArrayFromImage(image).transpose(2, 1, 0) == 1)


def bright(image):
    """Indices of the voxels of the box."""
    return np.argwhere(sitk.GetArrayFromImage(image).transpose(2, 1, 0) > 200)


@pytest.mark.parametrize("affine", [FLIPPED, OBLIQUE, TURNED], ids=["flipped", "oblique", "turned"])
@pytest.mark.parametrize("kind", [".nii.gz", ".nrrd", ".mha", "DICOM"])
@pytest.mark.parametrize("form", ["run_folder", "volume_run_folder"])
def test_landmarks_of_image_and_mask_lie_at_the_same_place(request, tmp_path, form, kind, affine):
    if kind == "DICOM" and np.linalg.det(affine) < 0:
        pytest.skip("a series has no mirrored grid: its slices are stored right-handed")
    voxels = np.random.default_rng(0).normal(0, 10, (14, 18, 20)).astype(np.int16)
    voxels[3:6, 5:9, 6:12] += 300
    folder = tmp_path / "in"
    folder.mkdir()
    image = folder / ("case" if kind == "DICOM" else f"case{kind}")
    if kind == "DICOM":
        write_series(image, voxels, affine)
    else:
        (write if kind == ".nii.gz" else itk.write_volume)(image, voxels, affine)
    predict(request.getfixturevalue(form), folder, tmp_path / "out", device="cpu")
    out = tmp_path / "out" / f"case{'.nii.gz' if kind == 'DICOM' else kind}"
    theirs, ours = read(image), read(out)
    assert ours.GetSize() == theirs.GetSize() or kind == "DICOM"
    found = points_of(ours, marked(ours))
    np.testing.assert_allclose(found, points_of(theirs, bright(theirs)), atol=1e-3)
    world = sorted_points((BOX @ affine[:3, :3].T + affine[:3, 3]) * [-1, -1, 1])
    np.testing.assert_allclose(found, world, atol=1e-3)


@pytest.mark.parametrize("form", ["run_folder", "volume_run_folder"])
def test_a_mask_tells_its_place_by_the_form_that_its_image_goes_by(request, tmp_path, form):
    """Without any code, nibabel and ITK disagree on where the volume lies; each finds the mask where the image is."""
    image = nib.Nifti1Image(np.random.default_rng(0).normal(0, 10, (14, 18, 20)).astype(np.int16), None)
    image.header.set_xyzt_units("micron", "sec")
    (tmp_path / "in").mkdir()
    nib.save(image, tmp_path / "in" / "case.nii.gz")
    predict(request.getfixturevalue(form), tmp_path / "in", tmp_path / "out", device="cpu")
    theirs, ours = (read(tmp_path / place / "case.nii.gz") for place in ("in", "out"))
    assert ours.GetOrigin() == theirs.GetOrigin() == (0, 0, 0)
    assert ours.GetSpacing() == theirs.GetSpacing() == (0.001, 0.001, 0.001)
    assert ours.GetDirection() == theirs.GetDirection()


@pytest.mark.slow
@pytest.mark.skipif("MEDGRAPH_DATA" not in os.environ, reason="MEDGRAPH_DATA names no folder with the data set sts")
@pytest.mark.parametrize("tilt", [False, True])
def test_the_mask_of_a_ct_overlays_it_in_any_reader(run_folder, tmp_path, tilt):
    """Of the tumour, whose place the data set tells: the same voxels lie at the same millimetres in both files."""
    case = Path(os.environ["MEDGRAPH_DATA"]) / "sts" / "STS_002"
    stored = nib.load(case / "CT_image.nii.gz")
    affine = OBLIQUE @ stored.affine if tilt else stored.affine
    (tmp_path / "in").mkdir()
    given = nib.Nifti1Image(np.asanyarray(stored.dataobj), affine)
    nib.save(given if tilt else stored, tmp_path / "in" / "ct.nii.gz")
    predict(run_folder, tmp_path / "in", tmp_path / "out", device="cpu")
    ct, mask = (nib.load(tmp_path / place / "ct.nii.gz") for place in ("in", "out"))
    np.testing.assert_allclose(mask.affine, ct.affine, atol=1e-3)
    for form in ("get_sform", "get_qform"):
        np.testing.assert_allclose(getattr(mask, form)(), getattr(ct, form)(), atol=1e-3)
    assert mask.header.get_zooms() == pytest.approx(ct.header.get_zooms())
    assert nib.aff2axcodes(mask.affine) == nib.aff2axcodes(ct.affine)
    landmarks = np.argwhere(np.asanyarray(nib.load(case / "CT_mask.nii.gz").dataobj) == 1)[::500]
    assert len(landmarks) > 5
    theirs, ours = (read(tmp_path / place / "ct.nii.gz") for place in ("in", "out"))
    assert ours.GetSize() == theirs.GetSize()
    np.testing.assert_allclose(points_of(ours, landmarks), points_of(theirs, landmarks), atol=1e-3)
    found = np.asanyarray(mask.dataobj) == 1
    values = ct.get_fdata()
    assert 0 < found.mean() < 0.2
    assert values[found].min() > np.median(values)
