"""SepCLR: what both groups share, and what only the target has, in two codes."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks
from medgraph.clustering.queue import Queue
from medgraph.data.batches import GroupedImageBatch
from medgraph.data.spec import ImageSpec
from medgraph.losses.alignment import Alignment
from medgraph.losses.collapse import Collapse
from medgraph.losses.salient_uniformity import SalientUniformity
from medgraph.losses.uniformity import Uniformity
from medgraph.method import Method, Step
from medgraph.nn.projector import MLPProjector
from medgraph.sepclr import monitors
from medgraph.sepclr.batch import Codes, joined
from medgraph.sepclr.encoder import Parts
from medgraph.sepclr.groups import grouped_batches
from medgraph.sepclr.views import check_views
from medgraph.sepclr.warn import warn_destroyed

_WATCHED_EVERY = 10  # steps between two looks at what costs more than a norm


class SepCLR(Method):
    """Contrastive analysis of a background and a target set [1].

    L = L_common + salient_weight L_salient + collapse_weight R + independence_weight I(c, s~),
    L_common = alignment(c) + uniformity_weight uniformity(c), over both groups,
    L_salient = alignment(s) + uniformity_weight uniformity(s and s'), over the target,
    R = mean |s|^2 / (2 bandwidth) over the background, whose salient code shall be s' = 0.

    c = unit(common projector(common features)), s = salient projector(salient features), s~ = s on targets and s' on
    the background. With several processes, every pair of all their examples counts. A queue of past codes stands in for
    a larger batch: current codes are then contrasted with the past ones too, which are somewhat out of date.

    [1] Louiset et al., 2024, arXiv:2402.11928.

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: Common and salient encoder; what is exported.
        views: Draws and applies two views of each example.
        independence_loss: Keeps the codes apart, e.g. `kernel_joint_entropy`; None leaves the term out.
        hidden_dim: Width of the projectors' hidden layer.
        bandwidth: Variance of the kernels of alignment, uniformity and collapse.
        alignment_bandwidth: Another variance for alignment; None takes the same.
        uniformity_weight: Strength of uniformity against alignment, in both codes.
        common_form: "pair" or "row", see `uniformity`.
        salient_form: "batch" or "target", see `salient_uniformity`.
        salient_weight: Strength of the salient term in the salient encoder.
        collapse_weight: Strength of the collapse of the background's salient code.
        independence_weight: Strength of the independence term; 0 only logs it.
        salient_independence_weight: Another strength of it in the salient encoder; None takes the same.
        stop_gradient: "common" or "salient" lets the independence term move the other code alone; "none" moves both.
        ramp_steps: Steps over which the independence term grows to its full strength.
        target_share: Share of targets in a batch.
        queue_size: Past examples whose codes, without gradient, repel the current ones in both uniformities and in
            `kernel_joint_entropy`; other independence terms take none. 0 keeps none.
    """

    def __init__(
        self,
        spec: ImageSpec,
        encoder: Any,
        views: Any,
        independence_loss: nn.Module | None = None,
        hidden_dim: int = 128,
        bandwidth: float = 0.5,
        alignment_bandwidth: float | None = None,
        uniformity_weight: float = 2.0,
        common_form: str = "pair",
        salient_form: str = "batch",
        salient_weight: float = 1.0,
        collapse_weight: float = 10.0,
        independence_weight: float = 10.0,
        salient_independence_weight: float | None = None,
        stop_gradient: str = "none",
        ramp_steps: int = 0,
        target_share: float = 0.5,
        queue_size: int = 0,
    ):
        super().__init__()
        self.uniformity_weight = checks.not_negative("uniformity_weight", uniformity_weight)
        self.salient_weight = checks.not_negative("salient_weight", salient_weight)
        self.collapse_weight = checks.not_negative("collapse_weight", collapse_weight)
        self.independence_weight = checks.not_negative("independence_weight", independence_weight)
        checks.one_of("stop_gradient", stop_gradient, ("none", "common", "salient"))
        self.ramp_steps = checks.at_least("ramp_steps", ramp_steps, 0)
        self.target_share = checks.fraction("target_share", target_share)
        self.weights = _weights(independence_weight, salient_independence_weight, stop_gradient)
        if independence_loss is None and max(self.weights) > 0:
            raise ValueError("independence_loss: none is given, so independence_weight has no effect; set it to 0")
        check_views(spec, views)
        self.encoder = encoder
        self.views = views
        self.common_projector = MLPProjector(encoder.common_dim, hidden_dim, encoder.common_dim)
        self.salient_projector = MLPProjector(encoder.salient_dim, hidden_dim, encoder.salient_dim)
        if alignment_bandwidth is not None:
            checks.positive("alignment_bandwidth", alignment_bandwidth)
        self.alignment = Alignment(bandwidth if alignment_bandwidth is None else alignment_bandwidth)
        self.common_uniformity = Uniformity(bandwidth, common_form)
        self.salient_uniformity = SalientUniformity(bandwidth, salient_form)
        self.collapse = Collapse(bandwidth)
        self.independence_loss = independence_loss
        independence: Any = independence_loss
        if independence is not None:
            _check_moves(independence, salient_independence_weight, stop_gradient)
            independence.connect(encoder.common_dim, encoder.salient_dim)
        checks.at_least("queue_size", queue_size, 0)
        width = 2 * (encoder.common_dim + encoder.salient_dim)  # codes of both views
        self.queue = Queue(queue_size, width) if queue_size else None
        warn_destroyed(spec.attributes, views.randomises)

    def epoch_batches(self, dataset: Any, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
        """Batches with a fixed number of each group."""
        batches = grouped_batches(dataset.is_target, batch_size, self.target_share, seed, epoch)
        return dataset.at_epoch(batches, epoch)

    def training_step(self, batch: GroupedImageBatch, step: Step, views: list[Tensor]) -> dict[str, Tensor]:
        """The loss of one batch, each of its terms, and the monitors of the salient code."""
        both = joined(views)  # one pass, one batch norm for all
        parts = self.encoder.parts(both)
        common, salient = self.common_projector(parts.common), self.salient_projector(parts.salient)
        with torch.autocast(both.device.type, enabled=False):
            own = Codes.of_views(common, salient, batch.is_target)
            outputs = self.loss(own.gathered(), step.number, self._past())
            if self.queue is not None:
                self.queue.push(own.packed(), labels=own.is_target.long())  # gathers by itself
        return outputs

    def views_of(self, batch: GroupedImageBatch, step: Step) -> list[Tensor]:
        """Two views of each example."""
        record = self.views.draw(step.seed, step.number, batch.ids, batch.images.shape[1:])
        return self.views.apply(batch.images, record)

    def codes(self, common: Tensor, salient: Tensor) -> Parts:
        """What the losses see of features: unit common codes, and salient codes."""
        unit = F.normalize(self.common_projector(common), dim=1)
        return Parts(common=unit, salient=self.salient_projector(salient))

    def loss(self, codes: Codes, step: int = 0, past: Codes | None = None) -> dict[str, Tensor]:
        """The weighted sum under "loss", every term under its own name, and monitors.

        `past` are codes of other examples, which repel those of `codes` but get no gradient and no loss of their own.
        """
        is_target = codes.is_target
        targets = [salient[is_target] for salient in codes.salient]
        held: list[Any] = [(), ()] if past is None else [(salient, past.is_target) for salient in past.salient]
        others: Any = (None, None) if past is None else past.common
        salient_uniformity = [
            self.salient_uniformity(salient, is_target, *fixed)
            for salient, fixed in zip(codes.salient, held, strict=True)
        ]
        terms = {
            "common_alignment": self.alignment(*codes.common),
            "common_uniformity": sum(map(self.common_uniformity, codes.common, others)) / 2,
            "salient_alignment": self.alignment(*targets),
            "salient_uniformity": sum(salient_uniformity) / 2,
            "collapse": sum(self.collapse(s, is_target) for s in codes.salient) / 2,
        }
        loss = terms["common_alignment"] + self.uniformity_weight * terms["common_uniformity"]
        salient = terms["salient_alignment"] + self.uniformity_weight * terms["salient_uniformity"]
        loss = loss + self.salient_weight * salient + self.collapse_weight * terms["collapse"]
        if self.independence_loss is not None:
            added, independence = self._independence(codes, step, past)
            loss, terms = loss + added, {**terms, **independence}
        return {"loss": loss, **terms, **self._monitors(codes, step, terms["salient_uniformity"], past)}

    def _independence(self, codes: Codes, step: int, past: Codes | None) -> tuple[Tensor, dict[str, Tensor]]:
        """What the independence term adds to the loss, and its value for the log."""
        strength = max(self.weights) * min(1.0, (step + 1) / max(self.ramp_steps, 1))
        shares = [weight / max(*self.weights, 1e-12) for weight in self.weights]
        term, fit = torch.zeros_like(codes.common[0][0, 0]), torch.zeros_like(codes.common[0][0, 0])
        independence: Any = self.independence_loss
        fixed = self._fixed(past)
        with torch.set_grad_enabled(torch.is_grad_enabled() and strength > 0):
            for common, salient, held in zip(codes.common, codes.clamped, fixed, strict=True):
                moved = _with_gradient(common, shares[0]), _with_gradient(salient, shares[1])
                term = term + independence(*moved, codes.is_target, *held) / 2
        for common, salient in zip(codes.common, codes.clamped, strict=True):
            fit = fit + independence.fit_loss(common, salient, codes.is_target) / 2
        return strength * term + fit, {"independence": term}

    def _fixed(self, past: Codes | None) -> list[tuple[Tensor, ...]]:
        """Past codes of each view as the independence term takes them; nothing for a term that takes none."""
        if past is None or not getattr(self.independence_loss, "takes_fixed", False):
            return [(), ()]
        return [(*pair, past.is_target) for pair in zip(past.common, past.clamped, strict=True)]

    @torch.no_grad()
    def _past(self) -> Codes | None:
        """What the queue holds; None without a queue and in the first step."""
        if self.queue is None or len(self.queue) == 0:
            return None
        return Codes.unpacked(self.queue.vectors(), self.queue.labels() == 1, self.encoder.common_dim)

    @torch.no_grad()
    def _monitors(self, codes: Codes, step: int, uniformity: Tensor, past: Codes | None) -> dict[str, Tensor]:
        """Sizes of the salient code; how saturated the terms are; every tenth step how well the codes are separated."""
        seen = monitors.norms(codes)
        floor = self.salient_uniformity.floor(codes.is_target, None if past is None else past.is_target)
        seen["above_floor"] = uniformity - floor  # near 0 the salient uniformity has done what it can
        independence: Any = self.independence_loss
        if hasattr(independence, "self_share"):
            held = self._fixed(past)[0]
            seen["self_share"] = independence.self_share(codes.common[0], codes.clamped[0], codes.is_target, *held)
        return seen | (monitors.separation(codes) if step % _WATCHED_EVERY == 0 else {})


def _weights(weight: float, salient_weight: float | None, stop_gradient: str) -> tuple[float, float]:
    """Strength of the independence term in the common and in the salient encoder."""
    if salient_weight is not None:
        checks.not_negative("salient_independence_weight", salient_weight)
        if stop_gradient != "none":
            raise ValueError("salient_independence_weight: has no effect beside stop_gradient; give one of them")
    salient = weight if salient_weight is None else salient_weight
    return (0.0 if stop_gradient == "common" else weight), (0.0 if stop_gradient == "salient" else salient)


def _check_moves(term: Any, salient_weight: float | None, stop_gradient: str) -> None:
    """Raise ValueError for settings of the salient code where `term` moves the common one alone."""
    settings = {"salient_independence_weight": salient_weight is not None, "stop_gradient": stop_gradient == "common"}
    for name, is_set in settings.items():
        if is_set and not getattr(term, "moves_salient", True):
            default = "null" if name == "salient_independence_weight" else "none"
            raise ValueError(
                f"{name}: has no effect, as {type(term).__name__} moves the common code alone; set it to {default}"
            )


def _with_gradient(x: Tensor, share: float) -> Tensor:
    """`x`, whose gradient is multiplied by `share`."""
    if share == 1:
        return x
    return x.detach() if share == 0 else share * x + (1 - share) * x.detach()
