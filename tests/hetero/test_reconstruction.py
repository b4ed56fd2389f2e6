import pytest
import torch

from medgraph.hetero.reconstruction import FeatureReconstruction


def test_sparse_and_dense_features_give_the_formula(data, rng):
    task = FeatureReconstruction(data.spec, 16, 1.0)
    fine = torch.randn(90, 16, generator=rng)
    sparse = data.views.features["paper"]
    dense = sparse.dense()
    known = dense.norm(dim=1) > 0
    expected = (1 - torch.cosine_similarity(task.decoder(fine), dense, dim=1)[known]).pow(2).mean()
    torch.testing.assert_close(task(fine, sparse), expected)
    torch.testing.assert_close(task(fine, dense), expected)


def test_weight_zero_builds_nothing_and_no_features_are_refused(data):
    assert list(FeatureReconstruction(data.spec, 16, 0.0).parameters()) == []
    spec = type(data.spec)(**{**vars(data.spec), "feature_dims": {"paper": 0, "author": 0, "subject": 0}})
    with pytest.raises(ValueError, match="reconstruction_weight: paper has no features to predict"):
        FeatureReconstruction(spec, 16, 1.0)
