import numpy as np
import pytest
import scipy.sparse as sp
import torch
from reference.graphs import Given, random_graph

from medgraph.data.graphs import both_directions, make_graph
from medgraph.data.incidence import chain, incidence, is_mirrored
from medgraph.errors import ConfigError, DataError
from medgraph.hetero.views import MetapathViews

COUNTS = {"paper": 4, "author": 3}
PA = ("paper", "to", "author")
EDGES = {PA: np.array([[0, 1, 2, 3, 3], [0, 0, 1, 2, 2]])}


def test_spec_tells_types_widths_and_classes():
    graph = random_graph(labels=np.arange(30) % 3)
    spec = graph.spec
    assert spec.target_type == "paper"
    assert spec.node_counts == {"paper": 30, "author": 20, "subject": 4}
    assert spec.feature_dims == {"paper": 0, "author": 5, "subject": 0}
    assert spec.num_classes == 3
    assert graph.num_targets == 30
    assert ("author", "rev_to", "paper") in spec.edge_types
    assert random_graph().spec.num_classes is None


def test_every_relation_gets_its_reverse_once():
    back = ("author", "writes", "paper")
    assert set(both_directions(EDGES)) == {PA, ("author", "rev_to", "paper")}
    assert set(both_directions({**EDGES, back: EDGES[PA][::-1]})) == {PA, back}
    cites = ("paper", "cites", "paper")
    both = both_directions({cites: np.array([[0], [1]])})
    assert both[("paper", "rev_cites", "paper")].tolist() == [[1], [0]]
    assert both_directions(both) == both


def test_an_unrelated_relation_back_is_no_reverse():
    reviews = ("author", "reviews", "paper")
    other = np.array([[0, 1], [3, 3]])
    both = both_directions({**EDGES, reviews: other})
    assert set(both) == {PA, ("author", "rev_to", "paper"), reviews, ("paper", "rev_reviews", "author")}
    assert both["author", "rev_to", "paper"].tolist() == EDGES[PA][::-1].tolist()
    assert both_directions(both) == both
    shuffled = {**EDGES, reviews: EDGES[PA][::-1][:, ::-1]}  # the same pairs in another order
    assert set(both_directions(shuffled)) == {PA, reviews}
    named = {**EDGES, ("author", "rev_to", "paper"): other}  # by its name, whatever its edges
    assert set(both_directions(named)) == set(named)


def test_several_relations_between_two_types_are_told():
    edges = {**EDGES, ("author", "reviews", "paper"): np.array([[0, 1], [3, 3]])}
    message = r"graph: paper-author is joined by 2 relations \(to, rev_reviews\), so no path over it was taken"
    with pytest.warns(UserWarning, match=message):
        graph = make_graph("paper", COUNTS, edges, {"author": np.eye(3)})
    assert "author" not in {step[2] for path in graph.metapaths.values() for step in path}
    assert graph.notes[0].startswith("graph: paper-author is joined")


def test_features_keep_their_layout_and_are_normalized():
    features = {"paper": sp.csr_matrix(np.array([[2, 2], [0, 0], [0, 5], [1, 3]])), "author": np.eye(3) * 7}
    graph = make_graph("paper", COUNTS, EDGES, features)
    assert graph.data["paper"].x.layout == torch.sparse_csr
    assert graph.data["paper"].x.to_dense().tolist() == [[0.5, 0.5], [0, 0], [0, 1], [0.25, 0.75]]
    assert graph.data["author"].x.tolist() == np.eye(3).tolist()
    raw = make_graph("paper", COUNTS, EDGES, features, normalize=False)
    assert raw.data["paper"].x.to_dense()[0].tolist() == [2, 2]
    assert raw.data["paper"].x.dtype == torch.float32


