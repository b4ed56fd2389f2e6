import nibabel as nib
import numpy as np
import pytest
import torch
from reference.nifti_files import write

from medgraph.data.folder import FolderSource
from medgraph.data.labelled_slices import LabelledSliceData
from medgraph.data.labelled_volumes import LabelledVolumeData
from medgraph.data.loader import epoch_batches, load
from medgraph.data.samples import SampleSource
from medgraph.errors import DataError

CLASSES = ("background", "anterior", "posterior")


def source(root, classes=CLASSES, labels="labels/*.nii.gz"):
    return FolderSource(str(root), "images/*.nii.gz", labels, classes, fractions=(0.5, 0.2, 0.3))


def test_images_and_labels_show_the_same_place(tmp_path, labelled_folder):
    for i in range(6):  # the image is its own label
        label = nib.load(labelled_folder / f"labels/sub{i}.nii.gz")
        write(labelled_folder / f"images/sub{i}.nii.gz", label.get_fdata(dtype=np.float32), label.affine)
    train = LabelledSliceData(source(labelled_folder), seed=0, size=(8, 14), percentiles=(0.0, 100.0)).train()
    batch = train.__getitems__(list(range(len(train))))
    assert batch.labels.dtype == torch.long
    assert batch.labels.shape == batch.images.shape[:1] + batch.images.shape[2:]
    assert (batch.labels == 1).sum() > 100
    for image, label in zip(batch.images[:, 0], batch.labels, strict=True):
        first, second = (image[label == value].unique() for value in (1, 2))
        assert len(first) == len(second) == 1  # every pixel of a class has the intensity of its class
        assert first < second


