"""MetapathViews: a graph as the operators of its meta-paths, ready for training on the whole graph."""

from collections.abc import Sequence
from copy import copy
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

from medgraph import checks
from medgraph.data import sparse
from medgraph.data.factorized_walks import FactorizedWalks
from medgraph.data.graphs import Graph
from medgraph.data.idf_features import IdfFeatures
from medgraph.data.incidence import has_mirror_image
from medgraph.data.metapath import MetaPath, told_apart
from medgraph.data.spec import MetapathSpec, settled
from medgraph.errors import ConfigError
from medgraph.hetero.batch import Features, GraphViews, Masks, PathViews
from medgraph.hetero.context import context_of
from medgraph.hetero.operators import SparseOperator
from medgraph.transforms.graph_masks import EdgeMask, FeatureMask
from medgraph.transforms.metapaths import gcn_normalise
from medgraph.transforms.row_top_k import keep_top
from medgraph.transforms.stored_metapaths import stored_top_k

_DENSE_ABOVE = 0.3  # share of non-zero features from which a dense product is faster (our measurement)


class WholeGraph:
    """A data set of one example: the views of the whole graph.

    Args:
        views: What a step is given.
    """

    def __init__(self, views: Any):
        self.views = views

    def __len__(self) -> int:
        return 1

    def __getitems__(self, indices: Sequence[int]) -> Any:
        return self.views


