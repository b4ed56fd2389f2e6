"""The head used only while pre-training: features to embeddings."""

from jaxtyping import Float
from torch import Tensor, nn

from medgraph import checks


class MLPProjector(nn.Module):
    """Linear, batch norm, ReLU, linear (Chen et al., 2020; Caron et al., 2020).

    Args:
        in_dim: Width of the features.
        hidden_dim: Width of the hidden layer.
        out_dim: Width of the embeddings.
    """

    def __init__(self, in_dim: int, hidden_dim: int = 256, out_dim: int = 128):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(checks.at_least("in_dim", in_dim, 1), checks.at_least("hidden_dim", hidden_dim, 1)),
            nn.BatchNorm1d(hidden_dim),
            nn.ReLU(),
            nn.Linear(hidden_dim, checks.at_least("out_dim", out_dim, 1)),
        )

    def forward(self, x: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
        """Embeddings, not normalised."""
        return self.layers(x)
