"""Handwritten digits from MNIST's own files, split by writer."""

import gzip
import zlib
from pathlib import Path

import numpy as np

from medgraph.errors import DataError

FIRST_TEST_DIGIT = 7000  # of the 10,000: earlier ones train


def read_digits(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 28, 28) in [0, 1], float32, and classes (n,) of MNIST's 10,000: the first 7,000 train.

    Args:
        folder: Holds `t10k-images-idx3-ubyte.gz` and `t10k-labels-idx1-ubyte.gz`.
        part: "train", or anything else for the last 3,000.

    Raises:
        DataError: A file is missing or damaged.
    """
    images = _read(folder / "t10k-images-idx3-ubyte.gz", header=16, shape=(28, 28))
    labels = _read(folder / "t10k-labels-idx1-ubyte.gz", header=8)
    if len(images) != len(labels):
        raise DataError(
            f"{folder}: {len(images)} digits with {len(labels)} labels, expected as many. Fetch them again."
        )
    chosen = slice(0, FIRST_TEST_DIGIT) if part == "train" else slice(FIRST_TEST_DIGIT, None)
    return images[chosen].astype(np.float32) / 255, labels[chosen].astype(np.int64)


def _read(path: Path, header: int, shape: tuple[int, ...] = ()) -> np.ndarray:
    try:
        return np.frombuffer(gzip.open(path).read(), np.uint8, offset=header).reshape(-1, *shape)
    except FileNotFoundError:
        raise DataError(
            f"{path}: no such file, expected MNIST's test part as published. Set data.root to the folder that holds "
            "mnist/ and cifar10/."
        ) from None
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise DataError(f"{path}: is damaged ({error}), expected MNIST's gzip file. Fetch it again.") from error
