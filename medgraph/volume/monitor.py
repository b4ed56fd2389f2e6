"""What clustering is watched for: shortcuts by source, collapse, and blindness for the order of slices."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from medgraph import processes
from medgraph.clustering.agreement import normalized_mutual_information
from medgraph.losses import diagnostics
from medgraph.method import Step
from medgraph.volume.encoder import mean_slices

EVERY = 10  # steps between two looks at what costs more than a sum


class SourceWatch(nn.Module):
    """Remembers the last cluster of every example, and how far clusters repeat the sources.

    Close to 1, clusters are scanners or organs, not what is seen: the source shortcut.

    Args:
        num_examples: Number of examples; ids run from 0 to one less.
    """

    clusters: Tensor
    sources: Tensor

    def __init__(self, num_examples: int):
        super().__init__()
        self.register_buffer("clusters", torch.full((num_examples,), -1))
        self.register_buffer("sources", torch.full((num_examples,), -1))

    @torch.no_grad()
    def observe(self, ids: Tensor, clusters: Tensor, sources: Tensor) -> None:
        """Note the clusters (n,) and sources (n,) of examples, of all processes; clusters below 0 are unknown."""
        ids, clusters, sources = processes.gather(torch.stack([ids, clusters, sources], dim=1)).unbind(dim=1)
        self.clusters[ids], self.sources[ids] = clusters, sources

    def agreement(self, clusters: Tensor | None = None) -> Tensor:
        """Normalised mutual information of cluster and source over the examples seen.

        Args:
            clusters: Cluster of every example in one clustering, below 0 where unknown; None takes the last ones seen,
                which compare only where a number stands for the same cluster throughout.
        """
        clusters = self.clusters if clusters is None else clusters
        seen = (clusters >= 0) & (self.sources >= 0)
        return normalized_mutual_information(clusters[seen], self.sources[seen])


def cluster_metrics(loss: Tensor, embeddings: Tensor, scores: Tensor, step: Step) -> dict[str, Tensor]:
    """Loss above ln K, effective rank and share of prototypes used, on every tenth step."""
    if step.number % EVERY:
        return {}
    n, k = scores.shape
    return {
        "loss_minus_ln_k": loss.detach() - math.log(k),
        "effective_rank": diagnostics.effective_rank(embeddings),
        "used_prototypes": diagnostics.used_share(scores) * (k / min(n, k)),  # of those that a batch could use
    }


@torch.no_grad()
def order_sensitivity(transformer: Any, tokens: Tensor, valid: Tensor, step: Step) -> dict[str, Tensor]:
    """How far shuffling its slices moves a volume's vector, on every tenth step; dropout off.

    Mean squared distance of the two vectors over that of two volumes of the batch, within a view: what all volumes
    share, which clustering centres away, does not count. About 0 means that the transformer treats a volume as a bag of
    slices, 1 that shuffled slices make another volume. Nothing is said of a batch with one volume.

    Args:
        transformer: What reads the tokens.
        tokens: Two views of each volume, first the first of all, (2 b, n, d).
        valid: Which slices there are, (2 b, n).
        step: Draws the order.
    """
    if step.number % EVERY or len(tokens) < 4:
        return {}
    rng = torch.Generator().manual_seed(step.seed + step.number)
    place = torch.rand(valid.shape, generator=rng).to(tokens.device).masked_fill(~valid, 2.0)  # padding stays last
    shuffled = tokens.gather(1, place.argsort(dim=1)[..., None].expand_as(tokens))
    was_training = transformer.training
    transformer.eval()
    first, second = (mean_slices(transformer(x, valid), valid) for x in (tokens, shuffled))
    transformer.train(was_training)
    moved = (second - first).square().sum(dim=1).mean()
    views = first.unflatten(0, (2, -1))  # (2, b, d)
    apart = 2 * views.var(dim=1).sum(dim=1).mean()
    smallest = 1e-9 * first.square().sum(dim=1).mean()  # volumes that are all alike: rounding
    return {"order_sensitivity": moved / (apart + smallest)}
