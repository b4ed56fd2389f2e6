"""Assigners: where the cluster of each example comes from, and the loss of predicting it. Two flavours, one contract.

A method calls `start_epoch` before each epoch, after `fill` where `wants_filling` says so, then the assigner itself
with the unit embeddings of all views of a batch; the first two views are the assignment views.

Codes and clusters are those of the batches of all processes together, and losses are weighted by their number of
examples: gradients averaged over processes are those of one process that holds all of them.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks, processes
from medgraph.clustering.bank import Bank
from medgraph.clustering.queue import Queue
from medgraph.clustering.sinkhorn import sinkhorn
from medgraph.losses import diagnostics
from medgraph.method import Step
from medgraph.nn.prototypes import Prototypes
from medgraph.volume.monitor import EVERY, SourceWatch


class SwAV:
    """Codes balanced online over each batch, against learned prototypes (Caron et al., 2020, arXiv:2006.09882, Sec. 3).

    Args:
        num_prototypes: Prototypes that embeddings are scored against; more give finer clusters. Batch and queue
            together should hold twice as many.
        epsilon: Smooths the codes; larger makes them uniform.
        sinkhorn_iterations: Rounds of balancing the codes over the prototypes.
        queue_size: Past embeddings that help balance the codes, per assignment view; 0 for none.
        queue_from_epoch: The queue is used from this epoch on, once it is full.
        num_frozen_steps: Prototypes stay as they are for so many first steps.
    """

    def __init__(
        self,
        num_prototypes: int = 128,
        epsilon: float = 0.05,
        sinkhorn_iterations: int = 3,
        queue_size: int = 1280,
        queue_from_epoch: int = 5,
        num_frozen_steps: int = 0,
    ):
        self.num_prototypes = checks.at_least("num_prototypes", num_prototypes, 2)
        self.epsilon = checks.positive("epsilon", epsilon)
        self.sinkhorn_iterations = checks.at_least("sinkhorn_iterations", sinkhorn_iterations, 1)
        self.queue_size = checks.at_least("queue_size", queue_size, 0)
        self.queue_from_epoch = checks.not_negative("queue_from_epoch", queue_from_epoch)
        self.num_frozen_steps = checks.not_negative("num_frozen_steps", num_frozen_steps)

    def make(self, dim: int, num_examples: int) -> "SwAVAssigner":
        """The assigner for unit embeddings of width `dim`."""
        return SwAVAssigner(self, dim, num_examples)


class DeepCluster:
    """Labels by spherical k-means over all examples before each epoch; centroids serve as prototypes (DeepCluster-v2,
    Caron et al., 2020, arXiv:2006.09882, appendix). No gradient moves them.

    Args:
        num_prototypes: Clusters of each head; about one for 50 slices, or for 10 volumes.
        num_heads: Clusterings from different starts, in turn on the first and second assignment view.
        iterations: Rounds of k-means.
        empty: What an empty cluster does: "keep" its place, or "split" the largest one.
        fill_mode: How examples are embedded before the first epoch: "eval" uses running batch statistics, "train" those
            of the batch, as the authors' release does.
    """

    def __init__(
        self,
        num_prototypes: int = 100,
        num_heads: int = 3,
        iterations: int = 10,
        empty: str = "keep",
        fill_mode: str = "eval",
    ):
        self.num_prototypes = checks.at_least("num_prototypes", num_prototypes, 2)
        self.num_heads = checks.at_least("num_heads", num_heads, 1)
        self.iterations = checks.at_least("iterations", iterations, 1)
        self.empty = checks.one_of("empty", empty, ("keep", "split"))
        self.fill_mode = checks.one_of("fill_mode", fill_mode, ("eval", "train"))

    def make(self, dim: int, num_examples: int) -> "DeepClusterAssigner":
        """The assigner for unit embeddings of width `dim`."""
        return DeepClusterAssigner(self, dim, num_examples)


class SwAVAssigner(nn.Module):
    """See `SwAV`.

    Attributes:
        scores: Scores of the first assignment view of the last batch, `(b, k)`.
    """

    wants_filling = False

    def __init__(self, settings: SwAV, dim: int, num_examples: int):
        super().__init__()
        self.settings = settings
        self.prototypes = Prototypes(dim, settings.num_prototypes)
        self.queues = nn.ModuleList(Queue(settings.queue_size, dim) for _ in range(2 if settings.queue_size else 0))
        self.watch = SourceWatch(num_examples)
        self.scores = torch.empty(0)
        self._queue_served: bool | None = None  # in the last step; None before the first one

    def start_epoch(self, step: Step) -> None:
        """Nothing to do: codes are made batch by batch."""

    def left_unused(self) -> list[str]:
        """The queue, where it did not serve in the last step, and so in none: once it does, it always does."""
        settings, queues = self.settings, self._queues()
        if not queues or self._queue_served is not False:
            return []
        return [
            f"the queue of {settings.queue_size} embeddings never took part: at the end it holds {len(queues[0])}, and "
            f"it serves when full, from epoch {settings.queue_from_epoch} on. Lower the assigner's queue_size or "
            "queue_from_epoch, or set queue_size to 0."
        ]

    def forward(
        self, embeddings: Sequence[Tensor], ids: Tensor, sources: Tensor, loss: nn.Module, step: Step
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of predicting the codes of each assignment view from every other view, and what is watched."""
        self.prototypes.normalize_()
        scores = [self._scores(z, step) for z in embeddings]  # one (b, k) per view
        codes = [self._codes(index, scores[index], step) for index in range(2)]
        terms = [loss(scores[v], codes[a]) for a in range(2) for v in range(len(scores)) if v != a]
        for queue, z in zip(self._queues(), embeddings, strict=False):
            queue.push(z.detach())
        self.scores = scores[0].detach()
        self.watch.observe(ids, codes[0].argmax(dim=1), sources)
        metrics = {"code_entropy": diagnostics.entropy(codes[0])}
        return share(scores[0]) * torch.stack(terms).mean(), metrics | _source_metric(self.watch, step)

    def shared(self, vectors: Tensor, others: Tensor, step: Step) -> list[tuple[Tensor, Tensor]]:
        """Scores (b, k) of `vectors` and codes (n, k), balanced without the queue, of `others`, under one set of
        prototypes."""
        settings, rows = self.settings, self.prototypes.scores(others).detach()
        codes = sinkhorn(rows, settings.epsilon, settings.sinkhorn_iterations, together=True)
        return [(self._scores(vectors, step), codes)]

    def _scores(self, embeddings: Tensor, step: Step) -> Tensor:
        if step.number < self.settings.num_frozen_steps:
            return embeddings @ self.prototypes.weight.detach().T
        return self.prototypes.scores(embeddings)

    def _queues(self) -> list[Queue]:
        return cast(list[Queue], list(self.queues))

    @torch.no_grad()
    def _codes(self, view: int, scores: Tensor, step: Step) -> Tensor:
        """Codes of the batch (b, k); the queue's rows take part in the balancing and are dropped."""
        settings, queues, rows = self.settings, self._queues(), scores.detach()
        weights = rows.new_ones(len(rows))
        self._queue_served = bool(queues) and step.epoch >= settings.queue_from_epoch and queues[view].full
        if self._queue_served:
            past = self.prototypes.scores(queues[view].vectors())
            rows = torch.cat([rows, past])
            # Every process holds the same queue: one copy of it is to count.
            weights = torch.cat([weights, weights.new_full((len(past),), 1 / processes.world_size())])
        epsilon, iterations = settings.epsilon, settings.sinkhorn_iterations
        return sinkhorn(rows, epsilon, iterations, row_weights=weights, together=True)[: len(scores)]


