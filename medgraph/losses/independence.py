"""Independence: what every term has that keeps common and salient codes apart (SepCLR)."""

from abc import ABC, abstractmethod

from jaxtyping import Bool, Float
from torch import Tensor

from medgraph.losses.loss import Loss


class Independence(Loss, ABC):
    """A term that falls as the common code c and the salient code s say less about each other.

    `forward` sends gradients to the codes alone, `fit_loss` to the term's own networks alone. Minimizing their sum
    trains both by one optimizer, with one step of the networks for each step of the codes, and survives a restart.

    Attributes:
        takes_fixed: Whether `forward` also takes both codes and the group of fixed points, e.g. of past batches.
        moves_salient: Whether `forward` sends a gradient to the salient code too.
    """

    takes_fixed = False
    moves_salient = True

    def connect(self, common_dim: int, salient_dim: int) -> None:
        """Build the term's own networks, if it has any, for codes of these widths. Called once, by the method."""

    @abstractmethod
    def forward(
        self, common: Float[Tensor, "n c"], salient: Float[Tensor, "n s"], is_target: Bool[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """The term; `salient` is s' = 0 on the background."""

    def fit_loss(
        self, common: Float[Tensor, "n c"], salient: Float[Tensor, "n s"], is_target: Bool[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Loss of the term's own networks on detached codes; 0 where it has none."""
        return common.new_zeros(())

    def check_connected(self, networks: str) -> None:
        """Raises RuntimeError where `connect` has not built the attribute `networks`."""
        if not hasattr(self, networks):
            raise RuntimeError(
                f"{type(self).__name__} has networks of its own: call connect(common_dim, salient_dim) first."
            )
