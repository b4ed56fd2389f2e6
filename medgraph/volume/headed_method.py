"""What methods share that answer with one vector for a whole image or volume: an encoder under one head."""

from typing import Any

import torch
from torch import Tensor, nn

from medgraph.data.spec import ImageSpec
from medgraph.method import Step
from medgraph.transforms.whole_views import check_whole_views
from medgraph.volume.fine_tuning import FineTuning


class HeadedMethod(FineTuning):
    """An encoder, frozen or fine-tuned, and a linear head on its features. A method adds its loss.

    Args:
        spec: Facts of the data.
        encoder: Pre-trained or fresh.
        num_outputs: Width of the head.
        views: Augmentation that gives two views; None trains on examples as they are.
        freeze, encoder_lr_scale, head_warmup, layer_decay: As `FineTuning`.

    Attributes:
        num_views: How many of the two views a step sees.
    """

    num_views = 1

    def __init__(
        self,
        spec: ImageSpec,
        encoder: Any,
        num_outputs: int,
        views: Any,
        freeze: bool,
        encoder_lr_scale: float,
        head_warmup: int,
        layer_decay: float,
    ):
        stacked, stacks = getattr(encoder, "takes_stacks", False), spec.num_volumes > 0
        if stacked != stacks:
            there = "looks across slices" if stacked else "sees one image at a time"
            here = "stacks of slices" if stacks else "single images"
            raise ValueError(f"encoder: it {there}, but the data give {here}. Take data and encoder of one kind.")
        if views is not None and getattr(views, "takes_stacks", False) != stacks:
            given, fit = ("stacks of slices", "stack_views") if stacks else ("single images", "image or volume views")
            raise ValueError(f"views: the data give {given}, expected {fit}, or none.")
        if views is not None and not stacks:
            check_whole_views(spec, views)
        if stacks and views is not None and views.shows_windows:
            raise ValueError("views: num_slices, stride: here whole volumes are seen; leave both out.")
        super().__init__(encoder, freeze, encoder_lr_scale, head_warmup, layer_decay)
        self.views = views
        self.head = nn.Linear(encoder.out_dim, num_outputs)

    def views_of(self, batch: Any, step: Step) -> list[Tensor]:
        """The first `num_views` views of a batch; its images where nothing augments."""
        if self.views is None:
            return [batch.images]
        images = batch.images
        if getattr(self.views, "takes_stacks", False):  # (b, n, c, h, w), of one length
            valid = torch.ones(images.shape[:2], dtype=torch.bool, device=images.device)
            record = self.views.draw(step.seed, step.number, batch.ids, valid.sum(dim=1))
            return self.views.apply(images, valid, record)[0][: self.num_views]
        record = self.views.draw(step.seed, step.number, batch.ids, images.shape[1:])
        return self.views.apply(images, record)[: self.num_views]

    def answers(self, features: Tensor, step: Step) -> Tensor:
        """The head's outputs; in the warm-up no gradient passes to the features."""
        return self.head(features.detach() if self.warms_up(step) else features)

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """The head's outputs (b, k), in whatever mode the module is in, without a graph."""
        return self.head(self.encoder(images))
