"""MaskedPrediction: recover the embeddings of hidden slices."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from medgraph import checks
from medgraph.losses import everyone, inputs, pairs
from medgraph.losses.anchors import ContrastiveLoss, units, with_positive
from medgraph.losses.pairs.distances import MinimalGap
from medgraph.losses.pairs.lse import check_embeddings


class MaskedPrediction(ContrastiveLoss):
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
        reduction: "mean" or "sum" over the masked slots, or "none": one value each.
        dist: Take the mean, and for info_nce the slots, of all processes: "gather" collects them, "ring" passes them
            round in linear memory. None stays with those of this process.

    Example:
        >>> targets, mask = torch.zeros(1, 2, 4), torch.tensor([[True, False]])
        >>> MaskedPrediction()(targets + 3.0, targets, mask).item()
        9.0
    """

    def __init__(
        self,
        measure: str = "mse",
        temperature: float = 0.1,
        min_gap: int = 1,
        reduction: str = "mean",
        dist: str | None = None,
    ):
        super().__init__()
        self.measure = checks.one_of("measure", measure, ("mse", "smooth_l1", "cosine", "info_nce"))
        self.temperature = checks.positive("temperature", temperature)
        self.min_gap = checks.at_least("min_gap", min_gap, 1)
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather", "ring"))

    def forward(
        self,
        predictions: Float[Tensor, "b s d"],
        targets: Float[Tensor, "b s d"],
        mask: Bool[Tensor, "b s"],
        valid: Bool[Tensor, "b s"] | None = None,
    ) -> Float[Tensor, "..."]:
        """Loss of a batch of sequences; `mask` marks hidden slots, `valid` those that are not padding (default all)."""
        valid = torch.ones_like(mask) if valid is None else valid
        checks.same_length(predictions=predictions, targets=targets, mask=mask, valid=valid)
        inputs.same_width(predictions=predictions, targets=targets)
        hidden = mask & valid
        truths = targets.detach()
        if self.measure == "info_nce":
            loss = self._contrast(predictions[hidden], truths[hidden], truths[valid], hidden, valid)
        else:
            loss = self._distance(predictions[hidden], truths[hidden])
        return self.reduce(loss, None, "masked slot")

    def _distance(self, guesses: Tensor, truths: Tensor) -> Tensor:
        """Distance at each masked slot (h,)."""
        check_embeddings("predictions", guesses)
        check_embeddings("targets", truths)
        if self.measure == "cosine":
            guesses, truths = units(predictions=guesses, targets=truths)
            return 2 - 2 * (guesses * truths).sum(dim=1)
        guesses = guesses.to(torch.promote_types(guesses.dtype, torch.float32))
        compare = F.mse_loss if self.measure == "mse" else F.smooth_l1_loss
        return compare(guesses, truths.to(guesses), reduction="none").mean(dim=1)

    def _contrast(self, guesses: Tensor, truths: Tensor, keys: Tensor, hidden: Tensor, valid: Tensor) -> Tensor:
        """InfoNCE of each masked slot against all valid ones (h,)."""
        guesses, truths, keys = units(predictions=guesses, targets=truths, keys=keys)
        scale = 1 / self.temperature
        positive = scale * (guesses * truths).sum(dim=1)
        # Distance 0 is the slot itself; leaving it out here is exact also where its share is close to 1.
        places = self._places(hidden)
        apart = pairs.terms.LabelDistance(places[hidden], places[valid], MinimalGap(self.min_gap))
        others = pairs.pair_lse(guesses, keys, scale=scale, terms=(apart,), dist=self.dist)[0]
        return with_positive(others, positive)

    def _places(self, hidden: Tensor) -> Tensor:
        """One number line for the slots (b, s) of all sequences, in which those of two are never close."""
        num_slots = torch.tensor([hidden.shape[1]], device=hidden.device)
        spacing = everyone.rows(num_slots, self.dist).max() + self.min_gap  # sequences may be longer elsewhere
        starts = everyone.ids(hidden, self.dist) * spacing
        return starts[:, None] + torch.arange(hidden.shape[1], device=hidden.device)

    def extra_repr(self) -> str:
        return f"measure={self.measure}, temperature={self.temperature}, min_gap={self.min_gap}"
