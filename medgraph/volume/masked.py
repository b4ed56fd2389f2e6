"""Masked: predict the tokens of hidden slices from the visible ones, with the slice encoder frozen."""

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks
from medgraph.data.batches import IdBatch, Ids, StackBatch
from medgraph.data.spec import ImageSpec
from medgraph.losses import diagnostics
from medgraph.method import Method, Step
from medgraph.transforms.draws import uniforms
from medgraph.volume.batch import make_views, require_slices
from medgraph.volume.encoder import mean_slices
from medgraph.volume.monitor import EVERY, order_sensitivity
from medgraph.volume.plots import plot_volumes


class Masked(Method):
    """Masked slice prediction [1]: only the slice transformer learns, targets stay where they are.

    max(1, round(ratio n)) slices of a volume, the same in both views, are replaced by one learned token;
    loss(decoder(transformer(tokens)), tokens) at the hidden slices. Slice encoder (batch statistics too) and token map
    are frozen: with a learning target a constant would be optimal.

    [1] Nguyen et al., AAAI 2023, arXiv:2212.01893.

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: Volume encoder; what is exported.
        views: Draws and applies the two views, e.g. `stack_views`.
        loss: Compares predicted with true tokens, e.g. `masked_prediction`.
        mask_ratio: Share of the slices that is hidden.
        scope: "masked" scores hidden slices only, "all" every slice, as the authors' release does.
        standardize: Give each token channel mean 0 and deviation 1 over the training volumes, stored with the encoder.
        num_cached_views: Pairs of views of each volume whose tokens are computed once and kept, since the slice encoder
            is frozen; 0 computes views anew in every step. They take 8 * volumes * slices * dim bytes a pair.
    """

    takes_part_batches = True
    cache: Tensor
    lengths: Tensor
    is_ready: Tensor

    def __init__(
        self,
        spec: ImageSpec,
        encoder: Any,
        views: Any,
        loss: nn.Module,
        mask_ratio: float = 0.1,
        scope: str = "masked",
        standardize: bool = True,
        num_cached_views: int = 4,
    ):
        super().__init__()
        self.standardize = standardize
        self.num_cached_views = checks.at_least("num_cached_views", num_cached_views, 0)
        self.masker = Masker(encoder.out_dim, mask_ratio, scope, fewest=require_slices(spec, views))
        self.encoder = encoder
        self.views = views
        self.loss = loss
        for part in (encoder.slice_encoder, encoder.tokens):
            part.requires_grad_(False)
        most = spec.num_slices[1] if num_cached_views else 0
        self.register_buffer("cache", torch.zeros(spec.num_volumes, 2 * num_cached_views, most, encoder.out_dim))
        self.register_buffer("lengths", torch.zeros(spec.num_volumes, dtype=torch.long))
        self.register_buffer("is_ready", torch.zeros((), dtype=torch.bool))
        frozen = (name for name in self.state_dict() if name.startswith(("encoder.slice_encoder.", "encoder.tokens.")))
        self.constants = ("cache", "lengths", *frozen)

    def train(self, mode: bool = True) -> "Masked":
        """Training mode for all but the frozen slice encoder and token map, whose statistics must not move."""
        super().train(mode)
        self.encoder.slice_encoder.eval()
        self.encoder.tokens.eval()
        return self

    @torch.no_grad()
    def on_epoch_start(self, step: Step, batches: Iterable[StackBatch]) -> None:
        """Before the first epoch, compute the tokens of all volumes once: for the statistics, and to keep."""
        if self.is_ready or not (self.standardize or self.num_cached_views):
            return
        whole = copy.copy(self.views)
        whole.num_slices, whole.stride = None, 1
        found = []
        for batch in batches:
            self.lengths[batch.ids] = batch.valid.sum(dim=1)
            for pair in range(max(1, self.num_cached_views)):
                volumes, valid = make_views(whole, batch, Step(step.seed, step.epoch, pair)).flat()
                tokens = self.encoder.slice_tokens(volumes, valid)
                found.append(tokens[valid])
                if self.num_cached_views:
                    both = torch.stack(tokens.chunk(2), dim=1)  # (b, 2, n, d)
                    self.cache[batch.ids, 2 * pair : 2 * pair + 2, : both.shape[2]] = both
        if self.standardize:
            known = self.encoder.tokens
            mean, std = known.mean.clone(), known.std.clone()
            known.fit_(torch.cat(found))
            self.cache.copy_((self.cache * std + mean - known.mean) / known.std)
        self.is_ready.fill_(True)

    def step_data(self, dataset: Any) -> Any:
        """The ids of the volumes where their tokens are kept, else the volumes."""
        return Ids(dataset) if self.num_cached_views else dataset

    def training_step(
        self, batch: StackBatch | IdBatch, step: Step, views: tuple[Tensor, Tensor, Tensor]
    ) -> dict[str, Tensor]:
        """Loss of one batch of volumes, and what is watched."""
        seen, valid, mask = views
        with torch.no_grad():
            tokens = seen if self.num_cached_views else self.encoder.slice_tokens(seen, valid)
        predicted = self.masker(self.encoder.transformer, tokens, valid, mask)
        loss = self.loss(predicted, tokens, self.masker.scored(mask, valid), valid)
        return {"loss": loss, **self._watch(tokens, valid, step)}

    def views_of(self, batch: StackBatch | IdBatch, step: Step) -> tuple[Tensor, Tensor, Tensor]:
        """Two views of each volume, first views first: tokens (2 b, n, d) that are kept, or slices (2 b, n, c, h, w);
        which of the slices there are, (2 b, n), and which of them are hidden, (2 b, n).
        """
        if self.num_cached_views:
            seen, valid = self._cached(batch.ids, step)
        else:
            seen, valid = make_views(self.views, cast(StackBatch, batch), step).flat()
        return seen, valid, self.masker.draw(batch.ids, valid[: len(batch.ids)], step).repeat(2, 1)

    def illustrate(self, folder: Path, batch: StackBatch) -> None:
        """Pictures of what the slices of some volumes attend to."""
        plot_volumes(folder / "slice_attention", self.encoder, batch)

    def _cached(self, ids: Tensor, step: Step) -> tuple[Tensor, Tensor]:
        """Tokens (2 b, n, d) of a pair drawn among those kept, in the window drawn for this step."""
        pair = (uniforms(step.seed, step.number, ids, 1, stream=601)[:, 0] * self.num_cached_views).long()
        lengths = self.lengths[ids]
        start = self.views.draw_start(step.seed, step.number, ids, lengths)
        index, valid = self.views.window(lengths, {"start": start})
        chosen = index.clamp_max(self.cache.shape[2] - 1)
        both = [self.cache[ids[:, None], (2 * pair + view)[:, None], chosen] for view in range(2)]
        return torch.cat(both) * valid.repeat(2, 1)[..., None], valid.repeat(2, 1)

    @torch.no_grad()
    def _watch(self, tokens: Tensor, valid: Tensor, step: Step) -> dict[str, Tensor]:
        if step.number % EVERY:
            return {}
        vectors = F.normalize(mean_slices(self.encoder.transformer(tokens, valid), valid), dim=1)
        return {
            "effective_rank": diagnostics.effective_rank(vectors),
            **order_sensitivity(self.encoder.transformer, tokens, valid, step),
        }


