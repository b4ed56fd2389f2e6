"""MaskedPrediction: recover the embeddings of hidden slices."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks
from medgraph.losses import pairs
from medgraph.losses.pairs.distances import MinimalGap


class MaskedPrediction(nn.Module):
    """Distance of predicted to true embeddings at the masked slots of a sequence.

    mse: mean of (p - e)^2 over slots and channels;  smooth_l1: likewise, linear beyond 1;
    cosine: mean of 2 - 2 cos(p, e);
    info_nce: mean of  logsumexp_j cos(p, e_j) / temperature - cos(p, e) / temperature,  j over all valid slots of the
    batch except others of the same sequence closer than `min_gap` slots, which look almost the same.

    Only masked, valid slots count; if there are none the loss is 0. Targets carry no gradient: else a constant
    embedding would be optimal.

    Args:
        measure: "mse", "smooth_l1", "cosine" or "info_nce".
        temperature: Divides the cosines of info_nce; smaller stresses the hardest slots.
        min_gap: Distance in slots from which slots of one sequence are told apart by info_nce; 1 takes all.

    Example:
        >>> targets, mask = torch.zeros(1, 2, 4), torch.tensor([[True, False]])
        >>> MaskedPrediction()(targets + 3.0, targets, mask).item()
        9.0
    """

    def __init__(self, measure: str = "mse", temperature: float = 0.1, min_gap: int = 1):
        super().__init__()
        self.measure = checks.one_of("measure", measure, ("mse", "smooth_l1", "cosine", "info_nce"))
        self.temperature = checks.positive("temperature", temperature)
        self.min_gap = checks.at_least("min_gap", min_gap, 1)

    def forward(
        self,
        predictions: Float[Tensor, "b s d"],
        targets: Float[Tensor, "b s d"],
        mask: Bool[Tensor, "b s"],
        valid: Bool[Tensor, "b s"] | None = None,
    ) -> Float[Tensor, ""]:
        """Loss of a batch of sequences; `mask` marks hidden slots, `valid` those that are not padding (default all)."""
        valid = torch.ones_like(mask) if valid is None else valid
        hidden = mask & valid
        dtype = torch.promote_types(predictions.dtype, torch.float32)
        guesses, truths = predictions[hidden].to(dtype), targets.detach()[hidden].to(dtype)  # (h, d)
        if len(guesses) == 0:
            return guesses.sum()
        if self.measure == "mse":
            return F.mse_loss(guesses, truths)
        if self.measure == "smooth_l1":
            return F.smooth_l1_loss(guesses, truths)
        guesses, truths = F.normalize(guesses, dim=1), F.normalize(truths, dim=1)
        if self.measure == "cosine":
            return (2 - 2 * (guesses * truths).sum(dim=1)).mean()
        keys = F.normalize(targets.detach()[valid].to(dtype), dim=1)
        scale = 1 / self.temperature
        terms = () if self.min_gap == 1 else (self._apart(hidden, valid),)
        log_sums = pairs.pair_lse(guesses, keys, scale=scale, terms=terms)[0]
        return (log_sums - scale * (guesses * truths).sum(dim=1)).mean()

    def _apart(self, hidden: Tensor, valid: Tensor) -> pairs.terms.LabelDistance:
        """Drops other slots of the same sequence closer than `min_gap`."""
        num_sequences, num_slots = hidden.shape
        # One number line for all sequences, spaced so that slots of two sequences are never close.
        starts = torch.arange(num_sequences, device=hidden.device) * (num_slots + self.min_gap)
        places = starts[:, None] + torch.arange(num_slots, device=hidden.device)  # (b, s)
        return pairs.terms.LabelDistance(places[hidden], places[valid], MinimalGap(self.min_gap, keep_same=True))

    def extra_repr(self) -> str:
        return f"measure={self.measure}, temperature={self.temperature}, min_gap={self.min_gap}"