def test_uneven_planes_are_brought_to_one_spacing_and_back(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(6):
        label = rng.integers(0, 2, (10, 6, 10)).repeat(2, axis=0).repeat(2, axis=2).astype(np.uint8)
        affine = np.diag([1.0 + number % 2, 1.0, 1.0, 1.0])
        write(tmp_path / f"images/{number}.nii.gz", label.astype(np.float32), affine)
        write(tmp_path / f"labels/{number}.nii.gz", label, affine)
    folder = source(tmp_path, ("back", "front"))
    data = LabelledSliceData(folder, seed=0, size=(40, 40), percentiles=(0.0, 100.0), spacing_tolerance=0.2)
    everyone = [1.0 + int(case.id) % 2 for case in folder.cases if case.part == "train"]
    assert data.cache.spacing == (np.median(everyone), None, 1.0)
    few = LabelledSliceData(folder, seed=0, size=(40, 40), num_labelled=1, spacing_tolerance=0.2)
    assert few.cache.spacing == data.cache.spacing
    assert {(1.0 + int(case.id) % 2) for case in folder.cases if case.part == "test"} == {1.0, 2.0}
    for case in data.test():
        moved = case.record.cut_native(case.labels)
        assert np.mean((case.images[:, 0].numpy() > 0.5) == moved) > 0.9  # the image is its own label
        back = case.record.to_native(moved)
        assert back.shape == case.labels.shape
        assert np.mean(back == case.labels) > 0.95


def test_few_labels_are_a_prefix_of_more(labelled_folder):
    def chosen(count, seed):
        return LabelledSliceData(source(labelled_folder), seed=seed, num_labelled=count).labelled_cases()

    assert chosen(1, 0) == chosen(2, 0)[:1]
    assert chosen(None, 0)[:2] == chosen(2, 0)
    assert len(chosen(None, 0)) == 3
    assert len({chosen(1, seed) for seed in range(20)}) == 3
    assert {case.part for case in chosen(None, 5)} == {"train"}


def test_a_share_of_the_volumes_is_rounded_up(labelled_folder):
    def data(count, made=LabelledSliceData):
        return made(source(labelled_folder), seed=0, num_labelled=count)

    assert data(0.5).labelled_cases() == data(2).labelled_cases()  # of 3
    assert data(0.01).labelled_cases() == data(1).labelled_cases()
    assert data(0.5, LabelledVolumeData).spec.num_examples == data(2, LabelledVolumeData).spec.num_examples
    for made in (LabelledSliceData, LabelledVolumeData):
        made(source(labelled_folder), seed=0).check_num_labelled(0.9)
        made(source(labelled_folder), seed=0).check_num_labelled(3)
        with pytest.raises(DataError, match="num_labelled is 4, expected at most 3"):
            made(source(labelled_folder), seed=0).check_num_labelled(4)


def test_spec_counts_the_labelled_slices(labelled_folder, cache_folder):
    data = LabelledSliceData(source(labelled_folder), seed=0, axis=1, size=(8, 8), num_labelled=2)
    assert (data.spec.num_classes, data.spec.size, data.spec.channels) == (3, (8, 8), 1)
    assert not cache_folder.exists()
    assert data.spec.num_examples == len(data.train())


def test_more_labels_than_volumes(labelled_folder):
    data = LabelledSliceData(source(labelled_folder), seed=0, num_labelled=4)
    with pytest.raises(DataError, match="num_labelled is 4, expected at most 3, the number of training volumes"):
        data.train()


def test_an_image_without_label(labelled_folder):
    (labelled_folder / "labels/sub0.nii.gz").unlink()
    whole = FolderSource(str(labelled_folder), "images/*.nii.gz", "labels/*.nii.gz", CLASSES, fractions=(1, 0, 0))
    with pytest.raises(DataError, match=r"sub0.nii.gz: image without label \(1 of 6 in the part 'train'"):
        _ = LabelledSliceData(whole, seed=0).spec


def test_no_classes_declared(labelled_folder):
    with pytest.raises(DataError, match=r"declares the classes \(\), expected background and at least one more"):
        _ = LabelledSliceData(source(labelled_folder, classes=()), seed=0).spec


def test_a_label_value_that_no_class_has(labelled_folder):
    with pytest.raises(DataError, match="label values 2, expected 0 to 1 for the classes background, organ"):
        LabelledSliceData(source(labelled_folder, classes=("background", "organ")), seed=0).train()


@pytest.mark.parametrize("made", [LabelledSliceData, LabelledVolumeData])
def test_a_label_value_of_a_test_volume_is_found_before_training_and_again_once_mended(labelled_folder, made):
    data = made(source(labelled_folder), seed=0)
    data.check_test()
    path = next(case.label for case in data.source.cases if case.part == "test")
    volume = nib.load(path)
    nib.save(nib.Nifti1Image(np.full(volume.shape, 7, np.uint8), volume.affine), path)
    for _ in range(2):  # an error is not remembered as a pass
        with pytest.raises(DataError, match="label values 7, expected 0 to 2"):
            data.check_test()
    nib.save(volume.__class__(np.zeros(volume.shape, np.uint8), volume.affine), path)
    data.check_test()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_labels_of_a_case_go_back_to_the_file_they_came_from(labelled_folder, axis):
    data = LabelledSliceData(source(labelled_folder), seed=0, axis=axis, size=(20, 20))
    cases = [*data.validation(), *data.test()]
    assert len(cases) == 3
    for case in cases:
        file = nib.load(labelled_folder / f"labels/{case.id}.nii.gz")
        stored = np.asanyarray(file.dataobj)
        np.testing.assert_array_equal(case.labels, stored)
        np.testing.assert_array_equal(case.affine, file.affine)
        assert case.spacing == pytest.approx(nib.affines.voxel_sizes(file.affine))
        assert case.images.shape[1:] == (1, 20, 20)
        np.testing.assert_array_equal(case.to_native(case.record.cut_native(case.labels)), stored)


def test_cases_form_a_sequence(labelled_folder):
    cases = LabelledSliceData(source(labelled_folder), seed=0).test()
    assert [case.id for case in cases] == [cases[i].id for i in range(len(cases))]
    assert [case.id for case in cases[1:]] == [cases[-1].id]


def test_four_labelled_sample_volumes_load_in_batches():
    data = LabelledSliceData(SampleSource(), seed=0, num_labelled=4)
    train = data.train()
    assert len(train) == data.spec.num_examples
    for batch in load(train, epoch_batches(len(train), 32, seed=0, epoch=0)):
        assert batch.images.shape == (32, 1, 48, 48)
        assert 0 <= batch.labels.min() <= batch.labels.max() <= 2
    assert len(data.test()) == 16


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"axis": 3}, "axis: expected one of 0, 1, 2"),
        ({"num_labelled": 0}, "num_labelled: expected 1 or more, got 0"),
        ({"size": (8, 0)}, "size: expected 1 or more"),
    ],
)
def test_wrong_settings(tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words):
        LabelledSliceData(source(tmp_path), seed=0, **arguments)


def test_the_validation_part_can_be_scored_where_there_is_no_other(labelled_folder):
    data = LabelledSliceData(source(labelled_folder), seed=0, test_part="validation")
    assert [case.id for case in data.test()] == [case.id for case in data.validation()]
    with pytest.raises(ValueError, match="test_part: expected one of 'test', 'validation', got 'train'"):
        LabelledSliceData(source(labelled_folder), seed=0, test_part="train")
