import numpy as np
import pytest
import torch
from reference.nifti_files import write

from medgraph.data import slices
from medgraph.data.folder import FolderSource
from medgraph.data.loader import epoch_batches, load
from medgraph.data.slices import SliceData
from medgraph.data.volumes import VolumeCache
from medgraph.errors import DataError


def source(root, **arguments):
    return FolderSource(str(root), "images/*.nii.gz", fractions=(0.5, 0.2, 0.3), **arguments)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_examples_are_the_slices_of_the_training_volumes(labelled_folder, axis):
    folder = source(labelled_folder)
    data = SliceData(folder, axis=axis, size=(8, 14), min_foreground=0.0)
    train = data.train()
    volumes = [VolumeCache().prepared(case.image) for case in folder.cases if case.part == "train"]
    assert len(volumes) == 3
    assert len(train) == sum(volume.shape[axis] for volume in volumes) == data.spec.num_examples
    assert train.ids.tolist() == list(range(len(train)))
    batch = train.__getitems__([len(train) - 1, 0])
    assert batch.images.shape == (2, 1, 8, 14)
    assert batch.ids.tolist() == [len(train) - 1, 0]
    whole = torch.from_numpy(np.take(volumes[0], 0, axis))
    h, w = whole.shape
    rows, columns = min(h, 8), min(w, 14)
    expected = whole[(h - rows) // 2 :, (w - columns) // 2 :][:rows, :columns]
    top, left = (8 - rows) // 2, (14 - columns) // 2
    torch.testing.assert_close(batch.images[1, 0, top : top + rows, left : left + columns], expected, rtol=0, atol=0)
    assert batch.images[1].sum().item() == pytest.approx(expected.sum().item(), rel=1e-6)  # the rest is 0


def test_labels_are_never_read(labelled_folder):
    for file in (labelled_folder / "labels").iterdir():
        file.write_text("no NIfTI")
    folder = FolderSource(str(labelled_folder), "images/*.nii.gz", "labels/*.nii.gz")
    assert len(SliceData(folder).train()) > 0


def test_empty_slices_are_dropped_and_ids_stay(tmp_path):
    rng = np.random.default_rng(0)
    for i in range(2):
        voxels = np.zeros((6, 10, 6), np.float32)
        voxels[:, 3:9] = rng.uniform(1, 2, (6, 6, 6))
        write(tmp_path / f"{i}.nii.gz", voxels)
    folder = FolderSource(str(tmp_path), fractions=(1, 0, 0))
    data = SliceData(folder, axis=1, size=(6, 6))
    assert data.train().ids.tolist() == [3, 4, 5, 6, 7, 8, 13, 14, 15, 16, 17, 18]
    assert data.spec.num_examples == 20  # from headers: above every id
    assert len(SliceData(folder, axis=1, size=(6, 6), min_foreground=0.0).train()) == 20


def test_a_set_too_large_for_memory_gives_the_same_batches(labelled_folder, monkeypatch):
    data = SliceData(source(labelled_folder), size=(10, 10))
    held = data.train()
    monkeypatch.setattr(slices, "_STACK_BYTES", 0)
    mapped = data.train()
    for indices in epoch_batches(len(held), 7, seed=0, epoch=0, drop_last=False):
        torch.testing.assert_close(
            mapped.__getitems__(indices).images, held.__getitems__(indices).images, rtol=0, atol=0
        )


def test_loading_hands_over_whole_batches(labelled_folder):
    train = SliceData(source(labelled_folder), size=(10, 10)).train()
    batches = epoch_batches(len(train), 8, seed=0, epoch=0)
    for indices, batch in zip(batches, load(train, batches), strict=True):
        assert batch.ids.tolist() == train.ids[indices].tolist()
        assert batch.images.dtype == torch.float32
        assert batch.sources.tolist() == [0] * 8


def test_parts_share_no_volume(labelled_folder):
    data = SliceData(source(labelled_folder), size=(10, 10), min_foreground=0.0)
    parts = {case.id: case.part for case in data.source.cases}
    coronal = {f"sub{i}": 9 + i if i % 2 else 12 for i in range(6)}  # odd ones have their axes permuted
    for part, chosen in (("train", data.train()), ("validation", data.validation()), ("test", data.test())):
        assert len(chosen) == sum(count for name, count in coronal.items() if parts[name] == part)


def test_spec_reads_headers_only(labelled_folder, cache_folder):
    spec = SliceData(source(labelled_folder), axis=2, size=(20, 24)).spec
    assert (spec.spatial_dims, spec.channels, spec.size, spec.classes) == (2, 1, (20, 24), ())
    assert not cache_folder.exists()


def test_spacing_changes_the_number_of_slices(labelled_folder):
    native = SliceData(source(labelled_folder), axis=2, min_foreground=0.0)
    fine = SliceData(source(labelled_folder), axis=2, min_foreground=0.0, spacing=(1.0, 1.0, 0.5))
    assert fine.spec.num_examples == len(fine.train()) > 1.9 * native.spec.num_examples


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"axis": 3}, "axis: expected one of 0, 1, 2, got 3"),
        ({"size": (0, 4)}, "size: expected 1 or more, got 0"),
        ({"size": (4,)}, "size: expected height and width"),
        ({"min_foreground": 1.5}, "min_foreground: expected a number from 0.0 to 1.0"),
        ({"percentiles": (99, 1)}, "percentiles: expected two numbers, the smaller first"),
        ({"spacing": (1.0, 0.0, 1.0)}, "spacing: expected a number above 0, got 0.0"),
    ],
)
def test_wrong_settings(tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words):
        SliceData(FolderSource(str(tmp_path)), **arguments)


def test_a_damaged_training_volume_is_named(labelled_folder):
    (labelled_folder / "images/sub0.nii.gz").write_text("no NIfTI")
    with pytest.raises(DataError, match=r"sub0.nii.gz: is not a NIfTI file"):
        SliceData(FolderSource(str(labelled_folder), "images/*.nii.gz", fractions=(1, 0, 0))).train()
