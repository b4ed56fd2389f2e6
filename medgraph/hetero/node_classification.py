"""NodeClassification: fine-tune the encoder of a graph under a linear classifier, or train both from scratch."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph import checks
from medgraph.data.node_metrics import f1
from medgraph.data.spec import MetapathSpec
from medgraph.hetero.batch import GraphViews
from medgraph.hetero.encoder import check_fit
from medgraph.hetero.labelled_nodes import LabelledViews
from medgraph.method import Method, Step


class NodeClassification(Method):
    """Classes of target nodes by one linear layer on the fine view, which learns with it.

    Where `train.patience` is set, training is judged by the Macro-F1 on the validation targets, by a clean pass.

    Args:
        spec: Facts of the data, filled by the builder: the classes.
        encoder: Gives the fine view; pre-trained or fresh; an `ensemble` of such, too.
        encoder_lr_scale: Factor on the encoder's learning rate; below 1 keeps it closer to where it started.
    """

    def __init__(self, spec: MetapathSpec, encoder: Any, encoder_lr_scale: float = 1.0):
        super().__init__()
        num_classes = spec.num_classes or 0  # without labels there are none
        if num_classes < 2:
            raise ValueError(f"spec: the graph has {num_classes} classes of targets, expected 2 or more")
        for member in getattr(encoder, "encoders", [encoder]):
            check_fit(spec, member, is_batched=False)
        self.encoder_lr_scale = checks.positive("encoder_lr_scale", encoder_lr_scale)
        self.num_classes = num_classes
        self.encoder = encoder
        self.classifier = nn.Linear(encoder.out_dim, num_classes)
        nn.init.xavier_uniform_(self.classifier.weight)
        nn.init.zeros_(self.classifier.bias)

    def training_step(self, batch: LabelledViews, step: Step, views: GraphViews) -> dict[str, Tensor]:
        """Cross-entropy of the labelled targets, and their accuracy."""
        logits = self.logits(views)[batch.nodes]
        accuracy = (logits.argmax(1) == batch.labels).float().mean()
        return {"loss": F.cross_entropy(logits, batch.labels), "accuracy": accuracy}

    def views_of(self, batch: LabelledViews, step: Step) -> GraphViews:
        """The graph as this epoch sees it."""
        return batch.views.at_epoch(step.epoch)

    def logits(self, views: GraphViews) -> Tensor:
        """Of all targets (n, classes)."""
        return self.classifier(self.encoder(views))

    @torch.no_grad()
    def predict(self, views: GraphViews) -> Tensor:
        """Logits of all targets (n, classes), without a graph; in eval mode without dropout."""
        return self.logits(views)

    @torch.no_grad()
    def validation_error(self, batches: Iterable[LabelledViews]) -> float:
        """1 - Macro-F1 on the validation targets, without dropout."""
        was_training = self.training
        self.eval()
        (batch,) = batches
        predicted = self.logits(batch.views)[batch.validation_nodes].argmax(1)
        macro, _ = f1(predicted[None], batch.validation_labels, self.num_classes)
        self.train(was_training)
        return 1 - float(macro)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The encoder, with its own factor on the learning rate, and the classifier."""
        return [
            {"params": list(self.encoder.parameters()), "lr_scale": self.encoder_lr_scale},
            {"params": list(self.classifier.parameters())},
        ]
