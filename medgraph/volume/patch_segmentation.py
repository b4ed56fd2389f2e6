"""Segmentation in 3D: fine-tune a 3D encoder under a U-Net decoder on patches; apply it by a sliding window."""

from typing import Any

import torch
from torch import Tensor, nn

from medgraph import checks
from medgraph.data.batches import LabelledImageBatch
from medgraph.data.spec import ImageSpec
from medgraph.method import Method, Step
from medgraph.nn import flips
from medgraph.nn.sliding import sliding_window
from medgraph.nn.unet import UNetDecoder


class PatchSegmentation(Method):
    """A 3D U-Net whose contracting path is the encoder (Cicek et al., 2016, arXiv:1606.06650), trained on patches.

    Args:
        spec: Facts of the data, filled by the builder: channels, classes, size of a patch.
        encoder: Gives the pyramid of 3D maps; pre-trained or fresh.
        transform: Draws and applies the augmentation of volumes and labels together.
        loss: Compares logits (b, classes, d, h, w) with labels (b, d, h, w), e.g. `dice_cross_entropy`.
        encoder_lr_scale: Factor on the encoder's learning rate; below 1 keeps it closer to where it started.
        overlap: Share of a window that the next one sees again when whole volumes are predicted.
        test_flips: Axes 0, 1, 2 of a volume along which a prediction also sees it flipped; the probabilities of all
            combinations are averaged. Twice the time for each axis.
    """

    def __init__(
        self,
        spec: ImageSpec,
        encoder: Any,
        transform: Any,
        loss: nn.Module,
        encoder_lr_scale: float = 1.0,
        overlap: float = 0.5,
        test_flips: tuple[int, ...] = (),
    ):
        super().__init__()
        if spec.spatial_dims != 3 or spec.num_classes < 2:
            raise ValueError(
                f"spec: the data are {spec.spatial_dims}D and declare {spec.num_classes} classes; expected "
                "labelled_volumes with a background and one more class. Slices go with the method segmentation."
            )
        self.size = spec.size
        self.encoder_lr_scale = checks.positive("encoder_lr_scale", encoder_lr_scale)
        self.overlap = checks.between("overlap", overlap, 0.0, 0.9)
        self.test_flips = tuple(checks.one_of("test_flips", axis, (0, 1, 2)) for axis in test_flips)
        self.encoder = encoder
        self.transform = transform
        self.loss = loss
        self.decoder = UNetDecoder(
            encoder.pyramid_dims,
            encoder.pyramid_strides,
            spatial_dims=3,
            num_classes=spec.num_classes,
            in_channels=spec.channels,
        )
        nn.utils.convert_conv3d_weight_memory_format(self, torch.channels_last_3d)  # a third faster on CPUs

    def training_step(self, batch: LabelledImageBatch, step: Step) -> dict[str, Tensor]:
        """Loss of one augmented batch of patches."""
        record = self.transform.draw(step.seed, step.epoch, batch.ids, batch.images.shape[1:])
        images, labels = self.transform.apply(batch.images, batch.labels, record)
        return {"loss": self.loss(self.logits(images), labels)}

    def logits(self, images: Tensor) -> Tensor:
        """(b, c, d, h, w) -> (b, classes, d, h, w), of patches."""
        return self.decoder(images, self.encoder.pyramid(images))

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Logits (b, classes, d, h, w) of volumes of any size, in whatever mode the module is in, without a graph."""
        return flips.averaged(self._slide, images, self.test_flips)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The encoder, with its own factor on the learning rate, and the decoder."""
        return [
            {"params": list(self.encoder.parameters()), "lr_scale": self.encoder_lr_scale},
            {"params": list(self.decoder.parameters())},
        ]

    def _slide(self, images: Tensor) -> Tensor:
        return sliding_window(self.logits, images, self.size, self.overlap)
