"""Cases are found by kind, read to one record, and what is written for them lies where they lie."""

import os

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from PIL import Image
from reference.dicom_files import write_series
from reference.nifti_files import FLIPPED, rotation, write

from medgraph.data import formats, itk, nifti, pixels
from medgraph.errors import DataError

FAR = np.array([[1, 0, 0, 3e6 + 0.13], [0, 1, 0, 2], [0, 0, 2, 1], [0, 0, 0, 1.0]])  # NIfTI has 7 digits


def put(folder, kind, affine):
    """A case of a kind, 6 x 8 x 10 voxels; returns its path."""
    folder.mkdir(exist_ok=True)
    voxels = np.arange(480, dtype=np.int16).reshape(6, 8, 10)
    if kind == "dicom":
        write_series(folder / "case", voxels, affine)
        return folder / "case"
    if kind == "png":
        Image.fromarray(voxels[0].astype(np.uint8)).save(folder / "case.png")
    elif kind == "nii.gz":
        write(folder / "case.nii.gz", voxels, affine)
    else:
        itk.write_volume(folder / f"case.{kind}", voxels, affine)
    return folder / f"case.{kind}"


@pytest.mark.parametrize("affine", [np.eye(4), FLIPPED, rotation(25)], ids=["plain", "flipped", "oblique"])
@pytest.mark.parametrize("kind", ["nii.gz", "nrrd", "mha", "dicom"])
def test_a_mark_is_written_at_the_place_in_the_world_where_it_was_seen(tmp_path, kind, affine):
    case = formats.case_file(put(tmp_path / "in", kind, affine))
    volume = formats.read(case)
    seen = np.array([1, 2, 3])
    marks = np.zeros(volume.voxels.shape, np.uint8)
    marks[tuple(seen)] = 1
    path = tmp_path / f"out{case.suffix}"
    formats.write(path, volume.grid.from_ras(marks), volume.grid)
    again = formats.read(formats.case_file(path))
    found = np.argwhere(again.voxels == 1)
    assert len(found) == 1
    np.testing.assert_allclose(again.affine @ [*found[0], 1], volume.affine @ [*seen, 1], atol=1e-3)
    assert again.grid.same_as(volume.grid)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(
    ("q_code", "s_code", "unit"),
    [(1, 1, "mm"), (1, 2, "micron"), (0, 0, "mm"), (1, 0, "meter"), (0, 4, "mm"), (2, 0, "unknown")],
)
def test_every_reader_finds_what_is_written_where_it_finds_the_case(tmp_path, kind, q_code, s_code, unit):
    """Readers go by qform or sform, by their codes, and some by the unit."""
    image = kind(np.random.default_rng(0).random((6, 8, 10)).astype(np.float32), None)
    image.header.set_zooms((1, 1.5, 2))
    image.header.set_qform(rotation(25), q_code)
    image.header.set_sform(FLIPPED, s_code)
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii.gz")
    labels = np.arange(480, dtype=np.uint16).reshape(6, 8, 10)
    formats.write(tmp_path / "b.nii.gz", labels, formats.read_grid(tmp_path / "a.nii.gz"))
    theirs, ours = (nib.load(tmp_path / name) for name in ("a.nii.gz", "b.nii.gz"))
    np.testing.assert_array_equal(np.asanyarray(ours.dataobj), labels)
    assert ours.get_data_dtype() == np.uint16
    np.testing.assert_allclose(ours.affine, theirs.affine, rtol=0, atol=1e-5)
    for name in ("qform_code", "sform_code"):
        assert ours.header[name] == theirs.header[name]
    for name in ("get_qform", "get_sform", "get_zooms"):
        np.testing.assert_allclose(getattr(ours.header, name)(), getattr(theirs.header, name)(), rtol=0, atol=1e-5)
    assert ours.header.get_xyzt_units() == (unit, "unknown")
    if kind is nib.Nifti1Image:  # ITK reads no other
        theirs, ours = (sitk.ReadImage(tmp_path / name) for name in ("a.nii.gz", "b.nii.gz"))
        for name in ("GetOrigin", "GetSpacing", "GetDirection"):
            assert getattr(ours, name)() == getattr(theirs, name)()


def test_a_frame_is_written_with_the_place_of_its_series(tmp_path):
    image = nib.Nifti1Image(np.random.default_rng(0).random((6, 8, 10, 3)).astype(np.float32), None)
    image.header.set_zooms((1, 1.5, 2, 0.7))
    image.header.set_xyzt_units("micron", "sec")
    nib.save(image, tmp_path / "a.nii.gz")
    grid = formats.read_volume(tmp_path / "a.nii.gz", frame=1).grid
    formats.write(tmp_path / "b.nii.gz", np.zeros((6, 8, 10), np.uint8), grid)
    written = nib.load(tmp_path / "b.nii.gz")
    assert written.header.get_zooms() == (1, 1.5, 2)
    assert written.header.get_xyzt_units() == ("micron", "unknown")
    np.testing.assert_array_equal(written.affine, nib.load(tmp_path / "a.nii.gz").affine)
    assert formats.read_grid(tmp_path / "b.nii.gz").same_as(grid)


