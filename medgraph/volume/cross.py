"""Cross-dimensional term: a volume's vector and its slices' embeddings agree on the prototypes of slices."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from medgraph.method import Step
from medgraph.volume.assigner import share
from medgraph.volume.encoder import mean_slices


def cross_loss(
    assigner: Any,
    projector: nn.Module,
    features: Tensor,
    vectors: Tensor,
    valid: Tensor,
    loss: nn.Module,
    step: Step,
) -> Tensor:
    """Cross-entropy between a volume's scores and the mean code of its slices, both against prototypes of slices.

    target_b = mean over slices i of code(unit(projector(f_bi)));  loss(P z_b, target_b), mean over heads and volumes.
    The target carries no gradient. Not part of the published method.

    Args:
        assigner: That of images and slices.
        projector: From the features of a slice to the width of its prototypes.
        features: Of all valid slices in a row, `(t, c)`.
        vectors: Unit vectors of the volumes, `(b, d)`, of the prototypes' width.
        valid: Which slices of each volume there are, `(b, n)`; `t` in all.
        loss: Compares scores with soft codes.
        step: Where training stands.
    """
    with torch.no_grad():
        embeddings = F.normalize(projector(features), dim=1)
    terms = []
    for scores, codes in assigner.shared(vectors, embeddings, step):
        of_volumes = codes.new_zeros(*valid.shape, codes.shape[1])
        of_volumes[valid] = codes
        terms.append(loss(scores, mean_slices(of_volumes, valid)))
    return share(vectors) * torch.stack(terms).mean()
