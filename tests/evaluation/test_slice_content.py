from types import SimpleNamespace

import numpy as np
import pytest
import torch
from reference.content_data import Blind, Brightness, ContentData

from medgraph.errors import DataError
from medgraph.evaluation import slice_content
from medgraph.evaluation.knn_probe import KNNProbe
from medgraph.evaluation.linear_probe import LinearProbe

PROBES = (KNNProbe(), LinearProbe())


def test_a_slice_shows_its_commonest_class_but_background():
    labels = np.zeros((4, 3, 3), dtype=int)
    labels[1, 0, 0] = 2
    labels[2, 0, :2], labels[2, 1, 0] = 1, 2
    labels[3, 0, 0], labels[3, 1, 0] = 1, 2  # a tie
    assert slice_content.content(labels, 3).tolist() == [0, 2, 1, 1]


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_batch_size_changes_nothing(batch_size):
    data = ContentData()
    found = slice_content.read(Brightness(), data, batch_size, "cpu")
    assert found.train_labels.tolist() == [i % 3 for i in range(30)]
    expected = Brightness()(data.train().images).numpy()
    np.testing.assert_allclose(found.train, expected, rtol=1e-6)
    assert found.test["b"][1].tolist() == [0, 1, 1, 0, 1, 0]


def test_one_class_alone_is_refused():
    with pytest.raises(DataError, match="all 30 training slices show 'left', expected at least two classes"):
        slice_content.read(Blind(), ContentData(only=1), 64, "cpu")


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: type(probe).__name__)
def test_features_that_tell_the_classes_apart_score_one(probe):
    scores = probe.evaluate(SimpleNamespace(encoder=Brightness()), ContentData())
    assert [(row["case"], row["label"]) for row in scores.rows] == [
        ("a", "background"),
        ("a", "left"),
        ("a", "right"),
        ("b", "background"),
        ("b", "left"),
    ]
    assert scores.summary()["mean recall"] == 1.0


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: type(probe).__name__)
def test_a_blind_encoder_finds_one_class_only(probe):
    rows = probe.evaluate(SimpleNamespace(encoder=Blind()), ContentData()).rows
    assert sorted(row["recall"] for row in rows if row["case"] == "a") == [0.0, 0.0, 1.0]


class Diverged(Brightness):
    """All features NaN."""

    def forward(self, x):
        return super().forward(x) * torch.nan


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: type(probe).__name__)
def test_features_that_are_not_finite_are_told(probe):
    with pytest.raises(DataError, match="encoder: gives 30 of 30 examples, the first number 0, features of NaN or inf"):
        probe.evaluate(SimpleNamespace(encoder=Diverged()), ContentData())
