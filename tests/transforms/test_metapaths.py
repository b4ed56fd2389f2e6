import numpy as np
import pytest
import scipy.sparse as sp
import torch
from reference.graphs import dense_counts, loop_top_k, random_graph
from torch_geometric.transforms import AddMetaPaths

from medgraph.data.graphs import make_graph
from medgraph.data.sample_graph import SampleGraph
from medgraph.transforms import metapaths
from medgraph.transforms.metapaths import (
    coarse_adjacency,
    commuting_counts,
    context_operators,
    gcn_normalise,
    parse_metapath,
    to_fixed_width,
    top_k_neighbours,
)

PATHS = ["pap", "psp", "papsp", "papap"]  # short, dense, not its own mirror image, long


@pytest.fixture(scope="module")
def acm():
    return SampleGraph().graph


@pytest.fixture
def graph():
    return random_graph()


@pytest.mark.filterwarnings("ignore:Sparse")  # PyG's own products warn about their layout
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", PATHS)
def test_counts_equal_those_of_add_metapaths(name, seed):
    graph = random_graph(seed)
    path = graph.metapath(name)
    made = AddMetaPaths([list(path.edge_types)], weighted=True)(graph.data)
    store = made["paper", "metapath_0", "paper"]
    expected = torch.sparse_coo_tensor(store.edge_index, store.edge_weight, (30, 30)).to_dense()
    np.testing.assert_array_equal(commuting_counts(graph, path).toarray(), expected.numpy())


@pytest.mark.parametrize("name", PATHS)
def test_rows_of_counts_equal_a_dense_product(graph, name):
    expected = dense_counts(graph, graph.metapath(name))
    np.testing.assert_array_equal(commuting_counts(graph, name).toarray(), expected)
    np.testing.assert_array_equal(commuting_counts(graph, name, np.array([7, 3])).toarray(), expected[[7, 3]])


@pytest.mark.parametrize("k", [1, 3, 8, 100])
@pytest.mark.parametrize("name", ["pap", "psp", "papap"])
def test_top_k_equals_a_loop(graph, name, k):
    kept, similarity = loop_top_k(dense_counts(graph, graph.metapath(name)), k)
    np.testing.assert_array_equal(top_k_neighbours(graph, name, k).toarray(), kept)
    found = top_k_neighbours(graph, name, k, edge_value="pathsim")
    np.testing.assert_allclose(found.toarray(), similarity, rtol=1e-6)
    np.testing.assert_array_equal(top_k_neighbours(graph, name, k, edge_value="binary").toarray(), kept > 0)
    assert found.data.min() > 0
    assert found.data.max() <= 1
    has_path = dense_counts(graph, graph.metapath(name)).diagonal() > 0
    np.testing.assert_array_equal(found.diagonal(), has_path.astype(np.float32))
    assert np.diff(found.indptr).max() <= k


def test_random_ties_keep_the_best_scores_and_list_everyone():
    edges = {("paper", "to", "subject"): np.stack([np.arange(40), np.zeros(40, dtype=int)])}  # one subject: all tie
    graph = make_graph("paper", {"paper": 40, "subject": 1}, edges, {}, metapaths=("psp",))
    first = top_k_neighbours(graph, "psp", 10)
    assert np.flatnonzero(first.toarray().sum(0) > 1).tolist() == list(range(10))  # one's own entry apart
    drawn = top_k_neighbours(graph, "psp", 10, ties="random", seed=1)
    np.testing.assert_array_equal(np.diff(drawn.indptr), 10)
    np.testing.assert_array_equal(drawn.diagonal(), 1)
    assert (drawn.toarray().sum(0) > 3).all()
    assert (drawn != top_k_neighbours(graph, "psp", 10, ties="random", seed=2)).nnz > 0
    assert (drawn != top_k_neighbours(graph, "psp", 10, ties="random", seed=1, block=7)).nnz == 0


@pytest.mark.parametrize("dense_above", [0, 2])  # products of dense features, or of sparse ones
@pytest.mark.parametrize("singly_below", [0, 2])  # of all pairs of a row, or pair by pair
def test_ties_by_features_keep_the_most_alike(monkeypatch, dense_above, singly_below):
    monkeypatch.setattr(metapaths, "_DENSE_ABOVE", dense_above)
    monkeypatch.setattr(metapaths, "_SINGLY_BELOW", singly_below)
    monkeypatch.setattr(metapaths, "_PAIRS", 70)
    edges = {("paper", "to", "subject"): np.stack([np.arange(40), np.zeros(40, dtype=int)])}  # one subject: all tie
    x = np.random.default_rng(0).normal(size=(40, 5))
    x[7] = 0
    graph = make_graph("paper", {"paper": 40, "subject": 1}, edges, {"paper": x}, metapaths=("psp",))
    unit = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T + 9 * np.eye(40)  # oneself always
    cosines[7, :] -= 1e-9 * np.arange(40)  # nothing known: the first ones
    expected = np.sort(np.argsort(-cosines, axis=1)[:, :6], axis=1)
    found = top_k_neighbours(graph, "psp", 6, ties="features")
    np.testing.assert_array_equal(found.indices.reshape(40, 6), expected)
    monkeypatch.setattr(metapaths, "_BLOCK_ENTRIES", 30)
    assert (found != top_k_neighbours(graph, "psp", 6, ties="features", block=11)).nnz == 0
    bare = make_graph("paper", {"paper": 40, "subject": 1}, edges, {}, metapaths=("psp",))
    drawn = (top_k_neighbours(bare, "psp", 6, ties=ties, seed=3) for ties in ("features", "random"))
    assert (next(drawn) != next(drawn)).nnz == 0


