"""Intra: cluster agreement between crops of one slice, with SwAV's online codes."""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks
from medgraph.clustering.queue import Queue
from medgraph.clustering.sinkhorn import sinkhorn
from medgraph.data.batches import ImageBatch
from medgraph.data.spec import ImageSpec
from medgraph.method import Method, Step
from medgraph.nn.projector import MLPProjector
from medgraph.nn.prototypes import Prototypes


class Intra(Method):
    """Swapped prediction of cluster codes between crops of one slice or image [1], the 2D part of [2].

    mean over assignment crops a in {0, 1} and crops v != a of  loss(scores(z_v), sinkhorn(scores(z_a))),
    z = unit(projector(encoder(crop))), scores against unit-norm prototypes. Codes carry no gradient.

    [1] Caron et al., 2020, arXiv:2006.09882, Sec. 3. [2] Nguyen et al., AAAI 2023, arXiv:2212.01893.

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: Slice encoder; what is exported.
        views: Draws and applies the crops; the first two are the assignment crops.
        loss: Compares scores with codes, e.g. `prototype_cross_entropy`.
        hidden_dim: Width of the projector's hidden layer.
        embedding_dim: Width of the projected embeddings; with fewer than prototypes, no embedding scores alike on all.
        center_embeddings: Takes out of the embeddings what a batch shares; needed where slices look alike.
        num_prototypes: Prototypes that embeddings are scored against; more give finer clusters.
        epsilon: Smooths the codes; larger makes them uniform.
        sinkhorn_iterations: Rounds of balancing the codes over the prototypes.
        queue_size: Past embeddings that help balance the codes, per assignment crop; 0 for none.
        queue_from_epoch: The queue is used from this epoch on, once it is full.
        num_frozen_steps: Prototypes stay as they are for so many first steps.
    """

    def __init__(
        self,
        spec: ImageSpec,
        encoder: Any,
        views: Any,
        loss: nn.Module,
        hidden_dim: int = 256,
        embedding_dim: int = 128,
        center_embeddings: bool = False,
        num_prototypes: int = 128,
        epsilon: float = 0.05,
        sinkhorn_iterations: int = 3,
        queue_size: int = 1280,
        queue_from_epoch: int = 5,
        num_frozen_steps: int = 0,
    ):
        super().__init__()
        self.epsilon = checks.positive("epsilon", epsilon)
        self.sinkhorn_iterations = checks.at_least("sinkhorn_iterations", sinkhorn_iterations, 1)
        self.queue_from_epoch = checks.not_negative("queue_from_epoch", queue_from_epoch)
        self.num_frozen_steps = checks.not_negative("num_frozen_steps", num_frozen_steps)
        checks.at_least("queue_size", queue_size, 0)
        if checks.at_least("num_prototypes", num_prototypes, 2) > spec.num_examples:
            raise ValueError(
                f"num_prototypes: {num_prototypes} prototypes for {spec.num_examples} training examples; "
                "expected fewer prototypes than examples, about one for 50 of them."
            )
        self.encoder = encoder
        self.views = views
        self.loss = loss
        self.projector = MLPProjector(encoder.out_dim, hidden_dim, embedding_dim, center=center_embeddings)
        self.prototypes = Prototypes(embedding_dim, num_prototypes)
        self.queues = nn.ModuleList(Queue(queue_size, embedding_dim) for _ in range(2 if queue_size else 0))
        self._watched: dict[str, Tensor] = {}

    def training_step(self, batch: ImageBatch, step: Step) -> dict[str, Tensor]:
        """SwAV's loss of one batch of slices (b, c, h, w), and the entropy of the codes in nats."""
        record = self.views.draw(step.seed, step.epoch, batch.ids, batch.images.shape[1:])
        embeddings = self._embed(self.views.apply(batch.images, record))  # one (b, d) per crop
        self.prototypes.normalize_()
        scores = [self._scores(z, step) for z in embeddings]  # one (b, k) per crop
        codes = [self._codes(index, scores[index], step) for index in range(2)]
        terms = [self.loss(scores[v], codes[a]) for a in range(2) for v in range(len(scores)) if v != a]
        for queue, z in zip(self._queues(), embeddings, strict=False):
            queue.push(z.detach())
        self._watched = {"embeddings": embeddings[0].detach(), "scores": scores[0].detach()}
        entropy = -(codes[0] * codes[0].clamp_min(1e-12).log()).sum(dim=1).mean()  # 0 log 0 = 0
        return {"loss": torch.stack(terms).mean(), "code_entropy": entropy}

    def watched(self) -> dict[str, Tensor]:
        """Embeddings (b, d) and scores (b, k) of the first assignment crop of the last step."""
        return self._watched

    def _embed(self, crops: list[Tensor]) -> list[Tensor]:
        """Crops of one size share a pass, so that batch statistics are those of all of them."""
        sizes = [crop.shape[2:] for crop in crops]
        embeddings: list[Any] = [None] * len(crops)
        for size in dict.fromkeys(sizes):
            same = [index for index, other in enumerate(sizes) if other == size]
            together = torch.cat([crops[index] for index in same]).contiguous(memory_format=torch.channels_last)
            projected = F.normalize(self.projector(self.encoder(together)), dim=1)
            for index, part in zip(same, projected.chunk(len(same)), strict=True):
                embeddings[index] = part
        return embeddings

    def _scores(self, embeddings: Tensor, step: Step) -> Tensor:
        if step.number < self.num_frozen_steps:
            return embeddings @ self.prototypes.weight.detach().T
        return self.prototypes.scores(embeddings)

    def _queues(self) -> list[Queue]:
        return cast(list[Queue], list(self.queues))

    @torch.no_grad()
    def _codes(self, crop: int, scores: Tensor, step: Step) -> Tensor:
        """Codes of the batch (b, k); the queue's rows take part in the balancing and are dropped."""
        rows = scores.detach()
        queues = self._queues()
        if queues and step.epoch >= self.queue_from_epoch and queues[crop].full:
            rows = torch.cat([rows, self.prototypes.scores(queues[crop].vectors())])
        return sinkhorn(rows, epsilon=self.epsilon, iterations=self.sinkhorn_iterations)[: len(scores)]
