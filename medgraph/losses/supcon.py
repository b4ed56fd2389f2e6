"""SupCon: draw examples of one label together, away from those of other labels."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks
from medgraph.losses import pairs
from medgraph.losses.anchors import mean_over_valid, unit
from medgraph.losses.pairs.positives import by_label
from medgraph.losses.pairs.terms import ExcludeSameId, OnlyNegatives, OnlyPositives


class SupCon(nn.Module):
    """Supervised contrastive loss [1]: all other examples of the anchor's label are positives.

    With x = cosine / temperature, P the positives of i, N the examples of other labels:

    out:          mean_i [ logsumexp_{j != i} x_ij - mean_{p in P} x_ip ]
    in:           mean_i [ logsumexp_{j != i} x_ij - logsumexp_{p in P} x_ip + log |P| ], never above `out`
    per_positive: mean_i mean_{p in P} softplus(logsumexp_{j in N} x_ij - x_ip)

    Anchors without positives (per_positive: or without negatives) are left out; with no anchor left the loss is 0.
    Memory is linear; per_positive also holds the scores within each label.

    [1] Khosla et al., 2020, arXiv:2004.11362, Eq. 2 and 3.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        mode: "out" treats all positives alike; "in" is satisfied by the nearest; in "per_positive" positives do not
            compete with one another.

    Example:
        >>> loss = SupCon(temperature=0.1)(torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1]))
        >>> round(loss.item(), 4)
        0.0001
    """

    def __init__(self, temperature: float = 0.1, mode: str = "out"):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.mode = checks.one_of("mode", mode, ("out", "in", "per_positive"))

    def forward(self, embeddings: Float[Tensor, "n d"], labels: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        checks.same_length(embeddings=embeddings, labels=labels)
        x, scale = unit(embeddings), 1 / self.temperature
        others = ExcludeSameId(torch.arange(len(x), device=x.device))
        positives = by_label(labels)
        valid = positives.count > 0
        if self.mode == "out":
            loss = pairs.pair_lse(x, scale=scale, terms=(others,))[0] - positives.mean(x, scale=scale)
        elif self.mode == "in":
            heads = ((1.0, ()), (1.0, (OnlyPositives(labels),)))
            over_all, over_positives = pairs.pair_lse(x, scale=scale, terms=(others,), heads=heads)
            loss = over_all - over_positives + positives.count.to(x).log()
        else:
            over_negatives = pairs.pair_lse(x, scale=scale, terms=(OnlyNegatives(labels),))[0]
            valid = valid & over_negatives.isfinite()
            loss = _per_positive(x, labels, scale, over_negatives)
        return mean_over_valid(loss, valid, "positive or no negative" if self.mode == "per_positive" else "positive")


def _per_positive(x: Tensor, labels: Tensor, scale: float, over_negatives: Tensor) -> Tensor:
    loss = 0 * x.sum(dim=1)  # carries the graph even if no label has two members
    for label in labels.unique():
        members = (labels == label).nonzero().flatten()
        if len(members) == 1:
            continue
        logits = scale * x[members] @ x[members].T  # (members, members)
        terms = F.softplus(over_negatives[members, None] - logits)
        loss = loss.index_add(0, members, (terms.sum(dim=1) - terms.diagonal()) / (len(members) - 1))
    return loss
