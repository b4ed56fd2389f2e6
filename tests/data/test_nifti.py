import gzip

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from reference.nifti_files import FLIPPED, rotation, write

from medgraph.data import nifti
from medgraph.errors import DataError

CLASSES = ("background", "anterior", "posterior")


@pytest.mark.parametrize("affine", [np.eye(4), FLIPPED, rotation(20)])
def test_every_voxel_keeps_its_place_in_the_world(tmp_path, voxels, affine):
    volume = nifti.read_volume(write(tmp_path / "a.nii.gz", voxels, affine))
    for index in [(0, 0, 0), (5, 0, 3), (2, 7, 9)]:
        world = affine @ [*index, 1]
        back = np.linalg.solve(volume.affine, world)[:3].round().astype(int)
        assert volume.voxels[tuple(back)] == voxels[index]


@pytest.mark.parametrize("affine", [np.eye(4), FLIPPED, rotation(20)])
def test_axes_run_right_anterior_superior(tmp_path, voxels, affine):
    volume = nifti.read_volume(write(tmp_path / "a.nii.gz", voxels, affine))
    assert nib.aff2axcodes(volume.affine) == ("R", "A", "S")
    assert volume.voxels.dtype == np.float32
    assert volume.spacing == pytest.approx(nib.affines.voxel_sizes(volume.affine))
    assert volume.voxels.shape == volume.grid.ras_shape
    np.testing.assert_array_equal(volume.grid.from_ras(volume.voxels), voxels)


@pytest.mark.parametrize(
    ("kind", "words"), [([(c, "u1") for c in "RGB"], "voxels are colors"), ("c8", "voxels are complex numbers")]
)
def test_voxels_of_several_numbers_are_refused_from_the_header(tmp_path, kind, words):
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), dtype=kind), np.eye(4)), path)
    for read in (nifti.read_grid, nifti.read_volume):
        with pytest.raises(DataError, match=f"a.nii.gz: its {words}, expected one number for each"):
            read(path)


def test_flipped_axes_are_the_ones_expected(tmp_path, voxels):
    grid = nifti.read_grid(write(tmp_path / "a.nii.gz", voxels, FLIPPED))
    assert grid.shape == (6, 8, 10)
    assert grid.ras_shape == (10, 6, 8)
    assert grid.spacing == (1.5, 1.0, 2.0)
    assert grid.ras_spacing == (2.0, 1.5, 1.0)


def test_nan_slope_means_no_scaling_and_a_slope_scales(tmp_path, voxels):
    path = write(tmp_path / "a.nii", voxels.astype(np.int16))
    assert np.isnan(nib.load(path).dataobj.slope) or nib.load(path).dataobj.slope == 1
    np.testing.assert_array_equal(nifti.read_volume(path).voxels, voxels)
    raw = bytearray(path.read_bytes())
    raw[112:120] = np.array([2, -1], "<f4").tobytes()  # scl_slope, scl_inter
    path.write_bytes(raw)
    np.testing.assert_array_equal(nifti.read_volume(path).voxels, 2 * voxels - 1)
    raw[112:120] = np.array([np.nan, np.nan], "<f4").tobytes()
    path.write_bytes(raw)
    np.testing.assert_array_equal(nifti.read_volume(path).voxels, voxels)


def test_written_labels_read_back_with_their_affine(tmp_path):
    labels = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.uint8)
    nifti.write_volume(tmp_path / "a.nii.gz", labels, FLIPPED)
    image = nib.load(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(np.asanyarray(image.dataobj), labels)
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_allclose(image.get_qform(), FLIPPED, atol=1e-5)
    np.testing.assert_allclose(image.get_sform(), FLIPPED)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("mm", 1), ("micron", 0.001), ("unknown", 1)])
def test_lengths_are_millimetres_whatever_unit_the_header_has(tmp_path, voxels, unit, factor):
    affine = np.array([[0, 2.0, 0, 7], [3.0, 0, 0, -5], [0, 0, -4.0, 1], [0, 0, 0, 1]])
    image = nib.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units(unit, "sec")
    nib.save(image, tmp_path / "image.nii")
    grid = nifti.read_grid(tmp_path / "image.nii")
    np.testing.assert_allclose(grid.affine[:3], factor * affine[:3], rtol=1e-6)
    theirs = sitk.ReadImage(str(tmp_path / "image.nii"))
    np.testing.assert_allclose(grid.spacing, theirs.GetSpacing(), rtol=1e-6)
    np.testing.assert_allclose(grid.affine[:3, 3] * [-1, -1, 1], theirs.GetOrigin(), rtol=1e-6)
    nifti.write_volume(tmp_path / "labels.nii", np.ones(grid.shape, np.uint8), grid.affine, grid.forms)
    again = nifti.read_grid(tmp_path / "labels.nii")
    assert again.same_as(grid)
    assert again.told_as(grid)


def test_a_frame_of_four_axes(tmp_path, voxels):
    path = write(tmp_path / "a.nii.gz", np.stack([voxels, voxels + 1000], axis=3))
    np.testing.assert_array_equal(nifti.read_volume(path, frame=1).voxels, voxels + 1000)
    with pytest.raises(DataError, match=r"a.nii.gz: has 4 axes with 2 frames, expected 3 .* frame, 0 to 1"):
        nifti.read_volume(path)
    with pytest.raises(DataError, match="frame 2 asked for, expected 0 to 1"):
        nifti.read_volume(path, frame=2)


