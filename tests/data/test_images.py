import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from medgraph.data.images import ImageFolderData, read_image
from medgraph.data.pixels import read_gray, read_mask
from medgraph.errors import DataError


def write_image(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    lines = ["file,split,label,class"]
    for i in range(6):
        name = f"{i}.png" if i % 2 else f"{i}.jpg"
        shape = (20, 30, 3) if i == 4 else (20, 30)
        write_image(tmp_path / "images" / name, rng.integers(0, 255, shape, dtype=np.uint8))
        lines.append(f"{name},{'val' if i == 5 else 'train'},{i % 2},{'even' if i % 2 == 0 else 'odd'}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    return tmp_path


def test_png_and_jpeg_are_read_by_the_list(folder):
    data = ImageFolderData(str(folder), size=(16, 24))
    assert (data.spec.num_examples, data.spec.classes, data.spec.channels) == (5, ("even", "odd"), 1)
    train = data.train()
    assert train.labels.tolist() == [0, 1, 0, 1, 0]
    batch = train.__getitems__([4, 0])
    assert batch.images.shape == (2, 1, 16, 24)
    assert batch.ids.tolist() == [4, 0]
    assert batch.sources.tolist() == [0, 0]
    assert len(data.validation()) == 1


def test_three_channels_are_read_where_asked(folder):
    images = ImageFolderData(str(folder), channels=3, size=(20, 30)).train().__getitems__([0, 4]).images
    assert images.shape == (2, 3, 20, 30)
    assert (images[0, 0] == images[0, 2]).all()  # gray
    assert not (images[1, 0] == images[1, 2]).all()


def test_images_are_scaled_to_fit_and_padded_around_the_centre(tmp_path):
    write_image(tmp_path / "a.png", np.tile(np.arange(40, dtype=np.uint8) * 6, (20, 1)))
    pixels = read_image(tmp_path / "a.png", 1, (16, 16), (0, 100))
    assert pixels.shape == (1, 16, 16)
    assert (pixels[0, :4] == 0).all()
    assert (pixels[0, 12:] == 0).all()
    assert (np.diff(pixels[0, 8]) > 0).all()


def test_the_range_of_scores_is_a_setting(folder):
    narrow, wide = (
        ImageFolderData(str(folder), size=(20, 30), score_range=(-a, a)).train().__getitems__([1]).images
        for a in (1, 9)
    )
    scores = 18 * wide - 9
    torch.testing.assert_close(narrow, ((scores + 1) / 2).clamp(0, 1), rtol=0, atol=1e-5)
    assert 0 < wide.min() < wide.max() < 1
    with pytest.raises(ValueError, match="score_range: expected two different numbers"):
        ImageFolderData(str(folder), score_range=(0, 0))


def test_deep_gray_images_keep_their_range(tmp_path):
    write_image(tmp_path / "a.png", np.linspace(0, 60_000, 256).reshape(16, 16).astype(np.uint16))
    assert np.unique(read_image(tmp_path / "a.png", 1, (16, 16), (0, 100))).size > 200


def test_photographs_are_turned_as_their_camera_says(tmp_path):
    pixels = np.zeros((20, 40), dtype=np.uint8)
    pixels[:, :10] = 200  # on the left, which is on top once turned
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(pixels).save(tmp_path / "a.jpg", exif=turned, quality=95)
    found = read_gray(tmp_path / "a.jpg")
    assert found.shape == (40, 20)
    assert found[:8].min() > 150 > 50 > found[12:].max()


def test_without_a_list_all_images_are_taken(folder):
    data = ImageFolderData(str(folder), labels=None, size=(8, 8), fractions=(0.5, 0.0, 0.5))
    assert (len(data.train()), len(data.test()), data.spec.classes) == (3, 3, ())
    assert data.train().labels.tolist() == [-1, -1, -1]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,split\n0.jpg,train\n", "has the columns name, split, expected file and split"),
        ("file,split\n", "lists no images, expected a line for each"),
        ("file,split\n0.jpg,maybe\n", "line 2: split is 'maybe', expected train, val or test"),
        ("file,split,label\n0.jpg,train,x\n", "line 2: label is 'x', expected 0, 1, 2"),
        ("file,split,label\n0.jpg,train,2\n", r"has the labels \[2\], expected 0, 1, 2, ... without gaps"),
        ("file,split\nno.png,train\n", r"no.png: no such file, expected an image"),
        ("file,split\n0.jpg,val\n", "no image in the part 'train'"),
        ("", "has the columns none, expected file and split"),
        ("file,split,label\n0.jpg,train\n", "line 2: has 2 cells, expected 3 for the columns file, split, label"),
        ("file,split\n,train\n", "line 2: file is empty, expected the name of an image"),
        ("file,split\n0.jpg,train\n0.jpg,train\n", "line 3: lists the image '0.jpg' again, which line 2 lists"),
        ("file,split\n0.jpg,train\n\nimages/0.jpg,val\n", "line 4: lists the image 'images/0.jpg' again, which line 2"),
        (
            "file,split,label,class\n0.jpg,train,0,\n1.png,train,0,even\n2.jpg,train,0,odd\n",
            "line 4: calls the label 0 'odd', which line 3 calls 'even', expected one class for each label",
        ),
    ],
)
def test_a_wrong_list_is_refused(folder, text, words):
    (folder / "labels.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        ImageFolderData(str(folder)).train()


def test_a_list_of_excel_is_read_in_utf_8_alone(folder):
    text = (folder / "labels.csv").read_text().replace("even", "gesünder")
    (folder / "labels.csv").write_text(text, encoding="utf-8-sig")
    assert ImageFolderData(str(folder)).spec.classes == ("gesünder", "odd")
    (folder / "labels.csv").write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=r"labels.csv, line 2: holds the byte 0xfc, expected text in UTF-8"):
        _ = ImageFolderData(str(folder)).spec


