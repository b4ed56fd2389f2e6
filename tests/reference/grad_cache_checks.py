"""What each of two processes checks about gradients of an encoder in chunks under data-parallel training."""

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from medgraph import processes
from medgraph.losses.nt_xent import NTXent
from medgraph.method import Method
from medgraph.runner.grad_cache import GradCacheStep, encoder_in_chunks


class _Pairs(Method):
    def __init__(self, dist):
        super().__init__()
        torch.manual_seed(2)
        self.encoder = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 4)).double()
        self.loss = NTXent(dist=dist)

    def training_step(self, batch, step, views):
        return {"loss": self.loss(*self.encoder(batch).chunk(2))}


def check_data_parallel():
    """Both ways, for processes with equal batches: gradients equal those of one process with the whole batch."""
    rank = processes.rank()
    first, second = torch.randn(2, 12, 5, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    alone = _Pairs(None)
    alone(torch.cat([first, second]), None)["loss"].backward()
    expected = [p.grad for p in alone.parameters()]
    own = torch.cat([x.split(6)[rank] for x in (first, second)])

    method = _Pairs("gather")
    exchanges = []
    wrapped = DistributedDataParallel(method.encoder)
    wrapped.register_comm_hook(None, _counted(exchanges))
    GradCacheStep(wrapped, 3, lambda z: method.loss(*z.chunk(2)))(own)
    torch.testing.assert_close([p.grad for p in method.parameters()], expected, rtol=0, atol=1e-12)
    assert len(exchanges) == 1, "gradients leave once, after the last chunk"

    method = _Pairs("ring")
    wrapped = DistributedDataParallel(method)
    with encoder_in_chunks(method, 3, "test"):
        wrapped(own, None)["loss"].backward()
    torch.testing.assert_close([p.grad for p in method.parameters()], expected, rtol=0, atol=1e-12)


def _counted(exchanges):
    def hook(state, bucket):
        exchanges.append(bucket.index())
        future = torch.futures.Future()
        future.set_result(processes.all_reduce_sum(bucket.buffer()) / processes.world_size())
        return future

    return hook
