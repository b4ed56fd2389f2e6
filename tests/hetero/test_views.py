import copy
import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hetero.planted import PlantedSource, encoder_for, planted_graph, planted_views
from reference.graphs import Given, random_graph

from medgraph.data import sparse
from medgraph.data.graphs import make_graph
from medgraph.data.idf_features import IdfFeatures
from medgraph.errors import ConfigError
from medgraph.hetero.batches import MetapathBatches
from medgraph.hetero.context import context_of
from medgraph.hetero.meow import MEOW
from medgraph.hetero.views import MetapathViews
from medgraph.losses.weighted_info_nce import WeightedInfoNCE
from medgraph.method import Step
from medgraph.transforms.metapaths import coarse_adjacency, gcn_normalise, top_k_neighbours


def test_adjacencies_are_the_normalised_neighbours_and_coarse_is_their_mean(data):
    graph = data.graph
    expected = [gcn_normalise(top_k_neighbours(graph, name, k)) for name, k in (("pap", 20), ("psp", 30))]
    for path, matrix in zip(data.views.paths, expected, strict=True):
        torch.testing.assert_close(path.adjacency.dense(), torch.from_numpy(matrix.toarray()))
    coarse = torch.from_numpy(coarse_adjacency(expected).toarray())
    torch.testing.assert_close(data.views.coarse.dense(), coarse)


def test_ties_are_drawn_by_the_seed():
    graphs = [
        planted_views(ties="random", top_k=(4,), seed=seed).views.paths[1].adjacency.dense() for seed in (0, 0, 1)
    ]
    assert torch.equal(graphs[0], graphs[1])
    assert not torch.equal(graphs[0], graphs[2])


def test_a_bare_target_gets_vectors_of_walks_where_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("MEDGRAPH_CACHE", str(tmp_path))
    graph = planted_graph()
    nodes = copy.copy(graph.data)
    del nodes["paper"].x
    nodes["editor"].num_nodes = 2  # on no meta-path
    bare = replace(graph, data=nodes)
    assert planted_views(bare).spec.feature_dims["paper"] == 0
    views = planted_views(bare, bare_target="walks")
    assert views.spec.feature_dims == {"paper": 128, "author": 64, "subject": 64, "editor": 0}
    assert encoder_for(views)(views.views).shape == (90, 16)
    assert encoder_for(planted_views(bare))(planted_views(bare).views).shape == (90, 16)
    assert planted_views(bare, target_features="walks").spec == views.spec
    own = planted_views(bare_target="walks")
    assert own.source is own.given
    replaced = planted_views(target_features="walks")
    assert replaced.spec.feature_dims == {"paper": 128, "author": 64, "subject": 64}
    assert torch.equal(replaced.graph.data["paper"].x, views.graph.data["paper"].x)
    assert own.spec.feature_dims["author"] == 0
    strong = planted_views(target_features="walks", walk_power=1.0)
    assert strong.source.power == 1.0
    assert not torch.equal(strong.graph.data["paper"].x, replaced.graph.data["paper"].x)
    with pytest.raises(ValueError, match="walk_power: has no effect without walks"):
        planted_views(walk_power=1.0)


@pytest.mark.parametrize("key", ["bare_target", "target_features"])
def test_walks_without_a_meta_path_to_follow_are_refused(key):
    edges = {("paper", "to", "author"): np.array([[0, 1, 2], [0, 0, 1]])}
    features = {} if key == "bare_target" else {"paper": np.eye(3, dtype=np.float32)}
    source = Given(make_graph("paper", {"paper": 3, "author": 2}, edges, features, metapaths=[]))
    with pytest.raises(ConfigError, match=r"^metapaths: expected at least one; none leads by itself from 'paper'"):
        _ = MetapathViews(source, **{key: "walks"}).spec
    with pytest.raises(ConfigError, match=f"^{key}: the graph itself has no meta-path for walks to follow"):
        _ = MetapathViews(source, ("pap",), **{key: "walks"}).spec


def test_context_rows_are_means_over_reachable_nodes(data):
    for path, width in zip(data.views.paths, (60, 9), strict=True):
        ((node_type, operator),) = path.context
        dense = operator.dense()
        assert operator.shape == (90, width)
        assert node_type == {60: "author", 9: "subject"}[width]
        torch.testing.assert_close(dense.sum(1), torch.ones(90))
        assert all(len(row[row > 0].unique()) == 1 for row in dense)


