"""Volumes and slices carry the target of their case; few labels are nested; new files are prepared alike."""

import numpy as np
import pytest
import torch

from medgraph.data import formats
from medgraph.data.blocks import centered
from medgraph.data.targeted import TargetedSliceData, TargetedVolumeData
from medgraph.data.targets import ColumnTarget, LabelVolumeTarget
from medgraph.errors import DataError


def test_volumes_have_the_number_of_their_case(labelled_source, ages):
    data = TargetedVolumeData(labelled_source, ColumnTarget(ages, "age", unit="years"), seed=0, size=(8, 8, 8))
    assert (data.spec.spatial_dims, data.spec.size, data.spec.num_examples) == (3, (8, 8, 8), 4)
    assert (data.spec.target, data.spec.classes) == ("age, years", ())
    train, test = data.train(), data.test()
    names = {case.id: int(case.id[-1]) for case in labelled_source.cases}
    for part in (train, test):
        batch = part.__getitems__(range(len(part)))
        assert batch.labels.tolist() == [50 + names[name] for name in part.names]
        assert batch.images.shape == (len(part), 1, 8, 8, 8)
        for name, image in zip(part.names, batch.images, strict=True):
            whole = data.cache.prepared(next(case.image for case in labelled_source.cases if case.id == name))
            np.testing.assert_array_equal(image[0].numpy(), centered(whole, (8, 8, 8)))


def test_slices_have_the_class_of_their_volume(labelled_source, ages):
    data = TargetedSliceData(labelled_source, ColumnTarget(ages, "kind", ("k0", "k1")), seed=0, axis=2, size=(10, 12))
    assert (data.spec.spatial_dims, data.spec.classes, data.spec.target) == (2, ("k0", "k1"), "")
    test = data.test()
    wanted = [int(name[-1]) % 2 for name in test.names]
    assert test.labels.tolist() == [wanted[group] for group in test.groups]
    assert sorted(set(test.groups.tolist())) == [0, 1]
    assert len(test.ids.unique()) == len(test)
    assert test.__getitems__([0, 3]).images.shape == (2, 1, 10, 12)
    assert len(data.train()) <= data.spec.num_examples


@pytest.mark.parametrize("made", [TargetedVolumeData, TargetedSliceData])
def test_few_labels_are_nested_and_hold_each_class(labelled_source, ages, made):
    size = (8, 8, 8) if made is TargetedVolumeData else (8, 8)

    def names(count, target):
        return set(made(labelled_source, target, seed=3, size=size, num_labelled=count).train().names)

    kinds, number = ColumnTarget(ages, "kind", ("k0", "k1")), ColumnTarget(ages, "age")
    assert names(2, kinds) <= names(3, kinds) <= names(None, kinds)
    assert names(1, number) <= names(3, number) <= names(4, number) == names(None, number)
    assert len(names(3, number)) == 3
    with pytest.raises(DataError, match="num_labelled is 9, expected 1, the number of classes, to 4"):
        names(9, number)
    assert names(0.6, kinds) == names(3, kinds)  # of 4
    assert made(labelled_source, kinds, seed=3, num_labelled=0.6).check_num_labelled(4) is None
    with pytest.raises(DataError, match=r"num_labelled is 0\.1, which is 1 of 4, expected 2, the number of classes"):
        made(labelled_source, kinds, seed=3, size=size).check_num_labelled(0.1)


def test_the_size_of_the_labelled_structure_can_be_the_number(labelled_source, labelled_folder):
    data = TargetedVolumeData(labelled_source, LabelVolumeTarget((2,)), seed=0, size=(8, 8, 8))
    assert data.spec.target == "volume, ml"
    train = data.train()
    labels = formats.read_labels(
        labelled_folder / f"labels/{train.names[0]}.nii.gz",
        formats.read_grid(labelled_folder / f"images/{train.names[0]}.nii.gz"),
        ("a", "b", "c"),
    )
    spacing = formats.read_grid(labelled_folder / f"images/{train.names[0]}.nii.gz").spacing
    assert train.labels[0].item() == pytest.approx((labels == 2).sum() * np.prod(spacing) / 1000)


@pytest.mark.parametrize("made", [TargetedVolumeData, TargetedSliceData])
def test_a_new_file_is_prepared_like_a_test_case(labelled_source, ages, labelled_folder, made):
    size = (8, 8, 8) if made is TargetedVolumeData else (10, 8)
    more = {} if made is TargetedVolumeData else {"min_foreground": 0.0}
    data = made(labelled_source, ColumnTarget(ages, "age"), seed=0, size=size, **more)
    test = data.test()
    mine = (test.groups == 1).nonzero()[:, 0].tolist()
    new = data.new_case(formats.case_file(labelled_folder / f"images/{test.names[1]}.nii.gz"), whole=True)
    assert torch.equal(new.images, test.__getitems__(mine).images)


@pytest.mark.parametrize("made", [TargetedVolumeData, TargetedSliceData])
def test_a_class_that_is_not_declared_is_told_before_training_wherever_it_is(labelled_source, ages, made):
    size = (8, 8, 8) if made is TargetedVolumeData else (8, 8)
    last = next(case.id for case in labelled_source.cases if case.part == "test")
    with open(ages) as stream:
        text = stream.read().replace(f"{last},5{last[-1]},k{int(last[-1]) % 2}", f"{last},5{last[-1]},k7")
    with open(ages, "w") as stream:
        stream.write(text)
    with pytest.raises(DataError, match="kind is 'k7', expected one of the declared classes k0, k1"):
        made(labelled_source, ColumnTarget(ages, "kind", ("k0", "k1")), seed=0, size=size).spec  # noqa: B018


def test_centering_crops_and_pads():
    voxels = np.arange(60).reshape(3, 4, 5)
    found = centered(voxels, (5, 2, 5))
    np.testing.assert_array_equal(found[1:4], voxels[:, 1:3])
    assert found[0].sum() == found[4].sum() == 0
