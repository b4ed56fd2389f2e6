import numpy as np
import pytest
import torch
from reference.graphs import Given

from medgraph.data import factorized_walks, some_contexts
from medgraph.data.factorized_walks import FactorizedWalks
from medgraph.data.graphs import make_graph
from medgraph.data.synthetic_graph import PlantedGraph
from medgraph.data.walk_features import WalkFeatures
from medgraph.errors import ConfigError

PLANTED = PlantedGraph(num_targets=80, num_classes=2, nodes_per_type=12, labelled=5, agreement=0.95)


def bipartite(papers=12, authors=7):
    """Papers with one to three authors each; the last paper and the last author have no edge."""
    rng = np.random.default_rng(0)
    pairs = {(paper, int(a)) for paper in range(papers - 1) for a in rng.integers(0, authors - 1, 1 + paper % 3)}
    pairs |= {(author, author) for author in range(authors - 1)}
    edges = {("paper", "to", "author"): np.array(sorted(pairs)).T}
    with pytest.warns(UserWarning, match="no instance of any meta-path"):
        return Given(make_graph("paper", {"paper": papers, "author": authors}, edges, {}, metapaths=["pap"]))


def dense_steps(graph):
    count = {name: graph.data[name].num_nodes for name in ("paper", "author")}
    joined = np.zeros((count["paper"], count["author"]))
    joined[tuple(graph.data["paper", "to", "author"].edge_index.numpy())] = 1
    there = joined / np.maximum(joined.sum(1, keepdims=True), 1)
    back = joined.T / np.maximum(joined.T.sum(1, keepdims=True), 1)
    return there, back


@pytest.mark.parametrize("dense_above", [0, 2])  # all products of dense matrices, or of sparse ones
@pytest.mark.parametrize("rounds", [1, 2, 4, 7, 50])
def test_inner_products_are_the_log_co_occurrences_of_walks(rounds, dense_above, monkeypatch):
    """With as many dimensions as nodes, U s U^T = M where M is symmetric; and rows of V give M for authors too."""
    monkeypatch.setattr(factorized_walks, "_DENSE_ABOVE", dense_above)
    source = bipartite()
    found = FactorizedWalks(source, {"paper": ["pap"], "author": ["pap"]}, dim=12, rounds=rounds, normalize=False).graph
    there, back = dense_steps(source.graph)
    once = there @ back
    visits = sum(np.linalg.matrix_power(once, round) for round in range(rounds)) / rounds
    noise = (once @ visits).mean(0)
    ratio = np.where(noise > 0, np.divide(once @ visits, noise, where=noise > 0, out=np.ones_like(visits)), 1)
    expected = np.log(np.maximum(ratio, 1))
    left = found.data["paper"].x.double().numpy()
    u, s, vt = np.linalg.svd(expected)
    np.testing.assert_allclose(left @ left.T, (u * s) @ u.T, atol=1e-5)
    of_authors = np.divide(back @ visits, noise, where=noise > 0, out=np.ones((7, 12)))
    projected = np.log(np.maximum(of_authors, 1)) @ (vt.T / np.sqrt(np.maximum(s, 1e-12)))[:, s > 1e-6]
    right = found.data["author"].x.double().numpy()
    np.testing.assert_allclose(right @ left.T, projected @ (u * np.sqrt(s))[:, s > 1e-6].T, atol=1e-4)


def test_with_power_1_nodes_lie_as_the_rows_of_log_co_occurrences_do():
    source, walks = bipartite(), {"paper": ["pap"], "author": ["pap"]}
    half, whole = (
        FactorizedWalks(source, walks, dim=12, rounds=3, normalize=False, power=power).graph.data
        for power in (0.5, 1.0)
    )
    x, y = half["paper"].x.double(), whole["paper"].x.double()
    torch.testing.assert_close(y @ y.T, (x @ x.T) @ (x @ x.T).T, rtol=0, atol=1e-4)  # M M^T, where M = U s U^T
    scale = y.norm(dim=0) / x.norm(dim=0).clamp_min(1e-9)  # s^(1/2)
    torch.testing.assert_close(whole["author"].x.double(), half["author"].x.double() * scale, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="power: expected a number from 0"):
        FactorizedWalks(source, power=1.5)


