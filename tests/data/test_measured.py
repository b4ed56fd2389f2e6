"""Images with a number each: from the list of a folder, or from an .npz file."""

import numpy as np
import pytest
import torch
from PIL import Image

from medgraph.data import formats
from medgraph.data.measured import MeasuredArraysData, MeasuredFolderData
from medgraph.errors import DataError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "images").mkdir()
    lines = ["file,split,age"]
    for i in range(8):
        Image.fromarray(np.arange(96, dtype=np.uint8).reshape(8, 12) + i).save(tmp_path / "images" / f"{i}.png")
        lines.append(f"{i}.png,{'train' if i < 6 else 'test'},{40.5 + i}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


@pytest.fixture
def arrays(tmp_path):
    stored = {f"{part}_images": np.full((n, 4, 5, 6), 51, np.uint8) for part, n in (("train", 9), ("val", 3))}
    stored |= {"train_labels": np.arange(9) / 2, "val_labels": np.arange(3)[:, None]}
    np.savez(tmp_path / "a.npz", **stored)
    return tmp_path / "a.npz", stored


def test_a_folder_gives_the_numbers_of_its_list(folder):
    data = MeasuredFolderData(str(folder), "age", seed=0, unit="years", size=(8, 12), num_labelled=3)
    assert (data.spec.target, data.spec.num_examples, data.spec.classes) == ("age, years", 3, ())
    train = data.train()
    assert train.labels.tolist() == [40.5 + int(i) for i in train.ids]
    more = MeasuredFolderData(str(folder), "age", seed=0, num_labelled=5).train()
    assert set(train.ids.tolist()) <= set(more.ids.tolist())
    assert data.test().labels.tolist() == [46.5, 47.5]
    assert len(data.files) == 8
    new = data.new_case(formats.case_file(folder / "images" / "6.png"))
    assert torch.equal(new.images, data.test().__getitems__([0]).images)


def test_arrays_keep_their_numbers(arrays):
    data = MeasuredArraysData(str(arrays[0]), seed=0, measure="age, years", num_labelled=4, test_part="validation")
    assert (data.spec.spatial_dims, data.spec.size, data.spec.target) == (3, (4, 5, 6), "age, years")
    train = data.train()
    assert train.labels.tolist() == [int(i) / 2 for i in train.ids]
    assert len(train) == data.spec.num_examples == 4
    assert data.test().labels.tolist() == data.validation().labels.tolist() == [0, 1, 2]
    assert train.__getitems__([0]).images.unique().item() == pytest.approx(0.2)


def test_a_share_of_the_numbers_is_rounded_up(folder, arrays):
    for made, count in (
        (lambda **few: MeasuredFolderData(str(folder), "age", seed=0, **few), 3),  # of 6
        (lambda **few: MeasuredArraysData(str(arrays[0]), seed=0, measure="age", **few), 5),  # of 9
    ):
        data = made(num_labelled=0.5)
        assert len(data.train()) == data.spec.num_examples == count
        data.check_num_labelled(6)
        with pytest.raises(DataError, match=r"num_labelled is 10, expected 1, the number of classes, to \d"):
            made().check_num_labelled(10)


def test_what_is_missing_or_no_number_is_named(folder, arrays):
    with pytest.raises(DataError, match=r"labels\.csv has the columns file, split, age, expected 'weight'"):
        MeasuredFolderData(str(folder), "weight", seed=0).spec  # noqa: B018
    text = (folder / "labels.csv").read_text()
    for word in ("old", "inf"):
        (folder / "labels.csv").write_text(text.replace("47.5", word))
        with pytest.raises(DataError, match=rf"age of 7\.png is '{word}', expected a finite number"):
            MeasuredFolderData(str(folder), "age", seed=0).spec  # noqa: B018
    with pytest.raises(DataError, match=r"has no test_images. Set test_part to validation"):
        MeasuredArraysData(str(arrays[0]), seed=0, measure="age").test()
    np.savez(arrays[0], **{**arrays[1], "val_labels": np.array([1.0, np.nan, 2.0])})
    with pytest.raises(DataError, match="val_labels holds numbers that are not finite"):
        MeasuredArraysData(str(arrays[0]), seed=0, measure="age").spec  # noqa: B018
