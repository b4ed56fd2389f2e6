"""GaussianPredictor: q(s | c), the salient code foretold from the common one."""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.func import functional_call

from medgraph import checks
from medgraph.losses.independence import Independence
from medgraph.losses.loss import full_precision

_MOST_LOG_VARIANCE = 3.0  # variances from 1/20 to 20: a likelihood that neither explodes nor dies


class GaussianPredictor(nn.Module):
    """q(s | c) = N(mean(c), diag exp(log_variance(c))), each by a small network.

    Args:
        common_dim: Width of c.
        salient_dim: Width of s.
        hidden_dim: Width of the hidden layers.
    """

    def __init__(self, common_dim: int, salient_dim: int, hidden_dim: int = 64):
        super().__init__()
        self.mean = _network(common_dim, checks.at_least("hidden_dim", hidden_dim, 1), salient_dim)
        self.spread = _network(common_dim, hidden_dim, salient_dim)

    def forward(self, common: Float[Tensor, "n c"]) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n s"]]:
        """Mean and log-variance for each row."""
        common = common.to(next(self.parameters()).dtype)
        return self.mean(common), _MOST_LOG_VARIANCE * torch.tanh(self.spread(common))

    def frozen(self, common: Float[Tensor, "n c"]) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n s"]]:
        """The same, with gradient to `common` alone."""
        return functional_call(self, {name: p.detach() for name, p in self.named_parameters()}, (common,))

    def fit_loss(self, common: Float[Tensor, "n c"], salient: Float[Tensor, "n s"]) -> Float[Tensor, ""]:
        """Mean negative log-likelihood of detached codes per dimension; gradient to the networks alone."""
        with full_precision(common):
            mean, log_variance = self(common.detach())
        return -log_density(salient.detach().to(mean), mean, log_variance).mean() / salient.shape[1]


class PredictedSalient(Independence):
    """A term that measures dependence by a learned q(s | c). Subclasses have a `forward`.

    Args:
        hidden_dim: Width of the hidden layers of q.
    """

    predictor: GaussianPredictor

    def __init__(self, hidden_dim: int = 64):
        super().__init__()
        self.hidden_dim = checks.at_least("hidden_dim", hidden_dim, 1)

    def connect(self, common_dim: int, salient_dim: int) -> None:
        """Build q for codes of these widths."""
        self.predictor = GaussianPredictor(common_dim, salient_dim, self.hidden_dim)

    def fit_loss(
        self, common: Float[Tensor, "n c"], salient: Float[Tensor, "n s"], is_target: Bool[Tensor, " n"]
    ) -> Float[Tensor, ""]:
        """Negative log-likelihood of q."""
        self.check_connected("predictor")
        return self.predictor.fit_loss(common, salient)

    def predicted(self, common: Float[Tensor, "n c"]) -> tuple[Float[Tensor, "n s"], Float[Tensor, "n s"]]:
        """Mean and log-variance of q(s | c), with q held fixed. Raises RuntimeError before `connect`."""
        self.check_connected("predictor")
        return self.predictor.frozen(common)


def log_density(
    salient: Float[Tensor, "n s"], mean: Float[Tensor, "n s"], log_variance: Float[Tensor, "n s"]
) -> Float[Tensor, " n"]:
    """log N(s_i; mean_i, diag exp(log_variance_i)) of each row."""
    squares = (salient - mean).square() * torch.exp(-log_variance)
    return -(squares + log_variance + math.log(2 * math.pi)).sum(dim=1) / 2


def _network(in_dim: int, hidden_dim: int, out_dim: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(in_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, out_dim))
