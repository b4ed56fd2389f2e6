from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from reference.nifti_files import write

from medgraph.data import formats
from medgraph.data.folder import FolderSource
from medgraph.data.images import ImageFolderData
from medgraph.data.images_and_stacks import ImageStackData
from medgraph.data.loader import draw_batches, load
from medgraph.data.mixed import Mixed, MixedData, shares
from medgraph.data.slices import SliceData
from medgraph.data.stacks import StackData
from medgraph.errors import ConfigError, DataError


@pytest.fixture
def places(tmp_path):
    """Two folders of volumes with different numbers of slices, and one of images."""
    rng = np.random.default_rng(0)
    for name, count, depth in (("mr", 4, 9), ("ct", 2, 14)):
        for i in range(count):
            write(tmp_path / name / f"{name}{i}.nii.gz", rng.uniform(1, 2, (10, depth, 10)).astype(np.float32))
    (tmp_path / "png").mkdir()
    for i in range(5):
        Image.fromarray(rng.integers(0, 255, (12, 12), dtype=np.uint8)).save(tmp_path / "png" / f"{i}.png")
    return tmp_path


def volumes(places, name, kind=SliceData, **arguments):
    return kind(FolderSource(str(places / name), fractions=(1, 0, 0)), size=(8, 8), **arguments)


def pictures(places, **arguments):
    return ImageFolderData(str(places / "png"), labels=None, **{"size": (8, 8), **arguments})


def test_ids_are_unique_over_slices_and_images_and_fit_the_spec(places):
    data = MixedData([volumes(places, "mr"), volumes(places, "ct"), pictures(places)])
    train = data.train()
    assert len(train.ids.unique()) == len(train) == data.spec.num_examples == 36 + 28 + 5
    assert train.ids.max() < data.spec.num_examples


def test_a_batch_keeps_the_order_asked_for(places):
    parts = [volumes(places, "mr"), pictures(places)]
    train = MixedData(parts).train()
    order = [40, 0, 37, 35]
    batch = train.__getitems__(order)
    assert batch.ids.tolist() == train.ids[order].tolist()
    assert batch.sources.tolist() == [1, 0, 1, 0]
    torch.testing.assert_close(batch.images[2], parts[1].train().__getitems__([1]).images[0])
    torch.testing.assert_close(batch.images[3], parts[0].train().__getitems__([35]).images[0])


def test_slices_along_several_axes_of_one_volume_have_ids_of_their_own(places):
    data = MixedData([volumes(places, "mr", axis=axis) for axis in range(3)])
    train = data.train()
    assert len(train.ids.unique()) == len(train) == data.spec.num_examples == 4 * (10 + 9 + 10)


