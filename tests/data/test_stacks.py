import numpy as np
import pytest
import torch

from medgraph.data import stacks
from medgraph.data.folder import FolderSource
from medgraph.data.stacks import StackData, pad
from medgraph.data.volumes import VolumeCache


def source(root):
    return FolderSource(str(root), "images/*.nii.gz", fractions=(0.5, 0.2, 0.3))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_example_is_a_whole_volume_padded_to_the_longest_of_its_batch(labelled_folder, axis):
    folder = source(labelled_folder)
    data = StackData(folder, axis=axis, size=(20, 20))
    volumes = [VolumeCache().prepared(case.image) for case in folder.cases if case.part == "train"]
    lengths = [volume.shape[axis] for volume in volumes]
    spec = data.spec
    assert (spec.num_examples, spec.num_volumes, spec.num_slices) == (3, 3, (min(lengths), max(lengths)))
    batch = data.train().__getitems__([2, 0])
    assert batch.slices.shape == (2, max(lengths[2], lengths[0]), 1, 20, 20)
    assert batch.valid.sum(dim=1).tolist() == [lengths[2], lengths[0]]
    assert batch.ids.tolist() == [2, 0]
    assert batch.slices[1].sum().item() == pytest.approx(float(volumes[0].sum()), rel=1e-5)
    assert (batch.slices[~batch.valid] == 0).all()


def test_slices_have_ids_of_their_own_in_order(labelled_folder):
    batch = StackData(source(labelled_folder), axis=1).train().__getitems__([0, 1, 2])
    assert batch.numbers[batch.valid].tolist() == list(range(int(batch.valid.sum())))
    assert (batch.numbers[~batch.valid] == -1).all()


def test_spec_reads_headers_only(labelled_folder, cache_folder):
    assert StackData(source(labelled_folder)).spec.size == (48, 48)
    assert not cache_folder.exists()


def test_parts_share_no_volume(labelled_folder):
    data = StackData(source(labelled_folder))
    assert len(data.train()) + len(data.validation()) + len(data.test()) == 6


def test_a_set_too_large_for_memory_gives_the_same_batches(labelled_folder, monkeypatch):
    data = StackData(source(labelled_folder), size=(10, 10))
    held = data.train().__getitems__([1, 0])
    monkeypatch.setattr(stacks, "HELD_BYTES", 0)
    cut = data.train().__getitems__([1, 0])
    torch.testing.assert_close(cut.slices, held.slices, rtol=0, atol=0)
    assert torch.equal(cut.valid, held.valid)


def test_batches_move_between_devices(labelled_folder):
    batch = StackData(source(labelled_folder)).train().__getitems__([0]).to("meta")
    assert {t.device.type for t in (batch.ids, batch.slices, batch.valid, batch.numbers, batch.sources)} == {"meta"}


def test_padding_comes_last():
    padded, valid = pad([torch.ones(2, 3), torch.ones(4, 3)], fill=-1)
    assert padded[0, :, 0].tolist() == [1, 1, -1, -1]
    assert valid.tolist() == [[True, True, False, False], [True] * 4]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"axis": 3}, "axis: expected one of 0, 1, 2, got 3"),
        ({"axis": -1}, "axis: expected one of 0, 1, 2, got -1"),
        ({"size": (0, 4)}, "size: expected 1 or more, got 0"),
    ],
)
def test_wrong_settings(tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words):
        StackData(FolderSource(str(tmp_path)), **arguments)


def test_voxels_are_those_of_the_prepared_volume(labelled_folder):
    folder = source(labelled_folder)
    first = next(case for case in folder.cases if case.part == "train")
    whole = VolumeCache().prepared(first.image)
    size = (whole.shape[2], whole.shape[0])
    batch = StackData(folder, axis=1, size=size).train().__getitems__([0])
    assert np.array_equal(batch.slices[0, :, 0].numpy(), np.moveaxis(whole, 1, 0).swapaxes(1, 2)[:, ::-1, ::-1])
