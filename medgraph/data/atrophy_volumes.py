"""Atrophy of one half of a structure in real volumes: a contrastive set in 3D whose pattern has no place of its own."""

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
from scipy import ndimage

from medgraph.data.cases import Source
from medgraph.data.grouped import Attribute
from medgraph.data.lesion_volumes import Crop, LesionVolumesData

_REACH = 2  # voxels around a lost voxel whose median replaces it


class AtrophyVolumesData(LesionVolumesData):
    """Background: volumes as they are. Target: volumes whose labelled structure lost a voxel of its rim in one half.

    Each target subject comes twice, once with its anterior and once with its posterior half atrophied: lost voxels take
    the median of what surrounds the structure there. Salient factor: the half (0 posterior, 1 anterior). Common: volume
    of the structure in mm^3 and the share of its first label, both before the loss. For the rest see `lesion_volumes`.

    Args:
        source: Where volumes with labels come from.
        window: Voxels along right, anterior, superior that every volume is cut to.
        pool: Voxels along each axis that are averaged into one; the rim is one voxel thick, so 2 dims it.
        paired: Every training subject is in both groups, as in testing.
        validation_share: Share of the training subjects that is kept aside for validation, where the source has no
            validation part beside its test part.
    """

    _name = "atrophy_volumes"

    def __init__(
        self,
        source: Source,
        window: tuple[int, int, int] = (30, 40, 26),
        pool: int = 1,
        paired: bool = False,
        validation_share: float = 0.0,
    ):
        super().__init__(
            source, window, lesions_per_subject=2, pool=pool, paired=paired, validation_share=validation_share
        )
        self._made: WeakKeyDictionary[Crop, dict[bool, np.ndarray]] = WeakKeyDictionary()

    @property
    def attributes(self) -> tuple[Attribute, ...]:
        """The salient one first."""
        return Attribute("half", "salient", 2), *(one for one in super().attributes if one.role == "common")

    def _lesion(self, crop: Crop, rng: np.random.Generator, number: int) -> Any:
        return number % 2 == 1  # a subject's two examples follow each other

    def _implanted(self, crop: Crop, lesion: Any) -> np.ndarray:
        made = self._made.setdefault(crop, {})
        if lesion not in made:
            made[lesion] = shrink(crop.voxels, crop.inside, crop.center, anterior=lesion)
        return made[lesion]

    def _facts(self, crop: Crop, lesion: Any, is_target: bool) -> list[float]:
        return [float(lesion) if is_target else np.nan, *crop.facts]


def shrink(voxels: np.ndarray, inside: np.ndarray, center: np.ndarray, anterior: bool) -> np.ndarray:
    """`voxels` (r, a, s) after the structure lost a voxel of its rim on one side of its middle.

    Args:
        voxels: Volume.
        inside: Places of the structure (m, 3).
        center: Middle of the structure (3,).
        anterior: Which side.
    """
    structure = np.zeros(voxels.shape, bool)
    structure[tuple(inside.T)] = True
    rim = structure & ~ndimage.binary_erosion(structure, border_value=1)
    side = (np.arange(voxels.shape[1]) > center[1]) == anterior
    shrunk = voxels.copy()
    for place in np.argwhere(rim & side[None, :, None]):
        near = tuple(slice(max(n - _REACH, 0), n + _REACH + 1) for n in place)
        shrunk[tuple(place)] = np.median(voxels[near][~structure[near]])
    return shrunk
