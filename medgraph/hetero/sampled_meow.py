"""SampledMEOW: MEOW in batches of targets, with a queue of past keys and clusters of a bank of embeddings."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from medgraph import checks
from medgraph.clustering.bank import Bank
from medgraph.clustering.queue import Queue
from medgraph.data.spec import MetapathSpec
from medgraph.hetero.batches import TargetBatch
from medgraph.hetero.clusterings import Clusterings, KMeans
from medgraph.hetero.encoder import check_fit
from medgraph.hetero.queued_keys import contrast
from medgraph.hetero.reconstruction import FeatureReconstruction
from medgraph.hetero.sampler import SampledViews
from medgraph.hetero.throughput import Throughput
from medgraph.losses.given_weight_info_nce import GivenWeightInfoNCE
from medgraph.losses.info_nce import InfoNCE
from medgraph.losses.pairs.terms import CodeDisagreement
from medgraph.losses.prototype_contrast import PrototypeContrast
from medgraph.method import Method, Step
from medgraph.nn.projector import TanhProjector


class SampledMEOW(Method):
    """MEOW [1] for graphs that do not fit one step: batches of targets, sampled neighbours, stored clusters.

    loss(coarse, fine and a queue of past fine embeddings; weights = clusterings that tell a pair apart)
    + prototype_weight * ProtoNCE(coarse; centroids). Clusters come from a bank that holds the fine embedding of each
    target, rewritten whenever it is visited and filled by one pass over the whole graph before the first clustering.
    With the whole graph as batch, all neighbours and no queue the loss is that of `meow`. No label is read.

    [1] Yu et al., 2022, arXiv:2212.13847, Sec. 4.

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: Gives the coarse and the fine view of a batch; what is exported.
        loss: `given_weight_info_nce`, whose weights come from the clusters; `info_nce` for equal weights.
        embedding_dim: Width of the embeddings.
        num_clusters: Clusters of each k-means; a small and a large number give weights at two granularities.
        prototype_weight: Weight of the loss against centroids; 0 leaves it out.
        kmeans_iterations: Rounds of spherical k-means.
        concentration: How tight a cluster is: by "distance", or by "similarity" as the authors do, which turns the
            order round.
        recluster_every: Epochs that a clustering serves.
        warmup_epochs: First epochs with equal weights and without the loss against centroids.
        queue_size: Past fine embeddings that are keys too, see `hetero.queued_keys`; 0 for none. A batch of thousands
            has negatives enough, and on a small graph old keys are those of its own targets: on 8,000 of a planted
            graph embeddings lay closer together with a queue (mean cosine 0.08) than without (0.05).
        bank_dtype: Storage type of bank and queue: "float16" halves their memory, or "float32".
        both_directions: Add the loss with the fine view as anchor, and halve the sum; needs queue_size 0.
        reconstruction_weight: Weight of predicting the target's own features from the fine view; 0 leaves it out.
    """

    def __init__(
        self,
        spec: MetapathSpec,
        encoder: Any,
        loss: nn.Module,
        embedding_dim: int = 64,
        num_clusters: tuple[int, ...] = (1000, 3000),
        prototype_weight: float = 1.0,
        kmeans_iterations: int = 10,
        concentration: str = "distance",
        recluster_every: int = 1,
        warmup_epochs: int = 0,
        queue_size: int = 0,
        bank_dtype: str = "float16",
        both_directions: bool = False,
        reconstruction_weight: float = 0.0,
    ):
        super().__init__()
        num_targets = spec.node_counts[spec.target_type]
        if not isinstance(loss, GivenWeightInfoNCE | InfoNCE):
            raise ValueError(f"loss: expected given_weight_info_nce or info_nce, got {type(loss).__name__}")
        check_fit(spec, encoder, is_batched=True)
        if not num_clusters or not all(1 <= k <= num_targets for k in num_clusters):
            raise ValueError(f"num_clusters: expected numbers from 1 to {num_targets}, the targets, got {num_clusters}")
        if max(num_clusters) == 1 and not isinstance(loss, InfoNCE):
            raise ValueError("num_clusters: with one cluster everywhere no pair is told apart, so no negative is left")
        self.prototype_weight = checks.not_negative("prototype_weight", prototype_weight)
        self.kmeans = KMeans("spherical", checks.at_least("kmeans_iterations", kmeans_iterations, 1), restarts=1)
        checks.one_of("concentration", concentration, ("distance", "similarity"))
        self.recluster_every = checks.at_least("recluster_every", recluster_every, 1)
        self.num_warmup_epochs = self.warmup_epochs = checks.at_least("warmup_epochs", warmup_epochs, 0)
        checks.one_of("bank_dtype", bank_dtype, ("float32", "float16"))
        self.encoder, self.loss = encoder, loss
        self.projector = TanhProjector(encoder.dim, embedding_dim)
        self.clusterings = Clusterings(num_targets, embedding_dim, num_clusters, concentration)
        self.bank = Bank(num_targets, embedding_dim, bank_dtype)
        size = check_queue(queue_size, both_directions)
        self.both_directions = both_directions
        self.queue = Queue(size, embedding_dim, bank_dtype) if size else None
        self.prototype_loss = PrototypeContrast()
        self.reconstruction = FeatureReconstruction(spec, encoder.dim, reconstruction_weight)
        self._clock = Throughput()

    def on_epoch_start(self, step: Step, batches: Iterable[TargetBatch]) -> None:
        """Cluster the bank where an epoch is due; before the first time, embed every target for it."""
        past = step.epoch - self.warmup_epochs
        if past < 0 or not self._needs_clusters or (past % self.recluster_every and bool(self.clusterings.known)):
            return
        if not bool(self.bank.valid.all()):
            self._fill_bank(next(iter(batches)))
        temperature = float(self.loss.temperature)  # type: ignore[arg-type]
        ids = torch.arange(self.bank.num_examples, device=self.bank.valid.device)
        self.clusterings.refresh(self.bank.vectors(ids).float(), self.kmeans, temperature)

    def training_step(self, batch: TargetBatch, step: Step, views: SampledViews) -> dict[str, Tensor]:
        """Loss of a batch: the sum, and its parts."""
        encoded = self.encoder.encode(views)
        coarse, fine = self.projector(encoded.coarse), self.projector(encoded.fine)
        warming = step.epoch < self.warmup_epochs
        loss = self._contrast(coarse, fine, views.ids, warming)
        if self.both_directions:
            loss = (loss + self._contrast(fine, coarse, views.ids, warming)) / 2
        outputs = {"contrast": loss}
        if self.prototype_weight and not warming:
            known = self.clusterings
            labels = known.labels[views.ids].T
            outputs["prototype"] = self.prototype_loss(coarse, known.centroids, labels, known.concentrations)
            loss = loss + self.prototype_weight * outputs["prototype"]
        if self.reconstruction.weight:
            outputs["reconstruction"] = self.reconstruction(encoded.fine, batch.features())
            loss = loss + self.reconstruction.weight * outputs["reconstruction"]
        self.bank.write(views.ids, fine)
        if self.queue is not None:
            self.queue.push(fine, ids=views.ids)
        return {"loss": loss, **outputs, **step_metrics(encoded.attention, self._clock, len(batch))}

    def views_of(self, batch: TargetBatch, step: Step) -> SampledViews:
        """Samples around the targets of a batch."""
        return batch.sample(step.seed, step.epoch)

    @property
    def _needs_clusters(self) -> bool:
        return bool(self.prototype_weight) or not isinstance(self.loss, InfoNCE)

    def _contrast(self, anchors: Tensor, keys: Tensor, ids: Tensor, warming: bool) -> Tensor:
        temperature = float(self.loss.temperature)  # type: ignore[arg-type]
        if isinstance(self.loss, InfoNCE):
            return contrast(lambda q, k, _: self.loss(q, k), anchors, keys, ids, self.queue, temperature)

        def weighted(queries: Tensor, keys: Tensor, key_ids: Tensor) -> Tensor:
            if warming:  # all different but a node from itself
                codes, key_codes = (x[:, None].expand(-1, len(self.clusterings.num_clusters)) for x in (ids, key_ids))
            else:
                codes, key_codes = self.clusterings.labels[ids], self.clusterings.labels[key_ids]
            return self.loss(queries, keys, CodeDisagreement(codes, key_codes))

        return contrast(weighted, anchors, keys, ids, self.queue, temperature)

    @torch.no_grad()
    def _fill_bank(self, batch: TargetBatch) -> None:
        features = self.encoder(batch.views)
        ids = torch.arange(len(features), device=features.device)
        for some in ids.split(2**16):
            self.bank.write(some, self.projector(features[some]))


def check_queue(queue_size: int, both_directions: bool) -> int:
    """The size of the queue; raise ValueError for one that a loss in both directions could not use."""
    if queue_size and both_directions:
        raise ValueError(f"both_directions: expected queue_size 0, as a queue holds one view's keys; got {queue_size}")
    return int(checks.at_least("queue_size", queue_size, 0))


def step_metrics(attention: Tensor, clock: Throughput, num_nodes: int) -> dict[str, Tensor]:
    """What each step logs beside its losses: weight of each fine view, and nodes per second from the second step on."""
    found = {f"attention_{index}": weight for index, weight in enumerate(attention.detach())}
    speed = clock.nodes_per_second(num_nodes)
    return found if speed is None else {**found, "nodes_per_second": torch.tensor(speed)}
