"""What each of several processes checks about `medgraph.processes`; run by tests/test_processes.py."""

import torch

from medgraph import processes


def _rows(rank):
    rng = torch.Generator().manual_seed(rank)
    return torch.randn(rank + 2, 3, generator=rng, dtype=torch.float64)


def check_all():
    """Every exchange against what one process computes from the same seeds."""
    world, rank = processes.world_size(), processes.rank()
    everyone = torch.cat([_rows(r) for r in range(world)])
    own = slice(sum(r + 2 for r in range(rank)), sum(r + 2 for r in range(rank + 1)))

    assert processes.counts(_rows(rank)) == [r + 2 for r in range(world)]
    torch.testing.assert_close(processes.gather(_rows(rank)), everyone, rtol=0, atol=0)
    ids = torch.arange(rank + 2) + 100 * rank
    assert processes.gather(ids).tolist() == [100 * r + i for r in range(world) for i in range(r + 2)]

    assert processes.all_reduce_sum(torch.tensor([float(rank)])).item() == world * (world - 1) / 2
    assert processes.all_reduce_max(torch.tensor([float(rank)])).item() == world - 1

    # each process weights the gathered rows differently; the owner of a row gets the sum of the weights
    for backends in ({"nccl"}, {"gloo"}):
        processes.SCATTERS = backends
        x = _rows(rank).requires_grad_()
        ((rank + 1) * processes.gather(x) * everyone).sum().backward()
        torch.testing.assert_close(x.grad, sum(r + 1 for r in range(world)) * everyone[own])

    # every process weights the sum differently; each part of it gets the sum of the weights
    x = torch.full((2,), float(rank), requires_grad=True)
    summed = processes.total(x)
    ((rank + 1) * summed).sum().backward()
    assert summed.tolist() == [world * (world - 1) / 2] * 2
    assert x.grad.tolist() == [world * (world + 1) / 2] * 2

    before = (rank - 1) % world
    first = processes.Shift([_rows(rank)], before + 2)
    second = processes.Shift([ids, _rows(rank)], before + 2, tag=1)  # two hops under way at once
    torch.testing.assert_close(first.wait()[0], _rows(before), rtol=0, atol=0)
    assert second.wait()[0].tolist() == [100 * before + i for i in range(before + 2)]
