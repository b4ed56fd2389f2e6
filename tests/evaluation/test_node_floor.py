from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hetero.planted import planted_graph, planted_views
from torch.nn import functional as F

from medgraph.evaluation.node_floor import floor_features
from medgraph.evaluation.node_scores import NodeProbe


class Nothing(torch.nn.Module):
    """An encoder that says nothing."""

    def forward(self, views):
        return torch.zeros(90, 4)


@pytest.fixture(scope="module")
def planted():
    return planted_views()


def test_features_keep_the_inner_products_of_the_raw_ones(planted):
    raw = planted.graph.data["paper"].x.to_dense()
    found = floor_features(planted, "cpu", dim=30)["features"]  # all directions
    assert found.shape == (90, 30)
    cosine, expected = found @ found.T, F.normalize(raw, dim=1) @ F.normalize(raw, dim=1).T
    torch.testing.assert_close(cosine, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(90))


def test_averaged_equals_dense_products(planted):
    raw = planted.graph.data["paper"].x.to_dense()
    left, values, _ = torch.linalg.svd(raw.double(), full_matrices=False)
    coarse = torch.stack([path.adjacency.dense() for path in planted.views.paths]).mean(0).double()
    expected = F.normalize(coarse @ (coarse @ (left[:, :8] * values[:8])), dim=1)
    found = floor_features(planted, "cpu", dim=8)["averaged"].double()
    torch.testing.assert_close(found @ found.T, expected @ expected.T, atol=1e-4, rtol=0)  # signs are free


def test_without_features_the_graph_itself_is_taken():
    graph = planted_graph()
    del graph.data["paper"].x
    found = floor_features(planted_views(graph), "cpu", dim=8)
    assert list(found) == ["averaged"]
    assert found["averaged"].shape == (90, 8)


def test_a_probe_reports_the_floor_beside_the_features(planted):
    model = SimpleNamespace(encoder=Nothing())
    (row,) = NodeProbe(num_probes=2, num_steps=60, floor=True).evaluate(model, planted).rows
    names = ["macro_f1", "micro_f1", "auc", "validation_macro_f1"]
    kinds = ["", "floor_features_", "floor_averaged_"]
    assert [key for key in row if not key.endswith(("case", "label", "_std"))] == [
        kind + name for kind in kinds for name in names
    ]
    assert row["auc"] == pytest.approx(50)
    assert 50 < row["floor_features_auc"] < row["floor_averaged_auc"]
    assert np.isfinite([value for key, value in row.items() if key.endswith("_std")]).all()