def test_one_frame_needs_no_name(tmp_path, voxels):
    path = write(tmp_path / "a.nii.gz", voxels[..., None])
    np.testing.assert_array_equal(nifti.read_volume(path).voxels, voxels)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"absent.nii.gz: no such file, expected a NIfTI volume"):
        nifti.read_volume(tmp_path / "absent.nii.gz")


@pytest.mark.parametrize(
    "content",
    [b"patient,age\n1,2\n", gzip.compress(b"patient,age\n1,2\n", mtime=0), b""],
    ids=["text", "zipped text", "nothing"],
)
def test_text_named_nifti(tmp_path, content):
    path = tmp_path / "text.nii.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"text.nii.gz: is not a NIfTI file .* Fetch it again, or convert it"):
        nifti.read_volume(path)


@pytest.mark.parametrize("share", [0.3, 0.7, 0.98])
def test_truncated_file(tmp_path, share):
    noise = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    path = write(tmp_path / "cut.nii.gz", noise)
    raw = path.read_bytes()
    path.write_bytes(raw[: int(share * len(raw))])
    with pytest.raises(DataError, match=r"cut.nii.gz: ends early or is damaged .*expected \(20, 20, 20\) voxels"):
        nifti.read_volume(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_not_finite(tmp_path, voxels, value):
    voxels[1, 2, 3] = value
    with pytest.raises(DataError, match="1 of 480 voxels are NaN or infinite"):
        nifti.read_volume(write(tmp_path / "a.nii.gz", voxels))


def test_constant_volume(tmp_path):
    with pytest.raises(DataError, match="all voxels are 3, expected an image with contrast"):
        nifti.read_volume(write(tmp_path / "a.nii.gz", np.full((4, 4, 4), 3, np.float32)))


def test_two_axes(tmp_path):
    with pytest.raises(DataError, match=r"has 2 axes, expected 3 \(depth, height, width\)"):
        nifti.read_volume(write(tmp_path / "a.nii.gz", np.eye(4, dtype=np.float32)))


def test_flat_affine(tmp_path, voxels):
    path = write(tmp_path / "a.nii", voxels)
    raw = bytearray(path.read_bytes())
    raw[280:296] = np.zeros(4, "<f4").tobytes()  # srow_x
    path.write_bytes(raw)
    with pytest.raises(DataError, match="its affine cannot be inverted"):
        nifti.read_grid(path)


def test_an_affine_whose_axes_lie_along_one_line_is_named(tmp_path, voxels):
    affine = np.eye(4)
    affine[:2, :2] = [[1e8, 1e8], [0, 1e-8]]
    with pytest.raises(DataError, match="its affine cannot be inverted"):
        nifti.read_volume(write(tmp_path / "a.nii.gz", voxels, affine))


@pytest.mark.parametrize("spacing", [1.0, 1e-3])
def test_grids_a_voxel_apart_are_two_however_small_it_is(spacing):
    here, there = np.diag([spacing] * 3 + [1]), np.diag([spacing] * 3 + [1])
    there[1, 3] = spacing
    assert nifti.Grid((9, 9, 9), here).same_as(nifti.Grid((9, 9, 9), here + 1e-6))
    assert not nifti.Grid((9, 9, 9), here).same_as(nifti.Grid((9, 9, 9), there))


def test_a_volume_without_voxels_is_named(tmp_path):
    path = write(tmp_path / "a.nii.gz", np.zeros((0, 4, 4), np.float32))
    for read in (nifti.read_grid, nifti.read_volume):
        with pytest.raises(DataError, match=r"a.nii.gz: has the shape \(0, 4, 4\), expected one voxel or more"):
            read(path)


def test_labels_on_another_grid(tmp_path, voxels):
    image = nifti.read_grid(write(tmp_path / "a.nii.gz", voxels))
    labels = write(tmp_path / "b.nii.gz", np.zeros((6, 8, 9), np.uint8))
    with pytest.raises(
        DataError, match=r"b.nii.gz: label grid \(6, 8, 9\) .* expected that of its image, \(6, 8, 10\)"
    ):
        nifti.read_labels(labels, image, CLASSES)
    shifted = np.eye(4)
    shifted[0, 3] = 1
    labels = write(tmp_path / "c.nii.gz", np.zeros((6, 8, 10), np.uint8), shifted)
    with pytest.raises(DataError, match="affines differ by up to 1"):
        nifti.read_labels(labels, image, CLASSES)


@pytest.mark.parametrize(
    ("value", "words"), [(3, "label values 3, "), (-1, "label values -1, "), (0.5, "values 0.5, ")]
)
def test_label_values_outside_the_classes(tmp_path, voxels, value, words):
    image = nifti.read_grid(write(tmp_path / "a.nii.gz", voxels))
    labels = np.zeros((6, 8, 10), np.float32)
    labels[0, 0, 0] = value
    with pytest.raises(DataError, match=f"{words}expected 0 to 2 for the classes background, anterior, posterior"):
        nifti.read_labels(write(tmp_path / "b.nii.gz", labels), image, CLASSES)


def test_labels_stored_as_floats_become_integers(tmp_path, voxels):
    image = nifti.read_grid(write(tmp_path / "a.nii.gz", voxels))
    values = np.random.default_rng(0).integers(0, 3, voxels.shape)
    labels = nifti.read_labels(write(tmp_path / "b.nii.gz", values.astype(np.float32)), image, CLASSES)
    assert labels.dtype == np.uint8
    np.testing.assert_array_equal(labels, values)
