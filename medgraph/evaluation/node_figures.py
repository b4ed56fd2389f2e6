"""Pictures of a node encoder: where its features lie, and how much each meta-path counts."""

import base64
import io
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from medgraph.data.graphs import Graph
from medgraph.evaluation.space_plot import plot_spaces


def feature_figure(features: np.ndarray, graph: Graph) -> dict[str, str]:
    """The features' first two principal components, one dot per target, colored by class; gray without a label."""
    assert graph.labels is not None
    labels = graph.labels.numpy().astype(np.float64)
    labels[labels < 0] = np.nan
    return {
        "title": f"Features of each {graph.target_type}, by class",
        "png": plot_spaces({"features": features}, {"class": labels}, {"class"}),
    }


@torch.no_grad()
def attention_figures(encoder: Any, views: Any) -> list[dict[str, str]]:
    """One bar per view that the encoder fuses, the mean over members; none for an encoder without meta-paths.

    Of networks that see a graph in different ways, those count that fuse the same views as the first.
    """
    members = encoder.each(views) if hasattr(encoder, "each") else [(encoder, views)]
    if not hasattr(members[0][0], "encode"):
        return []
    named = [([path.name for path in seen.paths], member.encode(seen).attention) for member, seen in members]
    alike = [share for paths, share in named if (paths, len(share)) == (named[0][0], len(named[0][1]))]
    weights = torch.stack(alike).mean(dim=0).cpu().tolist()
    copies = len(weights) // len(views.paths)
    names = [path.name + suffix for path in views.paths for suffix in ("", " masked")[:copies]]
    figure = Figure(figsize=(4.5, 0.4 * len(names) + 0.8), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(names[::-1], weights[::-1])
    axes.set(xlabel="weight", xlim=(0, max(1e-9, *weights) * 1.1))
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=90)
    return [{"title": "Attention of each meta-path", "png": base64.b64encode(buffer.getvalue()).decode()}]