@pytest.mark.parametrize("singly_below", [0, 2])
def test_equal_features_are_equally_alike_wherever_they_stand(monkeypatch, singly_below):
    """A dense product rounds equal columns apart, here the last ones of 7 rows by 41."""
    monkeypatch.setattr(metapaths, "_SINGLY_BELOW", singly_below)
    unit = np.random.default_rng(0).normal(size=(1, 128)).repeat(41, axis=0)
    unit /= np.linalg.norm(unit[0])
    ranks = metapaths._unlike_ranks(unit, np.repeat(np.arange(7), 41), np.tile(np.arange(41), 7))
    assert set(ranks) == {-1.0}


def test_argsort_ties_are_those_that_numpys_sort_leaves_last():
    subject = np.random.default_rng(4).integers(0, 3, 150)
    edges = {("paper", "to", "subject"): np.stack([np.arange(150), subject])}  # PathSim is 1 or 0
    graph = make_graph("paper", {"paper": 150, "subject": 3}, edges, {}, metapaths=("psp",))
    found = top_k_neighbours(graph, "psp", 6, ties="argsort")
    for paper in range(150):
        last = np.argsort((subject == subject[paper]).astype(np.longdouble))[-6:]
        assert set(found[paper].indices) == ({*last} if paper in last else {paper, *last[1:]})
    assert (found != top_k_neighbours(graph, "psp", 6, ties="argsort", block=7)).nnz == 0
    assert (found != top_k_neighbours(graph, "psp", 6)).nnz > 0
    assert (top_k_neighbours(graph, "psp", 100, ties="argsort") != top_k_neighbours(graph, "psp", 100)).nnz == 0


def test_random_ties_never_change_the_scores_kept(graph):
    first, drawn = (top_k_neighbours(graph, "psp", 4, edge_value="pathsim", ties=ties) for ties in ("column", "random"))
    assert (first != drawn).nnz > 0
    for i in range(30):
        np.testing.assert_array_equal(np.sort(first[i].data), np.sort(drawn[i].data))


@pytest.mark.parametrize("block", [1, 7, 1000])
def test_block_size_changes_nothing(graph, block):
    whole = top_k_neighbours(graph, "papap", 4)
    found = top_k_neighbours(graph, "papap", 4, block=block)
    assert (whole != found).nnz == 0
    assert found.has_sorted_indices


def test_automatic_blocks_change_nothing(graph, monkeypatch):
    whole = top_k_neighbours(graph, "psp", 4)
    monkeypatch.setattr(metapaths, "_BLOCK_ENTRIES", 20)
    assert (whole != top_k_neighbours(graph, "psp", 4)).nnz == 0


def test_a_path_that_is_no_mirror_image_is_ranked_by_counts(graph):
    counts = dense_counts(graph, graph.metapath("papsp"))
    found = top_k_neighbours(graph, "papsp", 3).toarray()
    for i, row in enumerate(counts):
        ranked = sorted((i != j, -row[j], j) for j in np.flatnonzero(row))[:3]
        assert sorted(j for _, _, j in ranked) == np.flatnonzero(found[i]).tolist()
    with pytest.raises(ValueError, match="edge_value: 'pathsim' needs a path that is its own mirror image"):
        top_k_neighbours(graph, "papsp", 3, edge_value="pathsim")


def star(members: int):
    """`members` papers of one subject, and a second subject of two."""
    papers = np.arange(members + 2)
    subjects = np.concatenate([np.zeros(members, dtype=int), [1, 1]])
    edges = {("paper", "to", "subject"): np.stack([papers, subjects])}
    return make_graph("paper", {"paper": members + 2, "subject": 2}, edges, {})


