from pathlib import Path

import numpy as np
import pytest
import torch

from medgraph.data import array_stacks
from medgraph.data.array_stacks import ArraySliceData, ArrayStackData, ClassifiedStackData
from medgraph.errors import DataError


@pytest.fixture
def volumes():
    """Six training and two validation volumes of 4 x 6 x 8, the first slices along the first axis empty."""
    rng = np.random.default_rng(0)
    train, val = (rng.integers(1, 255, (n, 4, 6, 8), dtype=np.uint8) for n in (6, 2))
    train[:, 0] = 0
    return {"train": train, "val": val}


@pytest.fixture
def path(tmp_path, volumes):
    labels = {f"{part}_labels": np.arange(len(x))[:, None] % 2 for part, x in volumes.items()}
    np.savez(tmp_path / "shapes.npz", **{f"{part}_images": x for part, x in volumes.items()}, **labels)
    return str(tmp_path / "shapes.npz")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_volume_is_the_stack_of_its_slices(axis, path, volumes):
    data = ArrayStackData(path, axis=axis)
    batch = data.train().__getitems__([4, 1])
    expected = np.moveaxis(volumes["train"][[4, 1]], axis + 1, 1)[:, :, None] / 255
    np.testing.assert_allclose(batch.slices.numpy(), expected, atol=1e-6)
    assert batch.ids.tolist() == [4, 1]
    assert batch.valid.all()
    assert batch.numbers[0, 0] == 4 * expected.shape[1]
    assert data.spec.num_slices == (expected.shape[1],) * 2
    assert (data.spec.num_examples, data.spec.num_volumes, data.spec.size) == (6, 6, expected.shape[3:])


def test_blocks_of_voxels_become_their_mean(path, volumes):
    stacks = ArrayStackData(path, pool=2).train().__getitems__([3]).slices
    blocks = volumes["train"][3].reshape(2, 2, 3, 2, 4, 2).mean(axis=(1, 3, 5))
    np.testing.assert_allclose(255 * stacks[0, :, 0].numpy(), blocks, atol=0.51)


def test_slices_keep_the_ids_of_their_places_and_empty_ones_are_dropped(path, volumes):
    data = ArraySliceData(path)
    slices = data.train()
    assert slices.ids.tolist() == [4 * volume + number for volume in range(6) for number in (1, 2, 3)]
    assert data.spec.num_examples == 24
    batch = slices.__getitems__([3])
    np.testing.assert_allclose(255 * batch.images[0, 0].numpy(), volumes["train"][1, 1], atol=1e-4)


def test_slices_are_looked_at_a_few_at_a_time(path, monkeypatch):
    ids = ArraySliceData(path).train().ids
    monkeypatch.setattr(array_stacks, "_AT_ONCE", 7)
    assert torch.equal(ArraySliceData(path).train().ids, ids)


