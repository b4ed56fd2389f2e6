"""Tiny stand-ins for the files that contrastive sets are made from."""

import gzip
import io
import zipfile

import numpy as np
from PIL import Image


def write_digits(folder, count=7040):
    """MNIST's two files: class n is a bar at column 2 n + 4; the last 40 are test digits."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = (np.arange(count) % 10).astype(np.uint8)
    images = np.zeros((count, 28, 28), np.uint8)
    images[np.arange(count), 4:24, 4 + 2 * labels] = 255
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(bytes(16) + images.tobytes(), 1))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(bytes(8) + labels.tobytes(), 1))


def write_images(folder, classes=("cat", "dog"), per_class=254):
    """A zip of class/number.jpg, gray by class."""
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(folder / "cifar10_train_subset.zip", "w") as archive:
        for number, name in enumerate(classes):
            picture = io.BytesIO()
            Image.fromarray(np.full((32, 32, 3), 60 + 100 * number, np.uint8)).save(picture, "jpeg")
            for index in range(per_class):
                archive.writestr(f"{name}/{index:04d}.jpg", picture.getvalue())


def write_pictures(folder, count, size=(12, 12), value=100):
    """`count` png files of one gray value each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(np.full(size, value + number, np.uint8)).save(folder / f"{number}.png")
