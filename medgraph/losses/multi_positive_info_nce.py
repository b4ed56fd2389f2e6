"""MultiPositiveInfoNCE: several keys are positives of a query, the other keys its negatives."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from medgraph import checks
from medgraph.losses import pairs
from medgraph.losses.anchors import unit
from medgraph.losses.pairs.terms import CodeDisagreement, PairTerm, SparseBias


class MultiPositiveInfoNCE(nn.Module):
    """InfoNCE whose numerator sums over a query's positives, as HeCo's [1].

    mean_i [ log( sum_{j not in P_i} w_ij exp(x_ij) [+ positives] ) - log sum_{p in P_i} exp(x_ip) ],
    x = cosine / temperature, i itself in P_i, w_ij = clusterings in which i and j differ, or 1 without codes.

    Memory is linear in the examples and the listed positives.

    [1] Wang et al., 2021, arXiv:2105.09111, Eq. 10.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        positive_in_denominator: "never" removes positives from the denominator; "always" adds them with weight 1, so
            that the loss is at least 0.

    Example:
        >>> own = torch.tensor([[0, 1], [0, 1]])
        >>> loss = MultiPositiveInfoNCE(1.0, positive_in_denominator="always")(torch.eye(2), torch.eye(2), own)
        >>> round(loss.item(), 4)
        0.3133
    """

    def __init__(self, temperature: float = 0.1, positive_in_denominator: str = "never"):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.positive_in_denominator = checks.one_of(
            "positive_in_denominator", positive_in_denominator, ("never", "always")
        )

    def forward(
        self,
        queries: Float[Tensor, "n d"],
        keys: Float[Tensor, "n d"],
        positives: Int[Tensor, "2 e"],
        codes: Int[Tensor, "n r"] | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of one batch; `positives` lists (query, key) pairs, ascending by query and with each query itself."""
        checks.same_length(queries=queries, keys=keys)
        queries, keys, scale = unit(queries), unit(keys), 1 / self.temperature
        rows, columns = positives[0].contiguous(), positives[1].contiguous()
        logits = scale * (queries[rows] * keys[columns]).sum(dim=1)  # (e,)
        numerator = _logsumexp_by_row(logits, rows, len(queries))
        terms: list[PairTerm] = [SparseBias(rows, columns, torch.full_like(logits, -torch.inf).detach())]
        if codes is not None:
            terms.append(CodeDisagreement(codes))
        denominator = pairs.pair_lse(queries, keys, scale=scale, terms=terms)[0]
        if self.positive_in_denominator == "always":
            denominator = torch.logaddexp(denominator, numerator)
        valid = denominator.isfinite() & numerator.isfinite()
        return (denominator - numerator)[valid].sum() / valid.sum().clamp_min(1)


def _logsumexp_by_row(logits: Tensor, rows: Tensor, num_rows: int) -> Tensor:
    """log sum exp of the entries of each row; -inf for a row without any."""
    empty = logits.new_full((num_rows,), -torch.inf)
    highest = empty.scatter_reduce(0, rows, logits.detach(), "amax")
    total = torch.zeros_like(empty).index_add(0, rows, (logits - highest[rows]).exp())
    return total.log() + highest.masked_fill(total.detach() == 0, 0)
