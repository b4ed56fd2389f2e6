"""What each of several processes checks about whitening: value, statistics and gradient of one process."""

import torch

from medgraph import processes
from medgraph.nn.group_whitening import GroupWhitening

SIZES = (9, 23)


def check_together():
    """Uneven batches, every method: rows whitened by the statistics of all rows."""
    rank = processes.rank()
    rng = torch.Generator().manual_seed(2)
    mixing, x, direction = (torch.randn(n, 6, generator=rng, dtype=torch.float64) for n in (6, sum(SIZES), sum(SIZES)))
    everyone = x @ mixing + 1
    for method in ("cholesky", "zca", "newton_schulz"):
        alone, layer = GroupWhitening(6, 2, method), GroupWhitening(6, 2, method, together=True)
        leaf = everyone.clone().requires_grad_()
        expected = alone(leaf, torch.Generator().manual_seed(1))
        (expected * direction).sum().backward()
        own = everyone.split(SIZES)[rank].clone().requires_grad_()
        found = layer(own, torch.Generator().manual_seed(1))
        (found * direction.split(SIZES)[rank]).sum().backward()
        torch.testing.assert_close(found.detach(), expected.split(SIZES)[rank].detach(), rtol=0, atol=1e-10)
        torch.testing.assert_close(own.grad, leaf.grad.split(SIZES)[rank], rtol=0, atol=1e-10)
        torch.testing.assert_close(layer._covariance, alone._covariance)
