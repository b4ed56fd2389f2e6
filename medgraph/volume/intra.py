"""Intra: cluster agreement between crops of one slice or image."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph.data.batches import ImageBatch
from medgraph.data.spec import ImageSpec
from medgraph.method import Method, Step
from medgraph.nn.projector import MLPProjector
from medgraph.transforms.whole_views import check_whole_views
from medgraph.volume.assigner import fill


class Intra(Method):
    """Agreement on clusters between crops of one slice or image [1], the 2D part of [2].

    z = unit(projector(encoder(crop))). With the assigner `swav`, the codes of each of the first two crops are predicted
    from every other crop; with `deepcluster`, each crop predicts its example's cluster of the last k-means.

    [1] Caron et al., 2020, arXiv:2006.09882, Sec. 3. [2] Nguyen et al., AAAI 2023, arXiv:2212.01893.

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: Slice encoder; what is exported.
        views: Draws and applies the crops; the first two are the assignment crops.
        loss: Compares scores with codes or labels, e.g. `prototype_cross_entropy`.
        assigner: Where clusters come from: `swav` or `deepcluster`.
        hidden_dim: Width of the projector's hidden layer.
        embedding_dim: Width of the projected embeddings; with fewer than prototypes, no embedding scores alike on all.
        center_embeddings: Takes out of the embeddings what a batch shares; needed where slices look alike.
    """

    takes_part_batches = True

    def __init__(
        self,
        spec: ImageSpec,
        encoder: Any,
        views: Any,
        loss: nn.Module,
        assigner: Any,
        hidden_dim: int = 256,
        embedding_dim: int = 128,
        center_embeddings: bool = False,
    ):
        super().__init__()
        require_fewer_prototypes("assigner", assigner, spec)
        check_whole_views(spec, views)
        self.encoder = encoder
        self.views = views
        self.loss = loss
        self.projector = MLPProjector(encoder.out_dim, hidden_dim, embedding_dim, center=center_embeddings)
        self.assigner = assigner.make(embedding_dim, spec.num_examples)
        self._watched: dict[str, Tensor] = {}

    def on_epoch_start(self, step: Step, batches: Iterable[ImageBatch]) -> None:
        """Embed all examples once, where the assigner wants it, and let it cluster."""
        fill(self.assigner, self, self._assigned_crops(step, batches))
        self.assigner.start_epoch(step)

    def training_step(self, batch: ImageBatch, step: Step, views: list[Tensor]) -> dict[str, Tensor]:
        """Loss of one batch of slices (b, c, h, w), and what is watched."""
        embeddings = self._embed(views)  # one (b, d) per crop
        loss, metrics = self.assigner(embeddings, batch.ids, batch.sources, self.loss, step)
        self._watched = {"embeddings": embeddings[0].detach(), "scores": self.assigner.scores}
        return {"loss": loss, **metrics}

    def watched(self) -> dict[str, Tensor]:
        """Embeddings (b, d) and scores (b, k) of the first assignment crop of the last step."""
        return self._watched

    def views_of(self, batch: ImageBatch, step: Step) -> list[Tensor]:
        """Crops (b, c, s, s) of each image."""
        record = self.views.draw(step.seed, step.number, batch.ids, batch.images.shape[1:])
        return self.views.apply(batch.images, record)

    def _assigned_crops(self, step: Step, batches: Iterable[ImageBatch]) -> Iterator[tuple[Tensor, list[Tensor]]]:
        for batch in batches:
            yield batch.ids, self._embed(self.views_of(batch, step)[:2])

    def _embed(self, crops: list[Tensor]) -> list[Tensor]:
        return embed_crops(self.encoder, self.projector, crops)


def embed_crops(encoder: Any, projector: nn.Module, crops: list[Tensor]) -> list[Tensor]:
    """Unit embeddings (b, d) of each crop; crops of one size share a pass, and so their batch statistics."""
    sizes = [crop.shape[2:] for crop in crops]
    embeddings: list[Any] = [None] * len(crops)
    for size in dict.fromkeys(sizes):
        same = [index for index, other in enumerate(sizes) if other == size]
        together = torch.cat([crops[index] for index in same]).contiguous(memory_format=torch.channels_last)
        projected = F.normalize(projector(encoder(together)), dim=1)
        for index, part in zip(same, projected.chunk(len(same)), strict=True):
            embeddings[index] = part
    return embeddings


def require_fewer_prototypes(key: str, assigner: Any, spec: ImageSpec) -> None:
    """Raise ValueError with more prototypes than slices and images: most clusters would stay empty."""
    if assigner.num_prototypes > spec.num_examples:
        raise ValueError(
            f"{key}.num_prototypes: {assigner.num_prototypes} prototypes for {spec.num_examples} training "
            "examples; expected fewer prototypes than examples, about one for 50 of them."
        )