def test_zeros_that_are_stored_are_left_out_of_features_and_the_array_given_is_not_touched():
    """Whoever uses the features drops stored zeros; done there, it would shift columns under the graph's own arrays."""
    given = sp.csr_matrix((np.array([1.0, 0, 2, 0, 3]), np.array([0, 1, 1, 0, 2]), np.array([0, 2, 3, 5])))
    edges = {("paper", "to", "author"): np.array([[0, 1, 2], [0, 0, 0]])}
    graph = make_graph("paper", {"paper": 3, "author": 1}, edges, {"paper": given}, normalize=False)
    kept = graph.data["paper"].x
    assert kept.values().tolist() == [1, 2, 3]
    assert given.nnz == 5
    views = MetapathViews(Given(graph), unit_features=False).views
    assert torch.equal(views.features["paper"].dense(), torch.diag(torch.tensor([1.0, 2, 3])))
    assert torch.equal(kept.to_dense(), views.features["paper"].dense())


def test_metapaths_are_found_or_taken_as_given():
    assert list(make_graph("paper", COUNTS, EDGES, {}).metapaths) == ["pap"]
    graph = make_graph("paper", COUNTS, EDGES, {}, metapaths=["papap"])
    assert list(graph.metapaths) == ["papap"]
    assert graph.metapath("papap").node_types == ("paper", "author", "paper", "author", "paper")
    assert graph.metapath("pap").edge_types == (PA, ("author", "rev_to", "paper"))
    with pytest.raises(ConfigError, match="'pa': ends at 'author', expected the target type 'paper'"):
        make_graph("paper", COUNTS, EDGES, {}, metapaths=["pa"])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"edges": {PA: np.array([[0, 4], [0, 0]])}},
            r"edges .*'author'.*, row 1: paper 4 is out of bounds, expected 0 to 3",
        ),
        ({"edges": {PA: np.array([[0, 1], [-1, 3]])}}, r"row 0: author -1 is out of bounds, expected 0 to 2 .2 such"),
        ({"edges": {PA: np.zeros((2, 2))}}, r"have shape .2, 2. of float64, expected .2, edges. integers"),
        ({"edges": {("paper", "to", "venue"): np.zeros((2, 1), int)}}, r"name 'venue'. Node types: paper, author"),
        ({"node_counts": {**COUNTS, "venue": 2}}, "node type 'venue' has neither features nor edges, .* its 2 nodes"),
        ({"target_type": "papers"}, r"no node type is called 'papers'. Node types: paper, author"),
        ({"features": {"venue": np.eye(2)}}, "features of 'venue', which is no node type"),
        ({"features": {"paper": np.eye(3)}}, "features of 'paper' have 3 rows, expected 4, the nodes"),
        ({"features": {"author": np.full((3, 1), np.nan)}}, "features of 'author' hold 3 values that are not finite"),
    ],
)
def test_pieces_that_do_not_fit_are_named(change, message):
    pieces = {"target_type": "paper", "node_counts": COUNTS, "edges": EDGES, "features": {}, **change}
    with pytest.raises(DataError, match="somewhere: .*" + message):
        make_graph(**pieces, where="somewhere")


def test_a_type_with_features_needs_no_edges():
    graph = make_graph("paper", {**COUNTS, "venue": 2}, EDGES, {"venue": np.eye(2)})
    assert graph.spec.feature_dims["venue"] == 2


def test_incidence_counts_a_repeated_edge_once():
    graph = make_graph("paper", COUNTS, EDGES, {})
    assert incidence(graph, PA).toarray().tolist() == [[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]]


def test_chain_of_no_steps_is_the_identity():
    graph = make_graph("paper", COUNTS, EDGES, {})
    assert (chain(graph, "paper", []) != sp.identity(4)).nnz == 0
    assert is_mirrored(incidence(graph, PA), incidence(graph, ("author", "rev_to", "paper")))
    assert not is_mirrored(incidence(graph, PA), incidence(graph, ("author", "rev_to", "paper"))[[1, 0, 2]])
