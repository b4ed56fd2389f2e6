"""Patience: stop when the training loss, or a validation error, no longer falls, and go back to where it was lowest."""

from pathlib import Path

from torch import nn

from medgraph.runner import checkpoint

FILE = "best.safetensors"


class Patience:
    """Watches one number per epoch and keeps the best weights on disk, so that a resumed run goes on watching.

    Args:
        limit: Epochs without a new minimum after which training stops.
        folder: Where the best weights lie.
    """

    def __init__(self, limit: int, folder: Path):
        self.limit, self.path = limit, folder / FILE
        self.best, self.best_epoch = float("inf"), 0
        if self.path.exists():
            _, facts = checkpoint.read_tensors(self.path)
            self.best, self.best_epoch = float(facts["loss"]), int(facts["epoch"])

    def observe(self, epoch: int, loss: float, model: nn.Module, write: bool = True) -> None:
        """Note the loss or error after the epoch with this number; only a strictly lower one is a new best."""
        if loss < self.best:
            self.best, self.best_epoch = loss, epoch
            if write:
                checkpoint.write_tensors(self.path, model.state_dict(), {"loss": repr(loss), "epoch": str(epoch)})

    def is_over(self, epochs: int) -> bool:
        """Whether, `epochs` epochs finished, training should stop."""
        return self.has_best and epochs - 1 - self.best_epoch >= self.limit

    @property
    def has_best(self) -> bool:
        """Whether any epoch was observed."""
        return self.best < float("inf")

    def restore(self, model: nn.Module) -> None:
        """Give the model its best weights back."""
        model.load_state_dict(checkpoint.read_tensors(self.path)[0])