class MetapathViews:
    """Views of a heterogeneous graph along meta-paths, built once: neighbours, augmented copies, contexts.

    Labels stay with the graph: nothing that training is given holds them.

    Args:
        source: The graph.
        metapaths: Names of meta-paths; None takes those of the graph.
        top_k: Neighbours kept of each target by PathSim, one number per meta-path or one for all.
        edge_value: What a kept neighbour weighs: the "count" of path instances, "pathsim", or "binary".
        transpose: Messages into i come from the nodes that list i, as in the authors' program; else from those i lists.
        isolated: A target without any path instance keeps its empty row ("keep"), or gets itself as only neighbour.
        context: Features of intermediate nodes: the mean over all "reachable" ones, "factored" as means of means,
            "auto" for the first unless more than 2e7 entries may come, or "none".
        masked_copies: Whether each path has a copy with masked features and edges.
        unit_features: Divide the features of each node by their length. Sources divide them by their sum, which leaves
            a bag of n equal words at a length of 1 / sqrt(n), beside one-hot types of length 1.
        feature_mask: Share of the target's non-zero features masked in the copies.
        edge_masks: Share of edges masked, one number per meta-path or one for all.
        resample_masks_every: Epochs after which masks are drawn anew; 0 draws once, as the authors do.
        num_positives: Further positives per target, the best connected over all paths; 0 for none.
        max_hub_degree: Targets of an intermediate node that are looked at, at most; None looks at all.
        walks: Estimate path instances from this many random walks of each target, instead of counting them all; for
            long paths in large graphs, with `max_hub_degree` null. None counts.
        ties: Of equally good neighbours keep those of smaller number ("column"), "random" ones, or those of most alike
            "features" (random without features). With "column", all targets of a group that ties list the same few; so
            they do with "argsort", those that numpy's sort leaves last, as programs that take `argsort(row)[-k:]`: what
            is kept then rests on the order of the nodes, which must not tell their class.
        bare_target: What a target without features of its own gets: "one_hot", or "walks", vectors of factorized walks
            along the graph's meta-paths for all types without features, see `factorized_walks`.
        target_features: The target's "own", or "walks": such vectors in place of the features that it has.
        walk_power: How much their stronger directions weigh, see `power` of `factorized_walks`.
        idf_power: How much more words weigh that few nodes have, see `power` of `idf_features`; 0 for no more.
        seed: Filled from the pipeline.
    """

    is_batched = False
    member = 0  # which of several networks sees these

    def __init__(
        self,
        source: Any,
        metapaths: tuple[str, ...] | None = None,
        top_k: tuple[int, ...] = (100,),
        edge_value: str = "count",
        transpose: bool = True,
        isolated: str = "self_loop",
        context: str = "auto",
        masked_copies: bool = True,
        unit_features: bool = False,
        feature_mask: float = 0.3,
        edge_masks: tuple[float, ...] = (0.2,),
        resample_masks_every: int = 0,
        num_positives: int = 0,
        max_hub_degree: int | None = None,
        walks: int | None = None,
        ties: str = "column",
        bare_target: str = "one_hot",
        target_features: str = "own",
        walk_power: float = 0.5,
        idf_power: float = 0.0,
        seed: int = 0,
    ):
        self.given, self.metapaths, self.top_k = source, metapaths, top_k
        self.bare_target = checks.one_of("bare_target", bare_target, ("one_hot", "walks"))
        self.target_features = checks.one_of("target_features", target_features, ("own", "walks"))
        self.ties = checks.one_of("ties", ties, ("column", "random", "features", "argsort"))
        self.edge_value = checks.one_of("edge_value", edge_value, ("count", "pathsim", "binary"))
        self.walk_power = checks.between("walk_power", walk_power, 0.0, 1.0)
        if walk_power != 0.5 and "walks" not in (bare_target, target_features):
            raise ValueError("walk_power: has no effect without walks in bare_target or target_features")
        self.idf_power = checks.between("idf_power", idf_power, 0.0, 1.0)
        self.transpose = transpose
        self.isolated = checks.one_of("isolated", isolated, ("keep", "self_loop"))
        self.context = checks.one_of("context", context, ("auto", "reachable", "factored", "none"))
        self.masked_copies, self.unit_features = masked_copies, unit_features
        self.feature_mask = FeatureMask(checks.fraction("feature_mask", feature_mask))
        self.edge_masks = edge_masks
        for k in top_k:
            checks.at_least("top_k", k, 1)
        for fraction in edge_masks:
            checks.fraction("edge_masks", fraction)
        self.resample_masks_every = checks.at_least("resample_masks_every", resample_masks_every, 0)
        self.num_positives = checks.at_least("num_positives", num_positives, 0)
        self.max_hub_degree, self.walks, self.seed = max_hub_degree, walks, seed
        if walks is not None and max_hub_degree is not None:
            raise ValueError("walks: expected null beside max_hub_degree; walks pass hubs as they are")

    @cached_property
    def source(self) -> Any:
        """Where the graph comes from, with vectors of walks and weights of words where asked.

        Raises:
            ConfigError: Only `metapaths` names any, and walks follow those of the graph.
        """
        filled = self._filled
        return IdfFeatures(filled, self.idf_power) if self.idf_power else filled

    @property
    def _filled(self) -> Any:
        """Where the graph comes from, with vectors of walks where the target needs them."""
        target = self.given.spec.target_type
        is_bare = not self.given.spec.feature_dims[target]
        key = "bare_target" if is_bare and self.bare_target == "walks" else "target_features"
        if getattr(self, key) != "walks":
            return self.given
        filled = FactorizedWalks(self.given, replace=() if is_bare else (target,), power=self.walk_power)
        if filled.structure.metapaths:
            return filled
        if self.metapaths is None:  # which is told in a moment
            return self.given
        raise ConfigError(f"{key}: the graph itself has no meta-path for walks to follow; name them in its source")

    def settled(self, node: dict[str, Any]) -> dict[str, Any]:
        """See `data.spec.settled`."""
        return {**node, "source": settled(self.given, node["source"])}

    def without_labels(self) -> "MetapathViews":
        """The same of a graph whose labels and splits are not read, and need not be there."""
        other = copy(self)
        for name in ("source", "spec", "views", "_paths", "_neighbours"):
            other.__dict__.pop(name, None)
        other.given = self.given.without_labels()
        return other

    @property
    def graph(self) -> Graph:
        """The graph, with labels and splits for whoever evaluates."""
        return self.source.graph

    @cached_property
    def spec(self) -> MetapathSpec:
        """Facts of the graph, and the types that flow in as context along each meta-path.

        Raises:
            ConfigError: There is no meta-path, or not one number for each; or the target has features for each
                meta-path, but not for one of these.
        """
        base = self.source.spec
        inner = {path.name: path.node_types[1:-1] if self.context != "none" else () for path in self._paths}
        blocks = base.path_feature_dims
        without = [path.name for path in self._paths if blocks and path.name not in blocks]
        if without:
            raise ConfigError(f"metapaths: the target has no features for {without[0]!r}, only for {', '.join(blocks)}")
        facts = (base.target_type, base.node_counts, base.feature_dims, base.num_classes, base.edge_types, inner)
        return MetapathSpec(*facts, self.num_positives, self.is_batched, path_feature_dims=blocks)

    def train(self) -> WholeGraph:
        """One example: the views. Validation and test hold the same, since nodes are split by their labels only."""
        return WholeGraph(self.views)

    def of_member(self, member: int) -> "MetapathViews":
        """These data as member 0, 1, ... of several networks sees them, see `GraphViews.of_member`."""
        other = copy(self)
        other.member = member
        other.__dict__["views"] = self.views.of_member(member)
        return other

    def validation(self) -> WholeGraph:
        """The same as `train()`."""
        return self.train()

    def test(self) -> WholeGraph:
        """The same as `train()`."""
        return self.train()

    @cached_property
    def views(self) -> GraphViews:
        """Everything that one step needs, with the first draw of the masks."""
        graph = self.graph
        masks = self.draw_masks(0) if self.masked_copies else None
        paths = []
        for index, path in enumerate(self._paths):
            adjacency = SparseOperator(self._normalise(self._neighbours[index]))
            masked = masks.adjacencies[index] if masks is not None else None
            context = context_of(graph, path, self.context) if self.context != "none" else ()
            paths.append(PathViews(path.name, adjacency, masked, context))
        used = {graph.target_type, *(name for types in self.spec.context_types.values() for name in types)}
        return GraphViews(
            target_type=graph.target_type,
            ids=torch.arange(graph.num_targets),
            features={name: features_of(graph, name, self.unit_features) for name in sorted(used)},
            paths=tuple(paths),
            masked_features=masks.features if masks is not None else None,
            positives=self._positives() if self.num_positives else None,
            draw_masks=self.draw_masks if self.masked_copies else None,
            resample_masks_every=self.resample_masks_every,
        )

    def draw_masks(self, number: int) -> Masks:
        """The augmented copies of round `number`, drawn from (seed, number)."""
        features = _raw_features(self.graph, self.unit_features)
        masked = self.feature_mask.apply(features, self.feature_mask.draw(self.seed, number, features))
        adjacencies = []
        for index, matrix in enumerate(self._neighbours):
            mask = EdgeMask(for_path(self.edge_masks, index, len(self._paths), "edge_masks"))
            kept = mask.apply(matrix, mask.draw(self.seed, number, matrix, stream=index))
            adjacencies.append(SparseOperator(self._normalise(kept)))
        return Masks(_operator(masked), tuple(adjacencies))

    @cached_property
    def _paths(self) -> tuple[MetaPath, ...]:
        graph = self.source.structure
        names = self.metapaths if self.metapaths is not None else tuple(graph.metapaths)
        paths = told_apart(graph.metapath(name) for name in names)
        if not paths:
            raise ConfigError(
                f"metapaths: expected at least one; none leads by itself from {graph.target_type!r} over other types "
                "and back. Name them here, or give the source lists of edge types."
            )
        for key, values in (("top_k", self.top_k), ("edge_masks", self.edge_masks)):
            for_path(values, 0, len(paths), key)
        crooked = [path for path in paths if self.edge_value == "pathsim" and not has_mirror_image(graph, path)]
        if crooked:
            relations = ", ".join(relation for _, relation, _ in crooked[0].edge_types)
            raise ConfigError(
                f"edge_value: 'pathsim' needs paths that come back as they went, but {crooked[0].name!r} goes by "
                f"{relations}. Take 'count', or a path whose second half is the first one backwards."
            )
        return paths

    @cached_property
    def _neighbours(self) -> list[sp.csr_matrix]:
        """The best neighbours along each path, before normalisation."""
        return [self._best_of(index, path) for index, path in enumerate(self._paths)]

    def _best_of(self, index: int, path: MetaPath) -> sp.csr_matrix:
        return stored_top_k(
            self.graph if self.ties == "features" else self.source.structure,
            path,
            for_path(self.top_k, index, len(self._paths), "top_k"),
            edge_value=self.edge_value,
            max_hub_degree=self.max_hub_degree,
            walks=self.walks,
            ties=self.ties,
            seed=self.seed,
        )

    def _normalise(self, matrix: sp.csr_matrix) -> sp.csr_matrix:
        return gcn_normalise(matrix, transpose=self.transpose, isolated=self.isolated)  # type: ignore[arg-type]

    def _positives(self) -> Tensor:
        """Each target and its best others: shares of its path instances, summed over paths, ties by smaller number."""
        total = sp.csr_matrix((self.graph.num_targets,) * 2)
        for matrix in self._neighbours:
            sums = np.asarray(matrix.sum(axis=1)).ravel()
            total = total + sp.diags(np.divide(1.0, sums, out=np.zeros_like(sums), where=sums > 0)) @ matrix
        others = (total - sp.diags(total.diagonal())).tocsr()
        others.eliminate_zeros()
        others.sort_indices()
        kept = keep_top(others, others.data, self.num_positives)
        rows = np.repeat(np.arange(others.shape[0]), np.diff(others.indptr))[kept]
        own = np.arange(others.shape[0])
        pairs = np.stack([np.concatenate([rows, own]), np.concatenate([others.indices[kept], own])])
        return torch.from_numpy(pairs[:, np.lexsort((pairs[1], pairs[0]))].astype(np.int64))


