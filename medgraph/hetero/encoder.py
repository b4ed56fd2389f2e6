"""MetapathEncoder: the coarse and the fine view of the target nodes, with one graph encoder for both."""

from dataclasses import dataclass
from itertools import accumulate
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks
from medgraph.data.spec import MetapathSpec
from medgraph.hetero.averages import Averages
from medgraph.hetero.batch import Features, GraphViews, PathViews, times
from medgraph.hetero.named_modules import NamedModules
from medgraph.hetero.operators import Operator
from medgraph.hetero.semantic_attention import SemanticAttention


@dataclass(frozen=True)
class Encoded:
    """Both views of every target.

    Attributes:
        coarse: Which targets are connected (n, d).
        fine: How they are connected (n, d).
        attention: Weight of each fine view (v,): of every path its clean copy, then its masked one.
    """

    coarse: Tensor
    fine: Tensor
    attention: Tensor


class MetapathEncoder(nn.Module):
    """The encoder of MEOW [1]: type projections, meta-path contexts, a shared two-layer GCN, semantic attention.

    H_u = ELU(drop(X_u W_u + b_u));  H^p = ELU(H_t + sum_h drop((R^{p,h} H_u) W_{p,h}));
    f(H, A) = norm(A drop(PReLU(A drop(H W_1)) W_2));  coarse = f(H_t, mean_p A^p);
    fine = attention over unit rows of f(H^p, A^p) and of the same on masked copies. Where the target has features for
    each path, H^p starts from those of its own path, and coarse from the mean over paths.

    `encoder(views)` gives the features handed on (n, out_dim): the fine view, or what `output` says. One-hot features
    are a lookup, never a matrix.

    [1] Yu et al., 2022, arXiv:2212.13847.

    Args:
        spec: Facts of the data, filled by the builder: node types, widths, context types of each meta-path.
        dim: Width of every layer and of each view.
        dropout: Share of entries dropped, drawn anew at each place.
        norm: Of each view's output: "global", one mean and variance over all nodes, as published; "row"; or "none".
        fusion: How fine views are fused: "attention", or "mean".
        extract: What `encoder(views)` gives after training: "clean", a pass without dropout; or "last_train_forward",
            the features of the training step that the weights are from, as the authors' program does, on any graph.
        init: First weights of the projections of node types and contexts. "xavier": normal, gain 1.414, no bias.
            "uniform": as torch draws linear layers, smaller, with biases; fits the loss later, and gives one-hot types
            more weight beside words.
        output: What `encoder(views)` gives: the "fine" view, as published; the "sum" of the unit rows of both views; or
            "joined", unit rows of the fine view and, beside them, of `Averages`, so that what training loses of the
            target's own features is not lost to who reads them.
    """

    takes_batches = False
    last_features: Tensor

    def __init__(
        self,
        spec: MetapathSpec,
        dim: int = 64,
        dropout: float = 0.2,
        norm: str = "global",
        fusion: str = "attention",
        extract: str = "clean",
        init: str = "xavier",
        output: str = "fine",
    ):
        super().__init__()
        self.dim = checks.at_least("dim", dim, 1)
        self.dropout = checks.between("dropout", dropout, 0.0, 0.99)
        self.norm = checks.one_of("norm", norm, ("global", "row", "none"))
        self.extract = checks.one_of("extract", extract, ("clean", "last_train_forward"))
        self.init = checks.one_of("init", init, ("xavier", "uniform"))
        self.output = checks.one_of("output", output, ("fine", "sum", "joined"))
        self.target_type = spec.target_type
        self.averages = Averages(spec, dim) if output == "joined" else None
        self.out_dim = dim if self.averages is None else 2 * dim
        used = {spec.target_type, *(node_type for types in spec.context_types.values() for node_type in types)}
        self.projections = NamedModules(
            {name: TypeProjection(spec.feature_dims[name] or spec.node_counts[name], dim) for name in sorted(used)}
        )
        if spec.path_feature_dims:
            self.projections[self.target_type] = BlockProjection(spec.path_feature_dims, tuple(spec.context_types), dim)
        self.contexts = NamedModules(
            {
                path: nn.ModuleList(nn.Linear(dim, dim, bias=False) for _ in types)
                for path, types in spec.context_types.items()
            }
        )
        self.first, self.second = (nn.Parameter(torch.empty(dim, dim).uniform_(-(dim**-0.5), dim**-0.5)) for _ in "12")
        if init == "xavier":
            for name, weight in [*self.projections.named_parameters(), *self.contexts.named_parameters()]:
                nn.init.zeros_(weight) if name.endswith("bias") else nn.init.xavier_normal_(weight, gain=1.414)
        self.slope = nn.Parameter(torch.tensor(0.25))
        self.attention = SemanticAttention(dim, dropout, fusion)
        if extract == "last_train_forward":
            self.register_buffer("last_features", torch.zeros(spec.node_counts[spec.target_type], self.out_dim))

    def forward(self, views: GraphViews) -> Tensor:
        """Features of the targets (n, out_dim)."""
        if self.extract == "last_train_forward" and not self.training and bool(self.last_features.any()):
            return self.last_features  # all zero before the first training step
        return self._handed_on(self.encode(views), views)

    def encode(self, views: GraphViews) -> Encoded:
        """Both views, with dropout in training mode."""
        projected = {name: self._project(name, views.features[name]) for name in self.projections}
        own = _by_path(projected[self.target_type], len(views.paths))
        if projected[self.target_type].ndim == 3:
            projected[self.target_type] = projected[self.target_type].mean(dim=1)
        coarse = self._graph(projected[self.target_type], views.coarse)
        masked = self._project(self.target_type, views.masked_features) if views.has_masks else None
        fine = []
        for number, path in enumerate(views.paths):
            context = self._context(path, projected)
            fine.append(F.normalize(self._graph(self._join(own[number], context), path.adjacency), dim=1))
            if masked is not None and path.masked is not None:
                start = _by_path(masked, len(views.paths))[number]
                fine.append(F.normalize(self._graph(self._join(start, context), path.masked), dim=1))
        fused, weights = self.attention(fine)
        encoded = Encoded(coarse, fused, weights)
        if self.averages is not None:
            self.averages.fit_once(views)
        if self.training and self.extract == "last_train_forward":
            self.last_features.copy_(self._handed_on(encoded, views).detach())
        return encoded

    def _handed_on(self, encoded: Encoded, views: GraphViews) -> Tensor:
        if self.averages is not None:
            return torch.cat([F.normalize(encoded.fine, dim=1), self.averages(views)], dim=1)
        if self.output == "fine":
            return encoded.fine
        return F.normalize(encoded.coarse, dim=1) + F.normalize(encoded.fine, dim=1)

    def _project(self, name: str, features: Features) -> Tensor:
        return F.elu(self._drop(self.projections[name](features)))

    def _context(self, path: PathViews, projected: dict[str, Tensor]) -> list[Tensor]:
        """What each intermediate position adds, before dropout (n, d) each."""
        layers = cast(nn.ModuleList, self.contexts[path.name])
        pairs = zip(path.context, layers, strict=True)
        return [layer(operator(projected[node_type])) for (node_type, operator), layer in pairs]

    def _join(self, target: Tensor, context: list[Tensor]) -> Tensor:
        """ELU of the target and its context; each call draws the context's dropout anew."""
        total = target
        for term in context:
            total = total + self._drop(term)
        return F.elu(total)

    def _graph(self, features: Tensor, adjacency: Operator, last: Operator | None = None) -> Tensor:
        """The two-layer GCN that all views share; `last` is the graph of the second layer, if another one."""
        hidden = self.activate(adjacency(self._drop(features @ self.first)))
        return self.normed((last or adjacency)(self._drop(hidden @ self.second)))

    def activate(self, hidden: Tensor) -> Tensor:
        """PReLU between the layers of the graph encoder."""
        return torch.where(hidden > 0, hidden, self.slope * hidden)

    def normed(self, hidden: Tensor) -> Tensor:
        """The norm after its last layer."""
        if self.norm == "none":
            return hidden
        return F.layer_norm(hidden, hidden.shape if self.norm == "global" else hidden.shape[1:])

    def _drop(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training)


