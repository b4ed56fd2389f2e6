"""Images and masks of plain files: the same pixels together, in gray and color, and back on the file's own grid."""

import numpy as np
import pytest
import torch
from PIL import Image

from medgraph.data import formats, pixels
from medgraph.data.fingerprint import fingerprint
from medgraph.data.images import ImageFolderData
from medgraph.data.labelled_images import LabelledImageData
from medgraph.errors import DataError

CLASSES = ("background", "cell")


def write(root, name, height, width, color=False, values=(0, 1), seed=0):
    """A dark image whose bright box is marked in its mask. Returns the mask."""
    pixels_ = np.random.default_rng(seed).integers(0, 40, (height, width, 3 if color else 1), dtype=np.uint8)
    mask = np.full((height, width), values[0], np.uint8)
    pixels_[3:9, 4:10] += 200
    mask[3:9, 4:10] = values[1]
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels_ if color else pixels_[..., 0]).save(root / "images" / name)
    Image.fromarray(mask).save((root / "masks" / name).with_suffix(".png"))
    return mask


@pytest.fixture
def folder(tmp_path):
    """Eight images of different sizes; six train, two validate."""
    lines = ["file,split"]
    for i in range(8):
        write(tmp_path, f"{i}.png", 12 + i, 16 - (i % 3), seed=i)
        lines.append(f"{i}.png,{'train' if i < 6 else 'val'}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


def made(folder, **settings):
    settings = {"classes": CLASSES, "seed": 0, "size": (12, 14), "test_part": "validation", **settings}
    return LabelledImageData(str(folder), **settings)


def test_pixels_and_masks_stay_together(folder):
    data = made(folder, num_labelled=4)
    assert (data.spec.spatial_dims, data.spec.channels, data.spec.size) == (2, 1, (12, 14))
    assert (data.spec.num_examples, data.spec.classes) == (4, CLASSES)
    batch = data.train().__getitems__([0, 2, 3])
    assert batch.images.shape == (3, 1, 12, 14)
    assert batch.labels.dtype == torch.long
    assert torch.equal(batch.labels == 1, batch.images[:, 0] > 0.6)  # what is bright
    assert (batch.labels == 1).sum() >= 3 * 25


def test_few_masks_are_among_more_and_shares_are_rounded_up(folder):
    def chosen(count, seed=0):
        return made(folder, num_labelled=count, seed=seed)._labelled(count)

    assert chosen(2) == chosen(4)[:2] == chosen(0.3)
    assert chosen(None)[:4] == chosen(4)
    assert chosen(2) != chosen(2, seed=1)
    made(folder).check_num_labelled(6)
    with pytest.raises(DataError, match="num_labelled is 7, expected at most 6, the number of training images"):
        made(folder).check_num_labelled(7)


@pytest.mark.parametrize("fit", ["crop", "resize"])
@pytest.mark.parametrize("color", [False, True])
def test_whole_images_are_scored_on_their_own_pixels(tmp_path, fit, color):
    masks = {f"{i}": write(tmp_path, f"{i}.jpg", 30 + i, 20, color, seed=i) for i in range(5)}
    data = made(tmp_path, index=None, channels=3 if color else 1, fit=fit, size=(24, 24), fractions=(0.4, 0.4, 0.2))
    for case in (*data.validation(), *data.test()[:]):
        assert case.images.shape[1] == (3 if color else 1)
        np.testing.assert_array_equal(case.labels[..., 0], masks[case.id])
        assert (case.spacing, case.unit) == ((1.0, 1.0, 1.0), "px")
        assert case.to_native(case.record.cut_native(case.labels)).shape == case.labels.shape
        if fit == "crop":
            np.testing.assert_array_equal(case.to_native(case.record.cut_native(case.labels)), case.labels)
        new = data.new_case(formats.case_file(tmp_path / "images" / f"{case.id}.jpg"), whole=True)
        assert torch.equal(new.images, case.images)
        assert new.grid.shape == case.labels.shape


def test_resized_images_are_those_that_the_encoder_saw_in_pre_training(tmp_path):
    for i in range(3):
        write(tmp_path, f"{i}.png", 30, 20, color=True, seed=i)
    settings = {"size": (16, 24), "channels": 3, "fractions": (1.0, 0.0, 0.0), "score_range": (-2.0, 4.0)}
    theirs = ImageFolderData(str(tmp_path / "images"), labels=None, **settings).train().__getitems__(range(3)).images
    case = LabelledImageData(str(tmp_path), CLASSES, 0, index=None, fit="resize", **settings).train()
    assert sorted(x.sum().item() for x in case.__getitems__(range(3)).images) == sorted(x.sum().item() for x in theirs)


def test_masks_may_number_objects_hold_255_or_have_a_palette(folder):
    for number, values in enumerate(((0, 255), (0, 17))):
        write(folder, f"{number}.png", 12, 16, values=values)
    assert set(made(folder, binary=True).train().__getitems__(range(6)).labels.unique().tolist()) == {0, 1}
    with pytest.raises(DataError, match=r"label values \d+, expected 0 to 1 for the classes background, cell"):
        made(folder).train()
    painted = Image.fromarray(np.eye(6, dtype=np.uint8), mode=None).convert("P")
    painted.putpalette([0, 0, 0, 10, 200, 30])
    painted.save(folder / "p.png")
    np.testing.assert_array_equal(pixels.read_mask(folder / "p.png"), np.eye(6))
    Image.fromarray(np.eye(6) > 0).save(folder / "b.png")
    np.testing.assert_array_equal(pixels.read_mask(folder / "b.png"), np.eye(6))
    Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(folder / "c.png")
    with pytest.raises(DataError, match="is an image of mode RGB, expected one number for each pixel"):
        pixels.read_mask(folder / "c.png")
    with pytest.raises(DataError, match="no such file, expected a mask"):
        pixels.read_mask(folder / "none.png")
    (folder / "d.png").write_bytes(b"nonsense")
    with pytest.raises(DataError, match="cannot be read as an image"):
        pixels.read_mask(folder / "d.png")


def test_images_and_masks_are_in_the_hash(folder):
    before = fingerprint(made(folder))
    assert before["num_files"] == 16
    write(folder, "7.png", 19, 15, seed=7)
    assert fingerprint(made(folder)) == before
    Image.fromarray(np.zeros((19, 15), np.uint8)).save(folder / "masks" / "7.png")
    assert fingerprint(made(folder))["sha256"] != before["sha256"]


def test_what_does_not_fit_is_named_before_training(folder):
    for classes, settings in ((("background",), {}), (("background", "a", "b"), {"binary": True})):
        with pytest.raises(ValueError, match="classes: expected background and"):
            made(folder, classes=classes, **settings)
    with pytest.raises(DataError, match="is a volume, but the model was trained on images"):
        made(folder).new_case(formats.case_file("a.nii.gz"))
    Image.fromarray(np.zeros((5, 5), np.uint8)).save(folder / "masks" / "7.png")
    with pytest.raises(DataError, match=r"7\.png: has 5 x 5 pixels, expected 19 x 15 as its image has"):
        made(folder).check_test()
    write(folder, "7.png", 19, 15, values=(0, 2))
    with pytest.raises(DataError, match=r"7\.png: label values 2, expected 0 to 1"):
        made(folder).check_test()
    (folder / "masks" / "0.png").unlink()
    with pytest.raises(DataError, match=r"0\.png: image without mask \(1 of 6 in the part 'train'\), expected "):
        made(folder).spec  # noqa: B018


def test_a_deep_image_has_three_equal_channels_where_color_is_asked_for(folder):
    for number in range(8):
        shape = pixels.read_gray(folder / f"images/{number}.png").shape
        deep = np.random.default_rng(number).integers(0, 60000, shape, dtype=np.uint16)
        Image.fromarray(deep).save(folder / f"images/{number}.png")
    gray, color = (made(folder, channels=channels).train().__getitems__([0, 3]).images for channels in (1, 3))
    assert torch.equal(color, gray.expand(-1, 3, -1, -1))
    assert gray.std() > 0.1


def test_two_images_with_one_mask_are_refused(folder):
    Image.fromarray(np.arange(96, dtype=np.uint8).reshape(8, 12)).save(folder / "images" / "7.jpg")
    with (folder / "labels.csv").open("a") as index:
        index.write("\n7.jpg,train")
    for read in (lambda: made(folder).spec, made(folder).test):
        with pytest.raises(DataError, match=r"7\.png: has the mask 7\.png as 7\.jpg has, expected one image for each"):
            read()
