"""Spaces: which are read, what an untrained encoder is, and how large the noise on a code is."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reference.separation_data import FactorData, SplitEncoder
from torch import nn

from medgraph.errors import DataError
from medgraph.evaluation.spaces import Peers, read_spaces, untrained


class Coded(nn.Module):
    """The toy encoder, and codes that are ten times its features."""

    def __init__(self):
        super().__init__()
        self.encoder = SplitEncoder()

    def codes(self, common, salient):
        """Both, larger."""
        return self.encoder.parts(torch.cat([10 * common, 10 * salient], dim=1))


class Layers(nn.Module):
    """One layer and batch norm."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.BatchNorm1d(3))

    def forward(self, x):
        return self.layers(x)


def read(model, **peers):
    data = FactorData()
    return read_spaces(model, data.train(), data.test(), Peers(**peers), 64, "cpu")


def test_codes_are_read_beside_the_features_and_once_more_with_noise():
    train, test = read(Coded(), pca=False)
    assert list(test.spaces) == ["common", "salient", "common z", "salient z", "salient z with noise"]
    np.testing.assert_allclose(test.spaces["salient z"], 10 * test.spaces["salient"])
    size = 0.1 * np.sqrt(np.square(train.spaces["salient z"][train.is_target]).mean())
    for part in (train, test):
        noise = part.spaces["salient z with noise"] - part.spaces["salient z"]
        assert noise.std() == pytest.approx(size, rel=0.1)


def test_an_encoder_alone_has_no_codes():
    _, test = read(SimpleNamespace(encoder=SplitEncoder()))
    assert list(test.spaces) == ["common", "salient", "PCA", "contrastive PCA"]


def test_the_untrained_encoder_is_another_and_always_the_same():
    encoder = Layers()
    nn.init.constant_(encoder.layers[1].weight, 3.0)
    state = torch.random.get_rng_state()
    first, second = untrained(encoder), untrained(encoder)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(first.layers[1].weight, second.layers[1].weight)
    assert not torch.equal(first.layers[1].weight, encoder.layers[1].weight)
    assert list(read(SimpleNamespace(encoder=encoder), pca=False)[1].spaces) == ["single", "untrained single"]


def test_reading_leaves_statistics_and_features_alone_whatever_the_labels():
    def forget(attributes):
        attributes[:] = 7.0

    encoder = Layers()
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    found = []
    for change in (None, forget):
        data = FactorData(change=change)
        model = SimpleNamespace(encoder=encoder.train())
        found.append(read_spaces(model, data.train(), data.test(), Peers(pca=False), 64, "cpu")[1].spaces)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, before[name])
    np.testing.assert_array_equal(found[0]["single"], found[1]["single"])


def test_a_weight_that_nothing_draws_anew_is_told():
    class Bare(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

    with pytest.warns(UserWarning, match="part: draws no weights anew, so no untrained encoder is probed beside"):
        assert untrained(nn.ModuleDict({"part": Bare()})) is None


def test_features_that_are_not_finite_are_told():
    encoder = Layers()
    nn.init.constant_(encoder.layers[1].weight, torch.nan)
    with pytest.raises(DataError, match=r"encoder: gives .* examples, the first number 0, features of NaN or infinity"):
        read(SimpleNamespace(encoder=encoder))
