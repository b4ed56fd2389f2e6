"""A small method on images that are drawn when asked for."""

import torch

from medgraph.data.batches import ImageBatch
from medgraph.data.spec import ImageSpec
from medgraph.losses.prototype_cross_entropy import PrototypeCrossEntropy
from medgraph.nn.encoders import ResNetEncoder
from medgraph.transforms.crops import MultiCrop
from medgraph.volume.assigner import SwAV
from medgraph.volume.intra import Intra


class Noise:
    """Images of 32 x 32, as many as one likes."""

    def __getitems__(self, indices):
        ids = torch.tensor(indices)
        return ImageBatch(ids, torch.rand(len(ids), 1, 32, 32), torch.zeros_like(ids))


def small_intra() -> Intra:
    """SwAV with two crops, in training mode."""
    spec = ImageSpec(2, 1, (32, 32), 64)
    views = MultiCrop(sizes=(32,), counts=(2,), areas=((0.4, 1.0),))
    return Intra(spec, ResNetEncoder(spec, width=8), views, PrototypeCrossEntropy(), SwAV(8, queue_size=0)).train()
