"""Supervised SepCLR: one salient dimension for each known attribute of the target."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks, processes
from medgraph.data.batches import GroupedImageBatch
from medgraph.data.spec import ImageSpec
from medgraph.losses.alignment import Alignment
from medgraph.losses.attribute_alignment import AttributeAlignment
from medgraph.losses.collapse import Collapse
from medgraph.losses.salient_uniformity import SalientUniformity, clamped
from medgraph.losses.uniformity import Uniformity
from medgraph.method import Method, Step
from medgraph.nn.projector import MLPProjector
from medgraph.sepclr.batch import joined
from medgraph.sepclr.encoder import Parts
from medgraph.sepclr.groups import grouped_batches
from medgraph.sepclr.views import check_views
from medgraph.sepclr.warn import warn_destroyed

_CATEGORY_BANDWIDTH, _NUMBER_BANDWIDTH = 0.5, 0.025  # of the collapse, and of the kernel on a number in [0, 1]


class SupervisedSepCLR(Method):
    """SepCLR with known target attributes, each held by one salient dimension [1].

    L = alignment(c, c') + (uniformity(c) + uniformity(c')) / 2
        + salient_weight L_salient + independence_weight I(c, s~),
    L_salient = mean over attributes k of  uniformity(s~_k) + (attribute alignment(s_k, a_k) + collapse(s_k)) / 2.

    c and s are those of the plain image, c' is that of a view. Targets whose attribute is not known take no part in its
    alignment. Attributes are scaled to [0, 1] by the range seen so far.

    [1] Louiset et al., 2024, arXiv:2402.11928, supervised variant.

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: Common and salient encoder, with one salient dimension for each attribute; what is exported.
        views: Draws and applies views; the first one of each example is used.
        independence_loss: Keeps the codes apart, e.g. `kernel_joint_entropy`.
        number_attributes: Attributes that are numbers.
        category_attributes: Attributes that are categories.
        hidden_dim: Width of the common projector's hidden layer.
        salient_weight: Strength of the salient term.
        independence_weight: Strength of the independence term.
        target_share: Share of targets in a batch.

    Attributes:
        attribute_names: The attribute of each salient dimension.
    """

    def __init__(
        self,
        spec: ImageSpec,
        encoder: Any,
        views: Any,
        independence_loss: nn.Module,
        number_attributes: tuple[str, ...] = (),
        category_attributes: tuple[str, ...] = (),
        hidden_dim: int = 128,
        salient_weight: float = 100.0,
        independence_weight: float = 10.0,
        target_share: float = 0.5,
    ):
        super().__init__()
        self.salient_weight = checks.not_negative("salient_weight", salient_weight)
        self.independence_weight = checks.not_negative("independence_weight", independence_weight)
        self.target_share = checks.fraction("target_share", target_share)
        self.attribute_names = names = (*number_attributes, *category_attributes)
        _check_names(names, spec.attributes)
        if encoder.salient_dim != len(names):
            raise ValueError(f"encoder: salient_dim is {encoder.salient_dim}, expected {len(names)}, one per attribute")
        check_views(spec, views)
        if getattr(views, "size", None) not in (None, tuple(spec.size)):
            raise ValueError(
                f"views: size is {views.size}, expected none or {tuple(spec.size)}, that of the images: plain ones and "
                "views go through the encoder together"
            )
        self.columns = [spec.attributes.index(name) for name in names]
        self.is_number = [name in number_attributes for name in names]
        self.encoder, self.views = encoder, views
        self.common_projector = MLPProjector(encoder.common_dim, hidden_dim, encoder.common_dim)
        self.alignment, self.common_uniformity = Alignment(), Uniformity()
        bandwidths = [_NUMBER_BANDWIDTH if number else _CATEGORY_BANDWIDTH for number in self.is_number]
        self.collapses = nn.ModuleList(Collapse(bandwidth) for bandwidth in bandwidths)
        self.pulls = nn.ModuleList(AttributeAlignment(_NUMBER_BANDWIDTH if n else 0.0) for n in self.is_number)
        self.salient_uniformity = SalientUniformity()
        independence: Any = independence_loss
        self.independence_loss = independence_loss
        independence.connect(encoder.common_dim, encoder.salient_dim)
        self.low: Tensor
        self.high: Tensor
        self.register_buffer("low", torch.full((len(names),), torch.inf))
        self.register_buffer("high", torch.full((len(names),), -torch.inf))
        warn_destroyed((name for name in spec.attributes if name not in names), views.randomises)  # s sees no view

    def epoch_batches(self, dataset: Any, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
        """Batches with a fixed number of each group."""
        batches = grouped_batches(dataset.is_target, batch_size, self.target_share, seed, epoch)
        return dataset.at_epoch(batches, epoch)

    def codes(self, common: Tensor, salient: Tensor) -> Parts:
        """What the losses see of features: unit common codes, and the salient features as they are."""
        return Parts(common=F.normalize(self.common_projector(common), dim=1), salient=salient)

    def training_step(self, batch: GroupedImageBatch, step: Step, views: list[Tensor]) -> dict[str, Tensor]:
        """The loss of one batch, and each of its terms."""
        both = joined([batch.images, *views])
        common = self.common_projector(self.encoder.common(both))
        salient = self.encoder.salient(batch.images)
        with torch.autocast(both.device.type, enabled=False):
            plain, changed = F.normalize(common.float(), dim=1).chunk(2)
            own = plain, changed, salient.float(), batch.attributes[:, self.columns], batch.is_target.long()
            plain, changed, salient, attributes, groups = (processes.gather(x) for x in own)
            return self.loss(plain, changed, salient, attributes, groups.bool())

    def views_of(self, batch: GroupedImageBatch, step: Step) -> list[Tensor]:
        """One view of each example, drawn by step as SepCLR's."""
        record = self.views.draw(step.seed, step.number, batch.ids, batch.images.shape[1:])
        return self.views.apply(batch.images, record[:1])

    def loss(
        self, plain: Tensor, changed: Tensor, salient: Tensor, attributes: Tensor, is_target: Tensor
    ) -> dict[str, Tensor]:
        """The weighted sum under "loss", and every term; rows are those of all processes."""
        common = self.alignment(plain, changed) + (self.common_uniformity(plain) + self.common_uniformity(changed)) / 2
        known = self._scaled(attributes)
        parts = [self._of_attribute(k, salient[:, k : k + 1], known[:, k], is_target) for k in range(len(self.columns))]
        salient_loss = torch.stack(parts).mean()
        cut = clamped(salient, is_target)
        term: Any = self.independence_loss
        independence = term(plain, cut, is_target)
        fit = term.fit_loss(plain, cut, is_target)
        loss = common + self.salient_weight * salient_loss + self.independence_weight * independence + fit
        return {"loss": loss, "common": common, "salient": salient_loss, "independence": independence}

    def _of_attribute(self, k: int, code: Tensor, attribute: Tensor, is_target: Tensor) -> Tensor:
        known = is_target & ~attribute.isnan()
        pull = self.pulls[k](code[known], attribute[known])
        return self.salient_uniformity(code, is_target) + (pull + self.collapses[k](code, is_target)) / 2

    @torch.no_grad()
    def _scaled(self, attributes: Tensor) -> Tensor:
        """Numbers brought to [0, 1] by the range seen so far, which grows; categories as they are."""
        low = attributes.nan_to_num(nan=torch.inf).amin(dim=0)
        high = attributes.nan_to_num(nan=-torch.inf).amax(dim=0)
        self.low, self.high = torch.minimum(self.low, low), torch.maximum(self.high, high)
        extent = (self.high - self.low).clamp_min(1e-12)
        is_number = torch.tensor(self.is_number, device=attributes.device)
        return torch.where(is_number, (attributes - self.low) / extent, attributes)


def _check_names(names: tuple[str, ...], attributes: tuple[str, ...]) -> None:
    """Raise ValueError unless there are names, each of an attribute and each once."""
    unknown = [name for name in names if name not in attributes]
    if unknown or not names:
        raise ValueError(
            f"number_attributes, category_attributes: expected some of {', '.join(attributes) or 'none'}, "
            f"got {', '.join(unknown) or 'none'}"
        )
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise ValueError(
            f"number_attributes, category_attributes: {twice[0]!r} is named twice, expected each once, as one of both"
        )
