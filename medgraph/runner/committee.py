"""Committee: fine-tuned models of one kind that were trained from different seeds, as one model."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn


class Committee(nn.Module):
    """Several models that answer together [1].

    Of classes it gives log(mean_k softmax(logits_k)), so that its softmax is the mean of the members' probabilities; of
    numbers their mean. Of a graph each member sees masks of its own, as in training. Whatever else is asked of it, the
    first member answers: size of a window, say, or whether it knows the slices around.

    [1] Lakshminarayanan et al., 2017, arXiv:1612.01474.

    Args:
        models: The members, each with `predict(images)`.
        numbers: They predict numbers, not logits of classes.
    """

    def __init__(self, models: Sequence[Any], numbers: bool):
        super().__init__()
        if not models:
            raise ValueError("models: expected at least one, got none")
        self.models = nn.ModuleList(models)
        self.numbers = numbers

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "models":  # before there are any
                raise
            return getattr(self.models[0], name)

    @torch.no_grad()
    def predict(self, images: Any) -> Tensor:
        """Logits (b, classes, ...), or numbers (b, k), without a graph; one member's answer at a time in memory."""
        seen = [images.of_member(k) if hasattr(images, "of_member") else images for k in range(len(self.models))]
        total = self._answer(self.models[0], seen[0])
        for model, own in zip(self.models[1:], seen[1:], strict=True):
            answer = self._answer(model, own)
            total = total + answer if self.numbers else torch.logaddexp(total, answer)
        count = len(self.models)
        return total / count if self.numbers else total - math.log(count)

    def _answer(self, model: Any, images: Any) -> Tensor:
        answer = model.predict(images)
        return answer if self.numbers else answer.log_softmax(dim=1)
