from types import SimpleNamespace

import pytest
import torch
from hetero.planted import planted_graph, planted_views
from sklearn.metrics import f1_score, roc_auc_score
from torch import nn

from medgraph.evaluation.node_classifier import NodeClassifierScores


class Fixed(nn.Module):
    def __init__(self, found):
        super().__init__()
        self.found = found

    def predict(self, views):
        assert not self.training
        return self.found


def test_scores_are_those_of_scikit_learn_on_the_test_targets_alone(rng):
    graph = planted_graph()
    logits = 2 * nn.functional.one_hot(graph.labels, 3) + torch.randn(90, 3, generator=rng)
    test = graph.splits["10"]["test"]
    views = planted_views(graph)
    data = SimpleNamespace(graph=graph, parts=graph.splits["10"], split="10", train=views.train)
    (row,) = NodeClassifierScores().evaluate(Fixed(logits), data).rows
    truth, predicted = graph.labels[test], logits[test].argmax(1)
    assert (row["case"], row["label"]) == ("all", "10")
    assert row["macro_f1"] == pytest.approx(100 * f1_score(truth, predicted, average="macro"))
    assert row["micro_f1"] == pytest.approx(100 * f1_score(truth, predicted, average="micro"))
    area = roc_auc_score(truth, logits[test].softmax(1), multi_class="ovr")
    assert row["auc"] == pytest.approx(100 * area)