def for_path(values: tuple[Any, ...], index: int, num_paths: int, name: str) -> Any:
    """The value of one path, out of one for each or one for all. Raises ConfigError."""
    if len(values) not in (1, num_paths):
        raise ConfigError(f"{name}: expected one number, or {num_paths}, one for each meta-path; got {len(values)}.")
    return values[index if len(values) > 1 else 0]


def _raw_features(graph: Graph, unit: bool) -> Tensor:
    """The target's features, of length 1 if `unit`; the identity where it has none."""
    store = graph.data[graph.target_type]
    if "x" not in store:
        return sparse.to_torch(sp.identity(graph.num_targets, format="csr"))
    return sparse.unit_rows(store.x) if unit else store.x


def features_of(graph: Graph, name: str, unit: bool = False) -> Features:
    """Features of a node type as a step uses them, of length 1 if `unit`; None where it has none and is one-hot."""
    store = graph.data[name]
    if "x" not in store:
        return None
    return _operator(sparse.unit_rows(store.x) if unit else store.x)


def _operator(features: Tensor) -> Features:
    """Features as a sparse operator, or as they are where most entries are non-zero."""
    if features.layout == torch.strided:
        if (features != 0).float().mean() > _DENSE_ABOVE:
            return features
        return SparseOperator(sparse.to_scipy(features))
    matrix = sparse.to_scipy(features)
    matrix.eliminate_zeros()
    return SparseOperator(matrix)