def test_hub_caps_bound_the_row_and_keep_the_sum_on_average():
    graph = star(60)
    draws = [top_k_neighbours(graph, "psp", 100, max_hub_degree=10, seed=seed) for seed in range(40)]
    for found in draws:
        assert np.diff(found.indptr)[:60].max() <= 11
        np.testing.assert_array_equal(found.diagonal(), 1)  # exact, whatever the sample
        assert found[61].sum() == 2  # below the cap nothing changes
    off_diagonal = np.mean([found[:60].sum() / 60 for found in draws]) - 1
    assert off_diagonal == pytest.approx(59, rel=0.02)
    again = top_k_neighbours(graph, "psp", 100, max_hub_degree=10, seed=3)
    assert (again != draws[3]).nnz == 0
    assert (again != draws[4]).nnz > 0


def test_one_path_through_a_sampled_hub_does_not_outweigh_many_others():
    targets, group = (
        np.arange(400),
        np.arange(400) // 5,
    )  # groups of 5 share 4 small nodes, and all are in one of 2 hubs
    small = np.concatenate([np.stack([targets, group * 4 + j]) for j in range(4)], axis=1)
    hubs = np.stack([targets, 320 + targets % 2])
    edges = {("target", "in", "node"): np.concatenate([small, hubs], axis=1)}
    graph = make_graph("target", {"target": 400, "node": 322}, edges, {}, metapaths=["tnt"])
    for value, most in (("count", 4 + 200 / 20), ("pathsim", 1.0)):
        found = top_k_neighbours(graph, "tnt", 5, max_hub_degree=20, edge_value=value, ties="random")
        rows = np.repeat(targets, np.diff(found.indptr))
        assert (group[rows] == group[found.indices]).all()
        assert found.data.max() <= most


def test_no_cap_above_the_largest_degree(graph):
    found = top_k_neighbours(graph, "psp", 5, max_hub_degree=1000)
    assert (found != top_k_neighbours(graph, "psp", 5)).nnz == 0


def test_walks_find_the_neighbours_that_counting_finds(graph):
    exact = top_k_neighbours(graph, "pap", 30).toarray()
    walked = top_k_neighbours(graph, "pap", 30, walks=2000, block=7)
    assert ((walked.toarray() > 0) == (exact > 0)).all()
    np.testing.assert_allclose(walked.toarray(), exact, rtol=0.5)
    np.testing.assert_array_equal(walked.diagonal(), exact.diagonal())
    assert (walked != top_k_neighbours(graph, "pap", 30, walks=2000)).nnz == 0  # whatever the block
    few = top_k_neighbours(graph, "pap", 3, walks=2000)
    assert np.diff(few.indptr).max() == 3
    with pytest.raises(ValueError, match="walks: expected None beside max_hub_degree"):
        top_k_neighbours(graph, "pap", 3, walks=5, max_hub_degree=5)
    with pytest.raises(ValueError, match="walks: expected 1 or more, got 0"):
        top_k_neighbours(graph, "pap", 3, walks=0)


@pytest.mark.parametrize("name", PATHS)
def test_context_is_the_mean_over_reachable_nodes(graph, name):
    path = graph.metapath(name)
    for position, operator in enumerate(context_operators(graph, path), start=1):
        part = type(path)("part", path.edge_types[:position])
        reached = dense_counts(graph, part) > 0
        expected = reached / np.maximum(reached.sum(axis=1, keepdims=True), 1)
        np.testing.assert_allclose(operator.toarray(), expected, rtol=1e-6)


def test_factored_context_equals_the_reachable_one_for_equal_sizes():
    papers = np.arange(12)
    edges = {
        ("author", "to", "paper"): np.stack([np.repeat(np.arange(6), 2), papers]),
        ("paper", "to", "conference"): np.stack([papers, np.repeat(np.arange(3), 4)]),
    }
    graph = make_graph("author", {"author": 6, "paper": 12, "conference": 3}, edges, {})
    reachable = context_operators(graph, "apcpa", "reachable")
    *near, (first, second) = context_operators(graph, "apcpa", "factored")
    np.testing.assert_allclose((first @ second).toarray(), reachable[-1].toarray(), rtol=1e-6)
    assert [(a != b).nnz for a, b in zip(near, reachable, strict=False)] == [0, 0]


def test_auto_context_factors_only_what_is_large(graph, monkeypatch):
    assert all(sp.issparse(operator) for operator in context_operators(graph, "papap", "auto"))
    monkeypatch.setattr(metapaths, "_FACTORED_ENTRIES", 10)
    assert isinstance(context_operators(graph, "papap", "auto")[-1], tuple)


