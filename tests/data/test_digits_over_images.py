import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from reference.contrast_files import write_digits, write_images

from medgraph.data.digits import read_digits
from medgraph.data.digits_over_images import DigitsOverImagesData
from medgraph.errors import DataError


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("contrastive")
    write_digits(folder / "mnist")
    write_images(folder / "cifar10")
    return str(folder)


def test_groups_share_no_image_in_training_and_both_hold_every_test_image(root):
    data = DigitsOverImagesData(root, digits_per_image=3)
    train, test = data.train(), data.test()
    assert not set(train.subjects[train.is_target].tolist()) & set(train.subjects[~train.is_target].tolist())
    assert set(test.subjects[test.is_target].tolist()) == set(test.subjects[~test.is_target].tolist())
    assert len(train) == data.spec.num_examples == 250 * 4
    assert len(test) == 8 * 4
    with pytest.raises(
        DataError, match=r"digits_over_images: nothing is kept aside for validation. Set data.validation"
    ):
        data.validation()


def test_validation_shares_no_image_and_no_digit_with_training_and_leaves_the_test_part_alone(root):
    plain, data = DigitsOverImagesData(root), DigitsOverImagesData(root, validation_share=0.2)
    train, validation = data.train(), data.validation()
    assert len(train) == data.spec.num_examples == 200 * 5
    assert len(validation) == 100 * 5
    assert set(validation.subjects[validation.is_target].tolist()) == set(range(100))
    assert torch.equal(data.test().__getitems__([0, 30]).images, plain.test().__getitems__([0, 30]).images)
    whole = read_digits(Path(root) / "mnist", "train")
    kept = [data._chosen((np.arange(len(whole[0])), whole[1]), part)[0] for part in ("train", "validation")]
    assert not set(kept[0]) & set(kept[1])
    assert len(kept[0]) + len(kept[1]) == len(whole[0])


def test_a_target_is_its_image_plus_its_digit(root):
    data = DigitsOverImagesData(root, weight=0.25, shift=0)
    train = data.train()
    first = int(train.is_target.nonzero()[0])
    image = train.__getitems__([first]).images[0]
    digit = int(train.attributes[first, 0])
    bar = image[:, 6:26, 2 + 4 + 2 * digit]
    rest = 0.75 * 60 / 255 if train.attributes[first, 1] == 0 else 0.75 * 160 / 255
    torch.testing.assert_close(bar, torch.full_like(bar, rest + 0.25), atol=0.02, rtol=0)
    torch.testing.assert_close(image[:, 0, 0], torch.full((3,), rest), atol=0.02, rtol=0)


def test_an_example_never_changes_and_background_has_no_digit(root):
    first, second = DigitsOverImagesData(root).train(), DigitsOverImagesData(root).train()
    assert torch.equal(first.__getitems__([0, 700]).images, second.__getitems__([0, 700]).images)
    assert first.attributes[~first.is_target, 0].isnan().all()
    assert not first.attributes[:, 1].isnan().any()


def test_missing_and_damaged_archives_are_named(tmp_path):
    with pytest.raises(DataError, match="no such file, expected natural images"):
        DigitsOverImagesData(str(tmp_path)).train()
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "cifar10_train_subset.zip").write_bytes(b"no zip")
    with pytest.raises(DataError, match="is damaged"):
        _ = DigitsOverImagesData(str(tmp_path)).spec


def archive_of(folder, members):
    (folder / "cifar10").mkdir(parents=True)
    with zipfile.ZipFile(folder / "cifar10" / "cifar10_train_subset.zip", "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return DigitsOverImagesData(str(folder))


def test_images_that_are_damaged_of_another_size_or_too_few_are_named(tmp_path):
    with pytest.raises(DataError, match=r"subset.zip, cat/1.jpg: is damaged .*, expected an image"):
        archive_of(tmp_path / "damaged", {"cat/1.jpg": b"no picture"}).train()
    small = io.BytesIO()
    Image.new("RGB", (20, 30)).save(small, "jpeg")
    with pytest.raises(DataError, match=r"cat/1.jpg: has 30 x 20 pixels, expected 32 x 32"):
        archive_of(tmp_path / "small", {"cat/1.jpg": small.getvalue()}).train()
    with pytest.raises(DataError, match=r"subset.zip: holds no image to test, expected more than 250 of each class"):
        archive_of(tmp_path / "few", {"cat/1.jpg": small.getvalue()}).test()
    whole = archive_of(tmp_path / "bits", {"cat/1.jpg": bytes(range(256)) * 4})
    path = tmp_path / "bits" / "cifar10" / "cifar10_train_subset.zip"
    path.write_bytes(path.read_bytes().replace(bytes(range(256)), bytes(256), 1))
    with pytest.raises(DataError, match=r"cat/1.jpg: is damaged \(Bad CRC-32"):
        whole.train()


def test_refuses_wrong_arguments():
    with pytest.raises(ValueError, match="shift: expected a number from 0 to 2, got 3"):
        DigitsOverImagesData("x", shift=3)
