import numpy as np
import pytest
import torch
from PIL import Image
from reference.nifti_files import write

from medgraph.data import formats, slices
from medgraph.data.folder import FolderSource
from medgraph.data.loader import draw_batches, epoch_batches, load
from medgraph.data.slices import SliceData
from medgraph.data.stacks import StackData
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
    whole = torch.from_numpy(np.take(volumes[0], 0, axis)).T.flip(0, 1)
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
    monkeypatch.setattr(slices, "HELD_BYTES", 0)
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


def test_an_epoch_shows_every_second_slice_of_each_volume(labelled_folder):
    data = SliceData(source(labelled_folder), size=(10, 10), min_foreground=0.0, stride=2)
    train = data.train()
    starts = set()
    for epoch in range(8):
        batches = draw_batches(train, 5, seed=0, epoch=epoch)
        ids = torch.cat([train.__getitems__(batch).ids for batch in batches]).sort().values
        assert len(ids.unique()) == len(ids)
        apart = ids.diff()
        assert apart.min() >= 1  # of two volumes
        assert (apart == 1).sum() < 3  # there are three volumes, and neighbours in none of them
        starts.add(int(ids[0]))
    assert len(starts) > 1
    assert len(train) == data.spec.num_examples  # banks hold all of them


def test_what_is_foreground_is_a_setting(labelled_folder):
    counts = [
        len(SliceData(source(labelled_folder), min_foreground=0.5, foreground_percentile=p).train())
        for p in (5.0, 95.0)
    ]
    assert counts[0] > counts[1]


@pytest.mark.parametrize("kind", [SliceData, StackData])
def test_three_channels_are_equal(labelled_folder, kind):
    gray, color = (kind(source(labelled_folder), size=(10, 10), channels=channels) for channels in (1, 3))
    assert color.spec.channels == 3
    batches = [data.train().__getitems__([1, 0]) for data in (gray, color)]
    one, three = (batch.images if kind is SliceData else batch.slices for batch in batches)
    assert torch.equal(three, one.repeat_interleave(3, dim=-3))
    file = formats.case_file(labelled_folder / "images/sub0.nii.gz")
    assert torch.equal(color.new_case(file).images, gray.new_case(file).images.repeat(1, 3, 1, 1))


def test_planes_of_uneven_spacing_become_even(tmp_path):
    rng = np.random.default_rng(0)
    for number, millimetres in enumerate((1.0, 2.0, 1.5)):
        affine = np.diag([millimetres, 1.0, millimetres, 1.0])
        write(tmp_path / f"{number}.nii.gz", rng.uniform(1, 2, (12, 6, 12)).astype(np.float32), affine)
    folder = FolderSource(str(tmp_path), fractions=(1, 0, 0))
    for kind in (SliceData, StackData):
        data = kind(folder, axis=1, size=(12, 12), spacing_tolerance=0.2)
        assert data.cache.spacing == (1.5, None, 1.5)
        assert data.settled({"spacing": None})["spacing"] == [1.5, None, 1.5]
        assert kind(folder, axis=1, size=(12, 12), spacing_tolerance=1.0).cache.spacing is None
    first = StackData(folder, axis=1, size=(12, 12), spacing_tolerance=0.2).train().__getitems__([0]).slices
    assert (first[0, :, 0] != 0).any(dim=0).sum() == 8 * 8  # 12 voxels of 1 mm are 8 of 1.5 mm


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"axis": 3}, "axis: expected one of 0, 1, 2, got 3"),
        ({"size": (0, 4)}, "size: expected 1 or more, got 0"),
        ({"size": (4,)}, "size: expected height and width"),
        ({"min_foreground": 1.5}, "min_foreground: expected a number from 0.0 to 1.0"),
        ({"stride": 0}, "stride: expected 1 or more, got 0"),
        ({"channels": 2}, "channels: expected one of 1, 3, got 2"),
        ({"foreground_percentile": 101.0}, "foreground_percentile: expected a number from 0.0 to 100.0"),
        ({"score_range": (3, -3)}, "score_range: expected two numbers, the smaller first"),
        ({"spacing_tolerance": -1.0}, "spacing_tolerance: expected 0 or more"),
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


def test_an_axial_slice_lies_as_the_picture_of_it(tmp_path):
    """A viewer shows a slice with anterior above and the right side on the left; so does what it exports."""
    voxels = np.random.default_rng(0).uniform(10, 90, (12, 12, 3)).astype(np.float32)  # along R, A, S
    voxels[1:4, 4:7] = 200  # on the left
    write(tmp_path / "nifti" / "a.nii.gz", voxels)
    (tmp_path / "png").mkdir()
    shown = voxels[::-1, ::-1, 1].T
    Image.fromarray(shown.astype(np.uint8)).save(tmp_path / "png" / "a.png")
    parts = {"fractions": (1.0, 0.0, 0.0)}
    slices = SliceData(FolderSource(str(tmp_path / "nifti"), **parts), axis=2, size=(12, 12), min_foreground=0.0)
    pictures = SliceData(
        FolderSource(str(tmp_path / "png"), "*.png", **parts), axis=2, size=(12, 12), min_foreground=0.0
    )
    cut, picture = slices.train().images(torch.tensor([1])), pictures.train().images(torch.tensor([0]))
    assert np.corrcoef(cut.flatten(), picture.flatten())[0, 1] > 0.99
    as_it_comes = SliceData(slices.source, axis=2, size=(12, 12), min_foreground=0.0, upright=False)
    assert np.corrcoef(as_it_comes.train().images(torch.tensor([1])).flatten(), picture.flatten())[0, 1] < 0.5
