"""What each of several processes checks about clustering: the same result as one process that holds all rows."""

import torch
from torch.nn import functional as F

from medgraph import processes
from medgraph.clustering.bank import Bank
from medgraph.clustering.kmeans import spherical_kmeans
from medgraph.clustering.queue import CodeQueues, Queue
from medgraph.clustering.sinkhorn import balance, sinkhorn

SIZES = (7, 0, 12)


def _rows(num, seed=3):
    rng = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(num, 6, generator=rng, dtype=torch.float64), dim=1)


def check_sinkhorn():
    """Codes balanced over uneven processes, one of them empty; with and without weights, streaming or not."""
    rank = processes.rank()
    everyone, prototypes = _rows(sum(SIZES)), _rows(5, seed=4)
    own = everyone.split(SIZES)[rank]
    weights = torch.linspace(0, 2, sum(SIZES), dtype=torch.float64)
    shares = torch.linspace(1, 3, 5, dtype=torch.float64)
    for row_weights, column_weights in ((None, None), (weights, shares)):
        expected = sinkhorn(everyone @ prototypes.T, row_weights=row_weights, column_weights=column_weights)
        options = {"column_weights": column_weights, "together": True}
        options["row_weights"] = None if row_weights is None else weights.split(SIZES)[rank]
        codes = sinkhorn(own @ prototypes.T, **options)
        streamed = (own @ prototypes.T / 0.05 + balance(own, prototypes, **options)).softmax(dim=1)
        for found in (codes, streamed):
            torch.testing.assert_close(found, expected.split(SIZES)[rank], rtol=0, atol=1e-12)


def check_kmeans():
    """Labels of the own rows and all centroids, for every start and treatment of empty clusters."""
    rank = processes.rank()
    everyone = torch.cat([_rows(sum(SIZES) - 6), _rows(1).expand(6, -1)])  # equal rows make empty clusters
    own = everyone.split(SIZES)[rank]
    for start in ("random", "plus_plus"):
        for empty in ("keep", "split"):
            for k in (1, 4, 15):
                options = {"k": k, "iterations": 3, "start": start, "empty": empty}
                labels, centroids = spherical_kmeans(everyone, rng=torch.Generator().manual_seed(k), **options)
                rng = torch.Generator().manual_seed(k)
                own_labels, own_centroids = spherical_kmeans(own, rng=rng, together=True, **options)
                assert own_labels.tolist() == labels.split(SIZES)[rank].tolist(), options
                torch.testing.assert_close(own_centroids, centroids, rtol=0, atol=1e-12)


def check_queues_and_banks():
    """After pushes of uneven batches every process holds what one process holds that pushes everything."""
    rank, total = processes.rank(), sum(SIZES)
    here, alone = (
        (Queue(25, 6), CodeQueues(2, 9, 6), Bank(total, 6)),
        (Queue(25, 6), CodeQueues(2, 9, 6), Bank(total, 6)),
    )
    for step in range(3):
        x = _rows(total, seed=step).float()
        ids, codes = torch.arange(total), torch.arange(total) % 2

        def push(parts, x, ids, codes):
            queue, queues, bank = parts
            queue.push(x, ids, ids + 1, codes)
            queues.push(x, codes, ids)
            bank.write(ids, x)

        push(here, *(each.split(SIZES)[rank] for each in (x, ids, codes)))
        gather, processes.gather = processes.gather, lambda x, *_, **__: x
        push(alone, x, ids, codes)
        processes.gather = gather
    for ours, expected in zip(here, alone, strict=True):
        for name, value in expected.state_dict().items():
            assert torch.equal(ours.state_dict()[name], value), (type(ours).__name__, name)
