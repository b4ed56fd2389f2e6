"""What contrastive losses share: unit rows that were checked, reduction over the valid anchors, stats on request."""

import math
from contextvars import ContextVar
from itertools import chain
from statistics import fmean
from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from medgraph import checks
from medgraph.losses import everyone, inputs
from medgraph.losses.loss import Loss
from medgraph.losses.pairs.first_order import first_order
from medgraph.losses.pairs.lse import refuse_not_finite
from medgraph.losses.pairs.softplus import softplus

SHORTEST = 1e-12  # length below which a row is scaled as if it had this one, as in torch's `normalize`
_stats: ContextVar[list[dict[str, float]] | None] = ContextVar("stats", default=None)


class ContrastiveLoss(Loss):
    """A loss with one value per anchor. Subclasses set `reduction` and end `forward` with `self.reduce(...)`.

    Those that contrast with other processes set `dist` too. Means are then weighted by the number of anchors in each
    process, and sums by the number of processes, so that gradients averaged over processes are those of one process.

    Reduction "pair" is the mean over pairs of anchor and positive. Only losses take it whose anchors have different
    numbers of positives, each with a loss of its own: `SupCon` and `ClassPairGates`. (`SupReMix` draws positives up
    to a limit, so that their number says nothing.)
    """

    reduction: str
    dist: str | None = None

    def reduce(
        self,
        values: Float[Tensor, " n"],
        valid: Bool[Tensor, " n"] | None,
        lack: str,
        num_positives: Tensor | None = None,
        **parts: Tensor,
    ) -> Float[Tensor, "..."]:
        """Mean or sum of the values of valid anchors, or each value, 0 where invalid.

        Args:
            values: One loss per anchor.
            valid: Anchors for which the loss is defined; None is all. With none valid the result is a zero that
                carries a graph, and a warning (none from a compiled loss) counts the anchors.
            lack: What invalid anchors lack, for the warning.
            num_positives: Positives of each anchor; reduction "pair" weighs anchors by them.
            parts: Numbers per anchor (n,), whose means over valid anchors `stats` reports.
        """
        valid = torch.ones_like(values, dtype=torch.bool) if valid is None else valid
        count = everyone.total(valid.sum(), self.dist)
        if not torch.compiler.is_compiling():  # a graph can neither ask nor warn
            if count == 0:
                inputs.warn_of_zero(f"all {len(values)} anchors have no {lack}")
            _report(values, valid, parts)
        values = values.masked_fill(~valid, 0)
        if self.reduction == "none":
            return values
        if self.reduction == "pair":
            assert num_positives is not None
            num_pairs = num_positives.masked_fill(~valid, 0).to(values)
            all_pairs = everyone.total(num_pairs.sum(), self.dist).clamp_min(1)
            return everyone.world(self.dist) * (num_pairs * values).sum() / all_pairs
        total = everyone.world(self.dist) * values.sum()
        return total if self.reduction == "sum" else total / count.clamp_min(1)

    @property
    def collecting(self) -> bool:
        """Whether `stats` runs, so that numbers for it alone are worth computing."""
        return not torch.compiler.is_compiling() and _stats.get() is not None

    @torch.no_grad()
    def stats(self, *inputs: Any, **named: Any) -> dict[str, float]:
        """What the loss meets in one batch, given like to the loss itself; without gradient.

        Always `anchors` (their number), `valid` (of these), `mean`, `min` and `max` of the loss over valid anchors;
        where the loss has them, means of the logit of the `positive` (or of all of an anchor), of the logarithm of the
        `denominator`, and of the `effective_sample_size` of weighted keys. A loss of several parts (clusterings) gives
        the means of theirs, the least `min` and the largest `max`.
        """
        found: list[dict[str, float]] = []
        token = _stats.set(found)
        try:
            self(*inputs, **named)
        finally:
            _stats.reset(token)
        each = {name: [part[name] for part in found if name in part] for name in dict.fromkeys(chain(*found))}
        ends = {"min": min, "max": max}
        return {name: ends[name](values) if name in ends else fmean(values) for name, values in each.items()}


