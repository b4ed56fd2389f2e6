"""SupReMix: contrast for continuous labels, with mixtures of embeddings as hard negatives and hard positives."""

import torch
from jaxtyping import Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone
from medgraph.losses.anchors import ContrastiveLoss, unit
from medgraph.losses.pairs.lse import refuse_not_finite
from medgraph.losses.pairs.rows import map_rows


class SupReMix(ContrastiveLoss):
    """Supervised contrastive regression with real and mixed examples [1].

    mean_i [ log( sum_{j != i} w_ij exp(x_ij) + sum_{mixed negatives} w exp(x) + sum_{mixed positives} exp(x) )
             - mean_{positives} x ],  x = score / temperature, w = |gap of the labels| + 1.

    Mixed negative of i and any k of another label: a vector share z_i + (1 - share) z_k, share ~ Beta(2, 8); its label
    gap is (1 - share) |y_i - y_k|. Mixed positive of j, k inside the window with y_j < y_i < y_k: the vector
    a z_j + (1 - a) z_k whose label, mixed alike, is y_i: a = (y_k - y_i) / (y_k - y_j). Positives are the mixed ones
    and the examples of the anchor's own label. Scores of mixtures are sums of cosines, so no mixture is ever built.

    Anchors without positives are left out; with none left the loss is 0. Live tensors O(n) times 256 rows (the
    C library may keep more resident).

    [1] Wu et al., 2023, arXiv:2309.16633.

    Args:
        temperature: Divides the scores; smaller stresses the hardest negatives.
        window: Largest label distance of j and k from the anchor (eps); larger mixes positives from further away.
        max_mixed_positives: Mixed positives per anchor at most, spread evenly over all of them by a draw; 0 uses none.
        mixed_negatives: Whether mixtures with the anchor are negatives.
        normalize_mixtures: Whether mixtures are scaled to length 1.
        detach_mixtures: Whether mixtures carry no gradient, so that only the anchor moves.
        seed: Of the draws, when the loss is called without a generator.
        reduction: "mean" or "sum" over the valid anchors, or "none": one value each, 0 where invalid.
        dist: "gather" contrasts with the examples of all processes; None with those of this one. Whole rows are needed,
            so blocks of keys cannot be passed round a ring.

    Example:
        >>> SupReMix()(torch.eye(4), torch.tensor([0.0, 1.0, 2.0, 3.0])).isfinite().item()
        True
    """

    def __init__(
        self,
        temperature: float = 0.1,
        window: float = 5.0,
        max_mixed_positives: int = 64,
        mixed_negatives: bool = True,
        normalize_mixtures: bool = False,
        detach_mixtures: bool = False,
        seed: int = 0,
        reduction: str = "mean",
        dist: str | None = None,
    ):
        super().__init__()
        self.temperature = checks.positive("temperature", temperature)
        self.window = checks.positive("window", window)
        self.max_mixed_positives = checks.not_negative("max_mixed_positives", max_mixed_positives)
        self.mixed_negatives = mixed_negatives
        self.normalize_mixtures = normalize_mixtures
        self.detach_mixtures = detach_mixtures
        self.seed = seed
        self.reduction = checks.one_of("reduction", reduction, ("mean", "sum", "none"))
        self.dist = checks.one_of("dist", dist, (None, "gather"))

    def forward(
        self, embeddings: Float[Tensor, "n d"], labels: Float[Tensor, " n"], rng: torch.Generator | None = None
    ) -> Float[Tensor, "..."]:
        """Loss of a batch; `rng`, on the CPU, draws shares and pairs; without it every call draws alike from `seed`.

        It must stand at the same state in every process; each anchor then draws what it would draw in one process.
        """
        checks.same_length(embeddings=embeddings, labels=labels)
        x, labels = unit(embeddings), labels.to(torch.float64)
        refuse_not_finite("labels", labels[:, None])
        rng = torch.Generator().manual_seed(self.seed) if rng is None else rng
        seed = int(torch.randint(2**31, (), generator=rng))
        keys, key_labels, ids = (
            everyone.rows(x, self.dist),
            everyone.rows(labels, self.dist),
            everyone.ids(x, self.dist),
        )
        order = key_labels.argsort(stable=True)
        wide, wide_keys = x.double(), keys.double()  # a cold mixture enlarges the rounding of its cosines
        parts = map_rows(self._rows, len(x), wide, labels, wide_keys, key_labels, ids, order, seed)  # (n, 3)
        denominator, positive, num_positives = parts.to(x.dtype).unbind(dim=1)
        valid = num_positives.detach() > 0
        return self.reduce(denominator - positive, valid, "positive", positive=positive, denominator=denominator)

    def _rows(
        self,
        rows: slice,
        x: Tensor,
        labels: Tensor,
        keys: Tensor,
        key_labels: Tensor,
        ids: Tensor,
        order: Tensor,
        seed: int,
    ) -> Tensor:
        """Log-denominator, mean positive logit and number of positives of some anchors (r, 3)."""
        own = labels[rows]
        cosines = x[rows] @ keys.T  # (r, n)
        itself = ids[rows, None] == torch.arange(len(keys), device=x.device)
        gaps = (own[:, None] - key_labels).abs()
        shares, jitter = self._draws(ids[rows], len(keys), seed)
        same = (gaps == 0) & ~itself
        logits = [(cosines / self.temperature + gaps.to(x).log1p()).masked_fill(itself, -torch.inf)]
        total, count = (cosines / self.temperature * same).sum(dim=1), same.sum(dim=1).to(x)
        mixed_keys = keys.detach() if self.detach_mixtures else keys
        with_keys = x[rows] @ mixed_keys.T if self.detach_mixtures else cosines
        if self.mixed_negatives:
            logits.append(self._negatives(with_keys, with_keys[itself], gaps, shares.to(with_keys)))
        if self.max_mixed_positives:
            jitter = jitter.to(keys.device)
            scores, exist = self._positives(with_keys, mixed_keys, own, key_labels[order], order, jitter)
            logits.append(scores.masked_fill(~exist, -torch.inf))
            total, count = total + (scores * exist).sum(dim=1), count + exist.sum(dim=1)
        row = torch.cat(logits, dim=1)
        empty = (row == -torch.inf).all(dim=1)
        denominator = row.masked_fill(empty[:, None], 0).logsumexp(dim=1)
        return torch.stack([denominator, total / count.clamp_min(1), count], dim=1)

    def _draws(self, ids: Tensor, num_keys: int, seed: int) -> tuple[Tensor, Tensor]:
        """Shares of the mixed negatives (r, n) and the jitter of the mixed positives (r, c), by the anchor's number."""
        shares = torch.empty(len(ids), num_keys if self.mixed_negatives else 0, dtype=torch.float64)
        jitter = torch.empty(len(ids), self.max_mixed_positives, dtype=torch.float64)
        for row, number in enumerate(ids.tolist()):
            rng = torch.Generator().manual_seed(seed + number)
            # the 2nd smallest of 9 uniform numbers is Beta(2, 8)
            shares[row] = torch.rand(9, shares.shape[1], generator=rng, dtype=torch.float64).kthvalue(2, dim=0).values
            jitter[row] = torch.rand(jitter.shape[1], generator=rng, dtype=torch.float64)
        return shares, jitter

    def _negatives(self, cosines: Tensor, own: Tensor, gaps: Tensor, share: Tensor) -> Tensor:
        """Weighted logits of mixtures of the anchor with each example of another label (r, n)."""
        scores = share * own[:, None] + (1 - share) * cosines
        if self.normalize_mixtures:
            scores = scores / _length(share, cosines if not self.detach_mixtures else cosines.detach())
        logits = scores / self.temperature + ((1 - share) * gaps.to(share)).log1p()
        return logits.masked_fill(gaps == 0, -torch.inf)

    def _positives(
        self, cosines: Tensor, keys: Tensor, own: Tensor, ordered: Tensor, order: Tensor, jitter: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Logits of mixtures at the anchor's label (r, c), and whether the anchor has that many."""
        low, first = torch.searchsorted(ordered, own - self.window), torch.searchsorted(ordered, own)
        last = torch.searchsorted(ordered, own, right=True)
        num_below, num_above = first - low, torch.searchsorted(ordered, own + self.window, right=True) - last
        num_pairs = (num_below * num_above)[:, None]  # (r, 1)
        slots = torch.arange(self.max_mixed_positives, device=keys.device)
        start, end = slots * num_pairs // len(slots), (slots + 1) * num_pairs // len(slots)
        drawn = start + (jitter * (end - start)).long()  # one pair from each of as many equal parts
        pair = torch.where(num_pairs > len(slots), drawn, slots).clamp_max((num_pairs - 1).clamp_min(0))
        above = num_above[:, None].clamp_min(1)
        exist = slots < num_pairs
        below_at, above_at = low[:, None] + pair // above, last[:, None] + pair % above
        below, above_ = (order[at.clamp_max(len(order) - 1)] for at in (below_at, above_at))
        lower, upper = ordered[below_at.clamp_max(len(order) - 1)], ordered[above_at.clamp_max(len(order) - 1)]
        share = ((upper - own[:, None]) / (upper - lower).masked_fill(~exist, 1)).to(cosines).masked_fill(~exist, 0.5)
        scores = share * cosines.gather(1, below) + (1 - share) * cosines.gather(1, above_)
        if self.normalize_mixtures:
            scores = scores / _length(share, (keys[below] * keys[above_]).sum(dim=2))
        return scores / self.temperature, exist


def _length(share: Tensor, cosine: Tensor) -> Tensor:
    """Length of share a + (1 - share) b of unit vectors a, b."""
    square = share.square() + (1 - share).square() + 2 * share * (1 - share) * cosine
    return square.clamp_min(1e-12).sqrt()  # opposite vectors may cancel; the length then stays above 0
