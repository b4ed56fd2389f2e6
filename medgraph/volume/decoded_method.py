"""What methods share that answer with a class for each pixel or voxel: an encoder under a U-Net decoder."""

from typing import Any

import torch
from torch import Tensor, nn

from medgraph.data.batches import LabelledImageBatch
from medgraph.data.spec import ImageSpec
from medgraph.method import Step
from medgraph.nn import flips
from medgraph.nn.unet import UNetDecoder
from medgraph.transforms.whole_views import check_whole_views
from medgraph.volume.fine_tuning import FineTuning


class DecodedMethod(FineTuning):
    """An encoder, frozen or fine-tuned, under a U-Net decoder that joins its maps.

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: Pre-trained or fresh.
        maps_from: The part of it that gives the pyramid of maps.
        transform: Draws and applies the augmentation of images and labels together.
        loss: Compares logits (b, classes, *size) with labels (b, *size).
        test_flips: Spatial axes along which a prediction also sees its input flipped.
        freeze, encoder_lr_scale, head_warmup, layer_decay: See `FineTuning`.
    """

    def __init__(
        self,
        spec: ImageSpec,
        encoder: Any,
        maps_from: Any,
        transform: Any,
        loss: nn.Module,
        test_flips: tuple[int, ...],
        freeze: bool,
        encoder_lr_scale: float,
        head_warmup: int,
        layer_decay: float,
    ):
        super().__init__(encoder, freeze, encoder_lr_scale, head_warmup, layer_decay)
        check_whole_views(spec, transform, key="transform", labelled=True)
        self.transform, self.loss, self.test_flips = transform, loss, test_flips
        self.decoder = UNetDecoder(
            maps_from.pyramid_dims,
            maps_from.pyramid_strides,
            spatial_dims=spec.spatial_dims,
            num_classes=spec.num_classes,
            in_channels=spec.channels,
        )

    def training_step(self, batch: LabelledImageBatch, step: Step, views: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
        """Loss of one augmented batch."""
        images, labels = views
        return {"loss": self.loss(self.logits(images, self.warms_up(step)), labels)}

    def views_of(self, batch: LabelledImageBatch, step: Step) -> tuple[Tensor, Tensor]:
        """Augmented images (b, c, *size) and their labels (b, *size)."""
        record = self.transform.draw(step.seed, step.number, batch.ids, batch.images.shape[1:])
        return self.transform.apply(batch.images, batch.labels, record)

    def logits(self, images: Tensor, detach: bool = False) -> Tensor:
        """(b, c, *size) -> (b, classes, *size); `detach` keeps gradients from the encoder."""
        maps = self.encoder.pyramid(images)
        return self.decoder(images, [m.detach() for m in maps] if detach else maps)

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Logits (b, classes, *size) in whatever mode the module is in, without a graph; averaged over test_flips."""
        return flips.averaged(self.logits, images, self.test_flips)
