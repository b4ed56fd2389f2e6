"""SampledMetapathEncoder: the meta-path encoder on batches of targets, and layer by layer on all of them."""

from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

from medgraph import checks
from medgraph.data.spec import MetapathSpec
from medgraph.hetero.encoder import Encoded, MetapathEncoder
from medgraph.hetero.layerwise import Layerwise
from medgraph.hetero.operators import Operator
from medgraph.hetero.sampler import SampledPath, SampledViews
from medgraph.hetero.stored import StoredViews


class SampledMetapathEncoder(MetapathEncoder):
    """The same layers as `metapath`, for graphs that are trained on in batches.

    In training each node sums over a sample of its neighbours, and the weights of the fine views come from the batch;
    a running mean of them is kept. `encoder(views)` embeds all targets: over all neighbours kept, in blocks of rows,
    with the running weights, or before any training with those of all targets.

    Args:
        spec: Facts of the data, filled by the builder: node types, widths, context types of each meta-path.
        dim: Width of every layer and of the features.
        dropout: Share of entries dropped, drawn anew at each place.
        norm: Of each view's output: "row", or "none". One mean over all nodes would depend on the batch.
        fusion: How fine views are fused: "attention", or "mean".
        attention_decay: Share of the running weights that stays at each step.
    """

    takes_batches = True
    attention_average: Tensor

    def __init__(
        self,
        spec: MetapathSpec,
        dim: int = 64,
        dropout: float = 0.2,
        norm: str = "row",
        fusion: str = "attention",
        attention_decay: float = 0.95,
    ):
        checks.one_of("norm", norm, ("row", "none"))
        if spec.path_feature_dims:
            raise ValueError("metapath_sampled: takes no features for each meta-path; set source.per_path to false")
        super().__init__(spec, dim, dropout, norm, fusion)
        self.attention_decay = checks.fraction("attention_decay", attention_decay)
        self.register_buffer("attention_average", torch.zeros(2 * len(spec.context_types)))  # zeros: not yet known

    def forward(self, views: StoredViews) -> Tensor:  # type: ignore[override]
        """Features of all targets (n, dim)."""
        return self._embed_all(views)[0]

    def encode(self, views: SampledViews | StoredViews) -> Encoded:  # type: ignore[override]
        """Both views: of a batch for training, or of all targets without dropout or gradient."""
        if isinstance(views, StoredViews):
            fine, weights = self._embed_all(views)
            return Encoded(Layerwise(self, views).coarse(), fine, weights)
        projected = {name: self._project(name, cast(Any, features)) for name, features in views.features.items()}
        target = projected[self.target_type]
        coarse = self._graph(target.index_select(0, views.coarse.inputs), views.coarse.first, views.coarse.last)
        has_masks = views.masked_features is not None
        masked = self._project(self.target_type, cast(Any, views.masked_features)) if has_masks else None
        each = []
        for path in views.paths:
            context = self._context(cast(Any, path), projected)
            each.append(self._fine(target, path, context, path.first, path.last))
            if masked is not None and path.masked is not None:
                each.append(self._fine(masked, path, context, *path.masked))
        fused, weights = self.attention(each)
        if self.training:
            self._remember(weights.detach())
        return Encoded(coarse, fused, weights)

    def _fine(
        self, target: Tensor, path: SampledPath, context: list[Tensor], first: Operator, last: Operator
    ) -> Tensor:
        return F.normalize(self._graph(self._join(target.index_select(0, path.inputs), context), first, last), dim=1)

    @torch.no_grad()
    def _remember(self, weights: Tensor) -> None:
        running = self.attention_average[: len(weights)]
        known = bool(running.any())
        running.copy_(self.attention_decay * running + (1 - self.attention_decay) * weights if known else weights)

    @torch.no_grad()
    def _embed_all(self, views: StoredViews) -> tuple[Tensor, Tensor]:
        """Features of all targets, and the weight of each view; at most one view is held unless weights are unknown."""
        number = views.num_copies * len(views.paths)
        weights = self.attention_average[:number]
        every = Layerwise(self, views).fine()
        if not weights.any():
            was_training = self.attention.training
            self.attention.eval()
            found = self.attention(list(every))
            self.attention.train(was_training)
            return found
        fused = torch.zeros(views.num_targets, self.out_dim, device=weights.device)
        for weight, view in zip(weights, every, strict=True):
            fused.add_(weight * view)
        return fused, weights.clone()
