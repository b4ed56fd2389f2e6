"""Connected pieces of label maps."""

import numpy as np
from scipy import ndimage


def largest_component(labels: np.ndarray) -> np.ndarray:
    """The label map with all but the largest connected piece of each label set to 0; voxels that touch by a corner are
    connected.
    """
    kept = np.zeros_like(labels)
    for value in np.unique(labels[labels > 0]):
        pieces, count = ndimage.label(labels == value, structure=np.ones((3,) * labels.ndim))
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        sizes[0] = 0
        kept[pieces == sizes.argmax()] = value
    return kept