def check_fit(spec: MetapathSpec, encoder: MetapathEncoder, is_batched: bool) -> None:
    """Raise ValueError unless data and encoder are those of a method that trains on batches, or on the whole graph."""
    if not hasattr(encoder, "encode"):
        raise ValueError(f"encoder: expected one with a coarse and a fine view of nodes, got {type(encoder).__name__}")
    kinds = ("the whole graph", "batches of targets")
    if spec.is_batched != is_batched:
        wanted = ("metapath_views", "metapath_batches")[is_batched]
        raise ValueError(f"data: gives {kinds[spec.is_batched]}, this method takes {kinds[is_batched]}; use {wanted}")
    if encoder.takes_batches != is_batched:
        wanted = ("metapath", "metapath_sampled")[is_batched]
        raise ValueError(f"encoder: expected {wanted}, which takes {kinds[is_batched]}, got {type(encoder).__name__}")


class TypeProjection(nn.Module):
    """x W + b of one node type; one-hot features give W itself.

    W and b are drawn as torch draws those of a linear layer.

    Args:
        in_dim: Width of the features, or number of nodes for one-hot ones.
        dim: Width of the result.
    """

    def __init__(self, in_dim: int, dim: int):
        super().__init__()
        bound = in_dim**-0.5
        self.weight = nn.Parameter(torch.empty(in_dim, dim).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(dim).uniform_(-bound, bound))

    def forward(self, features: Features) -> Tensor:
        return times(features, self.weight) + self.bias


class BlockProjection(TypeProjection):
    """x_p W_p + b of each meta-path (n, paths, dim), from the path's own block of columns.

    Args:
        widths: Width of each block, by the name of its path, in order of the columns.
        paths: Names of the paths, in their order.
        dim: Width of each result.
    """

    def __init__(self, widths: dict[str, int], paths: tuple[str, ...], dim: int):
        super().__init__(sum(widths.values()), dim)
        ends = dict(zip(widths, accumulate(widths.values()), strict=True))
        self.blocks = tuple(slice(ends[path] - widths[path], ends[path]) for path in paths)

    def forward(self, features: Features) -> Tensor:
        wide = self.weight.new_zeros(len(self.weight), len(self.blocks), self.weight.shape[1])
        for number, block in enumerate(self.blocks):
            wide[block, number] = self.weight[block]
        flat = wide.flatten(1)  # one product for all paths
        return times(features, flat).unflatten(1, (len(self.blocks), -1)) + self.bias


def _by_path(projected: Tensor, num_paths: int) -> tuple[Tensor, ...]:
    """What each path starts from: its own part, or what all share."""
    return projected.unbind(1) if projected.ndim == 3 else (projected,) * num_paths
