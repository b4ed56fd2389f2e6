"""InversePropensity: keys that the sampler rarely draws count more."""

import math

import torch
from jaxtyping import Float, Int
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, pairs
from medgraph.losses.anchors import ContrastiveLoss, own_logits, units, with_positive
from medgraph.losses.pairs.lse import refuse_not_finite
from medgraph.losses.pairs.terms import ColumnLogWeight, ExcludeSameId, PairTerm, TableLogWeight


class InversePropensity(ContrastiveLoss):
    """InfoNCE with each key weighted by one over its probability under the sampler (of its site, scanner, age bin).

    mean_i [ log sum_j w_ij exp(x_ij) - x_ii ],  x = cosine / temperature,
    w_ij = 1 / clip(propensity_j), or 1 / clip(table[stratum_i, stratum_j]), divided by their mean over j.

    Because weights average to 1, a constant propensity changes nothing and the temperature keeps its meaning. `stats`
    reports the mean effective sample size (sum_j w_ij)^2 / sum_j w_ij^2: far below n, few keys decide.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        min_propensity: Propensities below count as this; larger limits the weight of the rarest keys.
        self_normalize: Whether weights are divided by their mean; False leaves them as they are.
        reduction: "mean" or "sum" over the anchors, or "none" for one value each.
        dist: Contrast with the examples of all processes: "gather" collects them, "ring" passes them round in linear
            memory. None stays with those of this process.

    Example:
        >>> loss = InversePropensity(temperature=0.1)(torch.eye(4), torch.eye(4), torch.full((4,), 0.25))
        >>> round(loss.item(), 4)
        0.0001
    """

    def __init__(
        self,
        temperature: float = 0.1,
        min_propensity: float = 0.01,
        self_normalize: bool = True,
        reduction: str = "mean",
        dist: str | None = None,
    ):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.min_propensity = checks.between("min_propensity", min_propensity, 1e-6, 1.0)
        self.self_normalize = self_normalize
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))

    def forward(
        self,
        queries: Float[Tensor, "n d"],
        keys: Float[Tensor, "n d"],
        propensity: Float[Tensor, " n"] | Float[Tensor, "s s"],
        strata: Int[Tensor, " n"] | None = None,
    ) -> Float[Tensor, "..."]:
        """Loss of a batch: a propensity per key, or a table by stratum of query and key together with `strata`."""
        checks.same_length(queries=queries, keys=keys)
        queries, keys = units(queries=queries, keys=keys)
        refuse_not_finite("propensity", propensity[:, None].flatten(1))
        scale = 1 / self.temperature
        positive = own_logits(queries, keys, scale)  # (n,)
        log_weight = -propensity.to(queries).clamp(self.min_propensity, 1).log()
        term = self._term(log_weight, strata, len(keys))
        ids = everyone.ids(keys, self.dist)
        terms = (term, ExcludeSameId(ids, ids))
        negatives = pairs.pair_lse(queries, keys, scale=scale, terms=terms, dist=self.dist)[0]
        own = log_weight if strata is None else log_weight[strata, strata]
        loss = with_positive(negatives, positive, own)
        if self.self_normalize:
            loss = loss - self._log_sum(log_weight, strata) + math.log(max(everyone.count(keys, self.dist), 1))
        parts = {"positive": positive, "denominator": loss + positive}
        if self.collecting:
            size = (2 * self._log_sum(log_weight, strata) - self._log_sum(2 * log_weight, strata)).exp()
            parts["effective_sample_size"] = size.expand(len(keys))
        return self.reduce(loss, None, "key", **parts)

    @staticmethod
    def _term(log_weight: Tensor, strata: Tensor | None, num_keys: int) -> PairTerm:
        if (log_weight.ndim == 2) != (strata is not None):
            raise ValueError("propensity: expected one number per key, or a table together with `strata`")
        if strata is None:
            checks.same_length(keys=range(num_keys), propensity=log_weight)
            return ColumnLogWeight(log_weight)
        checks.same_length(keys=range(num_keys), strata=strata)
        known = torch.compiler.is_compiling() or len(strata) == 0  # a graph cannot ask
        if not known and not 0 <= int(strata.min()) <= int(strata.max()) < len(log_weight):
            raise ValueError(
                f"strata: expected 0 to {len(log_weight) - 1}, the rows of the table, "
                f"got {int(strata.min())} to {int(strata.max())}"
            )
        return TableLogWeight(log_weight, strata)

    def _log_sum(self, log_weight: Tensor, strata: Tensor | None) -> Tensor:
        """log sum_j w_ij: of all keys alike, or of each query (n,) by the number of keys in each stratum."""
        if strata is None:
            return everyone.rows(log_weight, self.dist).logsumexp(dim=0)
        counts = everyone.total(torch.bincount(strata, minlength=len(log_weight)), self.dist).to(log_weight)
        return (log_weight + counts.log()).logsumexp(dim=1)[strata]
