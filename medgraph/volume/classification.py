"""Classification: a linear classifier on an encoder of images or volumes, frozen or fine-tuned."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from medgraph import checks
from medgraph.data.classified import ClassBatch
from medgraph.data.spec import ImageSpec
from medgraph.method import Step
from medgraph.volume.headed_method import HeadedMethod


class Classification(HeadedMethod):
    """Cross-entropy of a linear layer on the encoder's features.

    With `balanced`, class c weighs N / (C N_c), counted on the training part, so that a rare class counts like a
    frequent one.

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: Pre-trained or fresh.
        views: Augmentation of images (`image_views`), volumes (`volume_views`) or stacks of slices (`stack_views`),
            whose first view is used; None trains on images as they are.
        freeze: Train the classifier alone: a probe. The encoder's running statistics stay too.
        encoder_lr_scale: Factor on the encoder's learning rate; below 1 keeps it closer to where it started.
        head_warmup: Optimiser steps in which the classifier alone learns, so that its first, random gradients do not
            spoil the encoder.
        layer_decay: Factor from each level of the encoder to the one nearer to the image, on the learning rate.
        balanced: Weight classes against their frequency.
        label_smoothing: Share of each label that is spread over all classes.
    """

    class_weights: Tensor

    def __init__(
        self,
        spec: ImageSpec,
        encoder: Any,
        views: Any = None,
        freeze: bool = False,
        encoder_lr_scale: float = 1.0,
        head_warmup: int = 0,
        layer_decay: float = 1.0,
        balanced: bool = True,
        label_smoothing: float = 0.0,
    ):
        if spec.num_classes < 2:
            raise ValueError(f"spec: the data declares {spec.num_classes} classes; expected two or more.")
        checks.positive("encoder_lr_scale", encoder_lr_scale)
        checks.at_least("head_warmup", head_warmup, 0)
        checks.between("layer_decay", layer_decay, 0.01, 1.0)
        super().__init__(spec, encoder, spec.num_classes, views, freeze, encoder_lr_scale, head_warmup, layer_decay)
        self.balanced = balanced
        self.label_smoothing = checks.fraction("label_smoothing", label_smoothing)
        self.register_buffer("class_weights", torch.ones(spec.num_classes))

    def on_epoch_start(self, step: Step, batches: Iterable[ClassBatch]) -> None:
        """Count the classes once, before the first epoch."""
        if self.balanced and step.epoch == 0:
            counts = sum(torch.bincount(b.labels, minlength=len(self.class_weights)) for b in batches)
            weights = torch.as_tensor(counts).sum() / (len(self.class_weights) * torch.as_tensor(counts).clamp_min(1))
            self.class_weights.copy_(weights)

    def training_step(self, batch: ClassBatch, step: Step, views: list[Tensor]) -> dict[str, Tensor]:
        """Loss and accuracy of one batch."""
        (images,) = views
        logits = self.answers(self.encoder(images), step)
        loss = F.cross_entropy(logits, batch.labels, self.class_weights, label_smoothing=self.label_smoothing)
        return {"loss": loss, "accuracy": (logits.argmax(dim=1) == batch.labels).float().mean()}
