"""PNG and JPEG files of single images: pixels in, label maps out."""

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from medgraph.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg")


def open_image(path: Path, channels: int) -> Image.Image:
    """The image as gray (1) or color (3); 16-bit and float files as float. Raises DataError."""
    try:
        with Image.open(path) as file:
            deep = file.mode in ("I", "F") or file.mode.startswith("I;16")
            return file.convert("F") if deep else file.convert("L" if channels == 1 else "RGB")
    except FileNotFoundError:
        raise DataError(f"{path}: no such file, expected an image. Correct the list, or add the file.") from None
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error}). Repair it, or leave it out.") from error


def read_gray(path: Path) -> np.ndarray:
    """Gray pixels `(h, w)`, float32. Raises DataError."""
    return np.asarray(open_image(path, 1), dtype=np.float32)


def read_mask(path: Path) -> np.ndarray:
    """Values of a mask `(h, w)`: gray levels, or the indices of a palette, never its colors. Raises DataError."""
    try:
        with Image.open(path) as file:
            if file.mode not in ("1", "L", "P", "I") and not file.mode.startswith("I;16"):
                raise DataError(
                    f"{path}: is an image of mode {file.mode}, expected one number for each pixel. Save the mask as a "
                    "gray PNG whose values are the classes."
                )
            return np.asarray(file).astype(np.int32)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file, expected a mask. Add it, or leave the image out.") from None
    except (UnidentifiedImageError, OSError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error}). Repair it, or leave it out.") from error


def write_gray(path: Path, pixels: np.ndarray) -> None:
    """Write `(h, w)`: class indices as an 8-bit PNG; values in [0, 1] as a 16-bit one, 1 as 65535."""
    if pixels.dtype.kind == "f":
        pixels = np.round(pixels * 65535).astype(np.uint16)
    Image.fromarray(pixels).save(path)
