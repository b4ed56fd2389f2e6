"""GroupWhitening: remove correlations inside shuffled groups of channels."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from medgraph import checks, processes


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
        method: "cholesky"; "zca", which keeps the axes but has large gradients where eigenvalues are close; or
            "newton_schulz", which comes to the same as "zca" by matrix products alone.
        shuffle: Whether channels are permuted in training.
        regularization: Added to the diagonal of the covariance; larger whitens less, and is safer.
        momentum: Share of the newest batch in the running statistics.
        iterations: Rounds of newton_schulz; the worse the condition of the covariance, the more are needed.
        together: Take mean and covariance over the batches of all processes.

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
        iterations: int = 12,
        together: bool = False,
    ):
        super().__init__()
        self.dim = checks.at_least("dim", dim, 1)
        self.num_groups = checks.at_least("num_groups", num_groups, 1)
        self.method = checks.one_of("method", method, ("cholesky", "zca", "newton_schulz"))
        self.regularization = checks.not_negative("regularization", regularization)
        self.momentum = checks.fraction("momentum", momentum)
        self.iterations = checks.at_least("iterations", iterations, 1)
        self.together = together
        self.shuffle = shuffle
        if dim % num_groups:
            raise ValueError(f"num_groups: expected a divisor of dim = {dim}, got {num_groups}")
        self.register_buffer("_mean", torch.zeros(dim))
        self.register_buffer("_covariance", torch.eye(dim))

    def forward(self, x: Float[Tensor, "n d"], rng: torch.Generator | None = None) -> Float[Tensor, "n d"]:
        """Whitened embeddings, in float32 at least; `rng` draws the permutation, in training with `shuffle` only."""
        return self.draws(x, 1, rng)[0]

    def draws(
        self, x: Float[Tensor, "n d"], num_draws: int, rng: torch.Generator | None = None
    ) -> list[Float[Tensor, "n d"]]:
        """Whitened embeddings for several permutations of one batch, each a further positive of every example."""
        checks.at_least("num_draws", num_draws, 1)
        x = x.to(torch.promote_types(x.dtype, torch.float32))
        plain = torch.arange(self.dim, device=x.device)
        if not self.training:
            return [self._whiten(x - self._mean.to(x), self._covariance.to(x), plain)] * num_draws
        if self.shuffle and rng is None:
            raise ValueError("rng: a generator is needed to shuffle channels in training; or set shuffle to False")
        mean, covariance = self._statistics(x)
        with torch.no_grad():
            self._mean.lerp_(mean.to(self._mean.dtype), self.momentum)
            self._covariance.lerp_(covariance.to(self._covariance.dtype), self.momentum)
        found = []
        for _ in range(num_draws):
            order = torch.randperm(self.dim, generator=rng, device=rng.device) if self.shuffle and rng else plain
            found.append(self._whiten(x - mean, covariance, order.to(x.device)))
        return found

    def _statistics(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean (dim,) and covariance (dim, dim) of the batch, or of the batches of all processes."""
        num = sum(processes.counts(x)) if self.together else len(x)
        width = self.dim // self.num_groups
        if num < 2 * width:
            raise ValueError(
                f"whitening groups of {width} channels needs a batch of at least {2 * width}, got {num}; "
                "raise num_groups or the batch size"
            )
        total = x.sum(dim=0)
        mean = (processes.total(total) if self.together else total) / num
        scatter = (x - mean).T @ (x - mean)
        return mean, (processes.total(scatter) if self.together else scatter) / (num - 1)

    def _whiten(self, centered: Tensor, covariance: Tensor, order: Tensor) -> Tensor:
        """Centered rows, whitened within the groups that `order` cuts."""
        n, width = len(centered), self.dim // self.num_groups
        members = order.view(self.num_groups, width)
        blocks = covariance[members[:, :, None], members[:, None, :]]  # (groups, width, width)
        blocks = blocks + self.regularization * torch.eye(width, dtype=centered.dtype, device=centered.device)
        groups = centered[:, order].view(n, self.num_groups, width).permute(1, 2, 0)  # (groups, width, n)
        if self.method == "cholesky":
            white = torch.linalg.solve_triangular(torch.linalg.cholesky(blocks), groups, upper=False)
        elif self.method == "zca":
            values, vectors = torch.linalg.eigh(blocks)
            white = vectors @ (vectors.mT @ groups / values.sqrt()[:, :, None])
        else:
            white = _inverse_square_root(blocks, self.iterations) @ groups
        return white.permute(2, 0, 1).reshape(n, self.dim)[:, order.argsort()]

    def extra_repr(self) -> str:
        return f"dim={self.dim}, num_groups={self.num_groups}, method={self.method}, shuffle={self.shuffle}"


def _inverse_square_root(blocks: Tensor, iterations: int) -> Tensor:
    """By the coupled Newton-Schulz iteration (Higham, 2008, Eq. 6.35), from a matrix scaled to trace 1."""
    trace = blocks.diagonal(dim1=1, dim2=2).sum(dim=1)[:, None, None]
    identity = torch.eye(blocks.shape[-1], dtype=blocks.dtype, device=blocks.device)
    root, inverse = blocks / trace, identity.expand_as(blocks)
    for _ in range(iterations):
        step = (3 * identity - inverse @ root) / 2
        root, inverse = root @ step, step @ inverse
    return inverse / trace.sqrt()
