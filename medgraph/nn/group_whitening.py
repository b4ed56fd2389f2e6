"""GroupWhitening: remove correlations inside shuffled groups of channels."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medgraph import checks


class GroupWhitening(nn.Module):
    """Whitens groups of d channels: after it, the covariance of each group over the batch is the identity [1].

    In training: draw a permutation of the channels, cut it into groups, center, solve with the covariance's factor,
    undo the permutation. Each further draw is a further positive of the same example. In evaluation: running mean and
    covariance, channels in their own order, so that the output of an example does not depend on its batch.

    [1] Shuffled-DBN: Hua et al., 2021, arXiv:2105.00470; whitening for self-supervision: Ermolov et al., 2021,
    arXiv:2007.06346.

    Args:
        dim: Width of the embeddings.
        num_groups: Groups of equal width; more need smaller batches and remove fewer correlations.
        method: "cholesky", or "zca", which keeps the axes but has large gradients where eigenvalues are close.
        shuffle: Whether channels are permuted in training.
        regularization: Added to the diagonal of the covariance; larger whitens less, and is safer.
        momentum: Share of the newest batch in the running statistics.

    Example:
        >>> x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        >>> torch.allclose(GroupWhitening(4, shuffle=False)(x).T.cov(), torch.eye(4), atol=1e-3)
        True
    """

    _mean: Tensor
    _covariance: Tensor

    def __init__(
        self,
        dim: int,
        num_groups: int = 1,
        method: str = "cholesky",
        shuffle: bool = True,
        regularization: float = 1e-5,
        momentum: float = 0.1,
    ):
        super().__init__()
        self.dim = checks.at_least("dim", dim, 1)
        self.num_groups = checks.at_least("num_groups", num_groups, 1)
        self.method = checks.one_of("method", method, ("cholesky", "zca"))
        self.regularization = checks.not_negative("regularization", regularization)
        self.momentum = checks.fraction("momentum", momentum)
        self.shuffle = shuffle
        if dim % num_groups:
            raise ValueError(f"num_groups: expected a divisor of dim = {dim}, got {num_groups}")
        self.register_buffer("_mean", torch.zeros(dim))
        self.register_buffer("_covariance", torch.eye(dim))

    def forward(self, x: Float[Tensor, "n d"], rng: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        """Whitened embeddings, in float32 at least; `rng` draws the permutation, in training with `shuffle` only."""
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        if not self.training:
            return self._whiten(x - self._mean.to(x), self._covariance.to(x), torch.arange(self.dim, device=x.device))
        width = self.dim // self.num_groups
        if len(x) < 2 * width:
            raise ValueError(
                f"whitening groups of {width} channels needs a batch of at least {2 * width}, got {len(x)}; "
                "raise num_groups or the batch size"
            )
        order = torch.arange(self.dim, device=x.device)
        if self.shuffle:
            if rng is None:
                raise ValueError("rng: a generator is needed to shuffle channels in training; or set shuffle to False")
            order = torch.randperm(self.dim, generator=rng, device=rng.device).to(x.device)
        mean = x.mean(dim=0)
        centered = x - mean
        covariance = centered.T @ centered / (len(x) - 1)  # (dim, dim)
        with torch.no_grad():
            self._mean.lerp_(mean.to(self._mean.dtype), self.momentum)
            self._covariance.lerp_(covariance.to(self._covariance.dtype), self.momentum)
        return self._whiten(centered, covariance, order)

    def _whiten(self, centered: Tensor, covariance: Tensor, order: Tensor) -> Tensor:
        """Centered rows, whitened within the groups that `order` cuts."""
        n, width = len(centered), self.dim // self.num_groups
        members = order.view(self.num_groups, width)
        blocks = covariance[members[:, :, None], members[:, None, :]]  # (groups, width, width)
        blocks = blocks + self.regularization * torch.eye(width, dtype=centered.dtype, device=centered.device)
        groups = centered[:, order].view(n, self.num_groups, width).permute(1, 2, 0)  # (groups, width, n)
        if self.method == "cholesky":
            white = torch.linalg.solve_triangular(torch.linalg.cholesky(blocks), groups, upper=False)
        else:
            values, vectors = torch.linalg.eigh(blocks)
            white = vectors @ (vectors.mT @ groups / values.sqrt()[:, :, None])
        return white.permute(2, 0, 1).reshape(n, self.dim)[:, order.argsort()]

    def extra_repr(self) -> str:
        return f"dim={self.dim}, num_groups={self.num_groups}, method={self.method}, shuffle={self.shuffle}"
