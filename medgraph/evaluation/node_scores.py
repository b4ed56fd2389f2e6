"""What frozen features of graph nodes tell about their labels: linear probes, k-means, nearest neighbors."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor

from medgraph import checks
from medgraph.data.graphs import Graph
from medgraph.data.node_metrics import auc, f1
from medgraph.errors import DataError
from medgraph.evaluation.node_figures import attention_figures, feature_figure
from medgraph.evaluation.node_floor import floor_features
from medgraph.evaluation.node_probe import Probe
from medgraph.evaluation.scores import Scores

PARTS = ("train", "val", "test")


class NodeProbe:
    """Linear classifiers on frozen features, over the fixed splits of the graph: the protocol of HeCo [1].

    Each probe takes full-batch steps of Adam and is judged after every step: its test Macro-F1 at the step with the
    best Macro-F1 on validation, its Micro-F1 and AUC (one against the rest, mean over classes) at the step with the
    best Micro-F1; the first step wins ties. All probes of a split train at once, as one tensor.

    [1] Wang et al., 2021, arXiv:2105.09111, Sec. 5.

    Args:
        lr: Learning rate of the probes.
        weight_decay: Weight of their squared coefficients in the gradient.
        num_probes: Probes of each split, which differ in their first weights.
        num_steps: Steps of each.
        splits: Names of the splits; None takes all.
        first_seed: Draws their first weights.
        floor: Also probe what needs no learning, as `floor_...`: the targets' own features ("features"), and the same
            averaged over the meta-path graphs ("averaged").
    """

    def __init__(
        self,
        lr: float = 0.03,
        weight_decay: float = 0.0,
        num_probes: int = 50,
        num_steps: int = 200,
        splits: tuple[str, ...] | None = None,
        first_seed: int = 0,
        floor: bool = False,
    ):
        self.probe = Probe(
            checks.positive("lr", lr),
            checks.not_negative("weight_decay", weight_decay),
            checks.at_least("num_probes", num_probes, 1),
            checks.at_least("num_steps", num_steps, 1),
            checks.at_least("first_seed", first_seed, 0),
        )
        self.splits, self.floor = splits, floor

    def evaluate(self, model: Any, data: Any, device: str = "cpu") -> Scores:
        """One row per split: mean of `macro_f1`, `micro_f1`, `auc` on its test nodes over probes, in percent.

        And of `validation_macro_f1`, by which to choose settings without a look at the test nodes.
        Each has its standard deviation over probes (of the population) as `_std`, which says nothing about how much
        encoders differ.
        """
        features, labels = read_features(model, data, device), _labels(data.graph).to(device)
        floors = floor_features(data, device) if self.floor else {}
        rows = []
        for name in _splits(data.graph, self.splits):
            parts = [data.graph.splits[name][part].to(device) for part in PARTS]
            row: dict[str, Any] = {"case": f"{self.probe.num_probes} probes", "label": name}
            row |= self._figures(features, labels, parts, "")
            for kind, lower in floors.items():
                row |= self._figures(lower, labels, parts, f"floor_{kind}_")
            rows.append(row)
        figures = [feature_figure(features.cpu().numpy(), data.graph)]
        return Scores(rows, figures=figures + attention_figures(model.encoder, data.train().views.to(device)))

    def check(self, data: Any) -> None:
        """Raise DataError unless the data are a graph that has labels of two classes or more, and the splits."""
        if not hasattr(data, "graph"):
            raise DataError("the data are no graph, so no probe of nodes can score them. Leave choose out.")
        _labels(data.graph)
        _splits(data.graph, self.splits)

    def validate(self, model: Any, data: Any, device: str = "cpu") -> float:
        """Mean over splits and probes of the best Macro-F1 on validation nodes, in percent. No test label is read."""
        features, labels = read_features(model, data, device), _labels(data.graph).to(device)
        found = []
        for name in _splits(data.graph, self.splits):
            train, validation = (data.graph.splits[name][part].to(device) for part in ("train", "val"))
            rows = self.probe.run(features, labels, (train, validation, validation))
            found += [row["validation_macro_f1"] for row in rows]
        return sum(found) / len(found)

    def _figures(self, features: Tensor, labels: Tensor, parts: list[Tensor], prefix: str) -> dict[str, float]:
        """Mean and standard deviation over probes of each score."""
        found = self.probe.run(features, labels, parts)
        row: dict[str, float] = {}
        for key in found[0]:
            values = torch.tensor([scores[key] for scores in found], dtype=torch.float64)
            row |= {f"{prefix}{key}": values.mean().item(), f"{prefix}{key}_std": values.std(correction=0).item()}
        return row


class NodeClusters:
    """k-means on the features of all targets, with as many clusters as classes: NMI and ARI against the labels.

    Args:
        num_repeats: Runs, with seeds 0, 1, ...; each keeps the best of 10 starts.
    """

    def __init__(self, num_repeats: int = 10):
        self.num_repeats = checks.at_least("num_repeats", num_repeats, 1)

    def evaluate(self, model: Any, data: Any, device: str = "cpu") -> Scores:
        """One row per run: `nmi` (arithmetic mean in its denominator) and `ari`, in percent."""
        labels = _labels(data.graph).numpy()
        known = labels >= 0
        features = read_features(model, data, device).cpu().numpy()[known]
        rows = []
        for seed, found in enumerate(self._groupings(features, data.graph)):
            nmi = normalized_mutual_info_score(labels[known], found)
            ari = adjusted_rand_score(labels[known], found)
            rows.append({"case": f"seed {seed}", "label": "all", "nmi": 100 * nmi, "ari": 100 * ari})
        return Scores(rows)

    def check(self, data: Any) -> None:
        """See `NodeProbe.check`."""
        NodeProbe().check(data)

    def validate(self, model: Any, data: Any, device: str = "cpu") -> float:
        """NMI on the validation nodes of each split, mean over splits and runs, in percent.

        The clusters are of all targets, with a label or not, as no test label is read.
        """
        labels, features = _labels(data.graph).numpy(), read_features(model, data, device).cpu().numpy()
        groupings = self._groupings(features, data.graph)
        parts = [data.graph.splits[name]["val"].numpy() for name in _splits(data.graph, None)]
        scores = [normalized_mutual_info_score(labels[part], found[part]) for found in groupings for part in parts]
        return 100 * sum(scores) / len(scores)

    def _groupings(self, features: np.ndarray, graph: Graph) -> Iterator[np.ndarray]:
        """The cluster of each row, run after run."""
        for seed in range(self.num_repeats):
            yield KMeans(len(graph.classes), n_init=10, random_state=seed).fit_predict(features)


class NodeNeighbors:
    """Vote of the nearest labelled nodes by cosine distance, over the fixed splits of the graph.

    Args:
        num_neighbors: Nodes that vote.
        splits: Names of the splits; None takes all.
    """

    def __init__(self, num_neighbors: int = 5, splits: tuple[str, ...] | None = None):
        self.num_neighbors = checks.at_least("num_neighbors", num_neighbors, 1)
        self.splits = splits

    def evaluate(self, model: Any, data: Any, device: str = "cpu") -> Scores:
        """One row per split: `macro_f1`, `micro_f1` and `auc` on its test nodes, in percent."""
        features, labels = read_features(model, data, device).cpu(), _labels(data.graph)
        rows = []
        for name in _splits(data.graph, self.splits):
            train, _, test = (data.graph.splits[name][part] for part in PARTS)
            voter = KNeighborsClassifier(min(self.num_neighbors, len(train)), weights="distance", metric="cosine")
            voter.fit(features[train].numpy(), labels[train].numpy())
            shares = torch.zeros(len(test), len(data.graph.classes))
            shares[:, voter.classes_] = torch.from_numpy(voter.predict_proba(features[test].numpy())).float()
            macro, micro = f1(shares.argmax(1)[None], labels[test], shares.shape[1])
            scores = {"macro_f1": macro, "micro_f1": micro, "auc": auc(shares[None], labels[test])}
            rows.append({"case": "all", "label": name, **{key: 100 * float(value) for key, value in scores.items()}})
        return Scores(rows)


@torch.no_grad()
def read_features(model: Any, data: Any, device: str) -> Tensor:
    """Features of all targets (n, d) by `model.encoder`, left in eval mode on `device`.

    Raises:
        DataError: A feature is not finite.
    """
    encoder = model.encoder.eval().to(device)
    features = encoder(data.train().views.to(device)).float()
    if not bool(features.isfinite().all()):
        raise DataError(
            f"{int((~features.isfinite()).any(1).sum())} of {len(features)} targets have features not finite"
        )
    return features


def _labels(graph: Graph) -> Tensor:
    if graph.labels is None:
        raise DataError("the graph has no labels, so its features cannot be scored. Leave the evaluator out.")
    if len(graph.classes) < 2:
        only = f"one class, {graph.classes[0]!r}" if graph.classes else "no class: no target has a label"
        raise DataError(
            f"the labels of the graph have {only}; a score needs two classes or more. Leave the evaluator out."
        )
    return graph.labels


def _splits(graph: Graph, wanted: tuple[str, ...] | None) -> list[str]:
    names = list(graph.splits) if wanted is None else list(wanted)
    unknown = [name for name in names if name not in graph.splits]
    if unknown or not names:
        listed = ", ".join(graph.splits) or "none"
        raise DataError(f"splits: the graph has no split {unknown[0] if unknown else 'at all'!r}. Splits: {listed}.")
    for name in names:
        missing = [part for part in PARTS if part not in graph.splits[name]]
        if missing:
            raise DataError(f"splits: split {name!r} has no part {missing[0]!r}; a probe needs {', '.join(PARTS)}.")
    return names