def test_an_epoch_shows_no_two_neighbours(path):
    train = ArraySliceData(path, min_foreground=0.0, stride=2).train()
    shown = train.ids[torch.from_numpy(train.shown(seed=0, epoch=3))].reshape(6, 2)
    assert (shown // 4 == torch.arange(6)[:, None]).all()
    assert (shown.diff(dim=1) == 2).all()
    assert ArraySliceData(path).train().shown(0, 3).all()


def test_each_stack_has_its_class_and_few_of_them_are_labelled(path, volumes):
    data = ClassifiedStackData(path, seed=0, classes=("a", "b"), num_labelled=4, test_part="validation")
    train, test = data.train(), data.test()
    assert len(train) == 4
    assert set(train.labels.tolist()) == {0, 1}
    assert len(test) == len(data.validation()) == 2
    assert train.__getitems__([0]).images.shape == (1, 4, 1, 6, 8)
    assert data.spec.num_classes == 2
    assert torch.equal(data.train().ids, train.ids)


def test_a_share_of_the_volumes_is_labelled(path):
    data = ClassifiedStackData(path, seed=0, classes=("a", "b"), num_labelled=0.5, test_part="validation")
    assert len(data.train()) == data.spec.num_examples == 3  # of 6
    data.check_num_labelled(0.9)
    with pytest.raises(DataError, match="num_labelled is 7, expected 2, the number of classes, to 6"):
        data.check_num_labelled(7)


def test_a_class_without_name_is_refused_in_any_part(path, volumes):
    labels = {"train_labels": np.arange(6) % 2, "val_labels": np.array([0, 2])}
    np.savez(path, **{f"{part}_images": x for part, x in volumes.items()}, **labels)
    data = ClassifiedStackData(path, 0, ("a", "b"), test_part="validation")
    assert len(data.train()) == 6
    for part in (data.validation, data.test):
        with pytest.raises(DataError, match="has the labels 0 to 2, but classes names 2"):
            part()


def test_parts_are_those_of_the_file(path):
    for data in (ArrayStackData(path), ArraySliceData(path)):
        assert len(data.validation()) in (2, 8)
        with pytest.raises(DataError, match=r"has no test part\. There are: train, validation"):
            data.test()


def test_facts_are_read_from_the_header_and_fit_what_comes(path, monkeypatch):
    monkeypatch.setattr(array_stacks, "read_arrays", lambda path: pytest.fail("the voxels were read"))
    specs = [
        data.spec
        for axis in range(3)
        for data in (ArrayStackData(path, axis, 2), ClassifiedStackData(path, 0, ("a", "b"), axis, 2))
    ]
    monkeypatch.undo()
    for axis, spec in zip((0, 0, 1, 1, 2, 2), specs, strict=True):
        shape = ArrayStackData(path, axis, 2).train().__getitems__([0]).slices.shape
        assert (spec.num_slices[0], *spec.size) == (shape[1], *shape[3:])
    assert ArraySliceData(path).spec.size == (6, 8)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none.npz: no such file, expected an .npz file with train_images"):
        _ = ArrayStackData(str(tmp_path / "none.npz")).spec


def test_a_file_that_is_damaged_or_none_is_named(tmp_path, path):
    whole = Path(path).read_bytes()
    for raw in (b"", b"hello world\n", whole[:-40]):
        Path(path).write_bytes(raw)
        made = (ArrayStackData(path), ClassifiedStackData(path, 0, ("a", "b")))
        for read in (*(lambda d=d: d.spec for d in made), lambda d=made[1]: d.check_num_labelled(2), made[0].train):
            with pytest.raises(DataError, match=r"shapes.npz: expected an .npz file with train_images"):
                read()
    np.savez(tmp_path / "b.npz", x=np.zeros(3))
    with pytest.raises(DataError, match=r"b.npz: expected an .npz file with train_images .*train_images.npy"):
        _ = ArrayStackData(str(tmp_path / "b.npz")).spec
    np.savez(tmp_path / "c.npz", train_images=np.zeros((2, 4, 4, 4), np.uint8), train_labels=np.array(["a", "b"]))
    with pytest.raises(DataError, match=r"c.npz: train_labels holds no numbers, expected a class for each image"):
        ClassifiedStackData(str(tmp_path / "c.npz"), 0, ("a", "b")).spec  # noqa: B018


def test_images_that_are_no_volumes_are_refused(tmp_path):
    images, labels = np.zeros((4, 5, 5), dtype=np.uint8), np.zeros((4, 1))
    np.savez(tmp_path / "flat.npz", train_images=images, train_labels=labels)
    data = ArrayStackData(str(tmp_path / "flat.npz"))
    for read in (lambda: data.spec, data.train):
        with pytest.raises(DataError, match=r"has images of shape \(.*5, 5\) and type .*uint8, expected volumes"):
            read()


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda path: ArrayStackData(path, axis=3), "axis: expected one of 0, 1, 2, got 3"),
        (lambda path: ArrayStackData(path, pool=0), "pool: expected 1 or more, got 0"),
        (lambda path: ArrayStackData(path, pool=5).spec, "expected volumes of uint8 with 5 voxels or more"),
        (lambda path: ClassifiedStackData(path, 0, ("a",)).spec, "has the labels 0 to 1, but classes names 1"),
        (lambda path: ClassifiedStackData(path, 0, ("a", "b"), num_labelled=1), "num_labelled: expected 2 or more"),
        (lambda path: ArraySliceData(path, stride=0), "stride: expected 1 or more, got 0"),
        (lambda path: ArraySliceData(path, min_foreground=2.0), "min_foreground: expected a number from 0.0 to 1.0"),
    ],
)
def test_wrong_settings(make, words, path):
    with pytest.raises(ValueError, match=words):
        make(path)
