"""Writes small NIfTI files with awkward affines."""

import nibabel as nib
import numpy as np

FLIPPED = np.array([[0, 0, -2.0, 30], [-1.5, 0, 0, 40], [0, 1.0, 0, -5], [0, 0, 0, 1]])  # LPS-like, axes permuted


def rotation(degrees: float) -> np.ndarray:
    """Affine of an oblique scan: turned around the third axis, 2 mm slices."""
    angle = np.deg2rad(degrees)
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, 3] = [7, -3, 11]
    return affine


def write(path, voxels, affine=None):
    """Write a NIfTI file and return its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
    return path
