"""RankNContrast: embeddings lie in the order of their continuous labels."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone
from medgraph.losses.anchors import ContrastiveLoss
from medgraph.losses.pairs.lse import check_embeddings, refuse_not_finite
from medgraph.losses.pairs.rows import map_rows


class RankNContrast(ContrastiveLoss):
    """Contrast each other example with those whose label lies at least as far from the anchor's [1].

    mean_i mean_{j != i} [ logsumexp_{k != i, |y_i - y_k| >= |y_i - y_j|} x_ik - x_ij ],
    x = -|z_i - z_j| / temperature.

    Embeddings are used as they are, not normalized. A single example has no other: the loss is 0. Each row is sorted by
    label distance and summed once from the far end: time O(n^2 (d + log n)), live tensors O(n) times 256 rows (the C
    library may keep more resident).

    [1] Zha et al., 2023, arXiv:2210.01189, Eq. 1 and 2.

    Args:
        temperature: Divides the distances; smaller stresses the nearest examples.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: "gather" contrasts with the examples of all processes; None with those of this one. Whole rows are needed,
            so blocks of keys cannot be passed round a ring.

    Example:
        >>> loss = RankNContrast(temperature=1.0)(torch.tensor([[0.0], [1.0], [9.0]]), torch.tensor([0.0, 1.0, 9.0]))
        >>> round(loss.item(), 4)
        0.0524
    """

    def __init__(self, temperature: float = 2.0, reduction: str = "mean", dist: str | None = None):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather"))

    def forward(
        self, embeddings: Float[Tensor, "n d"], labels: Float[Tensor, "n *l"] | Int[Tensor, "n *l"]
    ) -> Float[Tensor, "..."]:
        """Loss of a batch: numbers (n,) or vectors (n, l) as labels."""
        checks.same_length(embeddings=embeddings, labels=labels)
        check_embeddings("embeddings", embeddings)
        x = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        labels = labels[:, None].flatten(1)  # (n, l)
        refuse_not_finite("labels", labels)
        labels = everyone.from_least(labels, x, self.dist)
        keys, key_labels = everyone.rows(x, self.dist), everyone.rows(labels, self.dist)
        if len(keys) < 2:
            return self.reduce(x.sum(dim=1), torch.zeros(len(x), dtype=torch.bool, device=x.device), "other example")
        loss = map_rows(self._rows, len(x), x, labels, keys, key_labels, everyone.ids(x, self.dist))
        return self.reduce(loss, None, "other example")

    def _rows(self, rows: slice, x: Tensor, labels: Tensor, keys: Tensor, key_labels: Tensor, ids: Tensor) -> Tensor:
        """The loss of some anchors (r,)."""
        gaps = torch.cdist(labels[rows], key_labels, compute_mode="donot_use_mm_for_euclid_dist")  # (r, n)
        others = gaps.scatter(1, ids[rows, None], -1.0)  # the anchor itself sorts last
        ordered, order = others.sort(dim=1, descending=True, stable=True)
        ordered, order = ordered[:, :-1].contiguous(), order[:, :-1]
        distances = torch.cdist(x[rows].double(), keys.double(), compute_mode="donot_use_mm_for_euclid_dist")
        logits = -distances.gather(1, order) / self.temperature  # float64: short tiles, long sums
        running = logits.logcumsumexp(dim=1)
        last = torch.searchsorted(-ordered, -ordered, right=True) - 1  # keys at the same distance belong together
        return (running.gather(1, last) - logits).mean(dim=1).to(x.dtype)
