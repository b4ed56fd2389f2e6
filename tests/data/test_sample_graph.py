from pathlib import Path

import pytest

from medgraph.data import sample_graph
from medgraph.data.sample_graph import SampleGraph


def test_acm_is_whole():
    source = SampleGraph()
    spec = source.spec
    assert spec.node_counts == {"paper": 4019, "author": 7167, "subject": 60}
    assert spec.feature_dims == {"paper": 1902, "author": 1902, "subject": 0}
    assert source.graph.labels.bincount().tolist() == [1993, 965, 1061]
    assert source.graph.data["paper", "to", "author"].edge_index.shape[1] == 13_407
    assert source.graph.data["paper"].x.sum().item() == pytest.approx(4019, rel=1e-5)
    sizes = {name: [len(index) for index in parts.values()] for name, parts in source.graph.splits.items()}
    assert sizes == {str(n): [3 * n, 1000, 1000] for n in (20, 40, 60)}
    assert list(source.graph.metapaths) == ["pap", "psp"]
    assert source.graph.notes == ()


def test_origin_and_citation_ship_beside_the_file():
    text = (Path(sample_graph.__file__).parents[1] / "samples/acm/LICENSE.md").read_text()
    assert "states no licence" in text
    assert "arXiv:2105.09111" in text


def test_an_unknown_sample():
    with pytest.raises(ValueError, match="dataset: expected one of 'acm', got 'dblp'"):
        SampleGraph("dblp")
