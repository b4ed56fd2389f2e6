"""PCA and contrastive PCA of voxels: the cheap peers of a common and a salient code."""

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA

_FIRST = 128  # components that contrastive PCA chooses among


@dataclass(frozen=True, eq=False)
class LinearSpaces:
    """Directions of the voxels after `first`; projections are features.

    Attributes:
        first: PCA of all training examples.
        common: Leading directions of all examples, `(k, d)`.
        salient: Directions with most variance in the target beyond that in the background, `(k, d)`.
    """

    first: PCA
    common: np.ndarray
    salient: np.ndarray

    def project(self, voxels: np.ndarray) -> dict[str, np.ndarray]:
        """Features "PCA" and "contrastive PCA" of examples (n, voxels)."""
        reduced = self.first.transform(voxels)
        return {"PCA": reduced @ self.common.T, "contrastive PCA": reduced @ self.salient.T}


def fit_linear_spaces(voxels: np.ndarray, is_target: np.ndarray, dim: int, contrast: float, seed: int) -> LinearSpaces:
    """Fit both on training examples (n, voxels).

    Contrastive PCA takes the leading eigenvectors of C_target - contrast C_background (Abid et al., 2018), here among
    the first 128 principal components of all examples.
    """
    count = min(_FIRST, *voxels.shape)
    first = PCA(count, svd_solver="randomized", random_state=seed).fit(voxels)
    reduced = first.transform(voxels)
    target, background = (np.cov(reduced[group], rowvar=False) for group in (is_target, ~is_target))
    _, vectors = np.linalg.eigh(np.atleast_2d(target - contrast * background))
    dim = min(dim, count)
    return LinearSpaces(first, np.eye(count)[:dim], vectors[:, ::-1][:, :dim].T)
