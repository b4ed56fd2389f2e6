"""Classes of images come from a list or an .npz file; few labels are drawn evenly and nested."""

import numpy as np
import pytest
import torch
from PIL import Image

from medgraph.data import formats
from medgraph.data.classified import ClassifiedArraysData, ClassifiedFolderData, draw_labelled
from medgraph.data.images import ImageFolderData
from medgraph.errors import DataError


@pytest.fixture
def arrays(tmp_path):
    rng = np.random.default_rng(0)
    parts = {"train": 40, "val": 6}
    stored = {f"{part}_images": rng.integers(0, 256, (n, 5, 6), dtype=np.uint8) for part, n in parts.items()}
    stored |= {f"{part}_labels": (np.arange(n) % 4 == 0)[:, None].astype(np.uint8) for part, n in parts.items()}
    np.savez(tmp_path / "a.npz", **stored)
    return tmp_path / "a.npz", stored


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    lines = ["file,split,label,class"]
    for i in range(8):
        pixels = np.arange(96, dtype=np.uint8).reshape(8, 12) + i
        Image.fromarray(pixels).save(tmp_path / "images" / f"{i}.png")
        lines.append(f"{i}.png,{'train' if i < 6 else 'val'},{i % 2},{'odd' if i % 2 else 'even'}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


def test_arrays_are_scaled_and_keep_their_labels(arrays):
    path, stored = arrays
    data = ClassifiedArraysData(str(path), seed=0, classes=("no", "yes"), test_part="validation")
    assert (data.spec.spatial_dims, data.spec.channels, data.spec.size) == (2, 1, (5, 6))
    assert (data.spec.num_examples, data.spec.classes) == (40, ("no", "yes"))
    batch = data.train().__getitems__([3, 4])
    np.testing.assert_allclose(batch.images[:, 0].numpy() * 255, stored["train_images"][3:5], atol=1e-4)
    assert batch.labels.tolist() == [0, 1]
    assert batch.ids.tolist() == [3, 4]
    assert len(data.test()) == len(data.validation()) == 6
    assert batch.to("cpu").labels.tolist() == [0, 1]


@pytest.mark.parametrize(("shape", "dims", "channels"), [((9, 5, 6, 3), 2, 3), ((9, 4, 5, 6), 3, 1)])
def test_color_and_volumes_are_told_apart_by_the_last_axis(tmp_path, shape, dims, channels):
    np.savez(tmp_path / "a.npz", train_images=np.zeros(shape, np.uint8), train_labels=np.arange(9) % 3)
    spec = ClassifiedArraysData(str(tmp_path / "a.npz"), seed=0).spec
    assert (spec.spatial_dims, spec.channels, spec.classes) == (dims, channels, ("0", "1", "2"))


def test_few_labels_are_nested_and_hold_every_class_in_proportion():
    labels = torch.tensor([0] * 90 + [1] * 9 + [2])
    few, more = draw_labelled(labels, 20, seed=1), draw_labelled(labels, 50, seed=1)
    assert set(few) <= set(more)
    assert torch.bincount(labels[few]).tolist() == [17, 2, 1]
    assert sorted(draw_labelled(labels, 100, seed=1)) == list(range(100))
    assert set(draw_labelled(labels, 20, seed=2)) != set(few)
    with pytest.raises(DataError, match="num_labelled is 2, expected 3, the number of classes, to 100"):
        draw_labelled(labels, 2, seed=1)


def test_a_share_of_the_labels_is_rounded_up(arrays, folder):
    labels = torch.tensor([0] * 90 + [1] * 9 + [2])
    assert set(draw_labelled(labels, 0.195, seed=1)) == set(draw_labelled(labels, 20, seed=1))
    with pytest.raises(DataError, match=r"num_labelled is 0\.01, which is 1 of 100, expected 3"):
        draw_labelled(labels, 0.01, seed=1)
    for made in (
        lambda count: ClassifiedArraysData(str(arrays[0]), seed=0, num_labelled=count, test_part="validation"),
        lambda count: ClassifiedFolderData(str(folder), seed=0, num_labelled=count, test_part="validation"),
    ):
        data = made(0.51)
        assert len(data.train()) == data.spec.num_examples == {40: 21, 6: 4}[len(made(None).train())]
        data.check_num_labelled(2)
        with pytest.raises(DataError, match=r"num_labelled is 0\.001, which is 1 of \d+, expected 2"):
            data.check_num_labelled(0.001)
        with pytest.raises(DataError, match="num_labelled is 41, expected 2, the number of classes, to "):
            data.check_num_labelled(41)


def test_intensities_are_prepared_as_for_pre_training(folder):
    own, plain = (
        data.train().__getitems__([0, 1]).images
        for data in (
            ClassifiedFolderData(str(folder), seed=0, score_range=(-1.0, 5.0)),
            ImageFolderData(str(folder), score_range=(-1.0, 5.0)),
        )
    )
    assert torch.equal(own, plain)
    assert not torch.equal(own, ClassifiedFolderData(str(folder), seed=0).train().__getitems__([0, 1]).images)


def test_a_folder_gives_the_images_of_its_list(folder):
    data = ClassifiedFolderData(str(folder), seed=0, size=(8, 12), num_labelled=4, test_part="validation")
    assert data.spec.classes == ("even", "odd")
    train = data.train()
    assert len(train) == data.spec.num_examples == 4
    assert sorted(train.labels.tolist()) == [0, 0, 1, 1]
    assert all(int(i) % 2 == int(label) for i, label in zip(train.ids, train.labels, strict=True))
    assert len(data.test()) == len(data.validation()) == 2
    assert len(data.files) == 8
    new = data.new_case(formats.case_file(folder / "images" / "6.png"))
    assert torch.equal(new.images, data.test().__getitems__([0]).images)


def test_a_class_that_only_other_parts_have_is_told_before_training(arrays):
    path, stored = arrays
    np.savez(path, **{**stored, "val_labels": np.array([0, 1, 0, 1, 0, 2])})
    with pytest.raises(DataError, match="has the labels 0 to 2, but classes names 2"):
        ClassifiedArraysData(str(path), seed=0, classes=("no", "yes")).spec  # noqa: B018


@pytest.mark.parametrize("kind", [np.float16, np.float64])
def test_floats_from_0_to_1_are_taken_as_they_are(arrays, kind):
    path, stored = arrays
    np.savez(path, **{**stored, "train_images": (stored["train_images"] / 255).astype(kind)})
    images = ClassifiedArraysData(str(path), seed=0).train().__getitems__([3, 4]).images
    assert images.dtype == torch.float32
    np.testing.assert_allclose(images[:, 0].numpy() * 255, stored["train_images"][3:5], atol=0.2)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.full((4, 5, 5), 700, np.int16), "train_images holds int16 from 700 to 700, expected uint8, or floats"),
        (np.linspace(0, 255, 100).reshape(4, 5, 5), "train_images holds float64 from 0 to 255, expected uint8"),
        (np.full((4, 5, 5), np.nan), "train_images holds float64 from nan to nan"),
        (np.ones((4, 5, 5), bool), "train_images holds bool from 1 to 1"),
    ],
)
def test_images_of_another_scale_are_refused(tmp_path, images, words):
    np.savez(tmp_path / "a.npz", train_images=images, train_labels=np.arange(4) % 2)
    with pytest.raises(DataError, match=words):
        ClassifiedArraysData(str(tmp_path / "a.npz"), seed=0).train()


