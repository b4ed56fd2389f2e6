"""What each of several processes checks about assigners: codes, labels, values and gradients of one process."""

import functools

import torch
from torch.nn import functional as F

from medgraph import processes
from medgraph.losses.prototype_cross_entropy import PrototypeCrossEntropy
from medgraph.method import Step
from medgraph.volume.assigner import DeepCluster, SwAV

SIZES = {2: (9, 4), 3: (6, 0, 7)}  # uneven; none in one process
SETTINGS = (
    SwAV(num_prototypes=5, queue_size=0),
    SwAV(num_prototypes=5, queue_size=19, queue_from_epoch=1),  # full after two steps, used from the second epoch on
    DeepCluster(num_prototypes=4, num_heads=3),
)
LOSS = PrototypeCrossEntropy(temperature=0.1)


def _batches(num):
    rng = torch.Generator().manual_seed(8)
    return [torch.randn(3, num, 6, generator=rng, dtype=torch.float64) for _ in range(4)]


def _known(ids):
    return ids[ids != 2]  # an example that was never embedded has no label in the first epoch


def train(settings, batches, ids):
    """Loss, gradients of encoder and prototypes, and codes or labels, of four steps in two epochs, by plain descent."""
    torch.manual_seed(5)
    encoder = torch.randn(6, 4, dtype=torch.float64).requires_grad_()
    assigner = settings.make(4, 20).double()
    parameters = [encoder, *assigner.parameters()]
    codes = []
    if isinstance(settings, SwAV):
        compute = assigner._codes
        assigner._codes = lambda *arguments: codes.append(compute(*arguments)) or codes[-1]
    else:
        rows = [F.normalize(x[:, ids != 2] @ encoder.detach(), dim=2) for x in batches[:1]]
        assigner.fill([(_known(ids), list(x)) for x in rows])
    found = []
    for number, views in enumerate(batches):
        step = Step(1, number // 2, number)
        if number % 2 == 0:
            assigner.start_epoch(step)
        embedded = list(F.normalize(views @ encoder, dim=2))
        loss, metrics = assigner(embedded, ids, ids % 3, LOSS, step)
        gradients = [
            torch.zeros_like(p) if g is None else g
            for p, g in zip(parameters, torch.autograd.grad(loss, parameters, allow_unused=True), strict=True)
        ]
        world = processes.world_size()
        averaged = [processes.all_reduce_sum(x.detach()) / world for x in (loss, *gradients)]
        for parameter, gradient in zip(parameters, averaged[1:], strict=True):
            parameter.data -= 0.1 * gradient
        labels = [assigner.labels[:, ids].T] if codes == [] else list(codes)
        found.append((averaged, labels, metrics.get("source_nmi")))
        codes.clear()
    return found


def check_every_assigner():
    """Codes without and with a queue, and labels of a bank, for uneven batches, one of them empty among three."""
    world, rank = processes.world_size(), processes.rank()
    sizes = SIZES[world]
    close = functools.partial(torch.testing.assert_close, rtol=0, atol=1e-10)
    batches, ids = _batches(sum(sizes)), torch.arange(sum(sizes))
    own = [x.split(sizes, dim=1)[rank] for x in batches]
    for settings in SETTINGS:
        found = train(settings, own, ids.split(sizes)[rank])
        together, processes._together = processes._together, lambda: False
        expected = train(settings, batches, ids)
        processes._together = together
        for ours, theirs in zip(found, expected, strict=True):
            for x, y in zip(ours[0], theirs[0], strict=True):
                close(x, y)
            for x, y in zip(ours[1], theirs[1], strict=True):
                close(x, y.split(sizes)[rank])
            if theirs[2] is not None:
                close(ours[2], theirs[2])
        assert expected[0][0][1].abs().max() > 1e-6
