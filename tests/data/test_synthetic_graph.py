import numpy as np
import pytest

from medgraph.data.synthetic_graph import PlantedGraph


def test_same_seed_same_graph_and_other_seed_another():
    first, again, other = (PlantedGraph(graph_seed=seed).graph for seed in (0, 0, 1))
    edges = [graph.data["target", "to", "group_1"].edge_index for graph in (first, again, other)]
    assert edges[0].equal(edges[1])
    assert not edges[0].equal(edges[2])
    assert first.labels.equal(again.labels)


def test_shape_is_as_asked():
    source = PlantedGraph(num_targets=200, num_classes=4, num_types=3, nodes_per_type=30, degree=2, labelled=5)
    spec = source.spec
    assert spec.node_counts == {"target": 200, "group_0": 30, "group_1": 30, "group_2": 30}
    assert spec.feature_dims == {"target": 60, "group_0": 0, "group_1": 0, "group_2": 0}
    assert source.graph.labels.bincount().tolist() == [50] * 4
    assert {part: len(index) for part, index in source.graph.splits["5"].items()} == {
        "train": 20,
        "val": 20,
        "test": 160,
    }
    assert [path.count("target") for path in source.graph.metapaths] == [2, 2, 2]
    degrees = source.graph.data["target", "to", "group_0"].edge_index[0].bincount(minlength=200)
    assert degrees.max() == 2
    assert degrees.min() >= 1


@pytest.mark.parametrize("agreement", [0.0, 0.5, 1.0])
def test_neighbours_and_words_agree_as_often_as_planted(agreement):
    graph = PlantedGraph(num_targets=4000, agreement=agreement, vocabulary=3000).graph
    targets, groups = graph.data["target", "to", "group_0"].edge_index
    x = graph.data["target"].x
    rows = np.repeat(np.arange(4000), np.diff(x.crow_indices().numpy()))
    expected = agreement + (1 - agreement) / 3
    spread = 5 * np.sqrt(0.25 / 20_000) + 0.01  # neighbours drawn twice count once
    assert (graph.labels[targets] == groups % 3).float().mean().item() == pytest.approx(expected, abs=spread)
    assert (graph.labels[rows] == x.col_indices() % 3).float().mean().item() == pytest.approx(expected, abs=spread)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_targets": 100, "labelled": 20}, "num_targets: expected 123 or more, got 100"),
        ({"nodes_per_type": 2}, "nodes_per_type: expected 3 or more, got 2"),
        ({"vocabulary": 2}, "vocabulary: expected 3 or more, got 2"),
        ({"agreement": 2.0}, r"agreement: expected a number from 0.0 to 1.0, got 2.0"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        PlantedGraph(**arguments)
