"""Inputs of every contrastive loss of the catalogue, in one shape that contract tests can turn and cut."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from medgraph import catalogue


@dataclass(frozen=True)
class Case:
    """How to call one loss: `num_embeddings` matrices (n, d) first, then the rest."""

    name: str
    num_embeddings: int
    rest: Callable[[int, torch.Generator], list[Any]] = lambda n, rng: []
    per_example: tuple[int, ...] = ()  # which of the rest have one entry per example
    detached: tuple[int, ...] = ()  # which embeddings receive no gradient
    same_width: bool = True
    needs_dim: bool = False
    settings: dict[str, Any] = field(default_factory=dict)
    without_draws: dict[str, Any] = field(default_factory=dict)

    def make(self, dim: int, **settings: Any) -> torch.nn.Module:
        """The loss, for embeddings of this width."""
        extra = {"dim": dim} if self.needs_dim else {}
        return catalogue.find("losses", self.name)(**{**extra, **self.settings, **settings})

    def inputs(
        self, n: int, dim: int, rng: torch.Generator, noise: float = 2.0
    ) -> tuple[list[torch.Tensor], list[Any]]:
        """Embeddings in float64, the second like the first but for noise, as views are, and the rest."""
        first = torch.randn(n, dim, generator=rng, dtype=torch.float64)
        if self.name == "masked_prediction":  # sequences of one slot
            second = first + noise * torch.randn(n, dim, generator=rng, dtype=torch.float64)
            return [first[:, None], second[:, None]], self.rest(n, rng)
        if self.name.startswith("mv_"):
            apart = torch.randn(3, n, dim, generator=rng, dtype=torch.float64)
            return [first + noise * apart], self.rest(n, rng)
        others = [torch.randn(n, dim, generator=rng, dtype=torch.float64) for _ in range(self.num_embeddings - 1)]
        more = self.rest(n, rng)
        if self.name == "prototype_contrast":
            more[0] = [torch.nn.functional.normalize(torch.randn(k, dim, generator=rng), dim=1) for k in (5, 3)]
        if self.name == "momentum_contrast":
            more = [torch.randn(20, dim, generator=rng)]
        return [first, *(first + noise * x for x in others)], more

    def reorder(self, embeddings: list[Any], rest: list[Any], order: torch.Tensor) -> list[Any]:
        """All inputs with the examples in another order."""
        moved = [x[:, order] if self.name.startswith("mv_") else x[order] for x in embeddings]

        def move(x: Any) -> Any:
            return [each[order] for each in x] if isinstance(x, list) else x[order]

        return [*moved, *(move(x) if i in self.per_example else x for i, x in enumerate(rest))]


def labels(num: int) -> Callable[[int, torch.Generator], list[Any]]:
    """Classes of the examples."""
    return lambda n, rng: [torch.randint(num, (n,), generator=rng)]


def ages(n: int, rng: torch.Generator) -> list[Any]:
    """Continuous labels, some of them equal."""
    return [torch.randint(10, (n,), generator=rng).double()]


def clusterings(n: int, rng: torch.Generator) -> list[Any]:
    """Centroids (filled in by the case), labels and concentrations of two clusterings."""
    return [None, [torch.randint(k, (n,), generator=rng) for k in (5, 3)], [torch.full((k,), 0.3) for k in (5, 3)]]


def weights(n: int, rng: torch.Generator) -> list[Any]:
    """A number in (0, 1) per example."""
    return [torch.rand(n, generator=rng, dtype=torch.float64)]


_ALL = [
    Case("info_nce", 2, settings={"symmetric": True, "label_smoothing": 0.1}),
    *(Case(n, 2) for n in ("nt_xent", "dcl", "dclw", "debiased_nt_xent", "quantile_negatives")),
    *(Case(n, 2) for n in ("mean_normalized_negatives", "false_negative_removal")),
    Case("sigmoid_pair", 2, settings={"bias": -3.0}),
    Case("supcon", 1, labels(4), (0,)),
    Case("prototype_contrast", 1, clusterings, (1,)),
    Case("prototype_cross_entropy", 1, labels(4), (0,)),
    Case("mv_info_nce", 1),
    Case("mv_dhel", 1),
    Case("weighted_info_nce", 2, lambda n, rng: [torch.randint(3, (n, 2), generator=rng)], (0,)),
    Case("given_weight_info_nce", 2, weights, (0,), settings={"self_normalize": True}),
    Case("inverse_propensity", 2, weights, (0,)),
    Case("adaptive_info_nce", 2, needs_dim=True, settings={"hidden_dim": 16}),
    Case("y_aware_info_nce", 2, ages, (0,)),
    Case("rank_n_contrast", 1, ages, (0,)),
    Case("supremix", 1, ages, (0,), without_draws={"mixed_negatives": False, "max_mixed_positives": 400}),
    Case("label_alignment", 1, ages, (0,)),
    Case(
        "class_pair_gates",
        1,
        lambda n, rng: [torch.randint(4, (n,), generator=rng), torch.randint(4, (n,), generator=rng)],
        (0, 1),
        needs_dim=True,
        settings={"num_classes": 4, "hidden_dim": 16},
    ),
    Case("momentum_contrast", 2, detached=(1,)),
    Case("multi_positive_info_nce", 2, lambda n, rng: [torch.arange(n).expand(2, -1)]),
    Case(
        "masked_prediction",
        2,
        lambda n, rng: [torch.ones(n, 1, dtype=torch.bool)],
        (0,),
        detached=(1,),
        same_width=False,
        settings={"measure": "info_nce"},
    ),
    Case("replay", 2, labels(4), (0,), detached=(1,)),
    Case("relational_distillation", 2, detached=(1,), same_width=False),
]
CASES = {case.name: case for case in _ALL}
