"""NodeClassifierScores: what a fine-tuned classifier of nodes gets right on the test part of its split."""

from typing import Any

from medgraph.data.node_metrics import auc, f1
from medgraph.evaluation.scores import Scores


class NodeClassifierScores:
    """Macro-F1, Micro-F1 and AUC (one against the rest, mean over classes) of a fine-tuned classifier, in percent.

    For a stage that fine-tunes; frozen features are scored by `node_probe`.
    """

    def __init__(self) -> None:
        pass

    def evaluate(self, model: Any, data: Any, device: str = "cpu") -> Scores:
        """One row, of the split that `data` took; the model is left in eval mode on `device`."""
        logits = model.eval().to(device).predict(data.train().views.to(device)).float().cpu()
        test = data.parts["test"]
        labels = data.graph.labels[test]
        macro, micro = f1(logits[test].argmax(1)[None], labels, logits.shape[1])
        scores = {"macro_f1": macro, "micro_f1": micro, "auc": auc(logits[test].softmax(1)[None], labels)}
        row = {"case": "all", "label": data.split, **{key: 100 * float(value) for key, value in scores.items()}}
        return Scores([row])
