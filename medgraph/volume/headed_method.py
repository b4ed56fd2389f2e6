"""What methods share that answer with one vector for a whole image or volume: an encoder under one head."""

from typing import Any

import torch
from torch import Tensor, nn

from medgraph.method import Method, Step


class HeadedMethod(Method):
    """An encoder, frozen or fine-tuned, and a linear head on its features. A method adds its loss.

    Args:
        encoder: Pre-trained or fresh.
        num_outputs: Width of the head.
        views: Augmentation that gives two views; None trains on examples as they are.
        freeze: Train the head alone; the encoder's running statistics stay too.
        encoder_lr_scale: Factor on the encoder's learning rate.
        head_warmup: Optimiser steps in which the head alone learns.
    """

    def __init__(
        self, encoder: Any, num_outputs: int, views: Any, freeze: bool, encoder_lr_scale: float, head_warmup: int
    ):
        super().__init__()
        if freeze and (encoder_lr_scale != 1.0 or head_warmup):
            raise ValueError("freeze: the encoder does not learn, so encoder_lr_scale and head_warmup have no effect.")
        self.freeze, self.encoder_lr_scale, self.head_warmup = freeze, encoder_lr_scale, head_warmup
        self.encoder = encoder.requires_grad_(not freeze)
        self.views = views
        self.head = nn.Linear(encoder.out_dim, num_outputs)

    def train(self, mode: bool = True) -> "HeadedMethod":
        """As any module; a frozen encoder stays in eval mode."""
        super().train(mode)
        if self.freeze:
            self.encoder.eval()
        return self

    def seen(self, batch: Any, step: Step, num_views: int = 1) -> list[Tensor]:
        """The first `num_views` views of a batch; its images where nothing augments."""
        if self.views is None:
            return [batch.images]
        record = self.views.draw(step.seed, step.epoch, batch.ids, batch.images.shape[1:])
        return self.views.apply(batch.images, record)[:num_views]

    def answers(self, features: Tensor, step: Step) -> Tensor:
        """The head's outputs; in the warm-up no gradient passes to the features."""
        return self.head(features.detach() if step.number < self.head_warmup else features)

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """The head's outputs (b, k), in whatever mode the module is in, without a graph."""
        return self.head(self.encoder(images))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The head and what else is new and, unless it is frozen, the encoder with its own factor on the rate."""
        inside = {id(p) for p in self.encoder.parameters()}
        groups: list[dict[str, Any]] = [{"params": [p for p in self.parameters() if id(p) not in inside]}]
        if not self.freeze:
            groups.append({"params": list(self.encoder.parameters()), "lr_scale": self.encoder_lr_scale})
        return groups
