"""SimCLR on both groups together: the peer that does not separate."""

from typing import Any

from torch import Tensor, nn

from medgraph import checks
from medgraph.data.batches import GroupedImageBatch
from medgraph.data.spec import ImageSpec
from medgraph.method import Method, Step
from medgraph.nn.projector import MLPProjector
from medgraph.sepclr.batch import joined
from medgraph.sepclr.groups import grouped_batches
from medgraph.sepclr.views import check_views
from medgraph.sepclr.warn import warn_destroyed


class SimCLR(Method):
    """One encoder, one code, contrasted over background and target alike (Chen et al., 2020, arXiv:2002.05709).

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: Encoder; what is exported.
        views: Draws and applies two views of each example.
        loss: Contrasts the embeddings of both views, e.g. `nt_xent`.
        hidden_dim: Width of the projector's hidden layer.
        embedding_dim: Width of the embeddings.
        target_share: Share of targets in a batch.
    """

    def __init__(
        self,
        spec: ImageSpec,
        encoder: Any,
        views: Any,
        loss: nn.Module,
        hidden_dim: int = 128,
        embedding_dim: int = 64,
        target_share: float = 0.5,
    ):
        super().__init__()
        self.target_share = checks.fraction("target_share", target_share)
        check_views(spec, views)
        self.encoder, self.views, self.contrast = encoder, views, loss
        checks.at_least("embedding_dim", embedding_dim, 1)
        self.projector = MLPProjector(encoder.out_dim, hidden_dim, embedding_dim)
        warn_destroyed(spec.attributes, views.randomises)

    def epoch_batches(self, dataset: Any, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
        """Batches with a fixed number of each group, as SepCLR's."""
        batches = grouped_batches(dataset.is_target, batch_size, self.target_share, seed, epoch)
        return dataset.at_epoch(batches, epoch)

    def training_step(self, batch: GroupedImageBatch, step: Step, views: list[Tensor]) -> dict[str, Tensor]:
        """The contrastive loss of one batch."""
        both = joined(views)
        first, second = self.projector(self.encoder(both)).chunk(2)
        return {"loss": self.contrast(first, second)}

    def views_of(self, batch: GroupedImageBatch, step: Step) -> list[Tensor]:
        """Two views of each example, drawn by step as SepCLR's."""
        record = self.views.draw(step.seed, step.number, batch.ids, batch.images.shape[1:])
        return self.views.apply(batch.images, record)