def test_normalization_equals_the_formula(graph):
    matrix = top_k_neighbours(graph, "pap", 3)
    dense = matrix.toarray().astype(np.float64)
    degree = dense.sum(axis=1)
    for transpose in (True, False):
        numerator = dense.T if transpose else dense
        with np.errstate(divide="ignore", invalid="ignore"):
            expected = np.nan_to_num(numerator / np.sqrt(np.outer(degree, degree)), posinf=0)
        found = gcn_normalise(matrix, transpose=transpose, isolated="keep").toarray()
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_target_without_path_keeps_an_empty_row_or_gets_itself(graph):
    matrix = top_k_neighbours(graph, "pap", 3)
    lonely = np.flatnonzero(np.diff(matrix.indptr) == 0)
    assert {27, 28, 29} <= set(lonely.tolist())  # random_graph gives these no author
    assert gcn_normalise(matrix, isolated="keep")[lonely].nnz == 0
    np.testing.assert_array_equal(gcn_normalise(matrix)[lonely].toarray(), np.eye(30, dtype=np.float32)[lonely])


def test_coarse_is_the_mean(graph):
    first, second = (gcn_normalise(top_k_neighbours(graph, name, 5)) for name in ("pap", "psp"))
    expected = (first.toarray() + second.toarray()) / 2
    np.testing.assert_allclose(coarse_adjacency([first, second]).toarray(), expected, rtol=1e-6)
    with pytest.raises(ValueError, match="matrices: expected the graph of at least one meta-path, got none"):
        coarse_adjacency([])


def test_fixed_width_holds_the_same(graph):
    matrix = top_k_neighbours(graph, "psp", 6)
    index, value = to_fixed_width(matrix, 6)
    assert (index.dtype, value.dtype, index.shape) == (torch.int32, torch.float16, (30, 6))
    back = np.zeros((30, 30))
    rows, columns = (index >= 0).nonzero(as_tuple=True)
    back[rows, index[rows, columns].long()] = value[rows, columns]
    np.testing.assert_array_equal(back, matrix.toarray())
    assert (value[index < 0] == 0).all()


def test_fixed_width_refuses_what_does_not_fit(graph):
    matrix = top_k_neighbours(graph, "psp", 6)
    with pytest.raises(ValueError, match="k: a row has 6 entries, expected at most 5"):
        to_fixed_width(matrix, 5)
    with pytest.raises(ValueError, match="matrix: value 70000 does not fit float16; normalize first"):
        to_fixed_width(sp.csr_matrix([[70000.0]]), 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "k: expected 1 or more, got 0"),
        ({"k": 1, "edge_value": "cosine"}, "edge_value: expected one of 'count', 'pathsim', 'binary', got 'cosine'"),
        ({"k": 1, "ties": "last"}, "ties: expected one of 'column', 'random', 'features', 'argsort', got 'last'"),
        ({"k": 1, "max_hub_degree": 0}, "max_hub_degree: expected 1 or more, got 0"),
        ({"k": 1, "block": 0}, "block: expected 1 or more, got 0"),
    ],
)
def test_wrong_arguments(graph, arguments, message):
    with pytest.raises(ValueError, match=message):
        top_k_neighbours(graph, "pap", **arguments)
    with pytest.raises(ValueError, match="mode: expected one of 'auto', 'reachable', 'factored', got 'x'"):
        context_operators(graph, "pap", "x")
    with pytest.raises(ValueError, match="isolated: expected one of 'keep', 'self_loop', got 'x'"):
        gcn_normalise(sp.identity(2), isolated="x")


def test_reordering_targets_reorders_the_graph(graph):
    order = np.random.default_rng(0).permutation(30)
    place = np.argsort(order)
    edges = {
        e: graph.data[e].edge_index.numpy().copy() for e in [("paper", "to", "author"), ("paper", "to", "subject")]
    }
    for index in edges.values():
        index[0] = place[index[0]]
    counts = {"paper": 30, "author": 20, "subject": 4}
    moved = make_graph("paper", counts, edges, {})
    for name in ("pap", "psp"):
        whole, again = (commuting_counts(g, name).toarray() for g in (graph, moved))
        np.testing.assert_array_equal(again, whole[np.ix_(order, order)])


def test_published_sizes_of_acm(acm):
    assert commuting_counts(acm, "pap").nnz == 57_853
    sizes = [np.diff(commuting_counts(acm, "psp", slice(i, i + 500)).indptr).sum() for i in range(0, 4019, 500)]
    assert sum(sizes) == 4_338_213


@pytest.mark.filterwarnings("ignore:.*no instance of any meta-path")
def test_one_step_paths_work():
    edges = {("paper", "cites", "paper"): np.array([[0, 0, 1], [1, 2, 2]])}
    graph = make_graph("paper", {"paper": 3}, edges, {}, metapaths=[[["paper", "cites", "paper"]]])
    path = parse_metapath([["paper", "cites", "paper"]], graph.data.edge_types, "paper")
    np.testing.assert_array_equal(commuting_counts(graph, path).toarray(), [[0, 1, 1], [0, 0, 1], [0, 0, 0]])
    np.testing.assert_array_equal(top_k_neighbours(graph, path, 1).toarray(), [[0, 1, 0], [0, 0, 1], [0, 0, 0]])
    assert context_operators(graph, path) == []