def test_endless_skip_gram_comes_closer_to_it_than_a_short_one():
    """Cosines between papers agree more and more with those of the factorization as the walks grow in number."""
    source = bipartite(40, 15)
    target = _cosines(FactorizedWalks(source, {"paper": ["pap"]}, dim=8, rounds=2).graph)
    shape = {"dim": 8, "walk_length": 8, "walks_per_node": 20, "context_size": 5, "lr": 0.02}
    short, long = (_cosines(WalkFeatures(source, {"paper": ["pap"]}, **shape, epochs=e).graph) for e in (1, 60))
    agreement = [np.corrcoef(target, other)[0, 1] for other in (short, long)]
    assert agreement[1] > agreement[0] + 0.1
    assert agreement[1] > 0.6


def _cosines(graph):
    x = torch.nn.functional.normalize(graph.data["paper"].x[:-1], dim=1)
    return (x @ x.T).numpy()[np.triu_indices(len(x), 1)]


def test_types_without_features_get_vectors_and_nodes_without_edges_zeros():
    found = FactorizedWalks(bipartite(), {"paper": ["pap"], "author": ["pap"]}, dim=16).graph
    for name, count in (("paper", 12), ("author", 7)):
        x = found.data[name].x
        assert x.shape == (count, 16)  # zeros beyond the 12 that there are
        assert (x[:, 12:] == 0).all()
        assert (x == 0).all(1).nonzero().flatten().tolist() == [count - 1]
        torch.testing.assert_close(x.abs().sum(1)[:-1], torch.ones(count - 1))


def test_longer_paths_average_what_they_pass_twice():
    """author-paper-venue-paper-author passes paper on the way there and back."""
    edges = {
        ("author", "writes", "paper"): np.array([[0, 0, 1, 2, 3], [0, 1, 1, 2, 3]]),
        ("paper", "in", "venue"): np.array([[0, 1, 2, 3], [0, 0, 1, 1]]),
    }
    counts = {"author": 4, "paper": 4, "venue": 2}
    source = Given(make_graph("author", counts, edges, {}, metapaths=["author-paper-venue-paper-author"]))
    found = FactorizedWalks(source, dim=3, rounds=5).graph
    for name, count in counts.items():
        x = torch.nn.functional.normalize(found.data[name].x, dim=1)
        half = count // 2
        assert (x @ x.T)[:half, half:].abs().max() < 0.05  # the two venues never meet
        assert (x @ x.T)[:half, :half].min() > 0.5


def test_what_was_made_once_is_not_made_again(monkeypatch):
    first = FactorizedWalks(PLANTED, dim=6).graph.data["group_0"].x
    monkeypatch.setattr(FactorizedWalks, "train", None)
    assert FactorizedWalks(PLANTED, dim=6).graph.data["group_0"].x.equal(first)
    for change in ({"dim": 5}, {"rounds": 2}, {"walk_seed": 5}):
        with pytest.raises(TypeError, match="not callable"):
            FactorizedWalks(PLANTED, **{"dim": 6, **change}).read()


VENUES = {
    ("author", "writes", "paper"): np.array([[0, 0, 1, 2, 3, 1, 2], [0, 1, 1, 2, 3, 3, 4]]),
    ("paper", "in", "venue"): np.array([[0, 1, 2, 3, 4], [0, 0, 1, 1, 2]]),
}
LONG = {"author": 4, "paper": 5, "venue": 3}


@pytest.mark.parametrize("power", [0.5, 1.0])
@pytest.mark.parametrize("rounds", [1, 3, 50])
def test_large_graphs_give_the_same_where_all_nodes_are_contexts(rounds, power, monkeypatch, tmp_path):
    long = Given(make_graph("author", LONG, VENUES, {}, metapaths=["author-paper-venue-paper-author"]))
    for source, dim, columns in ((bipartite(), 12, 5), (long, 4, 256), (PLANTED, 6, 7)):
        settings = {"dim": dim, "rounds": rounds, "power": power, "normalize": False, "walk_seed": 3}
        monkeypatch.setenv("MEDGRAPH_CACHE", str(tmp_path / "exact"))
        exact = FactorizedWalks(source, **settings).graph.data
        monkeypatch.setenv("MEDGRAPH_CACHE", str(tmp_path / f"some-{dim}"))
        monkeypatch.setattr(some_contexts, "_COLUMNS", columns)
        with monkeypatch.context() as patch:
            patch.setattr(factorized_walks, "_MAX_NODES", 3)
            found = FactorizedWalks(source, **settings).graph.data
        named = [name for name in FactorizedWalks(source).plan]
        every = [torch.cat([data[name].x.double() for name in named]) for data in (exact, found)]
        assert every[0].abs().sum() > 1
        torch.testing.assert_close(every[1] @ every[1].T, every[0] @ every[0].T, rtol=1e-3, atol=1e-3)


