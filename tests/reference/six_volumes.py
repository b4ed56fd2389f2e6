"""Six small volumes of as many subjects; their labels are a box of two halves."""

from types import SimpleNamespace

import numpy as np

from medgraph.data.cases import Case
from medgraph.data.nifti import write_volume


def six_volumes(folder, spacing=(1.0, 1.0, 1.0), bright=0.0):
    """A source of four training and two test volumes of noise, `bright` more inside the box."""
    rng, affine = np.random.default_rng(0), np.diag([*spacing, 1.0])
    cases = []
    for number, part in enumerate(["train"] * 4 + ["test"] * 2):
        labels = np.zeros((14, 16, 12), np.uint8)
        labels[4:10, 4:8, 4:8], labels[4:10, 8:12, 4:8] = 1, 2
        image, label = folder / f"{number}.nii", folder / f"{number}_labels.nii"
        write_volume(image, (rng.random(labels.shape) + bright * (labels > 0)).astype(np.float32), affine)
        write_volume(label, labels, affine)
        cases.append(Case(str(number), str(number), image, label, part))
    return SimpleNamespace(cases=tuple(cases), classes=("background", "Front part", "Back"))
