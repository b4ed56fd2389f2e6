"""Fine-tuning: what every method has in common that puts something new on an encoder it was given."""

from typing import Any, Self

from medgraph import checks
from medgraph.method import Method, Step
from medgraph.nn.layerwise import layerwise_groups


class FineTuning(Method):
    """An encoder, frozen or fine-tuned, under new parts. A method adds the parts and its loss.

    Args:
        encoder: Pre-trained or fresh.
        freeze: Train the new parts alone; the encoder's running statistics stay too.
        encoder_lr_scale: Factor on the encoder's learning rate.
        head_warmup: Optimiser steps in which the new parts alone learn.
        layer_decay: Factor from each level of the encoder to the one nearer to the image, on the learning rate.
    """

    def __init__(self, encoder: Any, freeze: bool, encoder_lr_scale: float, head_warmup: int, layer_decay: float):
        super().__init__()
        if freeze and (encoder_lr_scale != 1.0 or head_warmup or layer_decay != 1.0):
            raise ValueError(
                "freeze: the encoder does not learn, so encoder_lr_scale, head_warmup and layer_decay have no effect."
            )
        self.freeze = freeze
        self.encoder_lr_scale = checks.positive("encoder_lr_scale", encoder_lr_scale)
        self.head_warmup = checks.at_least("head_warmup", head_warmup, 0)
        self.layer_decay = checks.between("layer_decay", layer_decay, 0.01, 1.0)
        if layer_decay != 1.0:
            layerwise_groups(
                encoder, encoder_lr_scale, layer_decay
            )  # refuses an encoder without levels before training
        self.encoder = encoder.requires_grad_(not freeze)

    def train(self, mode: bool = True) -> Self:
        """As any module; a frozen encoder stays in eval mode."""
        super().train(mode)
        if self.freeze:
            self.encoder.eval()
        return self

    def warms_up(self, step: Step) -> bool:
        """Whether no gradient may reach the encoder yet."""
        return step.number < self.head_warmup

    def parameter_groups(self) -> list[dict[str, Any]]:
        """What is new and, unless it is frozen, the encoder with its own factors on the rate."""
        inside = {id(p) for p in self.encoder.parameters()}
        groups: list[dict[str, Any]] = [{"params": [p for p in self.parameters() if id(p) not in inside]}]
        return (
            groups if self.freeze else groups + layerwise_groups(self.encoder, self.encoder_lr_scale, self.layer_decay)
        )
