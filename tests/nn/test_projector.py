import pytest
import torch

from medgraph.nn.projector import MLPProjector


def test_it_maps_features_to_embeddings():
    assert MLPProjector(6, hidden_dim=5, out_dim=4)(torch.randn(3, 6)).shape == (3, 4)


def test_widths_must_be_positive():
    with pytest.raises(ValueError, match="out_dim: expected 1 or more, got 0"):
        MLPProjector(6, out_dim=0)


def test_a_centered_projector_takes_out_what_embeddings_share(rng):
    features = torch.rand(64, 6, generator=rng) + 3
    embeddings = MLPProjector(6, hidden_dim=5, out_dim=4, center=True)(features)
    torch.testing.assert_close(embeddings.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
