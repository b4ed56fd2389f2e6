from types import SimpleNamespace

import pytest
from reference.content_data import Blind, Brightness, ContentData

from medgraph.errors import DataError
from medgraph.evaluation.knn_probe import KNNProbe


def test_features_that_tell_the_classes_apart_score_one():
    scores = KNNProbe().evaluate(SimpleNamespace(encoder=Brightness()), ContentData())
    assert [(row["case"], row["label"]) for row in scores.rows] == [
        ("a", "background"),
        ("a", "left"),
        ("a", "right"),
        ("b", "background"),
        ("b", "left"),
    ]
    assert scores.summary()["mean recall"] == 1.0


def test_a_blind_encoder_finds_one_class_only():
    rows = KNNProbe().evaluate(SimpleNamespace(encoder=Blind()), ContentData()).rows
    assert sorted(row["recall"] for row in rows if row["case"] == "a") == [0.0, 0.0, 1.0]


def test_more_neighbors_than_slices_are_refused():
    with pytest.raises(DataError, match="30 training slices, but num_neighbors is 31"):
        KNNProbe(num_neighbors=31).evaluate(SimpleNamespace(encoder=Brightness()), ContentData())
