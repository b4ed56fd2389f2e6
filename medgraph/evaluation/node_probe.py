"""Many linear probes at once, as one tensor of weights."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from medgraph.data.node_metrics import auc, f1


@dataclass(frozen=True)
class Probe:
    """Softmax regressions on frozen features, trained by Adam on the whole training part.

    Adam works on each number alone, so that training all probes on the sum of their mean losses equals training each.

    Attributes:
        lr: Learning rate.
        weight_decay: Weight of the squared coefficients in the gradient.
        num_probes: Probes that differ in their first weights.
        num_steps: Steps of each.
        seed: Draws the first weights.
    """

    lr: float
    weight_decay: float
    num_probes: int
    num_steps: int
    seed: int

    def first_weights(self, dim: int, num_classes: int) -> Tensor:
        """Xavier-uniform weights (probes, dim, classes); probe i draws the same whatever their number."""
        weights = []
        for index in range(self.num_probes):
            rng = torch.Generator().manual_seed(self.seed + 1_000_003 * index)
            bound = (6 / (dim + num_classes)) ** 0.5
            weights.append((2 * torch.rand(dim, num_classes, generator=rng) - 1) * bound)
        return torch.stack(weights)

    def run(self, features: Tensor, labels: Tensor, parts: Sequence[Tensor]) -> list[dict[str, float]]:
        """Scores in percent of each probe: `macro_f1`, `micro_f1`, `auc` on the last part.

        And `validation_macro_f1`, the best of its steps, by which settings may be chosen.

        Args:
            features: Of all nodes (n, d).
            labels: Of all nodes (n,).
            parts: Numbers of the training, validation and test nodes.
        """
        num_classes = int(labels.max()) + 1
        weights = self.first_weights(features.shape[1], num_classes).to(features).requires_grad_()
        biases = features.new_zeros(self.num_probes, 1, num_classes, requires_grad=True)
        optimizer = torch.optim.Adam([weights, biases], lr=self.lr, weight_decay=self.weight_decay)
        best = _Best(self.num_probes, features.device)
        train, validation, test = (features[part] for part in parts)
        train_labels, validation_labels, test_labels = (labels[part] for part in parts)
        targets = train_labels.repeat(self.num_probes)
        for _ in range(self.num_steps):
            optimizer.zero_grad()
            logits = _logits(train, weights, biases)
            loss = F.cross_entropy(logits.flatten(0, 1), targets, reduction="sum") / len(train)
            loss.backward()
            optimizer.step()
            with torch.no_grad():
                on_validation, on_test = (_logits(part, weights, biases) for part in (validation, test))
                best.see(on_validation, validation_labels, on_test, test_labels)
        return best.rows()


def _logits(features: Tensor, weights: Tensor, biases: Tensor) -> Tensor:
    """Of every probe (probes, n, classes), by one product for all of them."""
    probes, dim, classes = weights.shape
    together = features @ weights.transpose(0, 1).reshape(dim, probes * classes)
    return together.unflatten(1, (probes, classes)).transpose(0, 1) + biases


class _Best:
    """Test scores of each probe at its best validation scores so far."""

    def __init__(self, num_probes: int, device: torch.device):
        zeros = torch.zeros(num_probes, dtype=torch.float64, device=device)
        self.macro, self.micro = zeros - 1, zeros - 1
        self.test_macro, self.test_micro = zeros.clone(), zeros.clone()
        self.logits: Tensor | None = None
        self.labels = torch.empty(0, dtype=torch.long)

    def see(self, validation: Tensor, labels: Tensor, test: Tensor, test_labels: Tensor) -> None:
        """Logits of one step on validation and test nodes (probes, n, classes)."""
        num_classes = test.shape[2]
        macro, micro = f1(validation.argmax(2), labels, num_classes)
        test_macro, test_micro = f1(test.argmax(2), test_labels, num_classes)
        better_macro, better_micro = macro > self.macro, micro > self.micro  # strictly: the first step wins ties
        self.macro, self.micro = torch.maximum(macro, self.macro), torch.maximum(micro, self.micro)
        self.test_macro = test_macro.where(better_macro, self.test_macro)
        self.test_micro = test_micro.where(better_micro, self.test_micro)
        chosen = better_micro[:, None, None]
        self.logits = test.clone() if self.logits is None else torch.where(chosen, test, self.logits)
        self.labels = test_labels

    def rows(self) -> list[dict[str, float]]:
        """One dictionary per probe, in percent."""
        assert self.logits is not None
        areas = auc(self.logits.softmax(2), self.labels)
        names = ("macro_f1", "micro_f1", "auc", "validation_macro_f1")
        columns = (self.test_macro, self.test_micro, areas, self.macro)
        rows = zip(*(column.tolist() for column in columns), strict=True)
        return [{name: 100 * value for name, value in zip(names, row, strict=True)} for row in rows]
