"""ClassPairGates: compare examples in the channels that matter for a pair of classes (Hydra, SimLAP)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks
from medgraph.losses import everyone
from medgraph.losses.anchors import ContrastiveLoss
from medgraph.losses.pairs.lse import check_embeddings
from medgraph.losses.pairs.rows import map_rows
from medgraph.losses.pairs.softplus import softplus


class ClassPairGates(ContrastiveLoss):
    """Contrast under a learned gate per pair of classes.

    gate_i = sigmoid(MLP((E[y_i] + E[y'_i]) / 2)),  x_ij = cosine(gate_i * z_i, gate_i * z_j) / temperature,
    mean over pairs (i, p) of softplus( logsumexp_{j in N(i)} x_ij - x_ip ).

    y_i is the anchor's own class and y'_i the class it is to be drawn to: positives p are the other examples of class
    y'_i, negatives N(i) those of neither class. Anchors without positives or without negatives are left out; with none
    left the loss is 0. The gate multiplies both sides, so x needs two matrix products and no gated copy of every
    example: live tensors O(n) times 256 rows (the C library may keep more resident), never n x n x d.

    Args:
        num_classes: Classes in all; labels run from 0.
        dim: Width of the embeddings.
        hidden_dim: Width of the gate's perceptron and of its class embedding.
        temperature: Divides the scores; smaller stresses the hardest negatives.
        reduction: "pair" for the mean over pairs of anchor and positive, "mean" or "sum" over the valid anchors, or
            "none" for one value each, 0 where invalid.
        dist: "gather" contrasts with the examples of all processes; None with those of this one. Whole rows are needed,
            so blocks of keys cannot be passed round a ring.

    Example:
        >>> labels = torch.tensor([0, 0, 1, 1])
        >>> ClassPairGates(num_classes=2, dim=4)(torch.eye(4), labels, labels).isfinite().item()
        True
    """

    def __init__(
        self,
        num_classes: int,
        dim: int,
        hidden_dim: int = 64,
        temperature: float = 0.1,
        reduction: str = "pair",
        dist: str | None = None,
    ):
        super().__init__()
        self.num_classes = checks.at_least("num_classes", num_classes, 1)
        self.temperature = checks.positive("temperature", temperature)
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none", "pair"))
        self.dist = checks.one_of("dist", dist, (None, "gather"))
        self.classes = nn.Embedding(num_classes, checks.at_least("hidden_dim", hidden_dim, 1))
        self.perceptron = nn.Sequential(
            nn.Linear(hidden_dim, hidden_dim), nn.ReLU(), nn.Linear(hidden_dim, checks.at_least("dim", dim, 1))
        )

    def forward(
        self, embeddings: Float[Tensor, "n d"], labels: Int[Tensor, " n"], targets: Int[Tensor, " n"]
    ) -> Float[Tensor, "..."]:
        """Loss of a batch: the class of each example, and the class each is drawn to (its own, or a second one)."""
        checks.same_length(embeddings=embeddings, labels=labels, targets=targets)
        check_embeddings("embeddings", embeddings)
        for name, classes in (("labels", labels), ("targets", targets)):
            known = torch.compiler.is_compiling() or len(classes) == 0  # a graph cannot ask
            if not known and not 0 <= int(classes.min()) <= int(classes.max()) < self.num_classes:
                raise ValueError(
                    f"{name}: expected classes from 0 to {self.num_classes - 1}, "
                    f"got {int(classes.min())} to {int(classes.max())}"
                )
        x = F.normalize(embeddings.to(torch.promote_types(embeddings.dtype, torch.float32)), dim=1)
        gates = self.gates(labels, targets).to(x)
        keys, key_labels, ids = (
            everyone.rows(x, self.dist),
            everyone.rows(labels, self.dist),
            everyone.ids(x, self.dist),
        )
        parts = map_rows(self._rows, len(x), x, gates, labels, targets, keys, key_labels, ids)  # (n, 4)
        total, positive, denominator, num_positives = parts.unbind(dim=1)
        num_positives = num_positives.detach()
        valid = (num_positives > 0) & denominator.isfinite()
        shares = num_positives.clamp_min(1)
        return self.reduce(
            total / shares,
            valid,
            "positive or no negative",
            num_positives,
            positive=positive / shares,
            denominator=denominator,
        )

    def gates(self, labels: Int[Tensor, " n"], targets: Int[Tensor, " n"]) -> Float[Tensor, "n d"]:
        """The gate of each pair of classes, in (0, 1); the order of the two does not matter."""
        return torch.sigmoid(self.perceptron((self.classes(labels) + self.classes(targets)) / 2))

    def _rows(
        self,
        rows: slice,
        x: Tensor,
        gates: Tensor,
        labels: Tensor,
        targets: Tensor,
        keys: Tensor,
        key_labels: Tensor,
        ids: Tensor,
    ) -> Tensor:
        """Sum of the loss and of the logit over positives, log-denominator and number of positives (r, 4)."""
        squares = gates[rows].square()
        anchors = x[rows] * squares
        lengths = (squares @ keys.square().T).clamp_min(1e-24).sqrt()  # (r, n), of every example under each gate
        own = (anchors * x[rows]).sum(dim=1, keepdim=True).clamp_min(1e-24).sqrt()
        logits = anchors @ keys.T / (own * lengths) / self.temperature
        is_positive = targets[rows, None] == key_labels
        is_negative = ~is_positive & (labels[rows, None] != key_labels)
        is_positive = is_positive & (ids[rows, None] != torch.arange(len(keys), device=x.device))
        empty = ~is_negative.any(dim=1)
        kept = logits.masked_fill(~is_negative, -torch.inf).masked_fill(empty[:, None], 0)
        denominator = kept.logsumexp(dim=1)
        terms = softplus(denominator[:, None] - logits) * is_positive
        denominator = denominator.masked_fill(empty, -torch.inf)
        num_positives = is_positive.sum(dim=1).to(x)
        return torch.stack([terms.sum(dim=1), (logits * is_positive).sum(dim=1), denominator, num_positives], dim=1)
