"""What every process checks of tokens that are standardised by the batch of all processes."""

import torch
import torch.distributed as dist

from medgraph import processes
from medgraph.volume.tokens import TokenMap


def batch_of_all() -> None:
    """Parts of 7 and 5 slices give the tokens, statistics and summed gradient that 12 slices give alone."""
    rng = torch.Generator().manual_seed(5)
    pyramid = [torch.rand(12, c, 4, 4, generator=rng, dtype=torch.float64) for c in (3, 5)]
    weights = torch.rand(12, 4, generator=rng, dtype=torch.float64)
    torch.manual_seed(6)
    shared = TokenMap((3, 5), 4, by_batch=True).double()
    alone = torch.nn.BatchNorm1d(4, affine=False).double()
    raw = shared.linear(
        torch.cat([m.mean(dim=(2, 3)) / m.mean(dim=(2, 3)).norm(dim=1, keepdim=True) for m in pyramid], dim=1)
    )
    expected = alone(raw)
    wanted = torch.autograd.grad((expected * weights).sum(), shared.linear.weight)[0]
    own = slice(0, 7) if dist.get_rank() == 0 else slice(7, 12)
    found = shared([m[own] for m in pyramid])
    torch.testing.assert_close(found, expected[own])
    gradient = torch.autograd.grad((found * weights[own]).sum(), shared.linear.weight)[0]
    torch.testing.assert_close(processes.all_reduce_sum(gradient), wanted)
    torch.testing.assert_close(shared.mean, alone.running_mean)
