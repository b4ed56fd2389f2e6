"""Patches lie where their ids say and keep image and labels together; whole volumes find their way back."""

import numpy as np
import pytest
import torch
from PIL import Image

from medgraph.data import formats
from medgraph.data.blocks import Block
from medgraph.data.folder import FolderSource
from medgraph.data.labelled_slices import LabelledSliceData
from medgraph.data.labelled_volumes import LabelledVolumeData, Patches
from medgraph.data.nifti import Grid
from medgraph.errors import DataError

CLASSES = ("background", "a", "b")


def data_of(folder, made=LabelledVolumeData, **settings):
    source = FolderSource(str(folder), "images/*.nii.gz", "labels/*.nii.gz", CLASSES, fractions=(0.5, 0, 0.5))
    return made(source, seed=4, **settings)


def test_the_volumes_are_those_of_the_slices(labelled_folder):
    volumes = data_of(labelled_folder, num_labelled=2, size=(8, 8, 8), patches_per_volume=3)
    slices = data_of(labelled_folder, LabelledSliceData, num_labelled=2)
    assert volumes.spec.num_examples == 6
    assert volumes.spec.classes == CLASSES
    assert (volumes.spec.spatial_dims, volumes.spec.size) == (3, (8, 8, 8))
    assert [case.id for case in volumes._slices.labelled_cases()] == [case.id for case in slices.labelled_cases()]


def pair(shape=(12, 10, 9)):
    voxels = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 1
    labels = np.zeros(shape, np.uint8)
    labels[10, 8, 7] = 2
    return voxels, labels


def test_a_patch_is_cut_from_both_at_the_same_place_and_never_changes():
    voxels, _ = pair()
    patches = Patches([(voxels, voxels.astype(np.int32))], (5, 4, 20), 8, 0.0, seed=1)
    batch, again = patches.__getitems__([5, 2]), patches.__getitems__([2])
    assert batch.images.shape == (2, 1, 5, 4, 20)
    assert torch.equal(batch.images[:, 0].long(), batch.labels)
    assert torch.equal(batch.images[1], again.images[0])
    assert batch.ids.tolist() == [5, 2]
    assert not torch.equal(batch.images[0], batch.images[1])
    assert (batch.images[..., :5] == 0).all()  # 9 voxels in the middle of 20
    assert (batch.images[..., 5:14] > 0).all()


def test_half_of_the_patches_hold_the_rare_class():
    patches = Patches([pair()], (3, 3, 3), 200, 0.5, seed=1)
    held = (patches.__getitems__(range(200)).labels == 2).flatten(1).any(dim=1).float().mean()
    assert 0.4 < held < 0.65
    always = Patches([pair()], (3, 3, 3), 20, 1.0, seed=1)
    assert (always.__getitems__(range(20)).labels == 2).flatten(1).any(dim=1).all()


def test_a_patch_lies_around_the_voxel_that_its_id_draws():
    """Drawn as first told: a class, then one of its voxels in their order."""
    labels = np.random.default_rng(0).integers(0, 4, (12, 10, 9)).astype(np.uint8)
    patches = Patches([(labels.astype(np.float32), labels)], (3, 3, 3), 12, 1.0, seed=5)
    for index in range(12):
        rng = np.random.default_rng([5, index])
        rng.random()
        places = np.argwhere(labels == rng.choice(np.array([1, 2, 3], np.uint8)))
        first = np.clip(places[rng.integers(len(places))] - 1, 0, np.array(labels.shape) - 3)
        expected = labels[tuple(slice(start, start + 3) for start in first)]
        np.testing.assert_array_equal(patches.__getitems__([index]).labels[0], expected)


def test_training_patches_of_files_carry_their_labels(labelled_folder):
    batch = data_of(labelled_folder, size=(8, 16, 8), patches_per_volume=2).train().__getitems__([0, 1, 5])
    assert batch.images.shape == (3, 1, 8, 16, 8)
    assert set(batch.labels.unique().tolist()) == {0, 1, 2}


@pytest.mark.parametrize("spacing", [None, (1.5, 1.5, 1.5)])
def test_whole_cases_find_back_to_the_native_grid(labelled_folder, spacing):
    data = data_of(labelled_folder, spacing=spacing)
    case = data.test()[0]
    assert case.images.shape == (1, 1, *case.record.shape)
    back = case.to_native(case.record.cut_native(case.labels)[None])
    assert back.shape == case.labels.shape
    assert (back == case.labels).mean() > (0.99 if spacing is None else 0.5)
    new = data.new_case(formats.case_file(labelled_folder / "images" / f"{case.id}.nii.gz"))
    assert torch.equal(new.images, case.images)
    assert new.values_to_native(new.images[:, 0]).shape == case.labels.shape
    assert len(data.test()[:2]) == 2
    with pytest.raises(DataError, match="no volume in the part 'validation'"):
        data.validation()


def test_an_image_is_refused(tmp_path, labelled_folder):
    Image.fromarray(np.arange(16, dtype=np.uint8).reshape(4, 4)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="is an image, but the model was trained on volumes"):
        data_of(labelled_folder).new_case(formats.case_file(tmp_path / "a.png"))


def test_another_shape_does_not_go_back():
    block = Block(Grid((2, 3, 4), np.eye(4)), (2, 3, 4))
    with pytest.raises(ValueError, match=r"expected a volume of shape \(1, 2, 3, 4\), got \(1, 2, 2, 2\)"):
        block.to_native(np.zeros((1, 2, 2, 2)))
