"""Contrast: two views of each image or volume, with or without a class or number that is known of it."""

import inspect
from typing import Any

import torch
from torch import Tensor, nn

from medgraph import checks
from medgraph.data.classified import ClassBatch
from medgraph.data.spec import ImageSpec
from medgraph.method import Method, Step
from medgraph.nn.projector import MLPProjector
from medgraph.transforms.whole_views import check_whole_views


class Contrast(Method):
    """A contrastive loss on two views of each example; what is known of the example may guide it.

    `info_nce`, `nt_xent` and their kin tell examples apart (Chen et al., 2020, arXiv:2002.05709). `y_aware_info_nce`
    (Dufumier et al., 2021, arXiv:2106.08808), `rank_n_contrast` (Zha et al., 2023, arXiv:2210.01189) and `supremix` (Wu
    et al., 2023, arXiv:2309.16633) order examples by a number such as age, `supcon` (Khosla et al., 2020,
    arXiv:2004.11362) groups them by class. Numbers enter in the unit of the data: choose bandwidth or window in it.

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: What is exported.
        views: Gives two views, of images (`image_views`) or volumes (`volume_views`).
        loss: Contrasts both views, or orders all views by what is known.
        hidden_dim: Width of the projector's hidden layer.
        embedding_dim: Width of the embeddings.
    """

    def __init__(
        self,
        spec: ImageSpec,
        encoder: Any,
        views: Any,
        loss: nn.Module,
        hidden_dim: int = 256,
        embedding_dim: int = 128,
    ):
        super().__init__()
        check_whole_views(spec, views)
        self.encoder, self.views, self.loss = encoder, views, loss
        self._arguments = arguments_of(loss)
        if "labels" in self._arguments and not (spec.num_classes or spec.target):
            raise ValueError(
                f"loss: {type(loss).__name__} needs a class or a number for each example, but the data declare neither."
            )
        checks.at_least("embedding_dim", embedding_dim, 1)
        self.projector = MLPProjector(encoder.out_dim, hidden_dim, embedding_dim)

    def training_step(self, batch: ClassBatch, step: Step, views: list[Tensor]) -> dict[str, Tensor]:
        """The loss of one batch."""
        embeddings = self.projector(self.encoder(torch.cat(views)))
        return {"loss": contrast(self.loss, self._arguments, list(embeddings.chunk(2)), batch.labels, step)}

    def views_of(self, batch: ClassBatch, step: Step) -> list[Tensor]:
        """Two views of each example."""
        record = self.views.draw(step.seed, step.number, batch.ids, batch.images.shape[1:])
        return self.views.apply(batch.images, record)


def arguments_of(loss: nn.Module) -> tuple[str, ...]:
    """Names of what a loss compares. Raises ValueError for one that two views and a label do not suffice for."""
    parameters = inspect.signature(loss.forward).parameters.values()
    names = tuple(p.name for p in parameters if p.default is p.empty or p.name == "rng")
    needed = tuple(name for name in names if name != "rng")
    if needed not in _TWO_VIEWS and needed != _ANY_VIEWS:
        raise ValueError(
            f"loss: {type(loss).__name__} compares {', '.join(needed)}; expected a loss of two views (info_nce, "
            "nt_xent, y_aware_info_nce) or of embeddings with labels (rank_n_contrast, supremix, supcon)."
        )
    return names


def needs_two_views(arguments: tuple[str, ...]) -> bool:
    """Whether a loss, told by `arguments_of`, compares one view with the other."""
    return arguments[:2] != _ANY_VIEWS


def contrast(
    loss: nn.Module, arguments: tuple[str, ...], embeddings: list[Tensor], labels: Tensor, step: Step
) -> Tensor:
    """The loss of the embeddings of one or two views (n, d) each, with a class or number for each example (n,)."""
    given: list[Tensor] = embeddings[:2] if needs_two_views(arguments) else [torch.cat(embeddings)]
    if "labels" in arguments:
        given.append(labels if needs_two_views(arguments) else labels.repeat(len(embeddings)))
    if "rng" in arguments:
        rng = torch.Generator().manual_seed(step.seed * 1_000_003 + step.number)
        return loss(*given, rng=rng)
    return loss(*given)


_TWO_VIEWS = (("first", "second"), ("queries", "keys"), ("queries", "keys", "labels"))
_ANY_VIEWS = ("embeddings", "labels")
