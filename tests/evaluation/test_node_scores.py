from types import SimpleNamespace

import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import normalized_mutual_info_score
from torch import nn
from torch.nn import functional as F

from medgraph.errors import DataError
from medgraph.evaluation.node_embedding import NodeEmbedding
from medgraph.evaluation.node_scores import NodeClusters, NodeNeighbors, NodeProbe


class Fixed(nn.Module):
    """An encoder that gives stored features."""

    def __init__(self, features):
        super().__init__()
        self.features = features

    def forward(self, views):
        return self.features


def case(noise, rng, labels=None, parts=("train", "val", "test")):
    """A model whose features show the labels through some noise, and its data."""
    truth = torch.arange(90) % 3
    features = F.one_hot(truth, 3) + noise * torch.randn(90, 3, generator=rng)
    split = dict(zip(parts, torch.randperm(90, generator=rng).split(30), strict=False))
    graph = SimpleNamespace(
        labels=truth if labels is None else labels, classes=("a", "b", "c"), target_type="paper", splits={"10": split}
    )
    views = SimpleNamespace(to=lambda device: None)
    return SimpleNamespace(encoder=Fixed(features)), SimpleNamespace(
        graph=graph, train=lambda: SimpleNamespace(views=views)
    )


EVALUATORS = [NodeProbe(num_probes=3, num_steps=40), NodeClusters(2), NodeNeighbors(3)]


@pytest.mark.parametrize("evaluator", EVALUATORS, ids=["probe", "clusters", "neighbors"])
def test_clear_features_score_high_and_noise_scores_low(evaluator, rng):
    clear = evaluator.evaluate(*case(0.05, rng)).summary()
    noisy = evaluator.evaluate(*case(50.0, rng)).summary()
    assert all(value > 95 for name, value in clear.items() if not name.endswith("_std"))
    assert all(value < 75 for value in noisy.values())


def test_a_row_holds_the_mean_and_deviation_over_probes(rng):
    evaluator, (model, data) = NodeProbe(num_probes=3, num_steps=5), case(0.8, rng)
    (row,) = evaluator.evaluate(model, data).rows
    parts = [data.graph.splits["10"][part] for part in ("train", "val", "test")]
    each = [s["macro_f1"] for s in evaluator.probe.run(model.encoder.features, data.graph.labels, parts)]
    assert (row["case"], row["label"]) == ("3 probes", "10")
    assert row["macro_f1"] == pytest.approx(sum(each) / 3)
    assert row["macro_f1_std"] == pytest.approx((sum((x - sum(each) / 3) ** 2 for x in each) / 3) ** 0.5)


@pytest.mark.parametrize("evaluator", [NodeProbe(num_probes=3, num_steps=20), NodeEmbedding(num_steps=20)])
def test_validation_alone_equals_what_evaluating_tells_and_reads_no_test_label(evaluator, rng):
    model, data = case(0.8, rng)
    evaluator.check(data)
    rows = [row for row in evaluator.evaluate(model, data).rows if "validation_macro_f1" in row]
    assert evaluator.validate(model, data) == pytest.approx(rows[0]["validation_macro_f1"])
    labels = data.graph.labels.clone()
    labels[data.graph.splits["10"]["test"]] = -1
    data.graph.labels = labels
    assert evaluator.validate(model, data) == pytest.approx(rows[0]["validation_macro_f1"])
    data.graph.labels = None
    with pytest.raises(DataError, match="no labels"):
        evaluator.check(data)
    with pytest.raises(DataError, match="the data are no graph"):
        evaluator.check(SimpleNamespace())


def test_clusters_are_validated_by_their_agreement_on_validation_nodes(rng):
    evaluator, (model, data) = NodeClusters(3), case(0.8, rng)
    evaluator.check(data)
    validation, labels = data.graph.splits["10"]["val"], data.graph.labels.clone()
    groupings = [
        KMeans(3, n_init=10, random_state=seed).fit_predict(model.encoder.features.numpy()) for seed in range(3)
    ]
    each = [normalized_mutual_info_score(labels[validation], found[validation]) for found in groupings]
    assert evaluator.validate(model, data) == pytest.approx(100 * sum(each) / 3)
    assert 10 < evaluator.validate(model, data) < 90
    labels[data.graph.splits["10"]["test"]] = -1
    labels[data.graph.splits["10"]["train"]] = -1
    data.graph.labels = labels
    assert evaluator.validate(model, data) == pytest.approx(100 * sum(each) / 3)
    data.graph.labels = None
    with pytest.raises(DataError, match="no labels"):
        evaluator.check(data)


def test_targets_without_a_label_stay_out_of_the_clusters(rng):
    model, data = case(0.05, rng)
    data.graph.labels = data.graph.labels.clone()
    data.graph.labels[:9] = -1
    model.encoder.features[:9] = 1000.0  # would be a cluster of its own
    assert NodeClusters(1).evaluate(model, data).summary()["all nmi"] > 95


def test_what_cannot_be_scored_is_refused(rng):
    model, data = case(0.1, rng)
    with pytest.raises(DataError, match=r"no split '20'\. Splits: 10\."):
        NodeProbe(splits=("20",)).evaluate(model, data)
    with pytest.raises(DataError, match="split '10' has no part 'test'"):
        NodeNeighbors().evaluate(*case(0.1, rng, parts=("train", "val")))
    data.graph.labels = None
    with pytest.raises(DataError, match="the graph has no labels"):
        NodeClusters().evaluate(model, data)
    model, data = case(0.1, rng)
    model.encoder.features[3, 1] = float("nan")
    with pytest.raises(DataError, match="1 of 90 targets have features not finite"):
        NodeProbe().evaluate(model, data)


@pytest.mark.parametrize(("classes", "told"), [(("a",), "have one class, 'a'"), ((), "have no class: no target has a")])
@pytest.mark.parametrize("evaluator", EVALUATORS, ids=["probe", "clusters", "neighbors"])
def test_labels_of_one_class_or_none_are_no_task(evaluator, rng, classes, told):
    model, data = case(0.1, rng, labels=torch.full((90,), len(classes) - 1))
    data.graph.classes = classes
    with pytest.raises(DataError, match=f"{told}.*needs two classes or more"):
        evaluator.evaluate(model, data)
    assert [row["label"] for row in NodeEmbedding().evaluate(model, data).rows] == ["embedding"]