def test_an_epoch_shows_no_two_neighbouring_slices(places):
    thin = MixedData([volumes(places, "mr", stride=2, min_foreground=0.0), pictures(places)], max_share=0.9).train()
    whole = MixedData([volumes(places, "mr", min_foreground=0.0), pictures(places)], max_share=0.9).train()
    batches, all_of_them = (draw_batches(some, 7, seed=0, epoch=0) for some in (thin, whole))
    assert (len(batches), len(all_of_them)) == ((4 * 4 + 5) // 7, (4 * 9 + 5) // 7)
    shown = sorted(i for batch in batches for i in batch if i < 36)
    assert len(set(shown)) == len(shown)
    assert all(b - a > 1 for a, b in pairwise(shown) if a // 9 == b // 9)


def test_volumes_of_different_length_share_a_batch(places):
    data = MixedData([volumes(places, "mr", StackData), volumes(places, "ct", StackData)])
    assert (data.spec.num_volumes, data.spec.num_slices) == (6, (9, 14))
    batch = data.train().__getitems__([5, 0])
    assert batch.ids.tolist() == [5, 0]
    assert batch.valid.sum(dim=1).tolist() == [14, 9]
    known = batch.numbers[batch.valid]
    assert len(known.unique()) == len(known)
    assert (batch.numbers[~batch.valid] == -1).all()


@pytest.mark.parametrize(("sizes", "batch_size"), [((90, 10), 16), ((50, 30, 20), 10), ((7, 7, 300), 12)])
def test_no_set_takes_more_than_its_share_of_any_batch(sizes, batch_size):
    mixed = Mixed([_Ids(n) for n in sizes], sizes, max_share=0.5)
    batches = draw_batches(mixed, batch_size, seed=3, epoch=1)
    assert len(batches) == sum(sizes) // batch_size
    ends = np.cumsum(sizes)
    for batch in batches:
        counts = Counter(np.searchsorted(ends, batch, side="right").tolist())
        assert len(batch) == batch_size
        assert max(counts.values()) <= batch_size / 2
    assert batches == draw_batches(mixed, batch_size, seed=3, epoch=1)
    assert batches != draw_batches(mixed, batch_size, seed=3, epoch=2)


def test_a_small_set_is_walked_evenly():
    mixed = Mixed([_Ids(60), _Ids(6)], (60, 6), max_share=0.5)
    seen = Counter(i for batch in draw_batches(mixed, 4, seed=0, epoch=0) for i in batch if i >= 60)
    assert set(seen) == set(range(60, 66))
    assert max(seen.values()) - min(seen.values()) <= 1


@pytest.mark.parametrize(
    ("sizes", "most", "expected"),
    [((90, 10), 0.5, (0.5, 0.5)), ((80, 15, 5), 0.5, (0.5, 0.375, 0.125)), ((3, 7), 1.0, (0.3, 0.7))],
)
def test_what_is_cut_off_goes_to_the_others(sizes, most, expected):
    np.testing.assert_allclose(shares(np.array(sizes), most), expected)


def test_shares_that_cannot_fill_a_batch_are_refused():
    with pytest.raises(ValueError, match=r"max_share: 1 sets of at most 0.5 of a batch do not fill it; expected 1"):
        MixedData([object()])
    with pytest.raises(DataError, match=r"a batch of 3 cannot be filled by 2 sets of at most 0.5"):
        draw_batches(Mixed([_Ids(9), _Ids(9)], (9, 9), 0.5), 3, seed=0, epoch=0)


def test_a_set_in_which_no_slice_is_left_is_named(places):
    data = MixedData([volumes(places, "mr"), volumes(places, "ct", min_foreground=1.0)])
    with pytest.raises(DataError, match=r"data\.1: .*/ct has no example in the train part; expected one or more"):
        data.train()


@pytest.mark.parametrize("sizes", [(9, 0), (0, 9)])
def test_a_set_that_shows_nothing_is_refused(sizes):
    with pytest.raises(DataError, match=rf"data\.{sizes.index(0)}: shows no example in epoch 0, so no batch"):
        draw_batches(Mixed([_Ids(n) for n in sizes], (9, 9), 0.5), 4, seed=0, epoch=0)


def test_sets_that_differ_are_refused_before_training(places):
    with pytest.raises(ConfigError, match="the sets differ in channels: 1, 3"):
        _ = MixedData([volumes(places, "mr"), pictures(places, channels=3)]).spec
    with pytest.raises(ConfigError, match=r"the sets differ in size: \(8, 8\), \(9, 9\)"):
        _ = MixedData([volumes(places, "mr"), pictures(places, size=(9, 9))]).spec
    with pytest.raises(ConfigError, match="the sets differ in kind of example: volumes, images"):
        _ = MixedData([volumes(places, "mr", StackData), pictures(places)]).spec


def test_images_and_volumes_come_side_by_side(places):
    data = ImageStackData(
        MixedData([volumes(places, "mr"), pictures(places)]), volumes(places, "mr", StackData), images_per_batch=6
    )
    assert (data.spec.num_examples, data.spec.num_volumes, data.spec.num_slices) == (41, 4, (9, 9))
    train = data.train()
    batches = draw_batches(train, 2, seed=0, epoch=0)
    assert len(batches) == 2
    seen = []
    for batch in load(train, batches):
        assert len(batch.images.ids) == 6
        assert len(batch.volumes.ids) == 2
        seen += batch.volumes.ids.tolist()
    assert sorted(seen) == [0, 1, 2, 3]
    both = train.__getitems__([0, 44]).to("cpu")
    assert both.volumes.ids.tolist() == [0]
    assert both.images.ids.tolist() == [40]
    assert train.__getitems__([1]).images is None
    assert train.__getitems__([5]).volumes is None


def test_few_images_are_walked_several_times(places):
    data = ImageStackData(pictures(places), volumes(places, "mr", StackData), images_per_batch=5)
    assert [len(batch) for batch in draw_batches(data.train(), 1, seed=0, epoch=0)] == [6] * 4


def test_a_new_file_is_prepared_like_the_set_it_belongs_to(places):
    file = formats.case_file(next((places / "mr").glob("*.nii.gz")))
    coronal, axial = volumes(places, "mr", axis=1), volumes(places, "mr", axis=2)
    same = MixedData([coronal, volumes(places, "mr", axis=1, stride=2), pictures(places)])
    assert torch.equal(same.new_case(file).images, coronal.new_case(file).images)
    with pytest.raises(DataError, match=r"nii.gz: .* prepare such files in 2 ways.* like to the number of a set \(0: "):
        MixedData([coronal, axial]).new_case(file)
    told = MixedData([coronal, axial], like=1)
    assert torch.equal(told.new_case(file).images, axial.new_case(file).images)
    with pytest.raises(ValueError, match="like: expected the number of a set, 0 to 1, got 2"):
        MixedData([coronal, axial], like=2)


def test_batches_that_no_epoch_fills_are_refused(places):
    """They would be waited for without end."""
    mixed = MixedData([volumes(places, "mr"), pictures(places)])
    with pytest.raises(DataError, match="41 training examples of all sets, expected at least one batch of 60"):
        draw_batches(mixed.train(), 60, seed=0, epoch=0)
    data = ImageStackData(mixed, volumes(places, "mr", StackData), images_per_batch=42)
    with pytest.raises(ConfigError, match=r"images_per_batch: 42, but image_data has 41 training images. Lower it"):
        _ = data.spec
    with pytest.raises(DataError, match=r"of which data.images_per_batch makes a batch: 41 training examples"):
        draw_batches(data.train(), 1, seed=0, epoch=0)


def test_roles_that_are_swapped_are_refused(places):
    stacks, slices = volumes(places, "mr", StackData), volumes(places, "mr")
    with pytest.raises(ConfigError, match="expected images or slices as image_data and volumes"):
        _ = ImageStackData(stacks, slices).spec
    with pytest.raises(ConfigError, match="image_data has 3 channels, volume_data 1"):
        _ = ImageStackData(pictures(places, channels=3), stacks).spec


def test_parts_go_through_to_every_set(places):
    half = ImageFolderData(str(places / "png"), labels=None, size=(8, 8), fractions=(0.4, 0.2, 0.4))
    data = MixedData([half, half])
    assert [len(data.train()), len(data.validation()), len(data.test())] == [4, 2, 4]
    sides = ImageStackData(half, StackData(FolderSource(str(places / "mr"), fractions=(0.5, 0.25, 0.25)), size=(8, 8)))
    assert [len(sides.train()), len(sides.validation()), len(sides.test())] == [2 + 2, 1 + 1, 2 + 1]


class _Ids:
    """Examples that are their ids alone."""

    def __init__(self, count):
        self.ids = torch.arange(count)

    def __len__(self):
        return len(self.ids)