class Masker(nn.Module):
    """Hides slices behind one learned token and reads predictions off the slice transformer.

    Args:
        dim: Width of a token.
        mask_ratio: Share of the slices that is hidden; at least one slice, never all.
        scope: "masked" or "all".
        fewest: Slices of the shortest view, of which some must stay visible.
    """

    def __init__(self, dim: int, mask_ratio: float, scope: str, fewest: int):
        super().__init__()
        self.mask_ratio = checks.between("mask_ratio", mask_ratio, 0.0, 1.0)
        self.scope = checks.one_of("scope", scope, ("masked", "all"))
        hidden = max(1, round(mask_ratio * fewest))  # no tensor: methods are also built without memory
        if hidden >= fewest:
            raise ValueError(
                f"mask_ratio: {mask_ratio} hides {hidden} of the {fewest} slices of the shortest view, expected some "
                "to stay visible. Lower mask_ratio, show more slices, or, in joint, set mask_weight to 0."
            )
        self.hidden_token = nn.Parameter(0.02 * torch.randn(dim))
        self.decoder = nn.Linear(dim, dim)

    def draw(self, ids: Tensor, valid: Tensor, step: Step) -> Tensor:
        """Which slices of each volume are hidden, (b, n), drawn from (seed, step, id)."""
        place = uniforms(step.seed, step.number, ids, valid.shape[1], stream=602).masked_fill(~valid, 2.0)
        return place.argsort(dim=1).argsort(dim=1) < num_hidden(valid.sum(dim=1), self.mask_ratio)[:, None]

    def forward(self, transformer: Any, tokens: Tensor, valid: Tensor, mask: Tensor) -> Tensor:
        """Predicted tokens (b, n, d) of tokens (b, n, d) of which those under the mask (b, n) are hidden.

        0 at the slices that the loss does not count.
        """
        shown = torch.where(mask[..., None], self.hidden_token.to(tokens.dtype), tokens)
        seen, scored = transformer(shown, valid), self.scored(mask, valid)
        decoded = self.decoder(seen[scored])
        predicted = decoded.new_zeros(seen.shape)
        predicted[scored] = decoded
        return predicted

    def scored(self, mask: Tensor, valid: Tensor) -> Tensor:
        """Slices that the loss counts."""
        return mask if self.scope == "masked" else valid


def num_hidden(num_slices: Tensor, mask_ratio: float) -> Tensor:
    """max(1, round(ratio n))."""
    return (mask_ratio * num_slices.double()).round().long().clamp_min(1)