@pytest.mark.parametrize(("label", "told"), [(-1, "-1"), (0.5, "0.5"), (np.nan, "nan"), (np.inf, "inf")])
def test_labels_that_are_no_classes_are_refused(arrays, label, told):
    path, stored = arrays
    np.savez(path, **{**stored, "val_labels": np.array([0, 1, 0, 1, 0, label])})
    with pytest.raises(DataError, match=f"val_labels holds {told}, expected classes: whole numbers from 0"):
        ClassifiedArraysData(str(path), seed=0).train()


def test_what_is_missing_is_named(tmp_path, arrays, folder):
    with pytest.raises(DataError, match=r"has no test_images. Set test_part to validation"):
        ClassifiedArraysData(str(arrays[0]), seed=0).test()
    with pytest.raises(DataError, match="has the labels 0 to 1, but classes names 1"):
        ClassifiedArraysData(str(arrays[0]), seed=0, classes=("one",)).spec  # noqa: B018
    with pytest.raises(DataError, match=r"no such file, expected an \.npz file"):
        ClassifiedArraysData(str(tmp_path / "no.npz"), seed=0).train()
    np.savez(tmp_path / "b.npz", x=np.zeros(3))
    with pytest.raises(DataError, match="holds x, expected train_images and train_labels"):
        ClassifiedArraysData(str(tmp_path / "b.npz"), seed=0).train()
    for images, labels, words in (
        (np.zeros((3, 5, 5)), np.array(["a", "b", "c"]), "train_labels holds <U1, expected numbers"),
        (np.zeros((3, 5, 5)), np.zeros(2), r"train_images has the shape \(3, 5, 5\) and train_labels \(2,\), expected"),
        (
            np.zeros((3, 5)),
            np.zeros(3),
            r"train_images has the shape \(3, 5\) and train_labels \(3,\), expected \(n",
        ),
    ):
        np.savez(tmp_path / "c.npz", train_images=images, train_labels=labels)
        with pytest.raises(DataError, match=f"c.npz: {words}"):
            ClassifiedArraysData(str(tmp_path / "c.npz"), seed=0).train()
    (folder / "labels.csv").write_text("file,split\n0.png,train\n")
    with pytest.raises(DataError, match=r"labels\.csv names 0 classes, expected two or more"):
        ClassifiedFolderData(str(folder), seed=0).spec  # noqa: B018


@pytest.mark.parametrize("raw", [b"", b"hello world\n", b"PK\x03\x04 and then nothing"])
def test_a_text_called_npz_is_named(tmp_path, raw):
    (tmp_path / "a.npz").write_bytes(raw)
    with pytest.raises(DataError, match=r"a.npz: expected an .npz file with train_images and train_labels, never"):
        ClassifiedArraysData(str(tmp_path / "a.npz"), seed=0).spec  # noqa: B018