class DeepClusterAssigner(nn.Module):
    """See `DeepCluster`.

    Attributes:
        scores: Scores of the first assignment view of the last batch against the first head, `(b, k)`.
        labels: Cluster of each example in each head, -100 where it was never seen, `(heads, num_examples)`.
        centroids: `(heads, k, d)`.
    """

    labels: Tensor
    centroids: Tensor

    def __init__(self, settings: DeepCluster, dim: int, num_examples: int):
        super().__init__()
        self.settings = settings
        self.banks = nn.ModuleList(Bank(num_examples, dim) for _ in range(2))
        self.register_buffer("labels", torch.full((settings.num_heads, num_examples), -100))
        self.register_buffer("centroids", torch.zeros(settings.num_heads, settings.num_prototypes, dim))
        self.watch = SourceWatch(num_examples)
        self.scores = torch.empty(0)

    @property
    def wants_filling(self) -> bool:
        """Whether no example was embedded yet."""
        return not bool(self._banks()[0].valid.any())

    @torch.no_grad()
    def fill(self, batches: Iterable[tuple[Tensor, Sequence[Tensor]]]) -> None:
        """Write the embeddings of the two assignment views of all examples: pairs of ids and embeddings."""
        for ids, embeddings in batches:
            self._write(ids, embeddings)

    @torch.no_grad()
    def start_epoch(self, step: Step) -> None:
        """Cluster anew. Raises ValueError with fewer examples than clusters."""
        settings = self.settings
        for head in range(settings.num_heads):
            rng = torch.Generator().manual_seed((step.seed * 1_000_003 + step.epoch) * 101 + head)
            bank = self._banks()[head % 2]
            found = bank.cluster(settings.num_prototypes, settings.iterations, rng=rng, empty=settings.empty)
            self.labels[head], self.centroids[head] = found[0], found[1].to(self.centroids.dtype)

    def forward(
        self, embeddings: Sequence[Tensor], ids: Tensor, sources: Tensor, loss: nn.Module, step: Step
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of predicting the labels from every view, over all heads, and what is watched."""
        own = self.labels[:, ids]
        terms = [
            loss(z @ centroids.T, labels)
            for centroids, labels in zip(self.centroids, own, strict=True)
            for z in embeddings
        ]
        self._write(ids, embeddings)
        self.scores = (embeddings[0] @ self.centroids[0].T).detach()
        self.watch.observe(ids, own[0], sources)
        known = self.labels[0][self.labels[0] >= 0]
        shares = torch.bincount(known, minlength=self.settings.num_prototypes) / len(known)
        metrics = {"code_entropy": diagnostics.entropy(shares[None])}
        mean = share(own[0][own[0] >= 0]) * torch.stack(terms).mean()  # an example is labelled in all heads or in none
        return mean, metrics | _source_metric(self.watch, step, self.labels[0])

    def shared(self, vectors: Tensor, others: Tensor, step: Step) -> list[tuple[Tensor, Tensor]]:
        """Scores (b, k) of `vectors`, and for each of `others` its nearest centroid as a code (n, k); for each head."""
        found = []
        for centroids in self.centroids:
            nearest = (others @ centroids.T).argmax(dim=1)
            found.append((vectors @ centroids.T, F.one_hot(nearest, len(centroids)).to(others.dtype)))
        return found

    def _write(self, ids: Tensor, embeddings: Sequence[Tensor]) -> None:
        for bank, z in zip(self._banks(), embeddings, strict=False):
            bank.write(ids, z.detach())

    def _banks(self) -> list[Bank]:
        return cast(list[Bank], list(self.banks))


def fill(assigner: Any, module: nn.Module, batches: Iterable[tuple[Tensor, Sequence[Tensor]]]) -> None:
    """Give an assigner that wants it the embeddings of all examples; `module`, which makes them, is put in its mode."""
    if not assigner.wants_filling:
        return
    with filling(assigner, module):
        assigner.fill(batches)


@contextmanager
def filling(assigner: Any, module: nn.Module) -> Iterator[None]:
    """No graph, and `module` in the mode in which the assigner's first embeddings are made."""
    was_training = module.training
    module.train(assigner.settings.fill_mode == "train")
    with torch.no_grad():
        yield
    module.train(was_training)


def share(examples: Tensor) -> float:
    """What the mean over the own examples is multiplied by: 1, unless other processes have more or fewer of them."""
    sizes = processes.counts(examples)
    return len(examples) * len(sizes) / max(sum(sizes), 1)


def _source_metric(watch: SourceWatch, step: Step, clusters: Tensor | None = None) -> dict[str, Tensor]:
    return {} if step.number % EVERY else {"source_nmi": watch.agreement(clusters)}
