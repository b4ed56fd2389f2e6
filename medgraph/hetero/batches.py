"""MetapathBatches: a graph as batches of targets with sampled neighbours, for graphs too large for whole steps."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from medgraph import checks
from medgraph.data.metapath import MetaPath
from medgraph.errors import DataError
from medgraph.hetero.context import context_of
from medgraph.hetero.operators import Chain, Operator, SparseOperator
from medgraph.hetero.row_store import RowStore
from medgraph.hetero.sampler import SampledFeatures, SampledViews, sample_views, take_features
from medgraph.hetero.stored import StoredFeatures, StoredPath, StoredViews, store_edges
from medgraph.hetero.views import MetapathViews, features_of, for_path


@dataclass(frozen=True, eq=False)
class TargetBatch:
    """A batch of targets, before anything is sampled around them.

    Attributes:
        ids: Their numbers (b,).
        views: The stored graph.
        device: Where samples go.
    """

    ids: Tensor
    views: StoredViews
    device: torch.device | str = "cpu"

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> "TargetBatch":
        """The same, for samples on another device."""
        return TargetBatch(self.ids, self.views, device)

    def sample(self, seed: int, epoch: int) -> SampledViews:
        """What the encoder needs for these targets, drawn by (seed, epoch)."""
        return sample_views(self.views, self.ids, seed, epoch).to(self.device)

    def features(self) -> SampledFeatures:
        """The targets' own features, unmasked."""
        return take_features(self.views.features[self.views.target_type], self.ids).to(self.device)


class Targets:
    """A data set of targets: one example each.

    Args:
        views: The stored graph.
    """

    def __init__(self, views: StoredViews):
        self.views = views

    def __len__(self) -> int:
        return len(self.views)

    def __getitems__(self, indices: Sequence[int]) -> TargetBatch:
        if get_worker_info() is not None:
            raise DataError("train.num_workers: expected 0, as batches of a graph are sampled by the training step.")
        return TargetBatch(torch.as_tensor(indices, dtype=torch.long), self.views)


class MetapathBatches(MetapathViews):
    """Targets in batches, each with a sample of its neighbours along meta-paths; memory is linear in the graph.

    Neighbours are kept once, `top_k` of each target, normalized by the degrees of the whole graph. A step samples
    from them. Masked copies leave out each edge and each feature entry by a draw of its own. To embed, all
    neighbours kept are used, layer by layer (`metapath_sampled` does that).

    Args:
        source: The graph.
        metapaths: Names of meta-paths; None takes those of the graph.
        top_k: Neighbours kept of each target by PathSim, one number per meta-path or one for all.
        edge_value: What a kept neighbour weighs: the "count" of path instances, "pathsim", or "binary".
        transpose: Messages into i come from the nodes that list i, as in the authors' program; else from those i lists.
        isolated: A target without any path instance keeps its empty row ("keep"), or gets itself as only neighbour.
        context: Features of intermediate nodes: "factored" as means of means, the mean over all "reachable" ones, whose
            lists can be large on long paths, or "none".
        masked_copies: Whether each path has a copy with masked features and edges.
        unit_features: Divide the features of each node by their length; sources divide them by their sum.
        feature_mask: Probability that a feature entry of a target is masked in the copies.
        edge_masks: Probability that an edge is masked, one number per meta-path or one for all.
        resample_masks_every: Epochs after which masks are drawn anew; 0 draws once.
        max_hub_degree: Targets of an intermediate node that are looked at, at most; None looks at all.
        walks: Estimate path instances from this many random walks of each target, instead of counting them all; for
            long paths in large graphs, with `max_hub_degree` null. None counts.
        ties: Of equally good neighbours keep "random" ones, or those of smaller number ("column"). With "column", all
            targets of a group that ties list the same few, and the others are listed by nobody. More in
            `metapath_views`.
        fan_out: Neighbours sampled of each node, by the last and by the first layer; None takes all. The mean of all
            paths samples as many, shared among the paths.
        context_fan_out: Intermediate nodes sampled of each target and position; None takes all.
        seed: Filled from the pipeline.
    """

    is_batched = True

    def __init__(
        self,
        source: Any,
        metapaths: tuple[str, ...] | None = None,
        top_k: tuple[int, ...] = (50,),
        edge_value: str = "count",
        transpose: bool = True,
        isolated: str = "self_loop",
        context: str = "factored",
        masked_copies: bool = True,
        unit_features: bool = False,
        feature_mask: float = 0.3,
        edge_masks: tuple[float, ...] = (0.2,),
        resample_masks_every: int = 0,
        max_hub_degree: int | None = 1000,
        walks: int | None = None,
        ties: str = "random",
        fan_out: tuple[int, int] | None = (15, 10),
        context_fan_out: int | None = 20,
        seed: int = 0,
    ):
        super().__init__(
            source,
            metapaths,
            top_k,
            edge_value=edge_value,
            transpose=transpose,
            isolated=isolated,
            context=context,
            masked_copies=masked_copies,
            unit_features=unit_features,
            feature_mask=feature_mask,
            edge_masks=edge_masks,
            resample_masks_every=resample_masks_every,
            max_hub_degree=max_hub_degree,
            walks=walks,
            ties=ties,
            seed=seed,
        )
        self.fan_out, self.context_fan_out = fan_out, context_fan_out
        for value in fan_out or ():
            checks.at_least("fan_out", value, 1)
        if context_fan_out is not None:
            checks.at_least("context_fan_out", context_fan_out, 1)

    def train(self) -> Targets:  # type: ignore[override]
        """One example per target, labelled or not."""
        return Targets(self.views)

    def validation(self) -> Targets:  # type: ignore[override]
        """The same as `train()`."""
        return self.train()

    def test(self) -> Targets:  # type: ignore[override]
        """The same as `train()`."""
        return self.train()

    @cached_property
    def views(self) -> StoredViews:  # type: ignore[override]
        """The graph as rows to sample from."""
        graph = self.graph
        used = {graph.target_type, *(name for types in self.spec.context_types.values() for name in types)}
        return StoredViews(
            target_type=graph.target_type,
            num_targets=graph.num_targets,
            features={name: _stored(features_of(graph, name, self.unit_features)) for name in sorted(used)},
            paths=tuple(self._path(index, path) for index, path in enumerate(self._paths)),
            feature_mask=self.feature_mask.fraction,
            transpose=self.transpose,
            seed=self.seed,
            resample_masks_every=self.resample_masks_every,
            fan_out=self.fan_out,
            context_fan_out=self.context_fan_out,
        )

    def _path(self, index: int, path: MetaPath) -> StoredPath:
        edges = store_edges(self._best_of(index, path), self.transpose, self.isolated)
        mask = for_path(self.edge_masks, index, len(self._paths), "edge_masks") if self.masked_copies else None
        context = context_of(self.graph, path, self.context) if self.context != "none" else ()
        return StoredPath(path.name, edges, mask, tuple((name, _factors(each)) for name, each in context))


def _factors(operator: Operator) -> tuple[RowStore, ...]:
    parts = operator.operators if isinstance(operator, Chain) else (operator,)
    return tuple(_rows(part) for part in parts if isinstance(part, SparseOperator))


def _stored(features: Any) -> StoredFeatures:
    return _rows(features) if isinstance(features, SparseOperator) else features


def _rows(operator: SparseOperator) -> RowStore:
    matrix = operator.forward_matrix
    columns = matrix.col_indices().to(torch.int32)
    return RowStore(matrix.crow_indices().long(), columns, matrix.values(), operator.shape[1])
