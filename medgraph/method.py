"""The contract between a method and the runner: what happens in one training step, and what is exported."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn


@dataclass(frozen=True)
class Step:
    """Where training stands: all that a method may use to seed what it draws.

    Attributes:
        seed: Seed of the run.
        epoch: Epochs finished before this one.
        number: Optimiser steps taken before this one, over all epochs.
    """

    seed: int
    epoch: int
    number: int


class Method(nn.Module, ABC):
    """A way to train an encoder. Pre-training and fine-tuning are both methods.

    Everything that must survive a restart is a parameter or a registered buffer. Randomness comes only from generators
    seeded by (step.seed, step.number, example id), so that a resumed run repeats the uninterrupted one. Views are drawn
    by step, not by epoch: of a small set an epoch shows each example many times.

    Attributes:
        encoder: The part that is exported and handed to the next stage.
        takes_part_batches: A step also works on a few examples of a batch, every k-th, so that the memory of training
            can be forecast from two small steps.
        num_warmup_epochs: First epochs with another loss, whose value `train.patience` does not compare with others.
        constants: Names of parameters and buffers that stay as the first `on_epoch_start` left them; checkpoints store
            them once.
    """

    encoder: Any  # an nn.Module with out_dim, see nn/encoders.py
    takes_part_batches = False
    num_warmup_epochs = 0
    constants: tuple[str, ...] = ()

    @abstractmethod
    def training_step(self, batch: Any, step: Step, views: Any) -> dict[str, Tensor]:
        """Return a dictionary with the scalar "loss"; every other scalar is logged under its name.

        `views` are what `views_of` made of the batch at this step.
        """

    def step_data(self, dataset: Any) -> Any:
        """What batches of steps are loaded from: the training data, or less where the method keeps what it needs."""
        return dataset

    def views_of(self, batch: Any, step: Step) -> Any:
        """What a step makes of a batch before any weight comes in: augmented copies, samples. None: nothing.

        On a CPU with a core to spare the runner asks for the next step's in a second thread, while this step computes.
        """
        return None

    def forward(self, batch: Any, step: Step, views: Any = None) -> dict[str, Tensor]:
        """The training step, under the name that data-parallel wrappers hook into; makes the views unless given."""
        return self.training_step(batch, step, self.views_of(batch, step) if views is None else views)

    def on_epoch_start(self, step: Step, batches: Iterable[Any]) -> None:
        """Refresh banks, cluster, draw masks. `batches` iterates once over the training data, in order, undropped."""

    def validation_error(self, batches: Iterable[Any]) -> float | None:
        """What `train.patience` watches after every epoch, lower is better; None for the mean loss of its steps.

        `batches` as for `on_epoch_start`.
        """
        return None

    def epoch_batches(self, dataset: Any, batch_size: int, seed: int, epoch: int) -> list[list[int]] | None:
        """Indices of each batch of an epoch, drawn from (seed, epoch); None for a plain shuffle of all examples."""
        return None

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Groups for the optimiser; a group may carry `lr_scale`, a factor on the learning rate."""
        return [{"params": [p for p in self.parameters() if p.requires_grad]}]

    def watched(self) -> Mapping[str, Tensor]:
        """Tensors of the last step for the collapse watch: `embeddings` (n, d) and `scores` (n, k), or none.

        Where the loss is a sum of several terms, `loss` is the one of these scores.
        """
        return {}

    def left_unused(self) -> list[str]:
        """Settings that had no effect in the training that has just ended, in words; the runner warns of each. Default:
        what the parts tell by a method of this name."""
        return [line for part in self.modules() if part is not self for line in getattr(part, "left_unused", list)()]

    def illustrate(self, folder: Path, batch: Any) -> None:
        """Leave pictures of what was learned in `folder`, from a few training examples. Default: none."""