def test_a_header_that_tells_the_grid_otherwise_is_refused_and_nothing_is_left(tmp_path, monkeypatch):
    grid = formats.read_grid(put(tmp_path / "in", "nii.gz", rotation(25)))
    write_volume = nifti.write_volume
    monkeypatch.setattr(nifti, "write_volume", lambda path, voxels, affine, forms: write_volume(path, voxels, affine))
    with pytest.raises(DataError, match=r"a\.nii\.gz: its header cannot tell qform, sform or unit of length"):
        formats.write(tmp_path / "a.nii.gz", np.zeros((6, 8, 10), np.uint8), grid)
    assert not (tmp_path / "a.nii.gz").exists()


def test_an_image_is_one_slice_and_its_labels_have_its_pixels(tmp_path):
    case = formats.case_file(put(tmp_path / "in", "png", None))
    volume = formats.read(case)
    assert volume.voxels.shape == (8, 10, 1)
    labels = (volume.voxels > 40).astype(np.uint8)
    formats.write(tmp_path / "out.png", labels, volume.grid)
    np.testing.assert_array_equal(pixels.read_gray(tmp_path / "out.png"), labels[..., 0])
    formats.write(tmp_path / "p.png", (labels * 0.5).astype(np.float32), volume.grid)
    np.testing.assert_allclose(pixels.read_gray(tmp_path / "p.png") / 65535, labels[..., 0] * 0.5, atol=1e-4)


@pytest.mark.parametrize("kind", ["nii.gz", "nrrd", "mha", "dicom", "png"])
def test_cases_are_found_beside_other_files(tmp_path, kind):
    put(tmp_path, kind, np.eye(4))
    (tmp_path / "README.md").write_text("about")
    (tmp_path / f"._case.{kind}").write_bytes(b"what another system keeps beside a file")
    cases, rest = formats.find_cases(tmp_path)
    assert [case.id for case in cases] == ["case"]
    assert [path.name for path in rest] == ["README.md"]


def test_a_folder_that_is_a_series_is_one_case(tmp_path):
    cases, rest = formats.find_cases(put(tmp_path, "dicom", np.eye(4)), series="1.2.3")
    assert [(case.id, case.kind, case.series) for case in cases] == [("case", "DICOM", "1.2.3")]
    assert rest == []


def test_mixed_kinds_are_refused(tmp_path):
    put(tmp_path, "nrrd", np.eye(4))
    put(tmp_path, "nii.gz", np.eye(4))
    with pytest.raises(DataError, match=r"mixes kinds of file: NIfTI \(case.nii.gz\), NRRD \(case.nrrd\)"):
        formats.find_cases(tmp_path)


def test_two_files_of_one_id_are_refused(tmp_path):
    put(tmp_path, "nii.gz", np.eye(4))
    write(tmp_path / "case.nii", np.ones((2, 2, 2), np.float32))
    with pytest.raises(DataError, match="has the same id 'case' as"):
        formats.find_cases(tmp_path)


def test_folders_without_cases_and_foreign_files_are_refused(tmp_path):
    with pytest.raises(DataError, match="holds no case, expected NIfTI"):
        formats.find_cases(tmp_path)
    with pytest.raises(DataError, match="no such folder, expected one with the cases"):
        formats.find_cases(tmp_path / "none")
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(DataError, match="is of no kind that can be read"):
        formats.case_file(tmp_path / "a.txt")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/b.nii.gz", "b"),
        ("b.nii", "b"),
        ("sub.01.nii.gz", "sub.01"),
        ("x.MHA", "x"),
        ("x.png", "x"),
        ("s/pat", "pat"),
    ],
)
def test_the_name_of_a_case_is_that_of_its_file_without_ending(path, name):
    assert formats.case_name(path) == name


def test_frames_and_labels_of_other_kinds_are_refused(tmp_path):
    path = put(tmp_path, "nrrd", np.eye(4))
    with pytest.raises(DataError, match="frame 0 asked for, but only NIfTI files have frames"):
        formats.read_volume(path, frame=0)
    with pytest.raises(DataError, match="labels as DICOM cannot be read"):
        formats.read_labels(put(tmp_path, "dicom", np.eye(4)), formats.read_grid(path), ("a", "b"))


def test_a_grid_that_the_kind_cannot_hold_is_refused_and_nothing_is_left(tmp_path):
    grid = nifti.Grid((2, 3, 4), FAR)
    with pytest.raises(DataError, match="cannot hold the grid of the case"):
        formats.write(tmp_path / "a.nii.gz", np.zeros((2, 3, 4), np.uint8), grid)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [b"b\xff.nii.gz", b"b\xff.txt", b"series\xff"])
def test_a_name_that_is_not_utf_8_is_refused_before_any_work(tmp_path, name):
    put(tmp_path / "in", "nii.gz", np.eye(4))
    path = tmp_path / "in" / os.fsdecode(name)
    if name.startswith(b"series"):
        (tmp_path / "in" / "case.nii.gz").unlink()
        put(tmp_path / "in", "dicom", np.eye(4)).rename(path)
    else:
        path.write_bytes((tmp_path / "in" / "case.nii.gz").read_bytes())
    with pytest.raises(DataError) as caught:
        formats.find_cases(tmp_path / "in")
    shown = name.decode(errors="backslashreplace")
    assert str(caught.value).startswith(f"{tmp_path}/in/{shown}: this path is not UTF-8")
    folder = tmp_path / os.fsdecode(b"in\xff")
    path.unlink() if path.is_file() else path.rename(tmp_path / "in" / "series")
    formats.find_cases(tmp_path / "in")
    (tmp_path / "in").rename(folder)
    with pytest.raises(DataError, match=r"in\\xff: this path is not UTF-8, .* Rename it\."):
        formats.find_cases(folder)
