"""Classification: a linear classifier on an encoder of images or volumes, frozen or fine-tuned."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks
from medgraph.data.classified import ClassBatch
from medgraph.data.spec import ImageSpec
from medgraph.method import Method, Step


class Classification(Method):
    """Cross-entropy of a linear layer on the encoder's features.

    With `balanced`, class c weighs N / (C N_c), counted on the training part, so that a rare class counts like a
    frequent one.

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: Pre-trained or fresh.
        views: Augmentation of images (`image_views`) or volumes (`volume_views`), whose first view is used; None
            trains on images as they are.
        freeze: Train the classifier alone: a probe. The encoder's running statistics stay too.
        encoder_lr_scale: Factor on the encoder's learning rate; below 1 keeps it closer to where it started.
        head_warmup: Optimiser steps in which the classifier alone learns, so that its first, random gradients do not
            spoil the encoder.
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
        balanced: bool = True,
        label_smoothing: float = 0.0,
    ):
        super().__init__()
        if spec.num_classes < 2:
            raise ValueError(f"spec: the data declares {spec.num_classes} classes; expected two or more.")
        self.freeze = freeze
        self.encoder_lr_scale = checks.positive("encoder_lr_scale", encoder_lr_scale)
        self.head_warmup = checks.at_least("head_warmup", head_warmup, 0)
        self.balanced = balanced
        self.label_smoothing = checks.fraction("label_smoothing", label_smoothing)
        if freeze and (encoder_lr_scale != 1.0 or head_warmup):
            raise ValueError("freeze: the encoder does not learn, so encoder_lr_scale and head_warmup have no effect.")
        self.encoder = encoder.requires_grad_(not freeze)
        self.views = views
        self.classifier = nn.Linear(encoder.out_dim, spec.num_classes)
        self.register_buffer("class_weights", torch.ones(spec.num_classes))

    def train(self, mode: bool = True) -> "Classification":
        """As any module; a frozen encoder stays in eval mode."""
        super().train(mode)
        if self.freeze:
            self.encoder.eval()
        return self

    def on_epoch_start(self, step: Step, batches: Iterable[ClassBatch]) -> None:
        """Count the classes once, before the first epoch."""
        if self.balanced and step.epoch == 0:
            counts = sum(torch.bincount(b.labels, minlength=len(self.class_weights)) for b in batches)
            weights = torch.as_tensor(counts).sum() / (len(self.class_weights) * torch.as_tensor(counts).clamp_min(1))
            self.class_weights.copy_(weights)

    def training_step(self, batch: ClassBatch, step: Step) -> dict[str, Tensor]:
        """Loss and accuracy of one batch."""
        images = batch.images
        if self.views is not None:
            images = self.views.apply(images, self.views.draw(step.seed, step.epoch, batch.ids, images.shape[1:]))[0]
        features = self.encoder(images)
        logits = self.classifier(features.detach() if step.number < self.head_warmup else features)
        loss = F.cross_entropy(logits, batch.labels, self.class_weights, label_smoothing=self.label_smoothing)
        return {"loss": loss, "accuracy": (logits.argmax(dim=1) == batch.labels).float().mean()}

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Logits (b, classes), in whatever mode the module is in, without a graph."""
        return self.classifier(self.encoder(images))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The classifier and, unless it is frozen, the encoder with its own factor on the learning rate."""
        groups: list[dict[str, Any]] = [{"params": list(self.classifier.parameters())}]
        if not self.freeze:
            groups.append({"params": list(self.encoder.parameters()), "lr_scale": self.encoder_lr_scale})
        return groups
