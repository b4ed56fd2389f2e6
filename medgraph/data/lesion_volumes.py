"""Lesions implanted into real volumes: a contrastive set in 3D with known factors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from medgraph import checks
from medgraph.data import formats
from medgraph.data.cases import Case, Source
from medgraph.data.grouped import Attribute, GroupedImages, no_validation
from medgraph.data.spec import ImageSpec
from medgraph.data.splits import PARTS, kept_aside
from medgraph.data.volumes import VolumeCache
from medgraph.errors import DataError

_PERCENTILES = (1.0, 99.0)
_EDGE = 0.5  # mm, width of a lesion's logistic edge
_STREAMS = {"train": 1, "test": 2, "validation": 4}  # of draws: fixed lesions
_FRESH = 3  # stream of lesions drawn anew


@dataclass(frozen=True, eq=False)
class Crop:
    """A volume cut to the window, where its structure lies in it, and what is known about the whole of it."""

    voxels: np.ndarray
    inside: np.ndarray  # (m, 3) voxels of the window that belong to the structure
    center: np.ndarray  # (3,) middle of the structure in voxels of the window
    spacing: np.ndarray  # (3,) mm
    facts: tuple[float, float]  # volume of the structure in mm^3, share of its first label


class LesionVolumesData:
    """Background: volumes as they are. Target: volumes with one round dark lesion inside the labelled structure.

    Subjects take turns as background and target in training, so the groups share none; every test subject is seen in
    both. A lesion's middle is a voxel of the structure, its radius and its value, in standard deviations of the volume,
    are uniform, its edge is soft. Salient factors: radius, intensity (unless fixed), place along right (`offset_lr`)
    and anterior (`offset_ap`) from the structure's middle in mm, side of that middle. Common: volume of the structure
    in mm^3, and the share of its first label. Volumes are cut to one window around it and never padded, as
    padding would tell the field of view. Each example is fixed by its number; with `fresh`, training draws each lesion
    anew in each epoch, before the views, which share it.

    Args:
        source: Where volumes with labels come from.
        window: Voxels along right, anterior, superior that every volume is cut to.
        radius: Radius in mm, from and to.
        intensity: Value of a lesion, from and to.
        lesions_per_subject: Target examples made from each target subject, each with a lesion of its own.
        pool: Voxels along each axis that are averaged into one; 2 makes training eight times cheaper.
        paired: Every training subject is in both groups, as in testing. For few subjects: encoders learn a dozen of
            them by heart, and then tell the groups apart by subject.
        fresh: Train on lesions drawn by seed, epoch and example; probes are fitted on fixed ones all the same.
        validation_share: Share of the training subjects that is kept aside for validation, where the source has no
            validation part beside its test part.
        seed: Draws fresh lesions; filled by the builder.
    """

    _name = "lesion_volumes"

    def __init__(
        self,
        source: Source,
        window: tuple[int, int, int] = (30, 40, 26),
        radius: tuple[float, float] = (3.0, 7.0),
        intensity: tuple[float, float] = (-2.5, -1.5),
        lesions_per_subject: int = 16,
        pool: int = 1,
        paired: bool = False,
        fresh: bool = False,
        validation_share: float = 0.0,
        seed: int = 0,
    ):
        self.source = source
        self.window = tuple(checks.at_least("window", side, 8) for side in window)
        self.radius = checks.interval("radius", radius, 0.5, 50.0)
        self.intensity = checks.interval("intensity", intensity, -3.0, 3.0)
        self.lesions_per_subject = checks.at_least("lesions_per_subject", lesions_per_subject, 1)
        self.pool = checks.between("pool", pool, 1, min(self.window))
        self.paired, self.fresh, self.seed = paired, fresh, seed
        self.validation_share = checks.fraction("validation_share", validation_share)
        self.cache = VolumeCache(_PERCENTILES)

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """Salient ones first."""
        fixed = self.intensity[0] == self.intensity[1]
        names = ("radius", *(() if fixed else ("intensity",)), "offset_lr", "offset_ap")
        if len(self.source.classes) < 2:
            raise DataError(
                f"{self.source!r}: has the classes {self.source.classes}, expected names of the background and of a "
                "labelled structure. Name them in the source: classes, or labels of dataset.json."
            )
        share = f"{self.source.classes[1].lower().replace(' ', '_')}_share"
        numbers = tuple(Attribute(name, "salient") for name in names)
        return (
            *numbers, Attribute("side", "salient", 2), Attribute("volume", "common"), Attribute(share, "common")
        )  # fmt: skip

    @property
    def spec(self) -> ImageSpec:
        """Facts from headers and index alone."""
        size = tuple(side // self.pool for side in self.window)
        background, target = _groups(self._cases("train"), self.paired)
        count = len(background) + len(target) * self.lesions_per_subject
        return ImageSpec(3, 1, size, count, attributes=tuple(a.name for a in self.attributes))

    def train(self) -> GroupedImages:
        """Each training subject is either background or, `lesions_per_subject` times, target."""
        cases = self._cases("train")
        return self._part(cases, *_groups(cases, self.paired), "train", self.fresh)

    def validation(self) -> GroupedImages:
        """The source's validation subjects, else training subjects kept aside, as in testing. Raises DataError."""
        cases = self._cases("validation")
        if not cases:
            raise no_validation(self._name)
        everyone = list(range(len(cases)))
        return self._part(cases, everyone, everyone, "validation")

    def test(self) -> GroupedImages:
        """Each test subject is once background and `lesions_per_subject` times target; validation subjects if none."""
        cases = self._cases("test")
        everyone = list(range(len(cases)))
        return self._part(cases, everyone, everyone, "test")

    def _cases(self, part: str) -> tuple[Case, ...]:
        """Cases of a part. A source without a test part tests on its validation part; then training cases validate."""
        of_part = {name: tuple(case for case in self.source.cases if case.part == name) for name in PARTS}
        if of_part["test"] and of_part["validation"]:
            return of_part[part]
        if part == "test":
            return of_part["test"] or of_part["validation"]
        subjects = sorted({case.subject for case in of_part["train"]})
        aside = {subjects[n] for n in np.flatnonzero(kept_aside([0] * len(subjects), self.validation_share))}
        return tuple(case for case in of_part["train"] if (case.subject in aside) == (part == "validation"))

    def _part(
        self, cases: Sequence[Case], background: list[int], target: list[int], part: str, fresh: bool = False
    ) -> GroupedImages:
        crops = [self._crop(case) for case in cases]
        crop_of = np.concatenate([background, np.repeat(target, self.lesions_per_subject)]).astype(int)
        is_target = np.arange(len(crop_of)) >= len(background)
        lesions = [self._lesion(crops[c], np.random.default_rng([_STREAMS[part], n]), n) for n, c in enumerate(crop_of)]

        def images_of(indices: Sequence[int], drawn: Sequence[Any]) -> Tensor:
            made = [
                self._implanted(crops[crop_of[n]], lesion) if is_target[n] else crops[crop_of[n]].voxels
                for n, lesion in zip(indices, drawn, strict=True)
            ]
            images = torch.from_numpy(np.stack(made))[:, None]
            return F.avg_pool3d(images, self.pool) if self.pool > 1 else images

        def facts_of(indices: Sequence[int], drawn: Sequence[Any]) -> Tensor:
            pairs = zip(indices, drawn, strict=True)
            known = [self._facts(crops[crop_of[n]], one, bool(is_target[n])) for n, one in pairs]
            return torch.tensor(known).reshape(len(known), len(self.attributes))

        def make(indices: Sequence[int]) -> Tensor:
            return images_of(indices, [lesions[n] for n in indices])

        def redraw(indices: Sequence[int], epoch: int) -> tuple[Tensor, Tensor]:
            streams = ([_FRESH, self.seed, epoch, n] for n in indices)
            drawn = [self._lesion(crops[crop_of[s[-1]]], np.random.default_rng(s), s[-1]) for s in streams]
            return images_of(indices, drawn), facts_of(indices, drawn)

        names = sorted({case.subject for case in cases})
        subjects = torch.tensor([names.index(cases[c].subject) for c in crop_of], dtype=torch.long)
        attributes = facts_of(range(len(crop_of)), lesions)
        groups = torch.from_numpy(is_target)
        return GroupedImages(make, groups, attributes, subjects, f"{self._name}, {part}", redraw if fresh else None)

    def _lesion(self, crop: Crop, rng: np.random.Generator, number: int) -> Any:
        """Middle in voxels of the window, radius in mm and intensity of the lesion of example `number`."""
        middle = crop.inside[rng.integers(len(crop.inside))].astype(np.float64)
        return middle, rng.uniform(*self.radius), rng.uniform(*self.intensity)

    def _implanted(self, crop: Crop, lesion: Any) -> np.ndarray:
        return implant(crop.voxels, crop.spacing, *lesion)

    def _facts(self, crop: Crop, lesion: Any, is_target: bool) -> list[float]:
        middle, radius, intensity = lesion
        right, anterior, _ = (middle - crop.center) * crop.spacing
        fixed = self.intensity[0] == self.intensity[1]
        salient = [radius, *([] if fixed else [intensity]), right, anterior, float(right > 0)]
        return [*(salient if is_target else [np.nan] * len(salient)), *crop.facts]

    def _crop(self, case: Case) -> Crop:
        if case.label is None:
            raise DataError(f"{case.image}: has no label file, expected labels of the structure that a lesion lies in.")
        grid = formats.read_grid(case.image)
        if any(have < want for have, want in zip(grid.ras_shape, self.window, strict=True)):
            raise DataError(
                f"{case.image}: has {grid.ras_shape} voxels, expected at least the window {self.window}. "
                "Make data.window smaller; volumes are never padded, as that would tell their field of view."
            )
        labels = grid.to_ras(formats.read_labels(case.label, grid, self.source.classes))
        places = np.argwhere(labels > 0)
        if len(places) == 0:
            raise DataError(f"{case.label}: labels nothing, expected a structure that a lesion can lie in.")
        middle = places.mean(axis=0)
        room = np.array(grid.ras_shape) - self.window
        first = np.clip(np.round(middle - np.array(self.window) / 2), 0, room).astype(int)
        cut = tuple(slice(start, start + side) for start, side in zip(first, self.window, strict=True))
        inside = np.argwhere(labels[cut] > 0)
        if len(inside) == 0:
            raise DataError(
                f"{case.label}: no labelled voxel lies in the window {self.window} around the middle of all of them. "
                "Make data.window larger, or label one structure, not two apart."
            )
        voxels = np.ascontiguousarray(self.cache.prepared(case.image, case.frame)[cut])
        spacing = np.array(grid.ras_spacing)
        facts = len(places) * float(np.prod(spacing)), float((labels == 1).sum() / len(places))
        return Crop(voxels, inside, middle - first, spacing, facts)


def _groups(cases: Sequence[Case], paired: bool) -> tuple[list[int], list[int]]:
    """Positions of the background cases and of the target cases: subjects take turns, or are in both."""
    if paired:
        return list(range(len(cases))), list(range(len(cases)))
    turn = {subject: number % 2 for number, subject in enumerate(sorted({case.subject for case in cases}))}
    background, target = ([n for n, case in enumerate(cases) if turn[case.subject] == group] for group in (0, 1))
    return background, target


def implant(voxels: np.ndarray, spacing: np.ndarray, middle: np.ndarray, radius: float, intensity: float) -> np.ndarray:
    """`voxels` in [0, 1] with a ball of `radius` mm blended to `intensity` standard deviations, soft at its edge."""
    axes = [(np.arange(n) - m) * s for n, m, s in zip(voxels.shape, middle, spacing, strict=True)]
    distance = np.sqrt(sum(np.square(part) for part in np.meshgrid(*axes, indexing="ij", sparse=True)))
    weight = 1 / (1 + np.exp(np.clip((distance - radius) / _EDGE, -50, 50)))
    value = (intensity + 3) / 6  # `volumes.prepare` maps 3 standard deviations to 1
    return ((1 - weight) * voxels + weight * value).astype(np.float32)
