"""SampledAdaMEOW: AdaMEOW in batches of targets, with a queue of past keys."""

from typing import Any

from torch import Tensor, nn

from medgraph import checks
from medgraph.clustering.queue import Queue
from medgraph.data.spec import MetapathSpec
from medgraph.hetero.batches import TargetBatch
from medgraph.hetero.encoder import check_fit
from medgraph.hetero.queued_keys import contrast
from medgraph.hetero.reconstruction import FeatureReconstruction
from medgraph.hetero.sampled_meow import check_queue, step_metrics
from medgraph.hetero.sampler import SampledViews
from medgraph.hetero.throughput import Throughput
from medgraph.losses.adaptive_info_nce import AdaptiveInfoNCE
from medgraph.method import Method, Step
from medgraph.nn.projector import TanhProjector


class SampledAdaMEOW(Method):
    """AdaMEOW [1] for graphs that do not fit one step: batches of targets with sampled neighbours.

    loss(fine; coarse and a queue of past coarse embeddings), the weight of each pair by the loss's own network. With
    the whole graph as batch, all neighbours and no queue the loss is that of `adameow`. No label is read.

    [1] Yu et al., 2024, arXiv:2212.13847, Sec. 5.

    Args:
        spec: Facts of the data, filled by the builder.
        encoder: Gives the coarse and the fine view of a batch; what is exported.
        loss: `adaptive_info_nce` with `dim` equal to `embedding_dim`; as published with pair_input "sum".
        embedding_dim: Width of the embeddings.
        queue_size: Past coarse embeddings that are keys too, see `hetero.queued_keys`; 0 for none, as `meow_sampled`
            says why. The weight network sees every pair.
        queue_dtype: Storage type of the queue: "float16" halves its memory, or "float32".
        both_directions: Add the loss with the coarse view as anchor, and halve the sum; needs queue_size 0.
        reconstruction_weight: Weight of predicting the target's own features from the fine view; 0 leaves it out.
    """

    def __init__(
        self,
        spec: MetapathSpec,
        encoder: Any,
        loss: nn.Module,
        embedding_dim: int = 64,
        queue_size: int = 0,
        queue_dtype: str = "float16",
        both_directions: bool = False,
        reconstruction_weight: float = 0.0,
    ):
        super().__init__()
        if not isinstance(loss, AdaptiveInfoNCE):
            raise ValueError(f"loss: expected adaptive_info_nce, got {type(loss).__name__}")
        if loss.of_queries.in_features != embedding_dim:
            raise ValueError(f"loss: dim is {loss.of_queries.in_features}, expected embedding_dim, {embedding_dim}")
        check_fit(spec, encoder, is_batched=True)
        checks.one_of("queue_dtype", queue_dtype, ("float32", "float16"))
        self.encoder, self.loss = encoder, loss
        self.projector = TanhProjector(encoder.dim, embedding_dim)
        size = check_queue(queue_size, both_directions)
        self.both_directions = both_directions
        self.queue = Queue(size, embedding_dim, queue_dtype) if size else None
        self.reconstruction = FeatureReconstruction(spec, encoder.dim, reconstruction_weight)
        self._clock = Throughput()

    def training_step(self, batch: TargetBatch, step: Step, views: SampledViews) -> dict[str, Tensor]:
        """Loss of a batch."""
        encoded = self.encoder.encode(views)
        coarse, fine = self.projector(encoded.coarse), self.projector(encoded.fine)
        loss = contrast(lambda q, k, _: self.loss(q, k), fine, coarse, views.ids, self.queue, self.loss.temperature)
        if self.both_directions:
            loss = (loss + self.loss(coarse, fine)) / 2
        outputs = {"contrast": loss}
        if self.reconstruction.weight:
            outputs["reconstruction"] = self.reconstruction(encoded.fine, batch.features())
            loss = loss + self.reconstruction.weight * outputs["reconstruction"]
        if self.queue is not None:
            self.queue.push(coarse, ids=views.ids)
        return {"loss": loss, **outputs, **step_metrics(encoded.attention, self._clock, len(batch))}

    def views_of(self, batch: TargetBatch, step: Step) -> SampledViews:
        """Samples around the targets of a batch."""
        return batch.sample(step.seed, step.epoch)
