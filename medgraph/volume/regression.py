"""Regression: a linear layer on an encoder of images or volumes, frozen or fine-tuned, predicts one number."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks
from medgraph.data.classified import ClassBatch
from medgraph.data.spec import ImageSpec
from medgraph.method import Step
from medgraph.nn.projector import MLPProjector
from medgraph.volume.contrast import arguments_of, contrast, needs_two_views
from medgraph.volume.headed_method import HeadedMethod

_ERRORS = {"absolute": F.l1_loss, "squared": F.mse_loss, "huber": F.smooth_l1_loss}


class Regression(HeadedMethod):
    """Error of a linear layer on the encoder's features, in standard deviations of the training numbers.

    An auxiliary loss keeps embeddings in the order of the numbers: `rank_n_contrast`, `supremix`, `y_aware_info_nce`.
    It sees the numbers in the unit of the data. With `views` it compares two views of each example.

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: Pre-trained or fresh.
        views: Augmentation of images (`image_views`), volumes (`volume_views`) or stacks of slices (`stack_views`);
            None trains on examples as they are. It must not change what is predicted: a zoom changes a volume.
        freeze: Train the linear layer alone: a probe. The encoder's running statistics stay too.
        encoder_lr_scale: Factor on the encoder's learning rate; below 1 keeps it closer to where it started.
        head_warmup: Optimiser steps in which the linear layer alone learns.
        layer_decay: Factor from each level of the encoder to the one nearer to the image, on the learning rate.
        error: "absolute" aims at the median and heeds outliers least, "squared" at the mean, "huber" lies between.
        auxiliary_loss: Contrast of the embeddings by the numbers; None without.
        auxiliary_weight: Weight of that contrast.
        embedding_dim: Width of the embeddings that the contrast sees.
    """

    center: Tensor
    spread: Tensor

    def __init__(
        self,
        spec: ImageSpec,
        encoder: Any,
        views: Any = None,
        freeze: bool = False,
        encoder_lr_scale: float = 1.0,
        head_warmup: int = 0,
        layer_decay: float = 1.0,
        error: str = "absolute",
        auxiliary_loss: nn.Module | None = None,
        auxiliary_weight: float = 1.0,
        embedding_dim: int = 128,
    ):
        if not spec.target:
            raise ValueError(
                f"spec: the data declare {spec.num_classes} classes and no number to predict; expected a continuous "
                "target. Classes go with the method classification."
            )
        checks.positive("encoder_lr_scale", encoder_lr_scale)
        checks.at_least("head_warmup", head_warmup, 0)
        checks.between("layer_decay", layer_decay, 0.01, 1.0)
        super().__init__(spec, encoder, 1, views, freeze, encoder_lr_scale, head_warmup, layer_decay)
        self.error = checks.one_of("error", error, ("absolute", "squared", "huber"))
        self.auxiliary_weight = checks.positive("auxiliary_weight", auxiliary_weight)
        checks.at_least("embedding_dim", embedding_dim, 1)
        self.auxiliary_loss = auxiliary_loss
        if auxiliary_loss is not None:
            self.num_views = 2
            self._arguments = _check_auxiliary(auxiliary_loss, views, freeze)
            self.projector = MLPProjector(encoder.out_dim, out_dim=embedding_dim)
        self.register_buffer("center", torch.zeros(1))
        self.register_buffer("spread", torch.ones(1))

    def on_epoch_start(self, step: Step, batches: Iterable[ClassBatch]) -> None:
        """Take mean and standard deviation of the numbers once, before the first epoch."""
        if step.epoch == 0:
            values = torch.cat([batch.labels for batch in batches]).double()
            self.center.fill_(values.mean().item())
            self.spread.fill_(values.std(correction=0).item() or 1.0)  # equal numbers need no scale

    def training_step(self, batch: ClassBatch, step: Step, views: list[Tensor]) -> dict[str, Tensor]:
        """Loss and mean absolute error of one batch, the error in the unit of the data."""
        features = self.encoder(torch.cat(views))
        numbers = batch.labels.repeat(len(views)).to(features.dtype)
        found = self.answers(features, step)[:, 0]
        loss = _ERRORS[self.error](found, (numbers - self.center) / self.spread)
        logged = {"mae": (found * self.spread + self.center - numbers).abs().mean(), "error": loss}
        if self.auxiliary_loss is not None:
            embeddings = list(self.projector(features).chunk(len(views)))
            term = contrast(self.auxiliary_loss, self._arguments, embeddings, batch.labels, step)
            loss, logged["auxiliary"] = loss + self.auxiliary_weight * term, term
        return {"loss": loss, **logged}

    @torch.no_grad()
    def predict(self, images: Tensor) -> Tensor:
        """Numbers (b, 1) in the unit of the data, in whatever mode the module is in, without a graph."""
        return super().predict(images) * self.spread + self.center


def _check_auxiliary(loss: nn.Module, views: Any, freeze: bool) -> tuple[str, ...]:
    """What the loss compares, see `arguments_of`. Raises ValueError where it would have no effect or no second view."""
    arguments = arguments_of(loss)
    if freeze:
        raise ValueError("auxiliary_loss: has no effect on a frozen encoder; remove it, or set freeze to false.")
    if views is None and needs_two_views(arguments):
        raise ValueError(f"auxiliary_loss: {type(loss).__name__} compares two views; name views.")
    return arguments