def test_some_contexts_stand_for_all(monkeypatch, tmp_path):
    """Inner products of nodes are those over all contexts but for chance: the more contexts, the less of it."""
    source = PlantedGraph(num_targets=600, num_classes=2, nodes_per_type=60, labelled=5, agreement=0.9)
    settings = {"dim": 16, "power": 1.0, "normalize": False, "replace": ("target",), "rounds": 5}
    exact = FactorizedWalks(source, **settings).graph.data
    monkeypatch.setattr(factorized_walks, "_MAX_NODES", 599)
    errors = []
    for contexts in (40, 300):
        monkeypatch.setenv("MEDGRAPH_CACHE", str(tmp_path / str(contexts)))
        monkeypatch.setattr(factorized_walks, "_ENTRIES", 600 * contexts)
        found = FactorizedWalks(source, **settings).graph.data
        for name in ("target", "group_0"):
            whole, some = (data[name].x.double() @ data[name].x.double().T for data in (exact, found))
            errors.append(float((some - whole).norm() / whole.norm()))
    assert errors[2] < errors[0] / 1.5
    assert errors[3] < errors[1] / 1.5
    assert max(errors[2:]) < 0.2
    assert 0.95 < some.trace() / whole.trace() < 1.05


def test_paths_of_one_way_reach_what_no_walk_from_their_start_meets():
    """Paper 2 has no author, but author 3 reviews it: from that paper a walk goes where none from an author goes."""
    writes, reviews = ("author", "writes", "paper"), ("paper", "reviewed_by", "author")
    edges = {writes: np.array([[0, 1, 3], [0, 1, 1]]), reviews: np.array([[0, 1, 2], [1, 0, 3]])}
    counts = {"author": 4, "paper": 3}
    with pytest.warns(UserWarning, match="no instance of any meta-path"):
        source = Given(make_graph("author", counts, edges, {}, metapaths=[[list(writes), list(reviews)]]))
    found = FactorizedWalks(source, dim=4, rounds=3).graph
    assert all(found.data[name].x.isfinite().all() for name in counts)
    assert (found.data["paper"].x[:2] != 0).any(1).all()


def test_own_features_give_way_to_the_vectors_where_asked():
    plain, kept = PLANTED.graph.data["target"].x, FactorizedWalks(PLANTED, dim=6).graph
    assert torch.equal(kept.data["target"].x.to_dense(), plain.to_dense())
    source = FactorizedWalks(PLANTED, dim=6, replace=("target",))
    paths = len(PLANTED.graph.metapaths)
    assert source.spec.feature_dims["target"] == 6 * paths
    found = source.graph.data["target"].x
    assert found.shape == (80, 6 * paths)
    named = FactorizedWalks(PLANTED, {"target": list(PLANTED.graph.metapaths)}, dim=6, replace=("target",)).graph
    assert torch.equal(named.data["target"].x, found)
    blocks = FactorizedWalks(PLANTED, dim=6, replace=("target",), per_path=True).spec.path_feature_dims
    assert blocks == dict.fromkeys(PLANTED.graph.metapaths, 6)
    with pytest.raises(ConfigError, match=r"replace.targets: no such node type. Node types: target, group_0, group_1"):
        _ = FactorizedWalks(PLANTED, replace=("targets",)).spec
    with pytest.raises(ConfigError, match=r"replace.target: no walks give target vectors in place of its features"):
        _ = FactorizedWalks(PLANTED, {}, replace=("target",)).spec
