"""The clusterings of one epoch: labels, centroids and concentrations at several granularities."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from medgraph.clustering.concentration import estimate_concentration
from medgraph.clustering.inner_product_kmeans import inner_product_kmeans
from medgraph.clustering.kmeans import spherical_kmeans

SMOOTHING = 5.0  # added to a cluster's size inside the logarithm, as in MEOW's program


@dataclass(frozen=True)
class KMeans:
    """How one clustering is made.

    Attributes:
        kind: "spherical", or "inner_product" as MEOW's authors run it.
        iterations: Rounds at most.
        restarts: Runs from other starting rows, the best kept; spherical k-means runs once.
    """

    kind: str
    iterations: int
    restarts: int

    def run(self, embeddings: Tensor, k: int, seed: int) -> tuple[Tensor, Tensor]:
        """Labels (n,) and unit centroids (k, d)."""
        rng = torch.Generator(embeddings.device).manual_seed(seed)
        if self.kind == "spherical":
            return spherical_kmeans(embeddings, k, self.iterations, rng=rng)
        return inner_product_kmeans(embeddings, k, self.iterations, self.restarts, rng=rng)


class Clusterings(nn.Module):
    """Buffers of the last clusterings, so that they survive a restart.

    Args:
        num_examples: Number of embeddings.
        dim: Their width.
        num_clusters: Clusters of each clustering.
        measure: Of the concentration: "distance" or "similarity".
    """

    labels: Tensor
    known: Tensor

    def __init__(self, num_examples: int, dim: int, num_clusters: tuple[int, ...], measure: str):
        super().__init__()
        self.num_clusters, self.measure = num_clusters, measure
        self.register_buffer("labels", torch.zeros(num_examples, len(num_clusters), dtype=torch.long))
        self.register_buffer("known", torch.tensor(False))
        for index, k in enumerate(num_clusters):
            self.register_buffer(f"centroids_{index}", torch.zeros(k, dim))
            self.register_buffer(f"concentration_{index}", torch.ones(k))

    @property
    def centroids(self) -> list[Tensor]:
        """Unit centroids (k, d) of each clustering."""
        return [getattr(self, f"centroids_{index}") for index in range(len(self.num_clusters))]

    @property
    def concentrations(self) -> list[Tensor]:
        """One temperature per centroid (k,) of each clustering."""
        return [getattr(self, f"concentration_{index}") for index in range(len(self.num_clusters))]

    @torch.no_grad()
    def refresh(self, embeddings: Tensor, kmeans: KMeans, temperature: float) -> None:
        """Cluster anew; clustering m starts from seed m, as MEOW's does in every epoch."""
        for index, k in enumerate(self.num_clusters):
            labels, centroids = kmeans.run(embeddings, k, seed=index)
            spread = estimate_concentration(
                embeddings, centroids, labels, temperature, smoothing=SMOOTHING, measure=self.measure
            )
            self.labels[:, index] = labels
            self.centroids[index].copy_(centroids)
            self.concentrations[index].copy_(spread)
        self.known.fill_(True)
