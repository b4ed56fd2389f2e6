import numpy as np
import pytest
import torch
from reference.six_volumes import six_volumes

from medgraph.data.atrophy_volumes import AtrophyVolumesData, shrink
from medgraph.data.samples import SampleSource
from medgraph.errors import DataError


@pytest.fixture
def source(tmp_path):
    return six_volumes(tmp_path, bright=3.0)


def make(source, **changes):
    return AtrophyVolumesData(source, **{"window": (12, 14, 10), **changes})


def box():
    voxels = np.zeros((12, 14, 10), np.float32)
    voxels[3:9, 3:11, 3:7] = 1
    return voxels, np.argwhere(voxels > 0), np.array([5.5, 6.5, 4.5])


@pytest.mark.parametrize("anterior", [False, True])
def test_one_half_loses_its_rim_and_nothing_else_changes(anterior):
    voxels, inside, center = box()
    shrunk = shrink(voxels, inside, center, anterior)
    lost = shrunk != voxels
    assert lost.sum() == 6 * 4 * 4 - 4 * 3 * 2  # half of the box, less half of the box inside it
    assert (shrunk[lost] == 0).all()
    assert lost[:, 7:].any() == anterior
    assert lost[:, :7].any() != anterior


def test_lost_voxels_take_the_median_around_the_structure():
    voxels, inside, center = box()
    voxels[:, :, 7:] = 0.25  # what lies above the box
    shrunk = shrink(voxels, inside, center, anterior=True)
    assert shrunk[5, 8, 6] == 0.25
    assert shrunk[5, 8, 3] == 0


def test_a_structure_that_reaches_the_end_of_the_window_stays_whole_there():
    voxels, _, center = box()
    voxels[:, :, :3] = 1
    shrunk = shrink(voxels, np.argwhere(voxels > 0), center, anterior=True)
    assert (shrunk[5, 7:10, 0] == 1).all()


def test_each_target_subject_comes_with_either_half(source):
    data = make(source)
    train, test = data.train(), data.test()
    assert [(a.name, a.role, a.num_classes) for a in data.attributes] == [
        ("half", "salient", 2), ("volume", "common", 0), ("front_part_share", "common", 0)
    ]  # fmt: skip
    assert len(train) == data.spec.num_examples == 2 + 2 * 2
    assert train.attributes[~train.is_target, 0].isnan().all()
    for part in (train, test):
        for subject in part.subjects[part.is_target].unique():
            assert part.attributes[part.is_target & (part.subjects == subject), 0].sort().values.tolist() == [0, 1]
    batch = test.__getitems__(range(len(test)))
    assert torch.equal(batch.images, data.test().__getitems__(range(len(test))).images)
    plain = batch.images[0]  # the first subject as it is; the next two of it have lost a half's rim
    lost = [image != plain for image in batch.images[2:4]]
    for image, places in zip(batch.images[2:4], lost, strict=True):
        assert places.sum() == 6 * 4 * 4 - 4 * 3 * 2
        assert (image < plain)[places].all()
    assert not (lost[0] & lost[1]).any()


def test_the_shipped_volumes_fit():
    data = AtrophyVolumesData(SampleSource(), pool=2)
    assert data.spec.size == (15, 20, 13)
    batch = data.train().__getitems__([0, len(data.train()) - 1])
    assert batch.images.isfinite().all()
    assert batch.is_target.tolist() == [False, True]


def test_messages_name_this_set(source):
    with pytest.raises(DataError, match=r"^atrophy_volumes: nothing is kept aside for validation"):
        make(source).validation()
    source.cases = tuple(case for case in source.cases if case.part == "train")
    with pytest.raises(DataError, match=r"^atrophy_volumes, test: the target group is empty"):
        make(source).test()
