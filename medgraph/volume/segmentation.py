"""Segmentation: fine-tune the slice encoder under a U-Net decoder, slice by slice, with or without their context."""

from typing import Any

import torch
from torch import Tensor, nn

from medgraph import checks
from medgraph.data.batches import LabelledImageBatch, LabelledStackBatch
from medgraph.data.spec import ImageSpec
from medgraph.method import Step
from medgraph.volume.decoded_method import DecodedMethod


class Segmentation(DecodedMethod):
    """Slice-wise segmentation by a U-Net whose contracting path is the encoder (Ronneberger et al., 2015).

    With slice_context the encoder is a `volume` encoder, and the coarsest map of slice i becomes

        map_i + W y_i + b,    y_1 ... y_n = transformer(tokens of all slices of the stack),

    W and b zero at the start: training starts at the plain U-Net, to the last bit.

    Args:
        spec: Facts of the data, filled by the builder: channels and classes.
        encoder: Gives the pyramid of maps; pre-trained or fresh.
        transform: Draws and applies the augmentation of images and labels together.
        loss: Compares logits (b, classes, h, w) with labels (b, h, w), e.g. `dice_cross_entropy`.
        encoder_lr_scale: Factor on the encoder's learning rate; below 1 keeps it closer to where it started.
        test_flips: Axes of a slice, 0 height and 1 width, along which a prediction also sees it flipped; the
            probabilities of all combinations are averaged. Twice the time for each axis.
        slice_context: Let each slice know of its neighbours: needs the encoder `volume` and the data `labelled_stacks`.
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
        test_flips: tuple[int, ...] = (),
        slice_context: bool = False,
        freeze: bool = False,
        head_warmup: int = 0,
        layer_decay: float = 1.0,
    ):
        if spec.num_classes < 2:
            raise ValueError(f"spec: the data declares {spec.num_classes} classes; expected a background and one more.")
        _check_context(slice_context, getattr(encoder, "takes_stacks", False), spec.num_volumes > 0)
        flipped = tuple(checks.one_of("test_flips", axis, (0, 1)) for axis in test_flips)
        maps_from = encoder.slice_encoder if slice_context else encoder
        rates = (freeze, encoder_lr_scale, head_warmup, layer_decay)
        super().__init__(spec, encoder, maps_from, transform, loss, flipped, *rates)
        self.context = nn.Linear(encoder.out_dim, maps_from.pyramid_dims[-1]) if slice_context else None
        if self.context is not None:
            nn.init.zeros_(self.context.weight)
            nn.init.zeros_(self.context.bias)

    def training_step(
        self,
        batch: LabelledImageBatch | LabelledStackBatch,
        step: Step,
        views: tuple[Tensor, Tensor],
    ) -> dict[str, Tensor]:
        """Loss of one augmented batch of slices, or of stacks of slices."""
        if isinstance(batch, LabelledImageBatch):
            return super().training_step(batch, step, views)
        images, labels = views
        return {"loss": self.loss(self.logits(images, self.warms_up(step), stacks=len(batch.ids)), labels)}

    def views_of(self, batch: LabelledImageBatch | LabelledStackBatch, step: Step) -> tuple[Tensor, Tensor]:
        """Augmented slices (b, c, h, w) and their labels (b, h, w), those of a stack in order."""
        if isinstance(batch, LabelledImageBatch):
            return super().views_of(batch, step)
        num_slices, *shape = batch.images.shape[1:]
        record = self.transform.draw_stacks(step.seed, step.number, batch.ids, torch.Size(shape), num_slices)
        return self.transform.apply(batch.images.flatten(0, 1), batch.labels.flatten(0, 1), record)

    def logits(self, images: Tensor, detach: bool = False, stacks: int = 1) -> Tensor:
        """(b, c, h, w) -> (b, classes, h, w); with slice_context b is `stacks` stacks of neighbouring slices, in order.

        `detach` keeps gradients from the encoder.
        """
        images = images.contiguous(memory_format=torch.channels_last)
        if self.context is None:
            return super().logits(images, detach)
        maps = self.encoder.slice_encoder.pyramid(images)
        tokens = self.encoder.tokens(maps).unflatten(0, (stacks, -1))
        contextual = self.encoder.transformer(tokens).flatten(0, 1)  # (b, d)
        if detach:
            maps, contextual = [m.detach() for m in maps], contextual.detach()
        maps[-1] = maps[-1] + self.context(contextual)[:, :, None, None]
        return self.decoder(images, maps)


def _check_context(slice_context: bool, takes_stacks: bool, gives_stacks: bool) -> None:
    """Raise ValueError where encoder or data do not go with slice_context."""
    if slice_context and not takes_stacks:
        raise ValueError("slice_context: the encoder sees single slices; expected the encoder volume.")
    if slice_context and not gives_stacks:
        raise ValueError("slice_context: the data give single slices; expected the data labelled_stacks.")
    if not slice_context and takes_stacks:
        raise ValueError("slice_context: false, but the encoder looks across slices. Set it, or give a slice encoder.")
    if not slice_context and gives_stacks:
        raise ValueError("slice_context: false, but the data give stacks of slices. Set it, or take labelled_slices.")
