"""PNG and JPEG files of single images: pixels in, label maps out."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from medgraph.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg")


def open_image(path: Path, channels: int) -> Image.Image:
    """The image as gray (1) or color (3), turned as its EXIF tag says; 16-bit and float files as float.

    Raises:
        DataError: It cannot be read.
    """
    with _opened(path, "an image") as opened:
        file = ImageOps.exif_transpose(opened)
        deep = file.mode in ("I", "F") or file.mode.startswith("I;16")
        return file.convert("F") if deep else file.convert("L" if channels == 1 else "RGB")


def read_gray(path: Path) -> np.ndarray:
    """Gray pixels `(h, w)`, float32. Raises DataError."""
    return np.asarray(open_image(path, 1), dtype=np.float32)


def read_mask(path: Path) -> np.ndarray:
    """Values of a mask `(h, w)`: gray levels, or the indices of a palette, never its colors. Raises DataError."""
    with _opened(path, "a mask") as file:
        if file.mode not in ("1", "L", "P", "I") and not file.mode.startswith("I;16"):
            raise DataError(
                f"{path}: is an image of mode {file.mode}, expected one number for each pixel. Save the mask as a "
                "gray PNG whose values are the classes."
            )
        return np.asarray(ImageOps.exif_transpose(file)).astype(np.int32)


def write_gray(path: Path, pixels: np.ndarray) -> None:
    """Write `(h, w)`: class indices as an 8-bit PNG; values in [0, 1] as a 16-bit one, 1 as 65535."""
    if pixels.dtype.kind == "f":
        pixels = np.round(pixels * 65535).astype(np.uint16)
    Image.fromarray(pixels).save(path)


@contextmanager
def _opened(path: Path, expected: str) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as file:
            yield file
    except FileNotFoundError:
        raise DataError(f"{path}: no such file, expected {expected}. Add it, or correct the list.") from None
    except Image.DecompressionBombError as error:
        size = str(error).partition(",")[0]  # "Image size (n pixels) exceeds limit of m pixels"
        raise DataError(f"{path}: cannot be read as {expected}: {size}. Shrink it, or leave it out.") from error
    except DataError:
        raise
    except (OSError, ValueError, SyntaxError) as error:  # what Pillow raises for bytes that are no image, or damaged
        raise DataError(f"{path}: cannot be read as an image ({error}). Repair it, or leave it out.") from error
