from types import SimpleNamespace

import pytest
import torch
from evaluation.test_node_scores import case

from medgraph.evaluation.node_embedding import NodeEmbedding


def test_rows_tell_speed_and_how_well_classes_are_read(rng):
    embedding, clear = NodeEmbedding(num_steps=40).evaluate(*case(0.05, rng)).rows
    assert (embedding["case"], embedding["label"]) == ("90 targets", "embedding")
    assert embedding["nodes_per_second"] == pytest.approx(90 / embedding["seconds"])
    assert (clear["case"], clear["label"]) == ("1 probe", "10")
    assert clear["micro_f1"] > 90
    assert NodeEmbedding(num_steps=40).evaluate(*case(50.0, rng)).rows[1]["micro_f1"] < 75


def test_only_so_many_test_nodes_are_scored(rng):
    model, data = case(0.05, rng)
    test = data.graph.splits["10"]["test"]
    model.encoder.features[test[5:]] = -model.encoder.features[test[5:]]  # wrong from the sixth on
    assert NodeEmbedding(num_test=5).evaluate(model, data).rows[1]["micro_f1"] == 100
    assert NodeEmbedding(num_test=30).evaluate(model, data).rows[1]["micro_f1"] < 60


def test_without_labels_only_the_speed_is_told(rng):
    model, data = case(0.05, rng)
    graph = SimpleNamespace(**{**vars(data.graph), "labels": None})
    data = SimpleNamespace(graph=graph, train=data.train)
    assert [row["label"] for row in NodeEmbedding().evaluate(model, data).rows] == ["embedding"]
    assert torch.is_tensor(model.encoder.features)


def test_wrong_settings_are_refused():
    for wrong in ({"lr": 0.0}, {"num_steps": 0}, {"num_test": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))}: expected"):
            NodeEmbedding(**wrong)