def test_masked_copies_drop_exactly_their_share(data):
    graph, views = data.graph, data.views
    full = sparse.to_scipy(graph.data["paper"].x)
    masked = views.masked_features.dense()
    entries = int((masked != 0).sum())
    assert entries == full.nnz - math.floor(0.2 * full.nnz)
    assert torch.equal(masked[masked != 0], torch.from_numpy(full.toarray())[masked != 0])
    for path, k in zip(views.paths, (20, 30), strict=True):
        neighbours = top_k_neighbours(graph, path.name, k)
        edges = neighbours.nnz - np.count_nonzero(neighbours.diagonal())
        dense = path.masked.dense()
        assert (dense.diagonal() > 0).all()
        assert int((dense > 0).sum()) - 90 == edges - math.floor(0.2 * edges)


@pytest.mark.parametrize("batches", [False, True])
def test_features_may_have_length_one(data, batches):
    if batches:
        unit = MetapathBatches(PlantedSource(), unit_features=True, top_k=(20,)).views.features
        starts, columns, values = unit["paper"].block(0, 90)
        parts = values.numpy(), columns.numpy(), starts.numpy()
        found = torch.from_numpy(sp.csr_matrix(parts, shape=(90, 30)).toarray())
    else:
        views = planted_views(unit_features=True).views
        found, masked = views.features["paper"].dense(), views.masked_features.dense()
        assert torch.equal(masked[masked != 0], found[masked != 0])  # masking does not stretch what stays
        assert math.floor(0.2 * (found != 0).sum()) == ((found != 0) & (masked == 0)).sum()
        assert views.features["subject"] is None
    plain = data.views.features["paper"].dense()
    torch.testing.assert_close(found, plain / plain.norm(dim=1, keepdim=True))


def test_words_of_few_nodes_may_weigh_more_also_where_ties_are_broken(rng):
    graph = planted_graph()
    nodes = copy.copy(graph.data)
    nodes["paper"].x = (torch.rand(90, 40, generator=rng) < torch.linspace(0.02, 0.4, 40)).float()
    given, settings = replace(graph, data=nodes), {"ties": "features", "unit_features": True, "top_k": (6,)}
    found = IdfFeatures(PlantedSource(given), 0.5).graph
    plain, views = planted_views(given, **settings), planted_views(given, idf_power=0.5, **settings)
    weighed = found.data["paper"].x.to_dense()
    assert torch.equal(views.graph.data["paper"].x.to_dense(), weighed)
    torch.testing.assert_close(views.views.features["paper"].dense(), torch.nn.functional.normalize(weighed, dim=1))
    expected = gcn_normalise(top_k_neighbours(found, "psp", 6, ties="features")).toarray()
    torch.testing.assert_close(views.views.paths[1].adjacency.dense(), torch.from_numpy(expected))
    assert not torch.equal(plain.views.paths[1].adjacency.dense(), torch.from_numpy(expected))
    with pytest.raises(ValueError, match="idf_power: expected a number from 0"):
        planted_views(idf_power=-0.1)


def test_masks_are_drawn_anew_every_so_many_epochs():
    views = planted_views(resample_masks_every=3).views
    assert views.at_epoch(2) is views
    third = views.at_epoch(3)
    assert not torch.equal(third.paths[0].masked.dense(), views.paths[0].masked.dense())
    assert not torch.equal(third.masked_features.dense(), views.masked_features.dense())
    assert views.at_epoch(5) is third
    again = planted_views(resample_masks_every=3).views.at_epoch(4)
    assert torch.equal(again.masked_features.dense(), third.masked_features.dense())
    kept = planted_views().views
    assert kept.at_epoch(99) is kept


def test_each_member_of_several_networks_has_masks_of_its_own():
    data = planted_views(resample_masks_every=3)
    assert data.views.of_member(0) is data.views
    seen = [data.of_member(member).train().views for member in range(3)]
    assert seen[1] is data.views.of_member(1)
    rounds = [each.at_epoch(epoch) for each in seen for epoch in (0, 3)]
    masks = [each.paths[0].masked.dense() for each in rounds]
    assert all(not torch.equal(first, second) for first, second in combinations(masks, 2))
    again = planted_views(resample_masks_every=3).of_member(2).train().views.to("cpu").at_epoch(4)
    assert torch.equal(again.paths[0].masked.dense(), masks[5])
    assert seen[1].paths[0].adjacency is data.views.paths[0].adjacency
    bare = planted_views(masked_copies=False)
    assert bare.views.of_member(2) is bare.views


def test_positives_are_ascending_hold_every_target_and_share_paths():
    data = planted_views(num_positives=2)
    rows, columns = data.views.positives
    assert torch.equal(rows, rows.sort().values)
    assert torch.equal(columns[rows == columns], torch.arange(90))
    assert torch.bincount(rows).max() <= 3
    labels = data.graph.labels
    others = rows != columns
    assert (labels[rows] == labels[columns])[others].float().mean() > 0.5


