"""Joint: images and volumes at once, the sum of what `intra`, `inter` and `masked` learn one after the other."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from medgraph import checks
from medgraph.data.batches import ImageBatch, ImageStackBatch
from medgraph.data.spec import ImageSpec
from medgraph.method import Method, Step
from medgraph.nn.projector import MLPProjector
from medgraph.transforms.whole_views import check_whole_views
from medgraph.volume.assigner import filling
from medgraph.volume.batch import VolumeViews, make_views, require_slices
from medgraph.volume.cross import cross_loss
from medgraph.volume.inter import EmbeddedVolumes, embed_volumes, make_center, require_few_prototypes, split_groups
from medgraph.volume.intra import embed_crops, require_fewer_prototypes
from medgraph.volume.masked import Masker
from medgraph.volume.monitor import cluster_metrics, order_sensitivity
from medgraph.volume.plots import plot_volumes


class Joint(Method):
    """One loss over a batch of images and a batch of volumes [1], with one slice encoder for both.

    loss = image_weight intra + volume_weight inter + mask_weight masked + cross_weight cross.
    The masked term sees tokens without graph, so that only the slice transformer learns from it. The cross-dimensional
    term, see `cross_loss`, is ours and left out unless asked for.

    [1] Nguyen et al., AAAI 2023, arXiv:2212.01893. There the parts are trained one after the other.

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: Volume encoder; what is exported.
        image_views: Draws and applies the crops of images.
        volume_views: Draws and applies the two views of volumes.
        loss: Compares scores with codes or labels.
        mask_loss: Compares predicted with true tokens.
        image_assigner: Where clusters of images and slices come from.
        volume_assigner: Where clusters of volumes come from; at most one prototype for 4 volumes.
        image_weight: Weight of the loss on images. With 0 it teaches nothing, but is still computed, and the images
            move batch statistics.
        volume_weight: Weight of the loss on volumes; with 0 as for images.
        mask_weight: Weight of the masked prediction; 0 leaves it out.
        mask_ratio: Share of the slices that is hidden.
        scope: "masked" scores hidden slices only, "all" every slice.
        hidden_dim: Width of the projector's hidden layer.
        embedding_dim: Width of the projected embeddings of images.
        center_embeddings: Takes out of both kinds of embeddings what a batch shares.
        slice_encoder_lr_scale: Factor on the slice encoder's learning rate.
        cross_weight: Weight of the agreement between a volume's vector and the mean code of its slices under the
            prototypes of images; embedding_dim must then be the encoder's dim.
    """

    takes_part_batches = True

    def __init__(
        self,
        spec: ImageSpec,
        encoder: Any,
        image_views: Any,
        volume_views: Any,
        loss: nn.Module,
        mask_loss: nn.Module,
        image_assigner: Any,
        volume_assigner: Any,
        image_weight: float = 1.0,
        volume_weight: float = 1.0,
        mask_weight: float = 1.0,
        mask_ratio: float = 0.1,
        scope: str = "masked",
        hidden_dim: int = 256,
        embedding_dim: int = 128,
        center_embeddings: bool = False,
        slice_encoder_lr_scale: float = 1.0,
        cross_weight: float = 0.0,
    ):
        super().__init__()
        self.image_weight = checks.not_negative("image_weight", image_weight)
        self.volume_weight = checks.not_negative("volume_weight", volume_weight)
        self.mask_weight = checks.not_negative("mask_weight", mask_weight)
        self.slice_encoder_lr_scale = checks.positive("slice_encoder_lr_scale", slice_encoder_lr_scale)
        self.cross_weight = checks.not_negative("cross_weight", cross_weight)
        if cross_weight and embedding_dim != encoder.out_dim:
            raise ValueError(
                f"cross_weight: scores volumes of width {encoder.out_dim} against prototypes of images of width "
                f"{embedding_dim}. Set embedding_dim to {encoder.out_dim}, or cross_weight to 0."
            )
        if image_weight == volume_weight == 0:
            raise ValueError("image_weight: and volume_weight are 0; the masked term alone cannot train the encoder.")
        check_whole_views(spec, image_views, key="image_views")
        fewest = require_slices(spec, volume_views)
        self.masker = Masker(encoder.out_dim, mask_ratio, scope, fewest) if mask_weight else None
        require_fewer_prototypes("image_assigner", image_assigner, spec)
        require_few_prototypes("volume_assigner", volume_assigner, spec)
        self.encoder = encoder
        self.image_views, self.volume_views = image_views, volume_views
        self.loss, self.mask_loss = loss, mask_loss
        slices = encoder.slice_encoder
        self.projector = MLPProjector(slices.out_dim, hidden_dim, embedding_dim, center=center_embeddings)
        self.center = make_center(encoder.out_dim, center_embeddings)
        self.image_assigner = image_assigner.make(embedding_dim, spec.num_examples)
        self.volume_assigner = volume_assigner.make(encoder.out_dim, spec.num_volumes)
        self._watched: dict[str, Tensor] = {}

    def on_epoch_start(self, step: Step, batches: Iterable[ImageStackBatch]) -> None:
        """Embed all images and volumes once, where the assigners want it, and let them cluster."""
        if self.image_assigner.wants_filling or self.volume_assigner.wants_filling:
            self._fill(step, batches)
        self.image_assigner.start_epoch(step)
        self.volume_assigner.start_epoch(step)

    def training_step(
        self, batch: ImageStackBatch, step: Step, views: tuple[list[Tensor], VolumeViews]
    ) -> dict[str, Tensor]:
        """Weighted sum of the three losses, each alone, and what is watched."""
        assert batch.images is not None  # `images_and_stacks` draws batches of both
        assert batch.volumes is not None
        image_views, volume_views = views
        crops = embed_crops(self.encoder.slice_encoder, self.projector, image_views)
        image_loss, image_metrics = self.image_assigner(crops, batch.images.ids, batch.images.sources, self.loss, step)
        found = embed_volumes(self.encoder, self.center, volume_views)
        ids, sources = volume_views.ids, volume_views.sources
        volume_loss, volume_metrics = self.volume_assigner(found.vectors, ids, sources, self.loss, step)
        volume_metrics |= cluster_metrics(volume_loss, found.vectors[0], self.volume_assigner.scores, step)
        mask_loss = self._mask_loss(found.tokens.detach(), found.valid, ids, step)
        total = self.image_weight * image_loss + self.volume_weight * volume_loss + self.mask_weight * mask_loss
        crossed = self._crossed(found, step)
        self._watched = {
            "embeddings": crops[0].detach(),
            "scores": self.image_assigner.scores,
            "loss": image_loss.detach(),
        }
        return {
            "loss": total + self.cross_weight * sum(crossed.values()),
            "image_loss": image_loss,
            "volume_loss": volume_loss,
            "mask_loss": mask_loss,
            **crossed,
            **image_metrics,
            **{f"volume_{name}": value for name, value in volume_metrics.items()},
            **order_sensitivity(self.encoder.transformer, found.tokens, found.valid, step),
        }

    def views_of(self, batch: ImageStackBatch, step: Step) -> tuple[list[Tensor], VolumeViews]:
        """Crops (b, c, s, s) of each image, and two views of each volume."""
        assert batch.images is not None
        assert batch.volumes is not None
        return self._crops(batch.images, step), make_views(self.volume_views, batch.volumes, step)

    def watched(self) -> dict[str, Tensor]:
        """Embeddings (b, d), scores (b, k) and loss of the first assignment crop of the images of the last step."""
        return self._watched

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The slice encoder, with its own factor on the learning rate, and the rest."""
        return split_groups(self, self.encoder.slice_encoder, self.slice_encoder_lr_scale)

    def illustrate(self, folder: Path, batch: ImageStackBatch) -> None:
        """Pictures of what the slices of some volumes attend to."""
        if batch.volumes is not None:
            plot_volumes(folder / "slice_attention", self.encoder, batch.volumes)

    def _crops(self, batch: ImageBatch, step: Step) -> list[Tensor]:
        record = self.image_views.draw(step.seed, step.number, batch.ids, batch.images.shape[1:])
        return self.image_views.apply(batch.images, record)

    def _mask_loss(self, tokens: Tensor, valid: Tensor, ids: Tensor, step: Step) -> Tensor:
        if self.masker is None:
            return tokens.new_zeros(())
        mask = self.masker.draw(ids, valid[: len(ids)], step).repeat(2, 1)
        predicted = self.masker(self.encoder.transformer, tokens, valid, mask)
        return self.mask_loss(predicted, tokens, self.masker.scored(mask, valid), valid)

    def _crossed(self, found: EmbeddedVolumes, step: Step) -> dict[str, Tensor]:
        """The cross-dimensional term by name; nothing where it is left out."""
        if self.cross_weight == 0:
            return {}
        features, vectors = found.coarsest.flatten(2).mean(dim=2), torch.cat(found.vectors)
        parts = (self.image_assigner, self.projector, features, vectors, found.valid)
        return {"cross_loss": cross_loss(*parts, self.loss, step)}

    def _fill(self, step: Step, batches: Iterable[ImageStackBatch]) -> None:
        """One pass over images and volumes, each batch embedded as it comes, for the assigners that want it."""
        fills_images, fills_volumes = self.image_assigner.wants_filling, self.volume_assigner.wants_filling
        for batch in batches:
            if fills_images and batch.images is not None:
                with filling(self.image_assigner, self):
                    crops = self._crops(batch.images, step)[:2]
                    embeddings = embed_crops(self.encoder.slice_encoder, self.projector, crops)
                    self.image_assigner.fill([(batch.images.ids, embeddings)])
            if fills_volumes and batch.volumes is not None:
                with filling(self.volume_assigner, self):
                    views = make_views(self.volume_views, batch.volumes, step)
                    vectors = embed_volumes(self.encoder, self.center, views).vectors
                    self.volume_assigner.fill([(batch.volumes.ids, vectors)])
