"""TotalCorrelation: a discriminator's density ratio of joint against shuffled codes."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call

from medgraph import checks
from medgraph.losses import inputs
from medgraph.losses.independence import Independence
from medgraph.losses.loss import full_precision
from medgraph.losses.pairs.softplus import softplus


class TotalCorrelation(Independence):
    """Estimate of the divergence of p(c, s) from p(c) p(s) by a discriminator D [1].

    mean_i log D(c_i, s_i) / (1 - D(c_i, s_i)), the mean logit of D. D tells the batch's pairs from pairs whose s is
    that of the next row, which suits batches in random order. No example gives 0.

    [1] Kim and Mnih, 2018, arXiv:1802.05983, Eq. 3.

    Args:
        hidden_dim: Width of the hidden layer of D.
        clip: Take the term as 0 where it is below, as a divergence should be.
    """

    def __init__(self, hidden_dim: int = 64, clip: bool = False):
        super().__init__()
        self.hidden_dim = checks.at_least("hidden_dim", hidden_dim, 1)
        self.clip = clip

    def connect(self, common_dim: int, salient_dim: int) -> None:
        """Build D for codes of these widths."""
        self.discriminator = nn.Sequential(
            nn.Linear(common_dim + salient_dim, self.hidden_dim), nn.ReLU(), nn.Linear(self.hidden_dim, 1)
        )

    def forward(
        self, common: Float[Tensor, "n c"], salient: Float[Tensor, "n s"], is_target: Bool[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        inputs.check_groups(is_target, common=common, salient=salient)
        self.check_connected("discriminator")
        held = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        logits = functional_call(self.discriminator, held, (self._joined(common, salient),))
        term = logits.sum() / max(len(common), 1)
        return term.clamp_min(0) if self.clip else term

    def fit_loss(
        self, common: Float[Tensor, "n c"], salient: Float[Tensor, "n s"], is_target: Bool[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Cross-entropy of D on joint and shuffled pairs."""
        self.check_connected("discriminator")
        if len(common) < 2:
            return common.new_zeros(())
        common, salient = common.detach(), salient.detach()
        with full_precision(common):
            joint, shuffled = (
                self.discriminator(self._joined(common, s))[:, 0] for s in (salient, salient.roll(1, dims=0))
            )
        return (softplus(-joint) + softplus(shuffled)).mean() / 2

    def _joined(self, common: Tensor, salient: Tensor) -> Tensor:
        return torch.cat([common, salient], dim=1).to(next(self.parameters()).dtype)
