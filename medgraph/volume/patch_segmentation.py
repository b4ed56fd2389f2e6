"""Segmentation in 3D: fine-tune a 3D encoder under a U-Net decoder on patches; apply it by a sliding window."""

from typing import Any

import torch
from torch import Tensor, nn

from medgraph import checks
from medgraph.data.spec import ImageSpec
from medgraph.nn import flips
from medgraph.nn.sliding import sliding_window
from medgraph.volume.decoded_method import DecodedMethod


class PatchSegmentation(DecodedMethod):
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
        freeze: Train the decoder alone; the encoder's running statistics stay too.
        head_warmup: Optimiser steps in which the decoder alone learns, so that its first, random gradients do not
            spoil the encoder.
        layer_decay: Factor on the learning rate from each level of the encoder to the one nearer to the image.
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
        freeze: bool = False,
        head_warmup: int = 0,
        layer_decay: float = 1.0,
    ):
        if spec.spatial_dims != 3 or spec.num_classes < 2:
            raise ValueError(
                f"spec: the data are {spec.spatial_dims}D and declare {spec.num_classes} classes; expected "
                "labelled_volumes with a background and one more class. Slices go with the method segmentation."
            )
        flipped = tuple(checks.one_of("test_flips", axis, (0, 1, 2)) for axis in test_flips)
        rates = (freeze, encoder_lr_scale, head_warmup, layer_decay)
        super().__init__(spec, encoder, encoder, transform, loss, flipped, *rates)
        self.size = spec.size
        self.overlap = checks.between("overlap", overlap, 0.0, 0.9)
        nn.utils.convert_conv3d_weight_memory_format(self, torch.channels_last_3d)  # a third faster on CPUs

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Logits (b, classes, d, h, w) of volumes of any size, in whatever mode the module is in, without a graph."""
        return flips.averaged(self._slide, images, self.test_flips)

    def _slide(self, images: Tensor) -> Tensor:
        return sliding_window(self.logits, images, self.size, self.overlap)
