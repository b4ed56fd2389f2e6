"""Inter: cluster agreement between two views of one volume."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks
from medgraph.data.batches import StackBatch
from medgraph.data.spec import ImageSpec
from medgraph.method import Method, Step
from medgraph.volume.assigner import fill
from medgraph.volume.batch import VolumeViews, make_views, require_slices
from medgraph.volume.encoder import mean_slices
from medgraph.volume.monitor import order_sensitivity
from medgraph.volume.plots import plot_volumes


class Inter(Method):
    """Agreement on clusters between two views of one volume, through its slices and their transformer [1].

    z = unit(mean over slices of transformer(tokens)), scored against prototypes of its own width; no projector. The
    gradient reaches transformer, token map and slice encoder.

    [1] Nguyen et al., AAAI 2023, arXiv:2212.01893.

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: Volume encoder; what is exported.
        views: Draws and applies the two views, e.g. `stack_views`.
        loss: Compares scores with codes or labels, e.g. `prototype_cross_entropy`.
        assigner: Where clusters come from: `swav` or `deepcluster`; at most one prototype for 4 volumes.
        center_embeddings: Takes out of the vectors what a batch shares; needed where volumes look alike.
        slice_encoder_lr_scale: Factor on the slice encoder's learning rate; below 1 keeps it near where it started.
    """

    takes_part_batches = True

    def __init__(
        self,
        spec: ImageSpec,
        encoder: Any,
        views: Any,
        loss: nn.Module,
        assigner: Any,
        center_embeddings: bool = False,
        slice_encoder_lr_scale: float = 0.3,
    ):
        super().__init__()
        self.slice_encoder_lr_scale = checks.positive("slice_encoder_lr_scale", slice_encoder_lr_scale)
        require_slices(spec, views)
        require_few_prototypes("assigner", assigner, spec)
        self.encoder = encoder
        self.views = views
        self.loss = loss
        self.center = make_center(encoder.out_dim, center_embeddings)
        self.assigner = assigner.make(encoder.out_dim, spec.num_volumes)
        self._watched: dict[str, Tensor] = {}

    def on_epoch_start(self, step: Step, batches: Iterable[StackBatch]) -> None:
        """Embed all volumes once, where the assigner wants it, and let it cluster."""
        fill(self.assigner, self, self._assigned_views(step, batches))
        self.assigner.start_epoch(step)

    def training_step(self, batch: StackBatch, step: Step, views: VolumeViews) -> dict[str, Tensor]:
        """Loss of one batch of volumes (b, n, c, h, w), and what is watched."""
        found = embed_volumes(self.encoder, self.center, views)
        loss, metrics = self.assigner(found.vectors, views.ids, views.sources, self.loss, step)
        self._watched = {"embeddings": found.vectors[0].detach(), "scores": self.assigner.scores}
        return {"loss": loss, **metrics, **order_sensitivity(self.encoder.transformer, found.tokens, found.valid, step)}

    def views_of(self, batch: StackBatch, step: Step) -> VolumeViews:
        """Two views of each volume."""
        return make_views(self.views, batch, step)

    def watched(self) -> dict[str, Tensor]:
        """Embeddings (b, d) and scores (b, k) of the first view of the last step."""
        return self._watched

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The slice encoder, with its own factor on the learning rate, and the rest."""
        return split_groups(self, self.encoder.slice_encoder, self.slice_encoder_lr_scale)

    def illustrate(self, folder: Path, batch: StackBatch) -> None:
        """Pictures of what the slices of some volumes attend to."""
        plot_volumes(folder / "slice_attention", self.encoder, batch)

    def _assigned_views(self, step: Step, batches: Iterable[StackBatch]) -> Iterator[tuple[Tensor, list[Tensor]]]:
        for batch in batches:
            yield batch.ids, embed_volumes(self.encoder, self.center, self.views_of(batch, step)).vectors


@dataclass(frozen=True, eq=False)
class EmbeddedVolumes:
    """Two views of volumes, embedded.

    Attributes:
        vectors: Unit vectors of each view, `(b, d)` each.
        tokens: What they came from, first views first, `(2 b, n, d)`.
        valid: Which slices there are, `(2 b, n)`.
        coarsest: Coarsest map of all valid slices in a row, `(t, c, ...)`.
    """

    vectors: list[Tensor]
    tokens: Tensor
    valid: Tensor
    coarsest: Tensor


def embed_volumes(encoder: Any, center: nn.Module, views: VolumeViews) -> EmbeddedVolumes:
    """Both views through slice encoder, token map and slice transformer."""
    volumes, valid = views.flat()
    maps = encoder.slice_maps(volumes, valid)
    tokens = encoder.placed_tokens(maps, valid)
    vectors = F.normalize(center(mean_slices(encoder.transformer(tokens, valid), valid)), dim=1)
    return EmbeddedVolumes(list(vectors.chunk(2)), tokens, valid, maps[-1])


def make_center(dim: int, center: bool) -> nn.Module:
    """A batch norm without scale and shift, or nothing."""
    return nn.BatchNorm1d(dim, affine=False) if center else nn.Identity()


def require_few_prototypes(key: str, assigner: Any, spec: ImageSpec) -> None:
    """Raise ValueError with more volume prototypes than a quarter of the volumes: codes would be nearly uniform."""
    most = spec.num_volumes // 4
    if most < 2:
        raise ValueError(
            f"{key}: {spec.num_volumes} training volumes, expected 8 or more: a prototype is for at least 4 of them. "
            "Give the stage more volumes, or leave it out."
        )
    if assigner.num_prototypes > most:
        raise ValueError(
            f"{key}.num_prototypes: {assigner.num_prototypes} prototypes for {spec.num_volumes} training volumes; "
            f"expected at most a quarter, {most}, and rather one for 10 volumes."
        )


def split_groups(method: nn.Module, slice_encoder: nn.Module, lr_scale: float) -> list[dict[str, Any]]:
    """Learned parameters of the slice encoder, with a factor on the learning rate, and all others."""
    first = {id(p) for p in slice_encoder.parameters()}
    learned = [p for p in method.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [{"params": [p for p in learned if id(p) not in first]}]
    inner = [p for p in learned if id(p) in first]
    return [{"params": inner, "lr_scale": lr_scale}, *groups] if inner else groups
