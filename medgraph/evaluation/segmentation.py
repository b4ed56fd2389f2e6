"""Dice and HD95 of whole volumes, per label, in millimetres and on each volume's native grid."""

import warnings
from typing import Any

import numpy as np
import torch
from monai.metrics import compute_hausdorff_distance

from medgraph import checks
from medgraph.data.batches import VolumeCase
from medgraph.evaluation.scores import Scores


class SegmentationScores:
    """Predict every test volume slice by slice, put the labels back on the native grid, and score them there.

    Dice = 2 |P and T| / (|P| + |T|), 1 where a label is missing in both. HD95 = the larger of the two 95th
    percentiles of distances between the surfaces, in mm; 0 where a label is missing in both, the volume's diagonal
    where in one.

    Args:
        batch_size: Slices predicted at once.
    """

    def __init__(self, batch_size: int = 64):
        self.batch_size = checks.at_least("batch_size", batch_size, 1)

    def evaluate(self, model: Any, data: Any, device: str = "cpu") -> Scores:
        """Scores of `model.predict` (n, c, h, w) -> logits (n, classes, h, w) on `data.test()`.

        The model is left in eval mode, on `device`.
        """
        model.eval().to(device)
        rows, overlays = [], []
        for case in data.test():
            slices = self._predict(model, case, device)
            predicted = case.to_native(slices)
            for index, label in enumerate(data.spec.classes[1:], start=1):
                p, t = predicted == index, case.labels == index
                row = {"case": case.id, "label": label}
                rows.append(row | {"dice": dice(p, t), "hd95": hd95(p, t, case.spacing)})
            overlays.append(_overlay(case, slices))
        return Scores(rows, overlays)

    @torch.no_grad()
    def _predict(self, model: Any, case: VolumeCase, device: str) -> np.ndarray:
        parts = [model.predict(part.to(device)).argmax(dim=1) for part in case.images.split(self.batch_size)]
        return torch.cat(parts).cpu().numpy().astype(np.uint8)


def dice(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Dice overlap of two boolean arrays; 1 when both are empty."""
    total = int(predicted.sum()) + int(truth.sum())
    return 2 * int((predicted & truth).sum()) / total if total else 1.0


def hd95(predicted: np.ndarray, truth: np.ndarray, spacing: tuple[float, float, float]) -> float:
    """95 % Hausdorff distance of two boolean arrays (d, h, w) in mm; the diagonal when just one is empty."""
    if not predicted.any() or not truth.any():
        extent = np.asarray(truth.shape) * np.asarray(spacing)
        return 0.0 if predicted.any() == truth.any() else float(np.linalg.norm(extent))
    p, t = (torch.from_numpy(np.ascontiguousarray(mask))[None, None] for mask in (predicted, truth))
    with warnings.catch_warnings():
        # MONAI's own call, inside MONAI
        warnings.filterwarnings("ignore", message=".*always_return_as_numpy", category=FutureWarning)
        distance = compute_hausdorff_distance(p, t, include_background=True, percentile=95, spacing=list(spacing))
    return float(distance)


def _overlay(case: VolumeCase, slices: np.ndarray) -> dict[str, Any]:
    """The slice that holds most truth, for the report."""
    truth = case.record.cut_native(case.labels)
    number = int((truth > 0).sum(axis=(1, 2)).argmax())
    image = (case.images[number, 0].clamp(0, 1) * 255).round().to(torch.uint8)
    return {
        "case": case.id,
        "image": image.tolist(),
        "truth": truth[number].tolist(),
        "prediction": slices[number].tolist(),
    }
