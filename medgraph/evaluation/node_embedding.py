"""NodeEmbedding: embed every target once, and say how fast that was and how well classes are read from it."""

import time
from typing import Any

from medgraph import checks
from medgraph.data.graphs import Graph
from medgraph.evaluation.node_probe import Probe
from medgraph.evaluation.node_scores import NodeProbe, read_features
from medgraph.evaluation.scores import Scores


class NodeEmbedding:
    """One pass over all targets, timed, and a linear probe on each split; for graphs too large for `node_probe`.

    Args:
        lr: Learning rate of the probe.
        num_steps: Its full-batch steps; the best one on validation counts.
        num_test: Test nodes that are scored, the first of each split.
    """

    def __init__(self, lr: float = 0.05, num_steps: int = 100, num_test: int = 10_000):
        self.probe = Probe(checks.positive("lr", lr), 0.0, 1, checks.at_least("num_steps", num_steps, 1), 0)
        self.num_test = checks.at_least("num_test", num_test, 1)

    def check(self, data: Any) -> None:
        """Raise DataError unless the graph has labels and a split."""
        self._all_splits().check(data)

    def validate(self, model: Any, data: Any, device: str = "cpu") -> float:
        """Mean over splits of the best Macro-F1 on validation nodes, in percent. No test label is read."""
        return self._all_splits().validate(model, data, device)

    def _all_splits(self) -> NodeProbe:
        probe = self.probe
        return NodeProbe(probe.lr, probe.weight_decay, probe.num_probes, probe.num_steps, first_seed=probe.seed)

    def evaluate(self, model: Any, data: Any, device: str = "cpu") -> Scores:
        """A row with `nodes_per_second`, of the pass alone; and one per split with `macro_f1`, `micro_f1`, `auc`.

        A graph without labels, or with those of a single class, has the first row only.
        """
        data.train().views.to(device)  # builds the views, which is no part of the pass
        start = time.perf_counter()
        features = read_features(model, data, device)
        seconds = time.perf_counter() - start
        speed = {"nodes_per_second": len(features) / max(seconds, 1e-9), "seconds": seconds}
        rows: list[dict[str, Any]] = [{"case": f"{len(features)} targets", "label": "embedding", **speed}]
        graph: Graph = data.graph
        if graph.labels is not None and len(graph.classes) > 1:
            for name, split in graph.splits.items():
                parts = [split["train"], split["val"], split["test"][: self.num_test]]
                found = self.probe.run(features, graph.labels.to(device), [part.to(device) for part in parts])
                rows.append({"case": "1 probe", "label": name, **found[0]})
        return Scores(rows)
