"""AdaMEOW: contrast a fine with a coarse view of each node, negatives weighted by a small network."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph.data.spec import MetapathSpec
from medgraph.hetero.batch import GraphViews
from medgraph.hetero.encoder import check_fit
from medgraph.hetero.reconstruction import FeatureReconstruction
from medgraph.losses import pairs
from medgraph.losses.adaptive_info_nce import AdaptiveInfoNCE
from medgraph.losses.pairs.terms import AdditiveScorer, ExcludeSameId
from medgraph.method import Method, Step
from medgraph.nn.projector import TanhProjector


class AdaMEOW(Method):
    """Heterogeneous graph contrast with meta-path contexts and learned weights of negatives [1].

    loss(fine, coarse), the weight of each pair by the loss's own network, which is trained with the encoder. There are
    no clusters. With weight_norm "none", as published, all weights slide to 0 together, so that the value of the loss
    says little; "row_mean" holds their mean at 1. No label is read.

    [1] Yu et al., 2024, arXiv:2212.13847, Sec. 5.

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: Gives the coarse and the fine view; what is exported.
        loss: `adaptive_info_nce` with `dim` equal to `embedding_dim`; as published with pair_input "sum".
        embedding_dim: Width of the embeddings.
        both_directions: Add the loss with the coarse view as anchor, and halve the sum.
        reconstruction_weight: Weight of predicting the target's own features from the fine view; 0 leaves it out.
    """

    def __init__(
        self,
        spec: MetapathSpec,
        encoder: Any,
        loss: nn.Module,
        embedding_dim: int = 64,
        both_directions: bool = False,
        reconstruction_weight: float = 0.0,
    ):
        super().__init__()
        if not isinstance(loss, AdaptiveInfoNCE):
            raise ValueError(f"loss: expected adaptive_info_nce, got {type(loss).__name__}")
        if loss.of_queries.in_features != embedding_dim:
            raise ValueError(f"loss: dim is {loss.of_queries.in_features}, expected embedding_dim, {embedding_dim}")
        if spec.num_positives:
            raise ValueError("data.num_positives: AdaMEOW takes none; set it to 0")
        check_fit(spec, encoder, is_batched=False)
        self.both_directions = both_directions
        self.encoder, self.loss = encoder, loss
        self.projector = TanhProjector(encoder.dim, embedding_dim)
        self.reconstruction = FeatureReconstruction(spec, encoder.dim, reconstruction_weight)

    def training_step(self, batch: GraphViews, step: Step, views: GraphViews) -> dict[str, Tensor]:
        """Loss of the whole graph, and the mean learned weight every tenth epoch."""
        encoded = self.encoder.encode(views)
        coarse, fine = self.projector(encoded.coarse), self.projector(encoded.fine)
        loss = self.loss(fine, coarse)
        if self.both_directions:
            loss = (loss + self.loss(coarse, fine)) / 2
        outputs = {"contrast": loss}
        if self.reconstruction.weight:
            outputs["reconstruction"] = self.reconstruction(encoded.fine, views.features[views.target_type])
            loss = loss + self.reconstruction.weight * outputs["reconstruction"]
        if step.epoch % 10 == 0:
            outputs["mean_weight"] = mean_weight(self.loss, fine.detach(), coarse.detach())
        shares = {f"attention_{index}": weight for index, weight in enumerate(encoded.attention.detach())}
        return {"loss": loss, **outputs, **shares}

    def views_of(self, batch: GraphViews, step: Step) -> GraphViews:
        """The graph as this epoch sees it."""
        return batch.at_epoch(step.epoch)


@torch.no_grad()
def mean_weight(loss: AdaptiveInfoNCE, queries: Tensor, keys: Tensor) -> Tensor:
    """Mean of the learned weights over all pairs of different nodes, before any normalisation."""
    seen = F.linear(keys, loss.of_queries.weight) if loss.of_keys is None else loss.of_keys(keys)
    scorer = AdditiveScorer(loss.of_queries(queries), seen, loss.score.weight[0], loss.score.bias[0])
    others = ExcludeSameId(torch.arange(len(queries), device=queries.device))
    total = pairs.pair_lse(queries, keys, terms=(scorer, others), heads=((0.0, ()),))[0]
    return total.exp().mean() / max(len(keys) - 1, 1)
