"""Preparation: how the volumes of a set of slices are brought to one spacing and one scale of intensities."""

from functools import cached_property
from typing import Any

import numpy as np

from medgraph import checks
from medgraph.data import formats
from medgraph.data.cases import Source, of_part
from medgraph.data.volumes import Spacing, VolumeCache


class Preparation:
    """Settings of volumes that are cut into slices; the cache that prepares them is made when it is first asked for.

    Args:
        source: Where the volumes come from.
        axis: Axis that is sliced along.
        percentiles: Intensities are clipped to these two percentiles of the volume before scaling.
        spacing: Resample to these millimetres (right, anterior, superior) first; null keeps an axis, None all of them.
        spacing_tolerance: Without `spacing`: bring all volumes to the median spacing of the training volumes within the
            slice plane where those differ there by a larger share than this; None never does.
        score_range: Standard scores that become 0 and 1; what lies outside is clipped.
    """

    def __init__(
        self,
        source: Source,
        axis: int,
        percentiles: tuple[float, float],
        spacing: Spacing,
        spacing_tolerance: float | None,
        score_range: tuple[float, float],
    ):
        self.source, self.axis = source, axis
        if spacing is not None and spacing_tolerance is not None:
            raise ValueError("spacing_tolerance: has no effect beside spacing, which all volumes get. Remove one.")
        if spacing_tolerance is not None:
            checks.not_negative("spacing_tolerance", spacing_tolerance)
        self.spacing_tolerance = spacing_tolerance
        self._given = VolumeCache(percentiles, spacing, score_range=score_range)

    @cached_property
    def cache(self) -> VolumeCache:
        """Prepares the volumes. With a tolerance, reads the headers of the training volumes. Raises DataError."""
        if self.spacing_tolerance is None:
            return self._given
        found = even_spacing(self.source, self.axis, self.spacing_tolerance)
        return VolumeCache(self._given.percentiles, found, score_range=self._given.score_range)

    def settled(self, node: dict[str, Any]) -> dict[str, Any]:
        """The part with the spacing that was found written out, so that no training volume is needed any more."""
        if self.spacing_tolerance is None:
            return node
        spacing = self.cache.spacing
        return {**node, "spacing": None if spacing is None else list(spacing), "spacing_tolerance": None}


def even_spacing(source: Source, axis: int, tolerance: float) -> Spacing:
    """Median spacing of the training volumes on the two axes of the slice plane, from headers.

    None where the widest is at most `tolerance` wider than the narrowest on both axes.
    """
    found = np.array([formats.read_grid(case.image).ras_spacing for case in of_part(source, "train")])
    plane = np.delete(found, axis, axis=1)
    if (plane.max(axis=0) <= (1 + tolerance) * plane.min(axis=0)).all():
        return None
    middle: list[float | None] = [float(value) for value in np.median(found, axis=0)]
    middle[axis] = None
    return middle[0], middle[1], middle[2]
