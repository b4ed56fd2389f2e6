import pytest
import torch

from medgraph.nn.projector import MLPProjector


def test_it_maps_features_to_embeddings():
    assert MLPProjector(6, hidden_dim=5, out_dim=4)(torch.randn(3, 6)).shape == (3, 4)


def test_widths_must_be_positive():
    with pytest.raises(ValueError, match="out_dim: expected 1 or more, got 0"):
        MLPProjector(6, out_dim=0)
