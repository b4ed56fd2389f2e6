"""Dice, HD95, surface Dice and volume error of whole volumes or images, per label, on the native grid of each."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance, compute_surface_dice

from medgraph import checks
from medgraph.data.batches import VolumeCase
from medgraph.data.components import largest_component
from medgraph.errors import DataError
from medgraph.evaluation.scores import Scores

_WIDEST = 256  # pixels along a side of a picture; of a larger one every second is shown, or every third ...
_MOST_PIXELS = 2**20  # of all pictures: each is stored as three numbers, for every arm


class SegmentationScores:
    """Predict every test volume, put the labels back on the native grid, and score them there.

    Dice = 2 |P and T| / (|P| + |T|), 1 where a label is missing in both. HD95 = the larger of the two 95th
    percentiles of distances between the surfaces, in mm; 0 where a label is missing in both, the volume's diagonal
    where in one. Surface Dice = share of both surfaces that lies within `tolerance` of the other; 1 where a label is
    missing in both, 0 where in one. Volume error = absolute difference of the volumes, in millilitres. Images know no
    millimetres: their distances are in pixels, `hd95_px`, and areas take the place of volumes, `area_error_px`.

    Args:
        batch_size: Slices predicted at once; a model whose slices know of their neighbours sees all of a case.
        tolerance: Millimetres, in images pixels, that surfaces may be apart for surface Dice.
        largest_component: Keep only the largest connected piece of each label.
    """

    def __init__(self, batch_size: int = 64, tolerance: float = 1.0, largest_component: bool = False):
        self.batch_size = checks.at_least("batch_size", batch_size, 1)
        self.tolerance = checks.positive("tolerance", tolerance)
        self.largest_component = largest_component

    def evaluate(self, model: Any, data: Any, device: str = "cpu") -> Scores:
        """Scores of `model.predict` (n, c, *size) -> logits (n, classes, *size) on `data.test()`.

        The model is left in eval mode, on `device`. The first cases have pictures, up to a million pixels in all.

        Raises:
            DataError: The logits of a voxel are not finite.
        """
        model.eval().to(device)
        rows: list[dict[str, Any]] = []
        overlays: list[dict[str, Any]] = []
        pixels = 0
        for case in data.test():
            slices = self._predict(model, case, device)
            predicted = case.to_native(slices)
            if self.largest_component:
                predicted = largest_component(predicted)
            for index, label in enumerate(data.spec.classes[1:], start=1):
                p, t = predicted == index, case.labels == index
                flat = case.unit == "px"
                row = {"case": case.id, "label": label, "dice": dice(p, t)}
                row["hd95_px" if flat else "hd95"] = hd95(p, t, case.spacing)
                row["surface_dice"] = surface_dice(p, t, case.spacing, self.tolerance)
                if flat:
                    row["area_error_px"] = float(abs(int(p.sum()) - int(t.sum())))
                else:
                    row["volume_error"] = volume_error(p, t, case.spacing)
                rows.append(row)
            if pixels < _MOST_PIXELS:
                overlays.append(_overlay(case, slices))
                pixels += len(overlays[-1]["image"]) * len(overlays[-1]["image"][0])
        return Scores(rows, overlays)

    @torch.no_grad()
    def _predict(self, model: Any, case: VolumeCase, device: str) -> np.ndarray:
        at_once = len(case.images) if getattr(model, "context", None) is not None else self.batch_size
        parts = [model.predict(part.to(device)).max(dim=1) for part in case.images.split(at_once)]
        if not all(bool(best.isfinite().all()) for best, _ in parts):
            raise DataError(
                f"model: predicts NaN or infinity in {case.id}, expected finite logits. Did the training diverge? "
                "Lower its learning rate."
            )
        found = torch.cat([labels for _, labels in parts]).cpu().numpy()
        return found.astype(np.uint8 if found.max() < 256 else np.int32)


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Dice overlap of two boolean arrays; 1 when both are empty."""
    total = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / total if total else 1.0


def hd95(predicted: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...]) -> float:
    """95 % Hausdorff distance of two boolean arrays (d, h, w) in mm; the diagonal when just one is empty.

    An array of a single slice is seen in 2D: as a body, all of it would be surface.
    """
    predicted, truth, spacing = _seen(predicted, truth, spacing)
    if not predicted.any() or not truth.any():
        extent = np.asarray(truth.shape) * np.asarray(spacing)
        return 0.0 if predicted.any() == truth.any() else float(np.linalg.norm(extent))
    p, t = _one_hot(predicted), _one_hot(truth)
    with _quiet():
        distance = compute_hausdorff_distance(p, t, include_background=True, percentile=95, spacing=list(spacing))
    return float(distance)


def surface_dice(predicted: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...], tolerance: float) -> float:
    """Share of both surfaces within `tolerance` mm of each other; 0 when just one array is empty, 1 when both are.

    An array of a single slice is seen in 2D, as for `hd95`.
    """
    predicted, truth, spacing = _seen(predicted, truth, spacing)
    if not predicted.any() or not truth.any():
        return float(predicted.any() == truth.any())
    with _quiet():
        share = compute_surface_dice(
            _one_hot(predicted), _one_hot(truth), [tolerance], include_background=True, spacing=list(spacing)
        )
    return float(share)


def volume_error(predicted: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float]) -> float:
    """Absolute difference of the volumes of two boolean arrays in millilitres."""
    return abs(int(predicted.sum()) - int(truth.sum())) * float(np.prod(spacing)) / 1000


def _seen(
    predicted: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray, tuple[float, ...]]:
    """Both arrays and their spacing without the axis of a single slice."""
    single = [axis for axis, length in enumerate(truth.shape) if length == 1][: truth.ndim - 2]
    kept = tuple(float(space) for axis, space in enumerate(spacing) if axis not in single)  # MONAI mixes no types
    return predicted.squeeze(tuple(single)), truth.squeeze(tuple(single)), kept


def _one_hot(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(mask))[None, None]


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # MONAI's own call, inside MONAI
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)
        yield


def _overlay(case: VolumeCase, slices: np.ndarray) -> dict[str, Any]:
    """The slice that holds most truth, for the report; of a volume seen whole, along its first axis."""
    truth = case.record.cut_native(case.labels)
    images = case.images[:, 0] if case.images.ndim == 4 else case.images[0, 0]  # (n, h, w)
    slices = slices.reshape(truth.shape)
    number = int((truth > 0).sum(axis=(1, 2)).argmax())
    image = (images[number].clamp(0, 1) * 255).round().to(torch.uint8)
    step = -(-max(image.shape) // _WIDEST)
    pictures = {"image": image, "truth": truth[number], "prediction": slices[number]}
    return {"case": case.id, **{name: picture[::step, ::step].tolist() for name, picture in pictures.items()}}
