import numpy as np

from medgraph.evaluation.contrastive_pca import fit_linear_spaces


def test_contrastive_directions_are_those_that_only_the_target_varies_in():
    rng = np.random.default_rng(0)
    voxels = rng.normal(size=(400, 6)) * [5, 4, 1, 1, 1, 1]
    is_target = np.arange(400) % 2 == 0
    voxels[is_target, 5] += 3 * rng.normal(size=200)
    spaces = fit_linear_spaces(voxels, is_target, dim=1, contrast=1.0, seed=0)
    found = spaces.project(voxels[is_target])
    assert abs(np.corrcoef(found["PCA"][:, 0], voxels[is_target, 0])[0, 1]) > 0.9
    assert abs(np.corrcoef(found["contrastive PCA"][:, 0], voxels[is_target, 5])[0, 1]) > 0.8


def test_no_more_directions_than_voxels():
    voxels = np.random.default_rng(0).normal(size=(30, 3))
    spaces = fit_linear_spaces(voxels, np.arange(30) % 2 == 0, dim=8, contrast=1.0, seed=0)
    assert spaces.project(voxels)["PCA"].shape == (30, 3)