def test_views_can_be_plain(data):
    plain = planted_views(masked_copies=False, context="none")
    assert not plain.views.has_masks
    assert plain.spec.context_types == {"pap": (), "psp": ()}
    assert encoder_for(plain)(plain.views).shape == (90, 16)


def test_training_never_sees_labels(data):
    graph = data.graph

    class Forbidden:
        def __getattr__(self, name):
            raise AssertionError("labels were read")

    object.__setattr__(graph, "labels", Forbidden())
    batch = data.train().__getitems__([0])
    assert len(data.train()) == 1
    method = MEOW(data.spec, encoder_for(data), WeightedInfoNCE(0.5), embedding_dim=16, num_clusters=(3, 6))
    method.on_epoch_start(Step(0, 0, 0), [batch])
    method(batch, Step(0, 0, 0))["loss"].backward()
    with pytest.raises(AssertionError, match="labels were read"):
        _ = data.graph.labels.shape


def test_a_target_without_any_path_gets_itself_or_keeps_its_empty_row():
    graph = planted_graph()
    for edge_type in graph.data.edge_types:
        index = graph.data[edge_type].edge_index
        side = 0 if edge_type[0] == "paper" else 1
        graph.data[edge_type].edge_index = index[:, index[side] != 7]
    lonely = planted_views(graph)
    assert lonely.views.coarse.dense()[7].tolist() == [float(i == 7) for i in range(90)]
    assert encoder_for(lonely)(lonely.views).isfinite().all()
    kept = planted_views(graph, isolated="keep", masked_copies=False)
    assert (kept.views.coarse.dense()[7] == 0).all()
    assert encoder_for(kept)(kept.views).isfinite().all()


def test_wrong_settings_are_refused(data):
    with pytest.raises(ValueError, match="top_k: expected one number, or 2, one for each meta-path; got 3"):
        _ = planted_views(top_k=(1, 2, 3)).views
    with pytest.raises(ValueError, match="edge_masks: expected a number from 0"):
        planted_views(edge_masks=(2.0,))
    with pytest.raises(ValueError, match="context: expected one of"):
        planted_views(context="all")
    with pytest.raises(ValueError, match="walks: expected null beside max_hub_degree"):
        planted_views(walks=5, max_hub_degree=5)


def test_neighbours_can_be_found_by_walks():
    counted, walked = (
        planted_views(top_k=(90,), walks=walks).views.paths[0].adjacency.dense() for walks in (None, 4000)
    )
    assert ((counted > 0) == (walked > 0)).all()
    assert not torch.equal(counted, walked)


@pytest.mark.filterwarnings("ignore:.*no instance of any meta-path")
def test_context_of_long_paths_is_factored_where_it_would_be_large(monkeypatch):
    graph = random_graph(metapaths=["papsp"])
    shapes = {mode: _context_kinds(graph, mode) for mode in ("auto", "reachable", "factored")}
    assert shapes["auto"] == shapes["reachable"] != shapes["factored"]
    monkeypatch.setattr("medgraph.transforms.metapaths._FACTORED_ENTRIES", 10)
    assert _context_kinds(graph, "auto") == shapes["factored"]


def _context_kinds(graph, mode):
    return [type(operator).__name__ for _, operator in context_of(graph, graph.metapath("papsp"), mode)]


def test_views_move_to_a_device_once(data):
    moved = data.views.to("meta")
    assert moved.paths[0].adjacency.forward_matrix.device.type == "meta"
    assert data.views.to("meta") is moved
    assert data.views.to("cpu") is data.views


def test_features_for_each_meta_path_have_to_be_there_for_all_of_them():
    class Blocks(PlantedSource):
        @property
        def spec(self):
            return replace(super().spec, path_feature_dims={"pap": 30})

    assert MetapathViews(Blocks(), ("pap",)).spec.path_feature_dims == {"pap": 30}
    with pytest.raises(ConfigError, match="metapaths: the target has no features for 'psp', only for pap"):
        _ = MetapathViews(Blocks()).spec


def test_pathsim_of_a_path_that_comes_back_another_way_is_refused_before_training():
    crooked = ("paper-author-paper-subject-paper",)
    for kind in (MetapathViews, MetapathBatches):
        views = kind(PlantedSource(), metapaths=crooked, top_k=(5,), edge_value="pathsim")
        with pytest.raises(ConfigError, match=r"edge_value: 'pathsim' needs .* 'papsp' goes by to, rev_to, to, rev_to"):
            views.spec  # noqa: B018
        assert kind(PlantedSource(), metapaths=crooked, top_k=(5,)).spec.context_types
        straight = kind(PlantedSource(), metapaths=("pap", "psp", "papap"), top_k=(5,), edge_value="pathsim")
        assert len(straight.spec.context_types) == 3
