import numpy as np
import pytest
import torch
from PIL import Image
from reference.contrast_files import write_pictures
from reference.dicom_files import write_series

from medgraph.data.formats import case_file
from medgraph.data.grouped_files import GroupedFilesData
from medgraph.data.nifti import write_volume
from medgraph.data.two_folders import TwoFoldersSource
from medgraph.errors import DataError


@pytest.fixture
def source(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDGRAPH_CACHE", str(tmp_path / "cache"))
    write_pictures(tmp_path / "without", 10)
    write_pictures(tmp_path / "with", 6, value=200)
    return TwoFoldersSource(str(tmp_path / "without"), str(tmp_path / "with"))


def test_images_of_both_groups(source):
    data = GroupedFilesData(source, size=(12, 12))
    train, test = data.train(), data.test()
    assert (len(train), len(test)) == (7 + 4, 3 + 2)
    assert data.spec.num_examples == 11
    batch = train.__getitems__(range(len(train)))
    assert batch.images.shape == (11, 1, 12, 12)
    assert batch.images[batch.is_target].min() >= 200 / 255
    assert batch.images[~batch.is_target].max() <= 110 / 255


def test_color_and_size_rules(source, tmp_path):
    assert GroupedFilesData(source, size=(6, 8), fit="resize", channels=3).read(tmp_path / "with/0.png").shape == (
        3,
        6,
        8,
    )
    pixels = np.zeros((12, 12), np.uint8)
    pixels[3:9, 2:10] = 255
    Image.fromarray(pixels).save(tmp_path / "box.png")
    assert (GroupedFilesData(source, size=(6, 8), fit="crop").read(tmp_path / "box.png") == 1).all()


def test_images_of_more_than_8_bits_keep_their_shades(source, tmp_path):
    ramp = (1000 + 25 * np.arange(144).reshape(12, 12)).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    for channels in (1, 3):
        read = GroupedFilesData(source, size=(12, 12), channels=channels).read(tmp_path / "deep.png")
        assert read.shape == (channels, 12, 12)
        assert (read.min(), read.max()) == (0, 1)
        assert len(read[0].unique()) > 140


@pytest.mark.parametrize(("fit", "size"), [(None, (6, 8)), ("crop", (12, 14))])
def test_another_size_without_a_rule_is_refused(source, fit, size):
    with pytest.raises(DataError, match=r"has size \(12, 12\), expected .* or a rule that leads there"):
        GroupedFilesData(source, size=size, fit=fit).train().__getitems__([0])


def test_volumes_are_prepared(source, tmp_path):
    voxels = np.random.default_rng(0).normal(size=(6, 7, 8)).astype(np.float32)
    write_volume(tmp_path / "v.nii.gz", voxels, np.eye(4))
    data = GroupedFilesData(source, size=(6, 7, 8))
    volume = data.read(tmp_path / "v.nii.gz")
    assert volume.shape == (1, 6, 7, 8)
    assert 0 <= volume.min() < volume.max() <= 1
    (tmp_path / "v.nii.gz").rename(tmp_path / "V.NII.GZ")  # as some programs write it
    assert torch.equal(data.read(tmp_path / "V.NII.GZ"), volume)
    (tmp_path / "V.NII.GZ").rename(tmp_path / "v.nii.gz")
    assert GroupedFilesData(source, size=(3, 3, 4), fit="resize").read(tmp_path / "v.nii.gz").shape == (1, 3, 3, 4)
    with pytest.raises(DataError, match="has 2 axes, expected 3"):
        data.read(tmp_path / "with/0.png")


def test_a_new_case_may_be_a_series_and_is_prepared_as_its_volume(source, tmp_path):
    for uid, seed in (("1.2.3", 0), ("1.2.4", 1)):
        voxels = np.random.default_rng(seed).integers(0, 500, (6, 7, 8)).astype(np.int16)
        write_series(tmp_path / "series", voxels, np.eye(4), uid=uid)
    write_volume(tmp_path / "same.nii", voxels.astype(np.float32), np.eye(4))
    data = GroupedFilesData(source, size=(6, 7, 8))
    found = data.new_case(case_file(tmp_path / "series", "1.2.4")).images
    assert found.shape == (1, 1, 6, 7, 8)
    torch.testing.assert_close(found[0], data.read(tmp_path / "same.nii"))
    assert torch.equal(data.new_case(case_file(tmp_path / "same.nii")).images[0], data.read(tmp_path / "same.nii"))
    flat = GroupedFilesData(source, size=(12, 12))
    picture = tmp_path / "with" / "0.png"
    assert torch.equal(flat.new_case(case_file(picture)).images[0], flat.read(picture))
    with pytest.raises(DataError, match=r"0.png: has 2 axes, expected 3"):
        data.new_case(case_file(picture))


def test_what_is_no_image_is_named(source, tmp_path):
    (tmp_path / "broken.png").write_text("no picture")
    with pytest.raises(DataError, match=r"broken.png: cannot be read as an image"):
        GroupedFilesData(source, size=(12, 12)).read(tmp_path / "broken.png")


def test_validation_subjects_stand_in_for_missing_test_subjects(tmp_path, source):
    split = TwoFoldersSource(source.background, source.target, fractions=(0.5, 0.5, 0.0))
    data = GroupedFilesData(split, size=(12, 12))
    assert torch.equal(data.test().is_target, data.validation().is_target)


def test_refuses_wrong_arguments(source):
    with pytest.raises(ValueError, match="size: expected 2 numbers for images or 3 for volumes"):
        GroupedFilesData(source, size=(12,))
    with pytest.raises(ValueError, match="channels: volumes have 1, got 3"):
        GroupedFilesData(source, size=(8, 8, 8), channels=3)
    with pytest.raises(ValueError, match="fit: expected one of None, 'resize', 'crop', got 'pad'"):
        GroupedFilesData(source, size=(8, 8), fit="pad")