def test_missing_folders_lists_and_images_are_named(tmp_path):
    with pytest.raises(DataError, match="no such folder, expected one with PNG or JPEG"):
        _ = ImageFolderData(str(tmp_path / "none")).spec
    with pytest.raises(DataError, match=r"labels.csv: no such file, expected a list of the images"):
        _ = ImageFolderData(str(tmp_path)).spec
    with pytest.raises(DataError, match="holds no PNG or JPEG image"):
        _ = ImageFolderData(str(tmp_path), labels=None).spec


def test_files_that_show_nothing_are_refused(tmp_path):
    (tmp_path / "a.png").write_text("no image")
    with pytest.raises(DataError, match=r"a.png: cannot be read as an image"):
        read_image(tmp_path / "a.png", 1, (8, 8), (0, 100))
    write_image(tmp_path / "b.png", np.full((9, 9), 7, np.uint8))
    with pytest.raises(DataError, match=r"b.png: all voxels are 7"):
        read_image(tmp_path / "b.png", 1, (8, 8), (0, 100))


def test_an_image_that_declares_gigantic_sides_is_named(tmp_path):
    write_image(tmp_path / "a.png", np.zeros((4, 4), np.uint8))
    head, rest = (tmp_path / "a.png").read_bytes()[:12], (tmp_path / "a.png").read_bytes()[33:]
    sides = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 200_000, 8, 0, 0, 0, 0)
    (tmp_path / "a.png").write_bytes(head + sides + struct.pack(">I", zlib.crc32(sides)) + rest)
    with pytest.raises(DataError, match=r"a.png: cannot be read as an image: Image size \(20000000000 pixels\)"):
        ImageFolderData(str(tmp_path), labels=None).train()
    with pytest.raises(DataError, match=r"a.png: cannot be read as a mask: Image size .* Shrink it, or leave it out"):
        read_mask(tmp_path / "a.png")


def test_a_text_in_an_image_that_unpacks_without_end_is_named(tmp_path):
    text = PngInfo()
    text.add_text("comment", "a" * 2**23, zip=True)
    Image.fromarray(np.eye(9, dtype=np.uint8)).save(tmp_path / "a.png", pnginfo=text)
    with pytest.raises(DataError, match=r"a.png: cannot be read as an image \(Decompressed data too large"):
        read_image(tmp_path / "a.png", 1, (8, 8), (0, 100))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"channels": 2}, "channels: expected one of 1, 3, got 2"),
        ({"size": (0, 8)}, "size: expected 1 or more, got 0"),
        ({"percentiles": (9, 1)}, "percentiles: expected two numbers"),
    ],
)
def test_wrong_settings(arguments, words):
    with pytest.raises(ValueError, match=words):
        ImageFolderData("x", **arguments)
