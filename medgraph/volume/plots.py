"""Pictures of what the slices of a volume attend to. The only importer of matplotlib in this room."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from medgraph.data.batches import StackBatch
from medgraph.volume.slice_attention import Attended


@torch.no_grad()
def plot_volumes(folder: Path, encoder: Any, batch: StackBatch) -> None:
    """One picture for each volume of the batch, `volume-<id>.png`; the encoder's mode is kept."""
    was_training = encoder.training
    encoder.eval()
    folder.mkdir(parents=True, exist_ok=True)
    for row, number in enumerate(batch.ids.tolist()):
        mask = batch.valid[row]
        layers = encoder.attended(batch.slices[row : row + 1, mask], mask[mask][None])
        plot_attention(folder / f"volume-{number}.png", f"volume {number}", layers)
    encoder.train(was_training)


def plot_attention(path: Path, title: str, layers: list[Attended]) -> None:
    """For each layer, the weight that each slice (row) gives to each other (column), and the sampled positions."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # slow to import, and needed at the end of a stage only
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4 * len(layers)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(layers), 2, squeeze=False)
    for number, (seen, (left, right)) in enumerate(zip(layers, axes, strict=True), start=1):
        image = left.imshow(attention_map(seen)[0].cpu().numpy(), cmap="magma", vmin=0, interpolation="nearest")
        figure.colorbar(image, ax=left, shrink=0.8)
        left.set(title=f"{title}, layer {number}: weight", xlabel="slice read", ylabel="slice")
        n, heads = seen.positions.shape[1:3]
        for head in range(heads):
            places, weights = (x[0, :, head].cpu() for x in (seen.positions, seen.weights))
            own = torch.arange(n)[:, None].expand_as(places)
            drawn = [x.flatten().numpy() for x in (places, own, 40 * weights)]
            right.scatter(drawn[0], drawn[1], s=drawn[2], alpha=0.6, label=f"head {head}")
        right.plot([0, n - 1], [0, n - 1], color="gray", linewidth=0.5)
        right.set(title="sampled positions, size = weight", xlabel="slice read", ylabel="slice")
        right.invert_yaxis()
        right.legend(fontsize=6)
    figure.savefig(path, dpi=90)


def attention_map(seen: Attended) -> Tensor:
    """(b, n, n) weight of each slice on each other, mean over heads."""
    return seen.of_slices.mean(dim=2)
