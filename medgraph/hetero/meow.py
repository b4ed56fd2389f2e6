"""MEOW: contrast a coarse with a fine view of each node, negatives weighted by clusters, and with centroids."""

from copy import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from medgraph import checks
from medgraph.data.spec import MetapathSpec
from medgraph.hetero.batch import GraphViews
from medgraph.hetero.clusterings import Clusterings, KMeans
from medgraph.hetero.encoder import check_fit
from medgraph.hetero.reconstruction import FeatureReconstruction
from medgraph.losses.info_nce import InfoNCE
from medgraph.losses.multi_positive_info_nce import MultiPositiveInfoNCE
from medgraph.losses.prototype_contrast import PrototypeContrast
from medgraph.losses.weighted_info_nce import WeightedInfoNCE
from medgraph.method import Method, Step
from medgraph.nn.projector import TanhProjector


class MEOW(Method):
    """Heterogeneous graph contrast with meta-path contexts and hard weights of negatives [1].

    loss(coarse, fine; weights = clusterings that tell a pair apart) + prototype_weight * ProtoNCE(coarse; centroids of
    the fine embeddings). Embeddings are unit rows of tanh(z W + b). No label is read.

    [1] Yu et al., 2022, arXiv:2212.13847, Sec. 4.

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: Gives the coarse and the fine view; what is exported.
        loss: `weighted_info_nce` as published; `info_nce` for equal weights; `multi_positive_info_nce` where the data
            names further positives, with equal weights if `num_clusters` is 1 alone.
        embedding_dim: Width of the embeddings.
        num_clusters: Clusters of each k-means; a small and a large number give weights at two granularities.
        prototype_weight: Weight of the loss against centroids; 0 leaves it out.
        kmeans: "spherical", or "inner_product" as the authors run it.
        kmeans_iterations: Rounds of k-means at most.
        kmeans_restarts: Runs of "inner_product" from other starting rows; the best is kept.
        concentration: How tight a cluster is: by "distance", or by "similarity" as the authors do, which turns the
            order round.
        recluster_every: Epochs that a clustering serves.
        warmup_epochs: First epochs with equal weights and without the loss against centroids.
        both_directions: Add the loss with the fine view as anchor, and halve the sum.
        reconstruction_weight: Weight of predicting the target's own features from the fine view; 0 leaves it out.
    """

    def __init__(
        self,
        spec: MetapathSpec,
        encoder: Any,
        loss: nn.Module,
        embedding_dim: int = 64,
        num_clusters: tuple[int, ...] = (100, 300),
        prototype_weight: float = 1.0,
        kmeans: str = "spherical",
        kmeans_iterations: int = 20,
        kmeans_restarts: int = 5,
        concentration: str = "distance",
        recluster_every: int = 1,
        warmup_epochs: int = 0,
        both_directions: bool = False,
        reconstruction_weight: float = 0.0,
    ):
        super().__init__()
        num_targets = spec.node_counts[spec.target_type]
        self.prototype_weight = checks.not_negative("prototype_weight", prototype_weight)
        self.recluster_every = checks.at_least("recluster_every", recluster_every, 1)
        self.num_warmup_epochs = self.warmup_epochs = checks.not_negative("warmup_epochs", warmup_epochs)
        self.kmeans = KMeans(
            checks.one_of("kmeans", kmeans, ("spherical", "inner_product")),
            checks.at_least("kmeans_iterations", kmeans_iterations, 1),
            checks.at_least("kmeans_restarts", kmeans_restarts, 1),
        )
        checks.one_of("concentration", concentration, ("distance", "similarity"))
        _check_clusters(num_clusters, num_targets, loss)
        _check_positives(spec.num_positives, loss)
        check_fit(spec, encoder, is_batched=False)
        if both_directions and isinstance(loss, InfoNCE):  # which takes both in one pass
            loss = copy(loss)
            loss.symmetric, both_directions = True, False
        self.both_directions = both_directions
        self.encoder, self.loss = encoder, loss
        self.projector = TanhProjector(encoder.dim, embedding_dim)
        self.clusterings = Clusterings(num_targets, embedding_dim, num_clusters, concentration)
        self.prototype_loss = PrototypeContrast()
        self.reconstruction = FeatureReconstruction(spec, encoder.dim, reconstruction_weight)

    def training_step(self, batch: GraphViews, step: Step, views: GraphViews) -> dict[str, Tensor]:
        """Loss of the whole graph: the sum, and its parts."""
        encoded = self.encoder.encode(views)
        coarse, fine = self.projector(encoded.coarse), self.projector(encoded.fine)
        warming = step.epoch < self.warmup_epochs
        if not warming and self._needs_clusters and self._is_due(step):
            self.clusterings.refresh(fine.detach(), self.kmeans, cast(float, self.loss.temperature))
        outputs = {"contrast": self._contrast(coarse, fine, views.positives, warming)}
        if self.prototype_weight and not warming:
            known = self.clusterings
            outputs["prototype"] = self.prototype_loss(coarse, known.centroids, known.labels.T, known.concentrations)
        loss = outputs["contrast"] + self.prototype_weight * outputs.get(
            "prototype", torch.zeros_like(outputs["contrast"])
        )
        if self.reconstruction.weight:
            outputs["reconstruction"] = self.reconstruction(encoded.fine, views.features[views.target_type])
            loss = loss + self.reconstruction.weight * outputs["reconstruction"]
        shares = {f"attention_{index}": weight for index, weight in enumerate(encoded.attention.detach())}
        return {"loss": loss, **outputs, **shares}

    def views_of(self, batch: GraphViews, step: Step) -> GraphViews:
        """The graph as this epoch sees it."""
        return batch.at_epoch(step.epoch)

    @property
    def _needs_clusters(self) -> bool:
        return bool(self.prototype_weight) or not (isinstance(self.loss, InfoNCE) or self._positives_alone)

    @property
    def _positives_alone(self) -> bool:
        """Whether negatives weigh equally, as one cluster tells none of them apart."""
        return isinstance(self.loss, MultiPositiveInfoNCE) and max(self.clusterings.num_clusters) == 1

    def _is_due(self, step: Step) -> bool:
        return not self.clusterings.known or (step.epoch - self.warmup_epochs) % self.recluster_every == 0

    def _contrast(self, coarse: Tensor, fine: Tensor, positives: Tensor | None, warming: bool) -> Tensor:
        terms = [self._one_direction(coarse, fine, positives, warming)]
        if self.both_directions:
            terms.append(self._one_direction(fine, coarse, positives, warming))
        return torch.stack(terms).mean()

    def _one_direction(self, anchors: Tensor, keys: Tensor, positives: Tensor | None, warming: bool) -> Tensor:
        codes = self.clusterings.labels
        if warming:  # all different: equal weights
            codes = torch.arange(len(codes), device=codes.device)[:, None].expand_as(codes)
        if isinstance(self.loss, MultiPositiveInfoNCE):
            return self.loss(anchors, keys, positives, None if self._positives_alone else codes)
        return self.loss(anchors, keys, codes) if isinstance(self.loss, WeightedInfoNCE) else self.loss(anchors, keys)


def _check_positives(num_positives: int, loss: nn.Module) -> None:
    if isinstance(loss, MultiPositiveInfoNCE) and not num_positives:
        raise ValueError("loss: multi_positive_info_nce needs data.num_positives above 0")
    if num_positives and not isinstance(loss, MultiPositiveInfoNCE):
        raise ValueError("data.num_positives: this loss takes none; use multi_positive_info_nce, or set it to 0")


def _check_clusters(num_clusters: tuple[int, ...], num_targets: int, loss: nn.Module) -> None:
    if not num_clusters:
        raise ValueError("num_clusters: expected at least one number of clusters")
    for k in num_clusters:
        if not 1 <= k <= num_targets:
            raise ValueError(f"num_clusters: expected from 1 to {num_targets}, the number of targets, got {k}")
    if max(num_clusters) == 1 and not isinstance(loss, (InfoNCE, MultiPositiveInfoNCE)):
        raise ValueError("num_clusters: with one cluster everywhere no pair is told apart, so no negative is left")
