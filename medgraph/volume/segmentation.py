"""Segmentation: fine-tune the slice encoder under a U-Net decoder, slice by slice."""

from typing import Any

import torch
from torch import Tensor, nn

from medgraph import checks
from medgraph.data.batches import LabelledImageBatch
from medgraph.data.spec import ImageSpec
from medgraph.method import Method, Step
from medgraph.nn import flips
from medgraph.nn.unet import UNetDecoder


class Segmentation(Method):
    """Slice-wise segmentation by a U-Net whose contracting path is the encoder (Ronneberger et al., 2015).

    Args:
        spec: Facts of the data, filled by the builder: channels and classes.
        encoder: Gives the pyramid of maps; pre-trained or fresh.
        transform: Draws and applies the augmentation of images and labels together.
        loss: Compares logits (b, classes, h, w) with labels (b, h, w), e.g. `dice_cross_entropy`.
        encoder_lr_scale: Factor on the encoder's learning rate; below 1 keeps it closer to where it started.
        test_flips: Axes of a slice, 0 height and 1 width, along which a prediction also sees it flipped; the
            probabilities of all combinations are averaged. Twice the time for each axis.
    """

    def __init__(
        self,
        spec: ImageSpec,
        encoder: Any,
        transform: Any,
        loss: nn.Module,
        encoder_lr_scale: float = 1.0,
        test_flips: tuple[int, ...] = (),
    ):
        super().__init__()
        self.test_flips = tuple(checks.one_of("test_flips", axis, (0, 1)) for axis in test_flips)
        if spec.num_classes < 2:
            raise ValueError(f"spec: the data declares {spec.num_classes} classes; expected a background and one more.")
        self.encoder_lr_scale = checks.positive("encoder_lr_scale", encoder_lr_scale)
        self.encoder = encoder
        self.transform = transform
        self.loss = loss
        self.decoder = UNetDecoder(
            encoder.pyramid_dims,
            encoder.pyramid_strides,
            spatial_dims=spec.spatial_dims,
            num_classes=spec.num_classes,
            in_channels=spec.channels,
        )

    def training_step(self, batch: LabelledImageBatch, step: Step) -> dict[str, Tensor]:
        """Loss of one augmented batch of slices."""
        record = self.transform.draw(step.seed, step.epoch, batch.ids, batch.images.shape[1:])
        images, labels = self.transform.apply(batch.images, batch.labels, record)
        return {"loss": self.loss(self.logits(images), labels)}

    def logits(self, images: Tensor) -> Tensor:
        """(b, c, h, w) -> (b, classes, h, w)."""
        images = images.contiguous(memory_format=torch.channels_last)
        return self.decoder(images, self.encoder.pyramid(images))

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Logits (b, classes, h, w) in whatever mode the module is in, without a graph; averaged over test_flips."""
        return flips.averaged(self.logits, images, self.test_flips)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The encoder, with its own factor on the learning rate, and the decoder."""
        return [
            {"params": list(self.encoder.parameters()), "lr_scale": self.encoder_lr_scale},
            {"params": list(self.decoder.parameters())},
        ]
