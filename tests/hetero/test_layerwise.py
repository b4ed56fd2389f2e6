import numpy as np
import pytest
import torch
from hetero.planted import planted_graph
from hetero.whole import planted_batches, sampled_encoder, whole_views

from medgraph.hetero import layerwise, stored
from medgraph.hetero.encoder import MetapathEncoder
from medgraph.hetero.layerwise import Layerwise


def without_features():
    graph = planted_graph()
    del graph.data["paper"].x
    return graph


def with_dense_features():
    graph = planted_graph()
    graph.data["paper"].x = torch.rand(90, 7, generator=torch.Generator().manual_seed(0))
    graph.data["author"].x = torch.rand(60, 5, generator=torch.Generator().manual_seed(1))
    return graph


@pytest.mark.parametrize("small", [False, True], ids=["one-block", "many-blocks"])
@pytest.mark.parametrize("graph", [planted_graph, without_features, with_dense_features])
def test_all_views_equal_those_of_whole_operators(graph, small, monkeypatch):
    if small:
        monkeypatch.setattr(layerwise, "_ROWS", 7)
        monkeypatch.setattr(layerwise, "blocks", lambda rows: stored.blocks(rows, 50))
    data = planted_batches(graph())
    encoder = sampled_encoder(data).eval()
    expected = MetapathEncoder.encode(encoder, whole_views(data.views))
    each = Layerwise(encoder, data.views)
    fused, weights = encoder.attention(list(each.fine()))
    torch.testing.assert_close(each.coarse(), expected.coarse, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(fused, expected.fine, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(weights, expected.attention)


def test_a_member_of_several_networks_is_embedded_with_its_own_masks():
    data = planted_batches()
    seen = data.views.of_member(2)
    encoder = sampled_encoder(data).eval()
    expected = MetapathEncoder.encode(encoder, whole_views(seen, seen.first_round))
    torch.testing.assert_close(encoder(seen), expected.fine, rtol=1e-4, atol=1e-5)
    assert (encoder(data.views) - expected.fine).abs().max() > 1e-3


def test_isolated_targets_stay_finite():
    graph = planted_graph()
    for relation in (("paper", "to", "author"), ("paper", "to", "subject")):
        edges = graph.data[relation].edge_index
        graph.data[relation].edge_index = edges[:, edges[0] > 4]
        back = (relation[2], "rev_to", "paper")
        graph.data[back].edge_index = graph.data[relation].edge_index.flip(0)
    for isolated in ("keep", "self_loop"):
        data = planted_batches(graph, isolated=isolated, masked_copies=False)
        encoder = sampled_encoder(data).eval()
        assert bool(encoder(data.views).isfinite().all())
        batch = data.train().__getitems__(range(10)).sample(0, 0)
        assert bool(encoder.encode(batch).fine.isfinite().all())
        assert np.isfinite(data.views.paths[0].edges.values.numpy()).all()


def test_under_autocast_all_targets_are_embedded_all_the_same():
    data = planted_batches()
    encoder = sampled_encoder(data).eval()
    with torch.autocast("cpu", torch.bfloat16):
        rounded = Layerwise(encoder, data.views).coarse()
    torch.testing.assert_close(rounded, Layerwise(encoder, data.views).coarse(), rtol=0.1, atol=0.05)
