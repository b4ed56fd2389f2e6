"""NRRD, MetaImage and DICOM series come to the same voxels, affine and spacing as NIfTI."""

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from reference.dicom_files import write_series
from reference.nifti_files import FLIPPED, rotation, write

from medgraph.data import itk, nifti
from medgraph.errors import DataError


@pytest.mark.parametrize("suffix", itk.SUFFIXES)
@pytest.mark.parametrize("affine", [FLIPPED, rotation(25)], ids=["flipped", "oblique"])
def test_a_file_is_read_as_the_same_volume_in_nifti(tmp_path, voxels, suffix, affine):
    itk.write_volume(tmp_path / f"a{suffix}", voxels, affine)
    write(tmp_path / "a.nii.gz", voxels, affine)
    ours, theirs = itk.read_volume(tmp_path / f"a{suffix}"), nifti.read_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(ours.voxels, theirs.voxels)
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
    assert ours.spacing == pytest.approx(theirs.spacing, abs=1e-5)
    assert itk.read_grid(tmp_path / f"a{suffix}").same_as(theirs.grid)


def test_itk_itself_places_each_voxel_where_the_affine_says(tmp_path, voxels):
    itk.write_volume(tmp_path / "a.nrrd", voxels, rotation(25))
    image = sitk.ReadImage(tmp_path / "a.nrrd")
    for index in [(0, 0, 0), (5, 0, 0), (1, 7, 9)]:
        left, posterior, superior = image.TransformIndexToPhysicalPoint(index)
        world = rotation(25) @ [*index, 1]
        assert (-left, -posterior, superior) == pytest.approx(world[:3], abs=1e-6)
        assert image[index] == voxels[index]


def test_a_series_has_its_slices_in_order_of_position(tmp_path):
    voxels = np.random.default_rng(0).permutation(5 * 6 * 7).reshape(5, 6, 7).astype(np.int16)
    write_series(tmp_path, voxels, rotation(25), order=[3, 0, 6, 2, 5, 1, 4])
    volume = itk.read_series(tmp_path)
    np.testing.assert_array_equal(volume.grid.from_ras(volume.voxels), voxels)
    np.testing.assert_allclose(volume.grid.affine, rotation(25), atol=1e-4)


def test_two_series_are_both_named_and_one_can_be_chosen(tmp_path):
    voxels = np.arange(60, dtype=np.int16).reshape(4, 5, 3)
    write_series(tmp_path, voxels, np.eye(4), uid="1.2.3", description="T1 axial")
    write_series(tmp_path, voxels + 1, np.eye(4), uid="1.2.4", description="localizer")
    with pytest.raises(DataError, match=r"2 DICOM series, expected one: .*T1 axial.*localizer.*Which\? Name its UID"):
        itk.read_series(tmp_path)
    uid = next(uid for uid, words in itk.list_series(tmp_path).items() if words == "localizer")
    volume = itk.read_series(tmp_path, uid)
    assert volume.grid.from_ras(volume.voxels)[0, 0, 0] == 1
    with pytest.raises(DataError, match="holds no DICOM series '9'"):
        itk.read_series(tmp_path, "9")


def test_a_missing_slice_is_seen(tmp_path):
    write_series(tmp_path, np.arange(120, dtype=np.int16).reshape(4, 5, 6), np.eye(4))
    (tmp_path / "1.2.3-2.dcm").unlink()
    with pytest.raises(DataError, match="its slices lie 1 to 2 mm apart, expected equal distances"):
        itk.read_series(tmp_path)


@pytest.mark.parametrize("place", [0, 3, 5])
@pytest.mark.parametrize("name", ["1.2.3-{}.dcm", "IM{}"])
@pytest.mark.parametrize("length", [200, -30])
def test_a_damaged_slice_is_named_wherever_it_lies(tmp_path, place, name, length):
    write_series(tmp_path, np.arange(120, dtype=np.int16).reshape(4, 5, 6), np.eye(4))
    whole = (tmp_path / f"1.2.3-{place}.dcm").read_bytes()
    (tmp_path / f"1.2.3-{place}.dcm").unlink()
    (tmp_path / name.format(place)).write_bytes(whole[:length])
    with pytest.raises(DataError, match=f"{name.format(place)}: cannot be read as a DICOM image, expected a slice as"):
        itk.read_series(tmp_path)


def test_a_text_called_dcm_is_named_and_other_files_are_left_alone(tmp_path):
    write_series(tmp_path, np.arange(120, dtype=np.int16).reshape(4, 5, 6), np.eye(4))
    for name in ("notes.txt", "._1.2.3-0.dcm", "DICOMDIR"):
        (tmp_path / name).write_bytes(bytes(128) + b"DICM" if name == "DICOMDIR" else b"no slice")
    assert itk.read_series(tmp_path).grid.shape == (4, 5, 6)
    (tmp_path / "7.DCM").write_text("no slice")
    with pytest.raises(DataError, match=r"7.DCM: cannot be read as a DICOM image.*take it out of the folder"):
        itk.read_series(tmp_path)


def test_slices_of_differing_size_are_refused(tmp_path):
    write_series(tmp_path, np.arange(120, dtype=np.int16).reshape(4, 5, 6), np.eye(4))
    write_series(tmp_path / "other", np.arange(180, dtype=np.int16).reshape(6, 5, 6), np.eye(4))
    (tmp_path / "other" / "1.2.3-3.dcm").replace(tmp_path / "1.2.3-3.dcm")
    with pytest.raises(DataError, match=r"cannot be read .*expected an NRRD, MetaImage or DICOM volume"):
        itk.read_series(tmp_path)


def test_a_folder_without_series_is_refused(tmp_path, capfd):
    (tmp_path / "notes.txt").write_text("no image")
    assert itk.list_series(tmp_path) == {}
    with pytest.raises(DataError, match="holds no DICOM series, expected the files of one"):
        itk.read_series(tmp_path)


def test_files_that_are_no_volume_are_refused(tmp_path):
    with pytest.raises(DataError, match="no such file, expected an NRRD or MetaImage volume"):
        itk.read_volume(tmp_path / "a.nrrd")
    (tmp_path / "a.nrrd").write_text("NRRD0004\nnonsense\n")
    for read in (itk.read_volume, itk.read_grid):
        with pytest.raises(DataError, match="cannot be read"):
            read(tmp_path / "a.nrrd")
    sitk.WriteImage(sitk.Image([4, 4, 4], sitk.sitkVectorFloat32, 3), tmp_path / "b.mha")
    with pytest.raises(DataError, match="3 axes and 3 values per voxel, expected 3 axes"):
        itk.read_volume(tmp_path / "b.mha")
    itk.write_volume(tmp_path / "c.mha", np.zeros((3, 3, 3), np.float32), np.eye(4))
    with pytest.raises(DataError, match="all voxels are 0, expected an image with contrast"):
        itk.read_volume(tmp_path / "c.mha")


@pytest.mark.parametrize("name", ["a.mha", "a.mhd"])
def test_voxels_that_end_early_are_not_called_a_missing_file(tmp_path, name):
    itk.write_volume(tmp_path / name, np.arange(480, dtype=np.int16).reshape(6, 8, 10), np.eye(4))
    (voxels,) = tmp_path.glob("*.*raw") if name == "a.mhd" else [tmp_path / name]
    voxels.write_bytes(voxels.read_bytes()[:-50])
    with pytest.raises(DataError, match=f"{name}: cannot be read .its voxels are not there, or end early"):
        itk.read_volume(tmp_path / name)
