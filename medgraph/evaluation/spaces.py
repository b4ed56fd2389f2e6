"""Feature spaces of a grouped data set: what an encoder, its codes, the same encoder untrained, and PCA see."""

import copy
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from medgraph.data.grouped import GroupedImages
from medgraph.evaluation.contrastive_pca import fit_linear_spaces
from medgraph.evaluation.frozen import finite

CODES, UNTRAINED, NOISY = " z", "untrained ", " z with noise"  # marks in the names of spaces
_NOISE = 0.1  # of the targets' size: what a code says below that, its size tells not to count on


@dataclass(frozen=True, eq=False)
class Part:
    """Features of one part of the data, by space.

    Attributes:
        spaces: Features `(n, d)` by name.
        is_target, attributes, subjects: As the data set has them.
    """

    spaces: dict[str, np.ndarray]
    is_target: np.ndarray
    attributes: np.ndarray
    subjects: np.ndarray


@dataclass(frozen=True)
class Peers:
    """Which spaces are read beside the encoder's own.

    Attributes:
        codes: The projectors' outputs that the losses saw, of a model that has `codes`.
        untrained: The encoder with its weights drawn again.
        pca: PCA and contrastive PCA of the voxels.
        contrast: Weight of the background in contrastive PCA.
    """

    codes: bool = True
    untrained: bool = True
    pca: bool = True
    contrast: float = 1.0


def read_spaces(
    model: Any, train: GroupedImages, test: GroupedImages, peers: Peers, batch_size: int, device: str
) -> tuple[Part, Part]:
    """Both parts' features: `common` and `salient`, or `single`, of `model.encoder`, left in eval mode; then of peers.

    Spaces of codes end in " z"; the salient code is read once more with noise of a tenth of the training targets' root
    mean square, below which nothing should count as known. Spaces of the untrained encoder begin with "untrained ".

    Raises:
        DataError: A feature is not finite.
    """
    encoder = model.encoder.eval().to(device)
    fresh = untrained(encoder) if peers.untrained else None
    coded = model.eval().to(device) if peers.codes and hasattr(model, "codes") else None
    found = [_read(encoder, coded, fresh, dataset, batch_size, device, peers.pca) for dataset in (train, test)]
    (fitted, voxels), (kept, test_voxels) = found
    if "salient" + CODES in fitted.spaces:
        _add_noisy(fitted, kept)
    if peers.pca:
        dim = min(64, next(iter(fitted.spaces.values())).shape[1])
        linear = fit_linear_spaces(voxels, fitted.is_target, dim, peers.contrast, seed=0)
        fitted.spaces.update(linear.project(voxels))
        kept.spaces.update(linear.project(test_voxels))
    return fitted, kept


def untrained(encoder: Any, seed: int = 0) -> Any:
    """A copy whose weights are drawn again, each layer by its own rule; None where there is nothing to draw.

    A weight that no layer's `reset_parameters` draws would stay trained: then a warning, and None.
    """
    fresh = copy.deepcopy(encoder)
    if not any(True for _ in fresh.parameters()):
        return None
    fresh.eval()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for name, module in fresh.named_modules():
            if hasattr(module, "reset_parameters"):
                module.reset_parameters()
            elif any(True for _ in module.parameters(recurse=False)):
                warnings.warn(f"{name}: draws no weights anew, so no untrained encoder is probed beside.", stacklevel=3)
                return None
    return fresh


@torch.no_grad()
def _read(
    encoder: Any, coded: Any, fresh: Any, dataset: GroupedImages, batch_size: int, device: str, with_voxels: bool
) -> tuple[Part, np.ndarray]:
    found: dict[str, list[np.ndarray]] = {}
    voxels = []
    for start in range(0, len(dataset), batch_size):
        images = dataset.__getitems__(range(start, min(start + batch_size, len(dataset)))).images
        features = _features(encoder, images.to(device))
        read = dict(features)
        if coded is not None:
            read |= {name + CODES: codes for name, codes in coded.codes(**features)._asdict().items()}
        if fresh is not None:
            read |= {UNTRAINED + name: values for name, values in _features(fresh, images.to(device)).items()}
        for name, values in read.items():
            found.setdefault(name, []).append(values.float().cpu().numpy().astype(np.float64))
        if with_voxels:
            voxels.append(images.flatten(1).numpy())
    spaces = {name: finite(np.concatenate(parts)) for name, parts in found.items()}
    facts = dataset.is_target.numpy(), dataset.attributes.numpy(), dataset.subjects.numpy()
    return Part(spaces, *facts), np.concatenate(voxels) if voxels else np.empty((0, 0))


def _features(encoder: Any, images: torch.Tensor) -> dict[str, torch.Tensor]:
    return encoder.parts(images)._asdict() if hasattr(encoder, "parts") else {"single": encoder(images)}


def _add_noisy(train: Part, test: Part) -> None:
    codes = train.spaces["salient" + CODES]
    size = _NOISE * np.sqrt(np.square(codes[train.is_target]).mean())
    rng = np.random.default_rng(0)
    for part in (train, test):
        clean = part.spaces["salient" + CODES]
        part.spaces["salient" + NOISY] = clean + size * rng.standard_normal(clean.shape)