def own_logits(queries: Tensor, keys: Tensor, scale: float | Tensor) -> Float[Tensor, " n"]:
    """scale <q_i, k_i> in float64: where a task is nearly solved, its rounding becomes that of the row's gradient."""
    return scale * (queries.double() * keys.double()).sum(dim=1)


def with_positive(negatives: Tensor, positive: Tensor, log_weight: Tensor | float = 0.0) -> Tensor:
    """log( exp(negatives) + w exp(positive) ) - positive, (n,): exact also where the positive's share is close to 1."""
    own = torch.as_tensor(log_weight, dtype=positive.dtype, device=positive.device).expand_as(positive)
    counts = own > -math.inf
    own = own.masked_fill(~counts, 0)
    loss = torch.where(counts, softplus(negatives - positive - own) + own, negatives - positive)
    return loss.to(negatives.dtype)


def units(**embeddings: Tensor) -> tuple[Float[Tensor, "_ d"], ...]:
    """Each at length 1, in float32 or better.

    Raises:
        TypeError: Embeddings are integers.
        ValueError: Shapes do not fit, or a row is not finite; the message names the argument and the rows.
    """
    for name, x in embeddings.items():
        if not x.is_floating_point():
            raise TypeError(f"{name}: expected floating-point embeddings, got {x.dtype}; did ids or labels come first?")
        if x.ndim != 2:
            raise ValueError(f"{name}: expected shape (examples, dim), got {tuple(x.shape)}")
    inputs.same_width(**embeddings)
    return tuple(_unit(name, x) for name, x in embeddings.items())


def unit(embeddings: Tensor, name: str = "embeddings") -> Float[Tensor, "n d"]:
    """The embeddings at length 1, in float32 or better; refuses what `units` refuses."""
    return units(**{name: embeddings})[0]


def paired(**embeddings: Tensor) -> tuple[Float[Tensor, "n d"], ...]:
    """`units` of embeddings that belong together row by row. Raises ValueError for different lengths too."""
    checks.same_length(**embeddings)
    return units(**embeddings)


def _unit(name: str, x: Tensor) -> Tensor:
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    norms = torch.linalg.vector_norm(x.detach(), dim=1, keepdim=True, dtype=torch.float64)
    refuse_not_finite(name, norms)
    return _Unit.apply(x, norms)


class _Unit(torch.autograd.Function):
    """Rows at length 1; a zero row stays zero. Exact beyond what one division and one projection would be.

    A length wrong in its last digit moves every logit of the row the same way. And where a task is nearly solved, the
    gradient points along the row but for a small part: a second projection takes off what the first one left.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, norms: Tensor) -> Tensor:
        inverse = 1 / norms.clamp_min(SHORTEST)
        rounded = inverse.to(x.dtype)
        unit = torch.addcmul(x * rounded, x, (inverse - rounded).to(x.dtype))
        ctx.save_for_backward(unit, rounded, norms < SHORTEST)
        return unit

    @staticmethod
    @first_order
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        unit, inverse, is_short = ctx.saved_tensors
        for _ in range(2):
            along = (unit * gradient).sum(dim=-1, keepdim=True).masked_fill(is_short, 0)
            gradient = gradient - unit * along
        return gradient * inverse, None


def _report(values: Tensor, valid: Tensor, parts: dict[str, Tensor]) -> None:
    found = _stats.get()
    if found is None:
        return
    kept = values.detach()[valid]
    part = {"anchors": float(len(values)), "valid": float(len(kept))}
    if len(kept):
        part |= {"mean": kept.mean().item(), "min": kept.min().item(), "max": kept.max().item()}
        part |= {name: numbers.detach()[valid].mean().item() for name, numbers in parts.items()}
    found.append(part)
