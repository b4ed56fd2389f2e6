"""New files are prepared to the last bit as the files of the training were."""

import nibabel as nib
import numpy as np
import pytest
import torch
from PIL import Image
from reference.nifti_files import rotation, write

from medgraph.data import formats
from medgraph.data.folder import FolderSource
from medgraph.data.labelled_slices import LabelledSliceData
from medgraph.data.labelled_volumes import LabelledVolumeData
from medgraph.data.slices import SliceData
from medgraph.data.stacks import StackData
from medgraph.data.targeted import TargetedSliceData, TargetedVolumeData
from medgraph.data.targeted_stacks import TargetedStackData
from medgraph.data.targets import ColumnTarget
from medgraph.errors import DataError


def data_of(labelled_folder, **settings):
    classes = ("background", "a", "b")
    source = FolderSource(str(labelled_folder), "images/*.nii.gz", "labels/*.nii.gz", classes, fractions=(0.5, 0, 0.5))
    return LabelledSliceData(source, seed=0, size=(10, 16), **settings)


@pytest.mark.parametrize("spacing", [None, (1.3, 1.3, 1.3)])
def test_a_test_volume_read_as_a_new_case_gives_the_same_slices(labelled_folder, spacing):
    data = data_of(labelled_folder, spacing=spacing)
    for case in data.test():
        new = data.new_case(formats.case_file(labelled_folder / "images" / f"{case.id}.nii.gz"))
        assert torch.equal(new.images, case.images)
        labels = (new.images[:, 0] > 0.5).long()
        np.testing.assert_array_equal(new.to_native(labels), case.to_native(labels))


def test_whole_crops_nothing(labelled_folder):
    data = data_of(labelled_folder)
    file = formats.case_file(labelled_folder / "images" / "sub5.nii.gz")
    new, cropped = data.new_case(file, whole=True), data.new_case(file)
    assert cropped.images.shape[2:] == (10, 16)
    assert new.images.shape[2:] == (12, 16)
    back = new.values_to_native(new.images[:, 0])
    low, high = np.percentile(formats.read(file).voxels, (0.5, 99.5))
    order = np.clip(formats.read(file).grid.from_ras(formats.read(file).voxels), low, high)
    assert np.corrcoef(back.ravel(), order.ravel())[0, 1] > 0.999


@pytest.mark.parametrize("made", [SliceData, StackData])
def test_data_without_labels_prepare_new_cases_too(labelled_folder, made):
    data = made(FolderSource(str(labelled_folder), "images/*.nii.gz"), size=(8, 8))
    assert data.new_case(formats.case_file(labelled_folder / "images" / "sub0.nii.gz")).images.shape[1:] == (1, 8, 8)


def test_an_image_is_one_slice_and_has_no_millimetres(tmp_path, labelled_folder):
    Image.fromarray(np.arange(200, dtype=np.uint8).reshape(10, 20)).save(tmp_path / "a.png")
    file = formats.case_file(tmp_path / "a.png")
    assert data_of(labelled_folder).new_case(file, whole=True).images.shape == (1, 1, 10, 20)
    with pytest.raises(DataError, match="an image has no millimetres, but the model was trained at a spacing"):
        data_of(labelled_folder, spacing=(1.0, 1.0, 1.0)).new_case(file)


def test_a_case_that_shows_nothing_is_named(tmp_path, labelled_folder):
    voxels = np.zeros((9, 9, 9), np.float32)
    voxels[0, 0, 0] = 1
    file = formats.case_file(write(tmp_path / "a.nii.gz", voxels, rotation(10)))
    with pytest.raises(DataError, match=r"a\.nii\.gz: all voxels are 0 between percentiles"):
        data_of(labelled_folder).new_case(file)


def test_of_a_file_with_several_volumes_the_one_that_was_trained_on_is_taken(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(4):
        write(tmp_path / f"{number}.nii.gz", rng.normal(size=(9, 12, 11, 3)).astype(np.float32))
    source = FolderSource(str(tmp_path), frame=1, fractions=(1.0, 0.0, 0.0))
    target = ColumnTarget(str(tmp_path / "ages.csv"), "age")
    several = formats.case_file(tmp_path / "2.nii.gz")
    single = write(tmp_path / "single" / "a.nii.gz", np.asanyarray(nib.load(several.path).dataobj)[..., 1].copy())
    for data in (
        SliceData(source, size=(8, 8)),
        StackData(source, size=(8, 8)),
        LabelledSliceData(source, 0, size=(8, 8)),
        LabelledVolumeData(source, 0, size=(8, 8, 8)),
        TargetedSliceData(source, target, 0, size=(8, 8)),
        TargetedVolumeData(source, target, 0, size=(8, 8, 8)),
        TargetedStackData(source, target, 0, size=(8, 8), num_slices=4),
    ):
        assert torch.equal(data.new_case(several).images, data.new_case(formats.case_file(single)).images)
    stack = StackData(source, size=(8, 8))
    assert torch.equal(stack.train().__getitems__([2]).slices[0], stack.new_case(several).images)
    source.frame = None
    with pytest.raises(DataError, match=r"2.nii.gz: has 4 axes with 3 frames, expected 3"):
        stack.new_case(several)
