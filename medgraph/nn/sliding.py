"""Networks made for patches applied to volumes of any size, by MONAI's sliding window."""

from collections.abc import Callable, Sequence

from monai.inferers import sliding_window_inference
from torch import Tensor


def sliding_window(
    logits: Callable[[Tensor], Tensor], x: Tensor, size: Sequence[int], overlap: float, num_windows: int = 4
) -> Tensor:
    """Logits (n, classes, *volume) of volumes x (n, c, *volume): windows of `size`, weighted to their middle, averaged.

    Memory is that of `num_windows` windows and of one volume of logits, however large the volume. A volume smaller than
    a window is padded with 0.

    Args:
        logits: Maps windows (w, c, *size) to logits of the same size.
        x: Volumes.
        size: Of a window.
        overlap: Share of a window that the next one sees again.
        num_windows: Windows at once.
    """
    found = sliding_window_inference(x, tuple(size), num_windows, logits, overlap=overlap, mode="gaussian")
    assert isinstance(found, Tensor)  # one output in, one out
    return found
